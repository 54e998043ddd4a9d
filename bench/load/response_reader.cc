#include "bench/load/response_reader.h"

#include <algorithm>
#include <charconv>

namespace serve {

namespace {

constexpr std::size_t kLongestLine = 64 * 1024;

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool EqualIgnoringCase(std::string_view a, std::string_view lower) {
  return a.size() == lower.size() &&
         std::equal(a.begin(), a.end(), lower.begin(), [](char x, char y) { return Lower(x) == y; });
}

std::string_view Trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

template <class T>
bool ParseWhole(std::string_view text, T& value, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

void ResponseReader::Start(bool body) {
  state_ = State::kReading;
  part_ = Part::kStatusLine;
  started_ = false;
  has_body_ = body;
  partial_.clear();
}

// False when the line's end has not come yet; what came of it is kept in partial_.
bool ResponseReader::TakeLine(std::string_view& bytes, std::string_view& line) {
  const std::size_t end = bytes.find('\n');
  if (end == std::string_view::npos) {
    partial_.append(bytes);
    bytes = {};
    if (partial_.size() > kLongestLine) state_ = State::kBroken;
    return false;
  }
  line = bytes.substr(0, end);
  bytes.remove_prefix(end + 1);
  if (!partial_.empty()) {
    partial_.append(line);
    line = partial_;
  }
  if (line.ends_with('\r')) line.remove_suffix(1);
  return true;
}

ResponseReader::State ResponseReader::Feed(std::string_view bytes) {
  started_ = started_ || !bytes.empty();
  while (!bytes.empty() && state_ != State::kBroken) {
    if (state_ == State::kDone) return state_ = State::kBroken;
    if (part_ == Part::kBodyToEnd) return state_;
    if (part_ == Part::kFixedBody || part_ == Part::kChunkData) {
      const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
      bytes.remove_prefix(taken);
      left_ -= taken;
      if (left_ > 0) return state_;
      if (part_ == Part::kFixedBody) {
        state_ = State::kDone;
      } else {
        part_ = Part::kChunkEnd;
      }
      continue;
    }
    std::string_view line;
    if (!TakeLine(bytes, line)) return state_;
    ReadLine(line);
    partial_.clear();
  }
  return state_;
}

ResponseReader::State ResponseReader::FeedEnd() {
  if (state_ == State::kReading) state_ = part_ == Part::kBodyToEnd ? State::kDone : State::kBroken;
  return state_;
}

void ResponseReader::ReadLine(std::string_view line) {
  switch (part_) {
    case Part::kStatusLine:
      ReadStatusLine(line);
      break;
    case Part::kHeader:
      if (line.empty()) {
        EndHead();
      } else {
        ReadHeader(line);
      }
      break;
    case Part::kChunkSize:
      if (!ParseWhole(Trim(line.substr(0, line.find(';'))), left_, 16)) state_ = State::kBroken;
      part_ = left_ == 0 ? Part::kTrailer : Part::kChunkData;
      break;
    case Part::kChunkEnd:
      if (!line.empty()) state_ = State::kBroken;
      part_ = Part::kChunkSize;
      break;
    case Part::kTrailer:
      if (line.empty()) state_ = State::kDone;
      break;
    default:
      state_ = State::kBroken;
  }
}

// HTTP/1.1 200 OK
void ResponseReader::ReadStatusLine(std::string_view line) {
  status_ = 0;
  if (line.size() < 12 || !line.starts_with("HTTP/1.") || line[8] != ' ' ||
      !ParseWhole(line.substr(9, 3), status_) || status_ < 100) {
    state_ = State::kBroken;
    return;
  }
  part_ = Part::kHeader;
  keep_alive_ = line[7] != '0';
  chunked_ = has_length_ = false;
  retry_after_ = -1;
  left_ = 0;
}

void ResponseReader::ReadHeader(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) {
    state_ = State::kBroken;
    return;
  }
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = Trim(line.substr(colon + 1));
  if (EqualIgnoringCase(name, "content-length")) {
    has_length_ = true;
    if (!ParseWhole(value, left_)) state_ = State::kBroken;
  } else if (EqualIgnoringCase(name, "transfer-encoding")) {
    chunked_ = EqualIgnoringCase(value, "chunked");
  } else if (EqualIgnoringCase(name, "connection")) {
    if (EqualIgnoringCase(value, "close")) keep_alive_ = false;
    if (EqualIgnoringCase(value, "keep-alive")) keep_alive_ = true;
  } else if (EqualIgnoringCase(name, "retry-after")) {
    if (!ParseWhole(value, retry_after_)) retry_after_ = -1;
  }
}

void ResponseReader::EndHead() {
  if (status_ < 200) {  // 100 Continue: the answer itself follows
    part_ = Part::kStatusLine;
  } else if (!has_body_ || status_ == 204 || status_ == 304) {
    state_ = State::kDone;
  } else if (chunked_) {
    part_ = Part::kChunkSize;
  } else if (!has_length_) {
    part_ = Part::kBodyToEnd;
    keep_alive_ = false;
  } else if (left_ == 0) {
    state_ = State::kDone;
  } else {
    part_ = Part::kFixedBody;
  }
}

}  // namespace serve
