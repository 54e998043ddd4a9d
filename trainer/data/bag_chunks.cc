#include "trainer/data/bag_chunks.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "serve/base/files.h"
#include "serve/base/work_folder.h"

namespace serve::trainer {
namespace {

constexpr std::size_t kChunkTerms = std::size_t{1} << 18;  // 3 MiB

template <class T>
std::size_t Bytes(const std::vector<T>& values) {
  return values.size() * sizeof(T);
}

std::size_t Bytes(const LabelledBags& chunk) {
  return Bytes(chunk.bags.ids) + Bytes(chunk.bags.offsets) + Bytes(chunk.bags.weights) + Bytes(chunk.labels);
}

template <class T>
bool Write(int descriptor, const std::vector<T>& values) {
  return WriteAll(descriptor, {reinterpret_cast<const char*>(values.data()), Bytes(values)}).empty();
}

template <class T>
void ReadValues(const char*& at, std::size_t count, std::vector<T>& values) {
  values.resize(count);
  if (count > 0) std::memcpy(values.data(), at, count * sizeof(T));
  at += count * sizeof(T);
}

/// A file that is gone when it is closed; -1 and errno when there can be none.
int OpenNameless() {
  std::string path = (FolderOfTemporaryFiles() / "flambeau-train-rows-XXXXXX").string();
  const int descriptor = mkostemp(path.data(), 0);
  if (descriptor >= 0) unlink(path.c_str());
  return descriptor;
}

}  // namespace

BagChunks::BagChunks(LabelledBags bags) : memory_(Bytes(bags)), rows_(bags.labels.size()) {
  chunks_.push_back(std::move(bags));
}

BagChunks::~BagChunks() {
  if (descriptor_ >= 0) close(descriptor_);
}

Status BagChunks::Append(std::string_view text, std::int64_t label, const Vocabulary& vocabulary) {
  AppendText(text, vocabulary, open_.bags);
  open_.labels.push_back(label);
  ++rows_;
  return open_.bags.ids.size() < kChunkTerms ? Status{} : CloseChunk();
}

Status BagChunks::CloseChunk() {
  if (open_.labels.empty()) return {};
  LabelledBags chunk = std::exchange(open_, {});
  // Once there is a file, all goes there: the order must stay.
  if (descriptor_ >= 0 || used_ + Bytes(chunk) > memory_) return Spill(chunk);
  used_ += Bytes(chunk);
  chunks_.push_back(std::move(chunk));
  return {};
}

Status BagChunks::Spill(const LabelledBags& chunk) {
  if (descriptor_ < 0) descriptor_ = OpenNameless();
  const TextBags& bags = chunk.bags;
  if (descriptor_ < 0 || !Write(descriptor_, bags.ids) || !Write(descriptor_, bags.offsets) ||
      !Write(descriptor_, chunk.labels) || !Write(descriptor_, bags.weights)) {
    return Internal(fmt::format(
        "cannot keep the rows in a temporary file: {}; name a folder with room in TMPDIR, or raise --memory",
        std::strerror(errno)));
  }
  parts_.push_back({file_bytes_, bags.ids.size(), chunk.labels.size()});
  file_bytes_ += Bytes(chunk);
  return {};
}

Status BagChunks::Finish() {
  Status status = CloseChunk();
  if (descriptor_ < 0) return status;
  if (status.ok()) {
    Result<MappedFile> mapped = MappedFile::Of(descriptor_);
    if (mapped) {
      file_ = *std::move(mapped);
    } else {
      status = Internal(fmt::format("cannot read the rows again: {}", mapped.error().message));
    }
  }
  close(std::exchange(descriptor_, -1));
  return status;
}

void BagChunks::ForEach(const std::function<void(const LabelledBags&)>& visit) const {
  for (const LabelledBags& chunk : chunks_) visit(chunk);
  LabelledBags chunk;
  for (const FilePart& part : parts_) {
    const char* at = file_.content().data() + part.offset;
    ReadValues(at, part.ids, chunk.bags.ids);
    ReadValues(at, part.texts, chunk.bags.offsets);
    ReadValues(at, part.texts, chunk.labels);
    ReadValues(at, part.ids, chunk.bags.weights);
    visit(chunk);
  }
}

}  // namespace serve::trainer
