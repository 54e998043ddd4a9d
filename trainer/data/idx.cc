#include "trainer/data/idx.h"

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <system_error>
#include <zlib.h>

#include <fmt/format.h>

#include "model_store/archive/sha256.h"

namespace serve::trainer {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxBytes = std::size_t{1} << 30;
constexpr std::size_t kPiece = std::size_t{1} << 20;

Status Problem(const fs::path& file, std::string_view what) {
  return InvalidArgument(fmt::format("{}: {}", file.string(), what));
}

/// The file's content, unpacked where it is packed.
Result<std::string> ReadPacked(const fs::path& file) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> stream(gzopen(file.c_str(), "rb"), gzclose);
  if (!stream) return Internal(fmt::format("cannot read {}", file.string()));
  std::string content;
  for (;;) {
    const std::size_t had = content.size();
    content.resize(had + kPiece);
    const int got = gzread(stream.get(), content.data() + had, kPiece);
    if (got < 0) return Problem(file, "the packed file is damaged");
    content.resize(had + static_cast<std::size_t>(got));
    if (got == 0) break;
    if (content.size() > kMaxBytes) return Problem(file, "it is larger than 1 GiB");
  }
  int error = Z_OK;
  gzerror(stream.get(), &error);
  if (error != Z_OK) return Problem(file, "the packed file is cut off");
  return content;
}

Result<fs::path> Find(const fs::path& folder, const std::string& name) {
  std::error_code error;
  for (const char* ending : {"", ".gz"}) {
    const fs::path file = folder / (name + ending);
    const fs::file_status status = fs::status(file, error);
    if (fs::is_regular_file(status)) return file;
    if (error && status.type() != fs::file_type::not_found) {
      return Internal(fmt::format("cannot read {}: {}", file.string(), error.message()));
    }
  }
  return Status{Code::kNotFound, fmt::format("there is no file {}[.gz]", (folder / name).string())};
}

std::size_t Number(std::string_view content, std::size_t at) {
  std::size_t number = 0;
  for (std::size_t i = 0; i < 4; ++i) number = number << 8 | static_cast<unsigned char>(content[at + i]);
  return number;
}

/// Unsigned bytes in `dimensions` dimensions, whose sizes are answered; they follow behind 4 + 4 · dimensions
/// bytes.
Result<std::vector<std::size_t>> ReadHead(const fs::path& file, std::string_view content,
                                          std::size_t dimensions) {
  const std::size_t head = 4 + 4 * dimensions;
  if (content.size() < head || Number(content, 0) != (0x0800 | dimensions)) {
    return Problem(file, fmt::format("it is no IDX file of bytes in {} dimensions", dimensions));
  }
  std::vector<std::size_t> sizes;
  std::size_t values = 1;
  for (std::size_t i = 0; i < dimensions; ++i) {
    sizes.push_back(Number(content, 4 + 4 * i));
    if (sizes.back() == 0 || sizes.back() > kMaxBytes / values)
      return Problem(file, fmt::format("dimension {} has a size of {}", i, sizes.back()));
    values *= sizes.back();
  }
  if (content.size() != head + values) {
    return Problem(file,
                   fmt::format("it has {} bytes of values, its head says {}", content.size() - head, values));
  }
  return sizes;
}

}  // namespace

Result<LabelledPictures> ReadIdx(const fs::path& folder, const std::string& set, std::size_t classes) {
  const Result<fs::path> image_file = Find(folder, set + "-images-idx3-ubyte");
  if (!image_file) return image_file.error();
  const Result<fs::path> label_file = Find(folder, set + "-labels-idx1-ubyte");
  if (!label_file) return label_file.error();
  const Result<std::string> images = ReadPacked(*image_file);
  if (!images) return images.error();
  const Result<std::string> labels = ReadPacked(*label_file);
  if (!labels) return labels.error();
  const Result<std::vector<std::size_t>> image_sizes = ReadHead(*image_file, *images, 3);
  if (!image_sizes) return image_sizes.error();
  const Result<std::vector<std::size_t>> label_sizes = ReadHead(*label_file, *labels, 1);
  if (!label_sizes) return label_sizes.error();
  if ((*image_sizes)[0] != (*label_sizes)[0]) {
    return Problem(*label_file,
                   fmt::format("it has {} labels for {} pictures", (*label_sizes)[0], (*image_sizes)[0]));
  }
  LabelledPictures pictures;
  pictures.height = (*image_sizes)[1];
  pictures.width = (*image_sizes)[2];
  pictures.pixels.assign(images->begin() + 16, images->end());
  pictures.labels.assign(labels->begin() + 8, labels->end());
  const auto largest = *std::max_element(pictures.labels.begin(), pictures.labels.end());
  if (largest >= classes) {
    return Problem(*label_file,
                   fmt::format("there is a label {}, but --labels names {} classes", largest, classes));
  }
  Sha256 digest;
  digest.Update(*images);
  digest.Update(*labels);
  pictures.sha256 = digest.Finish();
  return pictures;
}

}  // namespace serve::trainer
