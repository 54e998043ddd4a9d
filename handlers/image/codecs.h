#pragma once

#include <string_view>

#include "handlers/image/picture.h"

namespace serve {

// One function a library; `picture` has its size and its memory already. Errors: kInvalidArgument with the
// library's own reason. C libraries report errors by longjmp, so nothing in these functions has a destructor.

Status DecodeJpeg(std::string_view bytes, Picture& picture);
Status DecodePng(std::string_view bytes, Picture& picture);
Status DecodeWebp(std::string_view bytes, Picture& picture);

/// `cannot decode the JPEG picture: REASON`.
Status BadPicture(PictureFormat format, std::string_view reason);

}  // namespace serve
