#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "serve/base/status.h"

namespace serve::trainer {

/// Grey pictures of one size, and what they show.
struct LabelledPictures {
  std::size_t height = 0;
  std::size_t width = 0;
  std::vector<std::uint8_t> pixels;  // [pictures, height, width]; 0 black
  std::vector<std::uint8_t> labels;  // [pictures], from 0
  std::string sha256;                // of both files' content, unpacked

  [[nodiscard]] std::size_t count() const { return labels.size(); }
  [[nodiscard]] std::size_t picture_size() const { return height * width; }
};

/// Reads the two files of a set in the IDX format of MNIST: `<folder>/<set>-images-idx3-ubyte` and
/// `<set>-labels-idx1-ubyte`, each as it is or packed (.gz). `set`: train, t10k.
///
/// Memory: the pictures, at most 1 GiB.
/// Errors: kNotFound: a file is missing; kInvalidArgument: damaged, cut off, of another kind, different
/// numbers of
///         pictures and labels, or a label of `classes` or more.
Result<LabelledPictures> ReadIdx(const std::filesystem::path& folder, const std::string& set,
                                 std::size_t classes);

}  // namespace serve::trainer
