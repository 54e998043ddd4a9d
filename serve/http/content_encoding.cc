#include "serve/http/content_encoding.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <zlib.h>

#include <fmt/format.h>

#include "serve/http/http_message.h"

namespace serve {
namespace {

constexpr int kZlibWindow = 15;
constexpr int kGzipWindow = 15 + 16;
constexpr std::size_t kFirstRoom = 16 * 1024;

Bytef* Bytes(const char* data) { return reinterpret_cast<Bytef*>(const_cast<char*>(data)); }
uInt Portion(std::size_t size) {
  return static_cast<uInt>(std::min<std::size_t>(size, std::numeric_limits<uInt>::max()));
}

/// A z_stream that is given back, whatever happens.
struct Inflater {
  explicit Inflater(int window) { ready = inflateInit2(&stream, window) == Z_OK; }
  ~Inflater() {
    if (ready) inflateEnd(&stream);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  z_stream stream{};
  bool ready = false;
};

Result<Buffer> Inflate(int window, std::string_view packed, std::size_t limit) {
  Inflater inflater(window);
  if (!inflater.ready)
    return Status{Code::kResourceExhausted, "there is no memory to unpack the request body"};
  z_stream& stream = inflater.stream;
  // One byte more than allowed, so that a body of exactly the limit is told from a larger one.
  const std::size_t most = limit + 1;
  Buffer out(std::min(std::max(kFirstRoom, packed.size() * 2), most));
  std::size_t used = 0;
  std::size_t taken = 0;
  for (;;) {
    if (used == out.size()) {
      Buffer larger(std::min(out.size() * 2, most));
      std::memcpy(larger.data(), out.data(), used);
      out = std::move(larger);
    }
    stream.next_in = Bytes(packed.data() + taken);
    stream.avail_in = Portion(packed.size() - taken);
    stream.next_out = Bytes(out.data() + used);
    stream.avail_out = Portion(out.size() - used);
    const uInt offered = stream.avail_in;
    const uInt room = stream.avail_out;
    const int code = inflate(&stream, Z_NO_FLUSH);
    taken += offered - stream.avail_in;
    used += room - stream.avail_out;
    if (used > limit) {
      return Status{Code::kPayloadTooLarge,
                    fmt::format("the request body is larger than the limit of {} bytes when it is unpacked "
                                "(max_request_size)",
                                limit)};
    }
    if (code == Z_STREAM_END) {
      if (taken == packed.size()) break;
      // A gzip body may be several, one behind the other.
      if (window != kGzipWindow || inflateReset(&stream) != Z_OK) {
        return InvalidArgument(
            fmt::format("the packed request body ends at byte {} of {}", taken, packed.size()));
      }
      continue;
    }
    if (code == Z_OK && (taken < packed.size() || used == out.size())) continue;
    if (code == Z_OK || code == Z_BUF_ERROR) {
      return InvalidArgument(fmt::format("the packed request body is cut off after {} bytes", packed.size()));
    }
    return InvalidArgument(
        fmt::format("the request body is not what its Content-Encoding says: {} at byte {}",
                    stream.msg == nullptr ? "damaged data" : stream.msg, taken));
  }
  if (used < out.size() / 2)
    return Buffer(std::string_view(out.data(), used));  // mostly room that is not needed
  out.Shrink(used);
  return out;
}

}  // namespace

Result<Buffer> Unpack(std::string_view encoding, std::string_view packed, std::size_t limit) {
  if (EqualsIgnoreCase(encoding, "gzip") || EqualsIgnoreCase(encoding, "x-gzip")) {
    return Inflate(kGzipWindow, packed, limit);
  }
  if (EqualsIgnoreCase(encoding, "deflate")) return Inflate(kZlibWindow, packed, limit);
  return Status{
      Code::kUnsupportedMedia,
      fmt::format("the Content-Encoding `{}` is not supported; known are gzip and deflate", encoding)};
}

bool AcceptsGzip(std::string_view accept_encoding) {
  bool any = false;
  while (!accept_encoding.empty()) {
    const std::size_t comma = accept_encoding.find(',');
    const std::string_view item = accept_encoding.substr(0, comma);
    accept_encoding.remove_prefix(comma == std::string_view::npos ? accept_encoding.size() : comma + 1);
    const std::size_t semicolon = item.find(';');
    const std::string_view coding = TrimBlanks(item.substr(0, semicolon));
    const bool gzip = EqualsIgnoreCase(coding, "gzip") || EqualsIgnoreCase(coding, "x-gzip");
    if (!gzip && coding != "*") continue;
    const std::string_view quality =
        semicolon == std::string_view::npos ? std::string_view() : TrimBlanks(item.substr(semicolon + 1));
    // q=0, q=0.0, q=0.00 and q=0.000 are the ways to write "not acceptable".
    const bool refused = quality.size() > 2 && (quality[0] == 'q' || quality[0] == 'Q') &&
                         quality[1] == '=' && quality.find_first_not_of("0.", 2) == std::string_view::npos;
    if (gzip) return !refused;
    any = !refused;
  }
  return any;
}

}  // namespace serve
