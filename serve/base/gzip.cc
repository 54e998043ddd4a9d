#include "serve/base/gzip.h"

#include <algorithm>
#include <limits>
#include <zlib.h>

namespace serve {
namespace {

constexpr int kGzipWindow = 15 + 16;

Bytef* Bytes(const char* data) { return reinterpret_cast<Bytef*>(const_cast<char*>(data)); }
uInt Portion(std::size_t size) {
  return static_cast<uInt>(std::min<std::size_t>(size, std::numeric_limits<uInt>::max()));
}

}  // namespace

std::string Gzip(std::string_view text) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) != Z_OK) return {};
  std::string packed(deflateBound(&stream, text.size()), '\0');
  std::size_t taken = 0;
  std::size_t used = 0;
  int code = Z_OK;
  while (code == Z_OK) {
    stream.next_in = Bytes(text.data() + taken);
    stream.avail_in = Portion(text.size() - taken);
    stream.next_out = Bytes(packed.data() + used);
    stream.avail_out = Portion(packed.size() - used);
    const uInt offered = stream.avail_in;
    const uInt room = stream.avail_out;
    code = deflate(&stream, taken + offered == text.size() ? Z_FINISH : Z_NO_FLUSH);
    taken += offered - stream.avail_in;
    used += room - stream.avail_out;
  }
  deflateEnd(&stream);
  packed.resize(code == Z_STREAM_END ? used : 0);
  return packed;
}

}  // namespace serve
