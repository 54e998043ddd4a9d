#include "serve/base/trace_context.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>

#include "serve/base/hex.h"
#include "serve/base/random_id.h"

namespace serve {
namespace {

constexpr std::size_t kTraceparentSize = 55;  // of version 00

bool IsZero(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == '0'; });
}
int HexValue(char digit) { return digit <= '9' ? digit - '0' : digit - 'a' + 10; }

std::uint64_t RandomAboveZero() {
  for (;;) {
    if (const std::uint64_t number = RandomNumber(); number != 0) return number;
  }
}

}  // namespace

std::optional<TraceContext> ParseTraceparent(std::string_view field) {
  if (field.size() < kTraceparentSize || field[2] != '-' || field[35] != '-' || field[52] != '-')
    return std::nullopt;
  const std::string_view version = field.substr(0, 2);
  const std::string_view trace = field.substr(3, 32);
  const std::string_view parent = field.substr(36, 16);
  const std::string_view flags = field.substr(53, 2);
  if (!IsHex(version) || version == "ff") return std::nullopt;
  if (field.size() > kTraceparentSize && (version == "00" || field[kTraceparentSize] != '-'))
    return std::nullopt;
  if (!IsHex(trace) || IsZero(trace) || !IsHex(parent) || IsZero(parent) || !IsHex(flags))
    return std::nullopt;
  TraceContext context;
  std::copy(trace.begin(), trace.end(), context.trace_id.begin());
  std::copy(parent.begin(), parent.end(), context.parent_id.begin());
  context.sampled = (HexValue(flags[1]) & 1) != 0;
  return context;
}

std::optional<TraceContext> ParseCloudTrace(std::string_view field) {
  std::string_view options;
  if (const std::size_t end = field.find(';'); end != std::string_view::npos) {
    options = field.substr(end + 1);
    field = field.substr(0, end);
  }
  TraceContext context;
  if (field.size() < context.trace_id.size()) return std::nullopt;
  std::transform(field.begin(), field.begin() + 32, context.trace_id.begin(),
                 [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (!IsHex(context.trace()) || IsZero(context.trace())) return std::nullopt;
  field.remove_prefix(32);
  if (!field.empty()) {
    std::uint64_t span = 0;
    const char* end = field.data() + field.size();
    if (field[0] != '/') return std::nullopt;
    const auto [read, error] = std::from_chars(field.data() + 1, end, span);
    if (error != std::errc() || read != end) return std::nullopt;
    if (span != 0) PutHex(context.parent_id.data(), span);
  }
  context.sampled = options == "o=1";
  return context;
}

void MakeTraceId(TraceContext& context) {
  PutHex(context.trace_id.data(), RandomAboveZero());
  PutHex(context.trace_id.data() + 16, RandomNumber());
}

void MakeSpanId(std::array<char, 16>& id) { PutHex(id.data(), RandomAboveZero()); }

}  // namespace serve
