#include "serve/base/log.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <nlohmann/json.hpp>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/sink.h>

namespace serve {
namespace {

constexpr std::size_t kQueuedLines = 8192;
constexpr std::size_t kFlushBytes = 32 * 1024;

std::atomic<LogLevel> current_level{LogLevel::kInfo};
std::atomic<LogFormat> current_format{LogFormat::kText};
std::atomic<bool> access_log{true};

/// Writes everything; false when the other end refuses (disk full, pipe closed).
bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

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

/// `2024-05-30T21:46:03,625 [INFO ] text` in local time, or one JSON object with the time in UTC.
void AppendLine(std::string& out, LogFormat format, LogLevel level,
                std::chrono::system_clock::time_point time, std::string_view text) {
  const auto since_epoch = time.time_since_epoch();
  const std::time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(since_epoch).count();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(since_epoch).count() % 1'000'000;
  std::tm parts{};
  char stamp[32];
  if (format == LogFormat::kText) {
    static constexpr const char* kNames[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    localtime_r(&seconds, &parts);
    std::strftime(stamp, sizeof stamp, "%FT%T", &parts);
    fmt::format_to(std::back_inserter(out), "{},{:03} [{}] ", stamp, micros / 1000,
                   kNames[static_cast<std::size_t>(level)]);
    AppendOneLine(out, text);
  } else {
    static constexpr const char* kSeverities[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
    gmtime_r(&seconds, &parts);
    std::strftime(stamp, sizeof stamp, "%FT%T", &parts);
    using Json = nlohmann::json;
    fmt::format_to(std::back_inserter(out), R"({{"time":"{}.{:06}Z","severity":"{}","message":{}}})", stamp,
                   micros, kSeverities[static_cast<std::size_t>(level)],
                   Json(text).dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  out += '\n';
}

/// Where lines end up; written to by one thread. Collects lines and writes them when no more are waiting.
class LineFile {
 public:
  LineFile(const std::string& path, int standard_fd) : fd_(standard_fd) {
    if (path.empty()) return;
    const int opened = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (opened < 0) {
      problem_ = fmt::format("cannot write the log file {}: {}; its lines go to standard {} instead", path,
                             std::strerror(errno), standard_fd == STDOUT_FILENO ? "output" : "error");
      return;
    }
    fd_ = opened;
    owned_ = true;
  }
  ~LineFile() {
    Flush();
    if (owned_) ::close(fd_);
  }
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  std::string& pending() { return pending_; }
  void Flush() {
    if (!pending_.empty()) WriteAll(fd_, pending_);
    pending_.clear();
  }
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  int fd_;
  bool owned_ = false;
  std::string pending_;
  std::string problem_;
};

LogLevel FromSpdlog(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return LogLevel::kDebug;
    case spdlog::level::warn:
      return LogLevel::kWarning;
    case spdlog::level::err:
    case spdlog::level::critical:
      return LogLevel::kError;
    default:
      return LogLevel::kInfo;
  }
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                   spdlog::level::warn, spdlog::level::err};
  return kLevels[static_cast<std::size_t>(level)];
}

/// Both logs behind one queue and one writer thread.
class Writer {
 public:
  explicit Writer(const LogOptions& options)
      : format_(options.format),
        server_(options.file, STDERR_FILENO),
        access_(options.access_file, STDOUT_FILENO) {
    pool_ = std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1);
    queue_ = pool_.get();
    server_log_ = MakeLogger("server", [this](const spdlog::details::log_msg& line) {
      AppendLine(server_.pending(), format_, FromSpdlog(line.level), line.time,
                 std::string_view(line.payload.data(), line.payload.size()));
    });
    access_log_ = MakeLogger("access", [this](const spdlog::details::log_msg& line) {
      access_.pending() += std::string_view(line.payload.data(), line.payload.size());
    });
    for (const LineFile* file : {&server_, &access_}) {
      if (!file->problem().empty()) Log(LogLevel::kError, file->problem());
    }
  }
  ~Writer() {
    const std::size_t dropped = pool_->overrun_counter();
    pool_.reset();  // the last owner: joins the writer after it has written what is queued
    NoteDropped(dropped);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void Log(LogLevel level, std::string_view text) {
    server_log_->log(ToSpdlog(level), spdlog::string_view_t(text.data(), text.size()));
  }
  void Access(std::string_view line) {
    access_log_->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
  }

 private:
  using Append = std::function<void(const spdlog::details::log_msg&)>;

  class Sink final : public spdlog::sinks::sink {
   public:
    Sink(Writer& writer, Append append) : writer_(writer), append_(std::move(append)) {}
    void log(const spdlog::details::log_msg& line) override {
      append_(line);
      writer_.AfterLine();
    }
    void flush() override {}
    void set_pattern(const std::string&) override {}
    void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

   private:
    Writer& writer_;
    Append append_;
  };

  std::shared_ptr<spdlog::async_logger> MakeLogger(std::string name, Append append) {
    auto logger = std::make_shared<spdlog::async_logger>(
        std::move(name), std::make_shared<Sink>(*this, std::move(append)), pool_,
        spdlog::async_overflow_policy::overrun_oldest);
    logger->set_level(spdlog::level::trace);  // LogEnabled has decided already
    return logger;
  }

  /// On the writer thread.
  void AfterLine() {
    const bool idle = queue_->queue_size() == 0;
    if (idle) NoteDropped(queue_->overrun_counter());
    for (LineFile* file : {&server_, &access_}) {
      if (idle || file->pending().size() >= kFlushBytes) file->Flush();
    }
  }
  /// One warning for each stretch of dropped lines, when the writer has caught up.
  void NoteDropped(std::size_t dropped) {
    if (dropped == dropped_noted_) return;
    AppendLine(
        server_.pending(), format_, LogLevel::kWarning, std::chrono::system_clock::now(),
        fmt::format("{} log lines were dropped: they came faster than they could be written, and {} are kept "
                    "waiting at most",
                    dropped - dropped_noted_, kQueuedLines));
    dropped_noted_ = dropped;
  }

  const LogFormat format_;
  LineFile server_;  // the files and dropped_noted_ belong to the writer thread
  LineFile access_;
  std::size_t dropped_noted_ = 0;
  std::shared_ptr<spdlog::details::thread_pool> pool_;
  spdlog::details::thread_pool* queue_ =
      nullptr;  // the same for the writer thread, while pool_ is being destroyed
  std::shared_ptr<spdlog::async_logger> server_log_;
  std::shared_ptr<spdlog::async_logger> access_log_;
};

std::shared_mutex writer_mutex;  // guards writer: shared to log, alone to start and stop
std::unique_ptr<Writer> writer;

}  // namespace

void StartLogging(const LogOptions& options) {
  auto started = std::make_unique<Writer>(options);
  current_level.store(options.level, std::memory_order_relaxed);
  current_format.store(options.format, std::memory_order_relaxed);
  access_log.store(options.access_log, std::memory_order_relaxed);
  const std::unique_lock lock(writer_mutex);
  writer = std::move(started);
}

void StopLogging() {
  const std::unique_lock lock(writer_mutex);
  writer.reset();
}

void LogLine(LogLevel level, std::string_view text) {
  if (!LogEnabled(level)) return;
  const std::shared_lock lock(writer_mutex);
  if (writer) {
    writer->Log(level, text);
    return;
  }
  std::string line;
  AppendLine(line, CurrentLogFormat(), level, std::chrono::system_clock::now(), text);
  WriteAll(STDERR_FILENO, line);
}

void AccessLogLines(std::string_view lines) {
  if (!AccessLogEnabled()) return;
  const std::shared_lock lock(writer_mutex);
  if (writer) writer->Access(lines);  // without a writer no listener is open
}

bool AccessLogEnabled() { return access_log.load(std::memory_order_relaxed); }
LogFormat CurrentLogFormat() { return current_format.load(std::memory_order_relaxed); }
bool LogEnabled(LogLevel level) { return level >= current_level.load(std::memory_order_relaxed); }

}  // namespace serve
