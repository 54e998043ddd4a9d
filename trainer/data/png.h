#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace serve::trainer {

/// A grey picture of 8 bits as a PNG file: the example that an archive of pictures carries. `pixels`:
/// [height, width].
std::string GreyPng(const std::uint8_t* pixels, std::size_t height, std::size_t width);

}  // namespace serve::trainer
