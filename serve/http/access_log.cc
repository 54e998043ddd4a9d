#include "serve/http/access_log.h"

#include <charconv>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <iterator>
#include <string>

#include <fmt/compile.h>
#include <fmt/format.h>

#include "serve/base/hex.h"
#include "serve/base/log_fields.h"
#include "serve/http/http_message.h"

namespace serve {
namespace {

using Line = fmt::memory_buffer;

/// Each hand-over wakes the writer, which takes a CPU from whoever has it.
constexpr std::size_t kHandOverBytes = 32 * 1024;
/// Lines of this thread that the writer does not have yet: waking it for each would cost more than the line.
thread_local Line collected;

void Append(Line& line, std::string_view text) { line.append(text.data(), text.data() + text.size()); }

// Into memory that is there: a text line is made for every request, and asking for room piece by piece took
// most of its time.

char* Put(char* at, std::string_view text) {
  std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

constexpr std::size_t kLongestNumber = 20;
template <class Integer>
char* PutNumber(char* at, Integer number) {
  return std::to_chars(at, at + kLongestNumber, number).ptr;
}

constexpr bool IsPlain(char c) { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; }

/// IsPlain of eight characters at once. Carries and borrows cross into the next byte only from one that is
/// not plain itself.
bool ArePlain(const char* eight) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  constexpr std::uint64_t kHighBits = 0x80 * kOnes;
  std::uint64_t text = 0;
  std::memcpy(&text, eight, sizeof text);
  const auto below = [](std::uint64_t bytes, std::uint64_t limit) {
    return (bytes - kOnes * limit) & ~bytes;
  };
  const std::uint64_t odd = text | (text + kOnes) | below(text, 0x20) | below(text ^ (kOnes * '"'), 1) |
                            below(text ^ (kOnes * '\\'), 1);
  return (odd & kHighBits) == 0;
}

constexpr std::size_t kLongestEscape = 4;
/// What a client may have written: quotes, backslashes, control characters and bytes beyond ASCII as \xNN.
char* PutEscaped(char* at, std::string_view text) {
  for (; text.size() >= sizeof(std::uint64_t); text.remove_prefix(sizeof(std::uint64_t))) {
    if (!ArePlain(text.data())) break;
    at = Put(at, text.substr(0, sizeof(std::uint64_t)));
  }
  for (const char c : text) {
    if (IsPlain(c)) {
      *at++ = c;
    } else {
      *at++ = '\\';
      *at++ = 'x';
      at = PutHex(at, static_cast<unsigned char>(c));
    }
  }
  return at;
}

/// `127.0.0.1` of `/127.0.0.1:64003`, `::1` of `/[::1]:64003`.
std::string_view AddressOnly(std::string_view remote) {
  if (remote.starts_with('/')) remote.remove_prefix(1);
  if (remote.starts_with('[')) return remote.substr(1, remote.find(']') - 1);
  return remote.substr(0, remote.find(':'));
}

std::string_view SeverityOf(int status) {
  // 503: full, or not ready yet. It will pass.
  return status >= 500 && status != 503 ? "ERROR" : status >= 400 ? "WARNING" : "INFO";
}

/// `2026-11-24T12:34:31` and the milliseconds. The first part is made once a second and thread.
constexpr std::size_t kSecondsLength = sizeof("2026-11-24T12:34:31") - 1;
struct Stamp {
  std::string_view seconds;  // kSecondsLength of them
  int milliseconds;
};
Stamp Now(bool utc) {
  thread_local std::time_t made_for[2] = {-1, -1};
  thread_local char text[2][32];
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  char* mine = text[utc ? 1 : 0];
  if (made_for[utc ? 1 : 0] != now.tv_sec) {
    std::tm parts{};
    if (utc) {
      gmtime_r(&now.tv_sec, &parts);
    } else {
      localtime_r(&now.tv_sec, &parts);
    }
    std::strftime(mine, sizeof(text[0]), "%Y-%m-%dT%H:%M:%S", &parts);
    made_for[utc ? 1 : 0] = now.tv_sec;
  }
  return {{mine, kSecondsLength}, static_cast<int>(now.tv_nsec / 1'000'000)};
}

/// As Google Cloud's logs understand it; others find the same names in it.
void AppendJsonLine(Line& line, const AccessRecord& record) {
  const auto out = std::back_inserter(line);
  const Stamp stamp = Now(true);
  fmt::format_to(out, FMT_COMPILE(R"({{"time":"{}.{:03}Z","severity":"{}","message":)"), stamp.seconds,
                 stamp.milliseconds, SeverityOf(record.status));
  const std::string_view method = record.method.empty() ? "-" : record.method;
  const std::string_view target = record.target.empty() ? "-" : record.target;
  fmt::memory_buffer message;
  Append(message, method);
  message.push_back(' ');
  Append(message, target.substr(0, kLongestLogText));
  fmt::format_to(std::back_inserter(message), FMT_COMPILE(" {}"), record.status);
  AppendLogText(line, {message.data(), message.size()});
  Append(line, ",\"httpRequest\":{\"requestMethod\":");
  AppendLogText(line, method);
  Append(line, ",\"requestUrl\":");
  AppendLogText(line, target);
  fmt::format_to(out, FMT_COMPILE(R"(,"status":{},"requestSize":"{}","responseSize":"{}","userAgent":)"),
                 record.status, record.bytes_in, record.bytes_out);
  AppendLogText(line, record.user_agent);
  Append(line, ",\"remoteIp\":");
  AppendLogText(line, record.client.empty() ? AddressOnly(record.remote) : record.client);
  fmt::format_to(out, FMT_COMPILE(R"(,"latency":"{:.6f}s","protocol":"HTTP/1.{}"}},"request_id":)"),
                 std::chrono::duration<double>(record.duration).count(), record.http_1_0 ? 0 : 1);
  AppendLogText(line, record.request_id);
  if (record.trace != nullptr) AppendTraceFields(line, *record.trace);
  AppendLabels(line, record.model, record.model_version);
  line.push_back('}');
}

void AppendLine(Line& line, const AccessRecord& record, LogFormat format) {
  if (format == LogFormat::kJson) return AppendJsonLine(line, record);
  constexpr std::size_t kFixed = 128;  // the stamp, the numbers, and what stands between
  const Stamp stamp = Now(false);
  const std::string_view method = record.method.empty() ? "-" : record.method;
  const std::string_view target = record.target.empty() ? "-" : record.target;
  const std::size_t start = line.size();
  line.resize(start + kFixed + record.remote.size() + kLongestEscape * (method.size() + target.size()));
  char* at = line.data() + start;
  at = Put(at, stamp.seconds);
  *at++ = ',';
  *at++ = static_cast<char>('0' + stamp.milliseconds / 100);
  *at++ = static_cast<char>('0' + stamp.milliseconds / 10 % 10);
  *at++ = static_cast<char>('0' + stamp.milliseconds % 10);
  at = Put(at, " - ");
  at = Put(at, record.remote);
  at = Put(at, " \"");
  at = PutEscaped(at, method);
  *at++ = ' ';
  at = PutEscaped(at, target);
  at = Put(at, record.http_1_0 ? " HTTP/1.0\" " : " HTTP/1.1\" ");
  at = PutNumber(at, record.status);
  *at++ = ' ';
  at = PutNumber(at, std::chrono::duration_cast<std::chrono::milliseconds>(record.duration).count());
  line.resize(static_cast<std::size_t>(at - line.data()));
}

}  // namespace

std::string AccessLine(const AccessRecord& record, LogFormat format) {
  Line line;
  AppendLine(line, record, format);
  return fmt::to_string(line);
}

std::string_view ForwardedClient(const HttpRequest& request, int proxies) {
  for (auto field = request.fields.rbegin(); proxies > 0 && field != request.fields.rend(); ++field) {
    if (!EqualsIgnoreCase(field->name, "x-forwarded-for")) continue;
    std::string_view rest = field->value;
    while (!rest.empty()) {
      const std::size_t comma = rest.rfind(',');
      const std::string_view last = comma == std::string_view::npos ? rest : rest.substr(comma + 1);
      if (--proxies == 0) return TrimBlanks(last);
      if (comma == std::string_view::npos) break;
      rest = rest.substr(0, comma);
    }
  }
  return {};
}

void WriteAccessLog(const AccessRecord& record) {
  AppendLine(collected, record, CurrentLogFormat());
  collected.push_back('\n');
  if (collected.size() >= kHandOverBytes) FlushAccessLog();
}

void FlushAccessLog() {
  if (collected.size() == 0) return;
  AccessLogLines({collected.data(), collected.size()});
  collected.clear();
}

}  // namespace serve
