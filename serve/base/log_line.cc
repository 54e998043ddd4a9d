#include "serve/base/log_line.h"

#include <cstdint>
#include <ctime>
#include <iterator>

#include <fmt/format.h>

#include "serve/base/log_fields.h"

namespace serve {
namespace {

/// Escaping makes six bytes of one at most, and collectors refuse lines above 256 KiB.
constexpr std::size_t kLongestMessage = 40 * 1024;

/// A line must stay one line, whatever a client put into a name.
void AppendOneLine(std::string& out, std::string_view text) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 && c != '\t') {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
}

}  // namespace

void AppendLogLine(std::string& out, LogFormat format, LogLevel level,
                   std::chrono::system_clock::time_point time, std::string_view text, std::string_view source,
                   std::string_view fields) {
  const auto since_epoch = time.time_since_epoch();
  const std::time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(since_epoch).count();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(since_epoch).count() % 1'000'000;
  std::tm parts{};
  char stamp[32];
  if (format == LogFormat::kText) {
    static constexpr const char* kNames[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    localtime_r(&seconds, &parts);
    std::strftime(stamp, sizeof stamp, "%FT%T", &parts);
    fmt::format_to(std::back_inserter(out), "{},{:03} [{}] {}", stamp, micros / 1000,
                   kNames[static_cast<std::size_t>(level)], source);
    AppendOneLine(out, text);
  } else {
    static constexpr const char* kSeverities[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
    gmtime_r(&seconds, &parts);
    std::strftime(stamp, sizeof stamp, "%FT%T", &parts);
    fmt::memory_buffer rest;
    AppendLogText(rest, text, kLongestMessage);
    AppendLabels(rest, {}, {});
    fmt::format_to(std::back_inserter(out), R"({{"time":"{}.{:06}Z","severity":"{}","message":{}{}}})", stamp,
                   micros, kSeverities[static_cast<std::size_t>(level)],
                   std::string_view(rest.data(), rest.size()), fields);
  }
  out += '\n';
}

std::string PackLogLine(std::string_view text, LogFormat format, const TraceContext* trace) {
  fmt::memory_buffer fields;
  if (trace != nullptr && format == LogFormat::kJson) AppendTraceFields(fields, *trace);
  std::string packed;
  packed.reserve(text.size() + fields.size() + 2);
  packed += text;
  packed.append(fields.data(), fields.size());
  const auto size = static_cast<std::uint16_t>(fields.size());  // ids and a project's name: a few hundred
  packed += static_cast<char>(size & 0xFF);
  packed += static_cast<char>(size >> 8);
  return packed;
}

PackedLogLine UnpackLogLine(std::string_view packed) {
  const auto byte = [&](std::size_t from_end) {
    return static_cast<std::size_t>(static_cast<unsigned char>(packed[packed.size() - from_end]));
  };
  const std::size_t size = byte(2) | byte(1) << 8;
  packed.remove_suffix(2);
  return {packed.substr(0, packed.size() - size), packed.substr(packed.size() - size)};
}

}  // namespace serve
