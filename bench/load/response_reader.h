#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace serve {

/// Reads one HTTP/1.1 answer after the other from the bytes of a connection and keeps only what a load client
/// counts. Bodies are skipped, by Content-Length, by chunks, or up to the end of the connection.
///
/// Errors:  kBroken for what is no answer, and for bytes that follow a complete one (requests are not
/// pipelined). Threads: one.
class ResponseReader {
 public:
  enum class State { kReading, kDone, kBroken };

  /// Forgets the last answer. `body` is false for answers to HEAD.
  void Start(bool body = true);
  State Feed(std::string_view bytes);
  /// The peer closed: kDone when that ends the body, else kBroken.
  State FeedEnd();

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool started() const { return started_; }  // since Start(), any byte came
  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] bool keep_alive() const { return keep_alive_; }
  [[nodiscard]] int retry_after() const { return retry_after_; }  // seconds; -1: no such header

 private:
  enum class Part {
    kStatusLine,
    kHeader,
    kFixedBody,
    kBodyToEnd,
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailer
  };

  bool TakeLine(std::string_view& bytes, std::string_view& line);
  void ReadLine(std::string_view line);
  void ReadStatusLine(std::string_view line);
  void ReadHeader(std::string_view line);
  void EndHead();

  State state_ = State::kReading;
  Part part_ = Part::kStatusLine;
  bool started_ = false;
  bool has_body_ = true;
  bool chunked_ = false;
  bool keep_alive_ = true;
  bool has_length_ = false;
  int status_ = 0;
  int retry_after_ = -1;
  std::uint64_t left_ = 0;  // bytes of the body or chunk that are still to come
  std::string partial_;     // the beginning of a line whose end is still to come
};

}  // namespace serve
