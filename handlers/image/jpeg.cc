#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <jpeglib.h>

#include <fmt/format.h>
// After jpeglib.h, which it builds upon.
#include <jerror.h>

#include "handlers/image/codecs.h"

namespace serve {
namespace {

/// A progressive picture may repeat its scans as often as it likes, and each costs the whole picture again.
constexpr int kMaxScans = 100;

struct JpegErrors {
  jpeg_error_mgr base;  // first: libjpeg hands this back
  std::jmp_buf back;
  char text[JMSG_LENGTH_MAX];
};

[[noreturn]] void Leave(j_common_ptr codec) {
  auto* errors = reinterpret_cast<JpegErrors*>(codec->err);
  codec->err->format_message(codec, errors->text);
  std::longjmp(errors->back, 1);
}

[[noreturn]] void LeaveWith(j_common_ptr codec, const char* text) {
  auto* errors = reinterpret_cast<JpegErrors*>(codec->err);
  std::snprintf(errors->text, sizeof errors->text, "%s", text);
  std::longjmp(errors->back, 1);
}

/// Level -1 is a warning. Damage in the middle is drawn over, as Pillow does; data that ends early is not.
void Warn(j_common_ptr codec, int level) {
  if (level < 0 && codec->err->msg_code == JWRN_JPEG_EOF) LeaveWith(codec, "the data is cut off");
}

void CountScans(j_common_ptr codec) {
  if (reinterpret_cast<j_decompress_ptr>(codec)->input_scan_number > kMaxScans) {
    LeaveWith(codec, "it has more than 100 scans");
  }
}

unsigned char TimesOver255(unsigned a, unsigned b) {
  const unsigned product = a * b + 128;
  return static_cast<unsigned char>(((product >> 8) + product) >> 8);
}

/// Four bytes a pixel, inverted as Adobe writes them, to three, in place.
void CmykToRgb(const unsigned char* cmyk, unsigned char* rgb, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i, cmyk += 4, rgb += 3) {
    const unsigned light = cmyk[3];
    for (int c = 0; c < 3; ++c)
      rgb[c] = static_cast<unsigned char>(light - TimesOver255(255U - cmyk[c], light));
  }
}

}  // namespace

Status DecodeJpeg(std::string_view bytes, Picture& picture) {
  jpeg_decompress_struct codec;
  jpeg_progress_mgr progress{};
  JpegErrors errors;
  codec.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = Leave;
  errors.base.emit_message = Warn;
  if (setjmp(errors.back) != 0) {
    jpeg_destroy_decompress(&codec);
    return BadPicture(PictureFormat::kJpeg, errors.text);
  }
  jpeg_create_decompress(&codec);
  progress.progress_monitor = CountScans;
  codec.progress = &progress;
  jpeg_mem_src(&codec, reinterpret_cast<const unsigned char*>(bytes.data()),
               static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(&codec, TRUE);
  if (codec.image_width != picture.width || codec.image_height != picture.height) {
    LeaveWith(reinterpret_cast<j_common_ptr>(&codec), "it has two sizes");
  }
  const bool cmyk = codec.jpeg_color_space == JCS_CMYK || codec.jpeg_color_space == JCS_YCCK;
  codec.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&codec);
  auto* row = reinterpret_cast<unsigned char*>(picture.rgb.data());
  // Its memory goes with the codec.
  JSAMPARRAY cmyk_row = cmyk ? codec.mem->alloc_sarray(reinterpret_cast<j_common_ptr>(&codec), JPOOL_IMAGE,
                                                       codec.output_width * 4, 1)
                             : nullptr;
  while (codec.output_scanline < codec.output_height) {
    JSAMPROW target = cmyk ? cmyk_row[0] : row;
    jpeg_read_scanlines(&codec, &target, 1);
    if (cmyk) CmykToRgb(target, row, picture.width);
    row += picture.width * 3;
  }
  jpeg_finish_decompress(&codec);
  jpeg_destroy_decompress(&codec);
  return {};
}

}  // namespace serve
