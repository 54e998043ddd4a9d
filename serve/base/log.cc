#include "serve/base/log.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/sink.h>

#include "serve/base/files.h"
#include "serve/base/log_line.h"
#include "serve/base/recent_problems.h"

namespace serve {
namespace {

constexpr std::size_t kQueuedLines = 8192;
constexpr std::size_t kFlushBytes = 32 * 1024;

std::atomic<LogLevel> current_level{LogLevel::kInfo};
std::atomic<LogFormat> current_format{LogFormat::kText};
std::atomic<bool> access_log{true};
std::atomic<std::uint64_t> lost_lines{0};
thread_local const TraceContext* current_trace = nullptr;

/// When a file begins anew.
struct Rotation {
  std::uint64_t bytes = 0;  // 0: never
  int kept = 0;
};

/// Where lines end up; written to by one thread. Collects lines and writes them when no more are waiting.
/// What cannot be written is lost and counted: nobody waits for a disk.
class LineFile {
 public:
  /// `standard_fd`: where lines go when there is no path, or no file can be made there; -1: nowhere.
  LineFile(std::string path, int standard_fd, Rotation rotation = {})
      : path_(std::move(path)), rotation_(rotation), fd_(standard_fd) {
    if (path_.empty()) return;
    const int opened = Open();
    if (opened < 0) {
      problem_ = fmt::format("cannot write the log file {}: {}; its lines go {} instead", path_,
                             std::strerror(errno),
                             standard_fd < 0                ? "nowhere"
                             : standard_fd == STDOUT_FILENO ? "to standard output"
                                                            : "to standard error");
      return;
    }
    struct stat now {};
    if (fstat(opened, &now) == 0) size_ = static_cast<std::uint64_t>(now.st_size);
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
    if (pending_.empty()) return;
    if (owned_ && rotation_.bytes > 0 && size_ > 0 && size_ + pending_.size() > rotation_.bytes) Rotate();
    if (torn_) pending_.insert(pending_.begin(), '\n');
    const std::string_view refused = fd_ < 0 ? pending_ : WriteAll(fd_, pending_);
    const std::size_t written = pending_.size() - refused.size();
    size_ += written;
    if (written > 0) torn_ = pending_[written - 1] != '\n';
    if (!refused.empty()) {
      const auto lines = std::count(refused.begin(), refused.end(), '\n');
      lost_lines.fetch_add(static_cast<std::uint64_t>(lines), std::memory_order_relaxed);
      if (!refuses_) {
        problem_ = fmt::format("log lines are lost, {} takes no more: {}",
                               path_.empty() ? "the standard output or error" : path_, std::strerror(errno));
      }
    }
    refuses_ = !refused.empty();
    pending_.clear();
  }
  /// What went wrong since it was asked last; once for each stretch of lost lines.
  std::string TakeProblem() { return std::exchange(problem_, {}); }

 private:
  [[nodiscard]] int Open() const {
    return ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  }
  /// NAME → NAME.1 → NAME.2 …; the last one goes.
  void Rotate() {
    const auto numbered = [this](int number) { return fmt::format("{}.{}", path_, number); };
    for (int number = rotation_.kept - 1; number >= 1; --number)
      ::rename(numbered(number).c_str(), numbered(number + 1).c_str());
    if (rotation_.kept > 0) {
      ::rename(path_.c_str(), numbered(1).c_str());
    } else {
      ::unlink(path_.c_str());
    }
    size_ = 0;
    torn_ = false;
    const int opened = Open();
    if (opened < 0) return;  // goes on with the old file
    ::close(fd_);
    fd_ = opened;
  }

  const std::string path_;
  const Rotation rotation_;
  int fd_;
  bool owned_ = false;
  bool torn_ = false;     // the last line was written in part
  bool refuses_ = false;  // the last write failed
  std::uint64_t size_ = 0;
  std::string pending_;
  std::string problem_;
};

/// The folder, made if need be, and the name; empty when there is no folder.
std::string InFolder(const std::string& folder, const char* name) {
  if (folder.empty()) return {};
  std::error_code error;  // shows when the file is opened
  std::filesystem::create_directories(folder, error);
  return (std::filesystem::path(folder) / name).string();
}

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

/// All logs behind one queue and one writer thread.
class Writer {
 public:
  explicit Writer(const LogOptions& options)
      : format_(options.format),
        server_(options.file, STDERR_FILENO),
        access_(options.access_file, STDOUT_FILENO) {
    pool_ = std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1);
    queue_ = pool_.get();
    const Rotation rotation{options.rotate_bytes, options.rotated_kept};
    const auto open = [&](const std::string& folder, const char* name) {
      if (folder.empty()) return static_cast<LineFile*>(nullptr);
      more_.push_back(std::make_unique<LineFile>(InFolder(folder, name), -1, rotation));
      return more_.back().get();
    };
    LineFile* ts_log = open(options.folder, "ts_log.log");
    LineFile* access_copy = open(options.folder, "access_log.log");
    server_log_ = MakeLogger("server", [this, ts_log](const spdlog::details::log_msg& line) {
      const PackedLogLine got = UnpackLogLine({line.payload.data(), line.payload.size()});
      AppendLogLine(server_.pending(), format_, FromSpdlog(line.level), line.time, got.text, {}, got.fields);
      if (ts_log != nullptr) {
        AppendLogLine(ts_log->pending(), format_, FromSpdlog(line.level), line.time, got.text,
                      fmt::format("thread-{} flambeau - ", line.thread_id), got.fields);
      }
    });
    access_log_ = MakeLogger("access", [this, access_copy](const spdlog::details::log_msg& line) {
      const std::string_view text(line.payload.data(), line.payload.size());
      access_.pending() += text;
      if (access_copy != nullptr) access_copy->pending() += text;
    });
    const std::array<LineFile*, kLogFiles> files = {open(options.folder, "model_log.log"),
                                                    open(options.metrics_folder, "ts_metrics.log"),
                                                    open(options.metrics_folder, "model_metrics.log")};
    for (std::size_t i = 0; i < files.size(); ++i) {
      if (files[i] == nullptr) continue;
      file_logs_[i] = MakeLogger("file", [file = files[i]](const spdlog::details::log_msg& line) {
        file->pending() += std::string_view(line.payload.data(), line.payload.size());
      });
    }
    std::vector<std::string> problems;
    ForEachFile([&problems](LineFile& file) { problems.push_back(file.TakeProblem()); });
    // From the first line on the files belong to the writer thread.
    for (const std::string& problem : problems) {
      if (!problem.empty()) Log(LogLevel::kError, problem);
    }
  }
  ~Writer() {
    const std::size_t dropped = pool_->overrun_counter();
    pool_.reset();  // the last owner: joins the writer after it has written what is queued
    NoteDropped(dropped);
    Flush(true);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void Log(LogLevel level, std::string_view text) {
    const std::string packed = PackLogLine(text, format_, current_trace);
    server_log_->log(ToSpdlog(level), spdlog::string_view_t(packed.data(), packed.size()));
  }
  void Access(std::string_view line) {
    access_log_->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
  }
  void File(LogFile file, std::string_view lines) {
    const auto& log = file_logs_[static_cast<std::size_t>(file)];
    if (log) log->log(spdlog::level::info, spdlog::string_view_t(lines.data(), lines.size()));
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
    Flush(idle);
  }
  void Flush(bool all) {
    ForEachFile([&](LineFile& file) {
      if (!all && file.pending().size() < kFlushBytes) return;
      file.Flush();
      if (const std::string problem = file.TakeProblem(); !problem.empty()) {
        AppendLogLine(server_.pending(), format_, LogLevel::kError, std::chrono::system_clock::now(),
                      problem);
      }
    });
    if (all) server_.Flush();
  }
  /// The server's own comes last: it tells of the others.
  void ForEachFile(const std::function<void(LineFile&)>& call) {
    for (const auto& file : more_) call(*file);
    call(access_);
    call(server_);
  }
  /// One warning for each stretch of dropped lines, when the writer has caught up.
  void NoteDropped(std::size_t dropped) {
    if (dropped == dropped_noted_) return;
    lost_lines.fetch_add(dropped - dropped_noted_, std::memory_order_relaxed);
    AppendLogLine(
        server_.pending(), format_, LogLevel::kWarning, std::chrono::system_clock::now(),
        fmt::format("{} log lines were dropped: they came faster than they could be written, and {} are kept "
                    "waiting at most",
                    dropped - dropped_noted_, kQueuedLines));
    dropped_noted_ = dropped;
  }

  const LogFormat format_;
  LineFile server_;  // the files and dropped_noted_ belong to the writer thread
  LineFile access_;
  std::vector<std::unique_ptr<LineFile>> more_;  // TorchServe's, complete before the first line
  std::size_t dropped_noted_ = 0;
  std::shared_ptr<spdlog::details::thread_pool> pool_;
  spdlog::details::thread_pool* queue_ =
      nullptr;  // the same for the writer thread, while pool_ is being destroyed
  std::shared_ptr<spdlog::async_logger> server_log_;
  std::shared_ptr<spdlog::async_logger> access_log_;
  std::array<std::shared_ptr<spdlog::async_logger>, kLogFiles> file_logs_;  // of files that there are
};

std::shared_mutex writer_mutex;  // guards writer: shared to log, alone to start and stop
std::unique_ptr<Writer> writer;

}  // namespace

LogTrace::LogTrace(const TraceContext* trace) : before_(std::exchange(current_trace, trace)) {}
LogTrace::~LogTrace() { current_trace = before_; }

void StartLogging(const LogOptions& options) {
  SetLogPlace(options.place);
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
  if (level >= LogLevel::kWarning) NoteProblem(level, text);
  if (!LogEnabled(level)) return;
  const std::shared_lock lock(writer_mutex);
  if (writer) {
    writer->Log(level, text);
    return;
  }
  std::string line;
  AppendLogLine(line, CurrentLogFormat(), level, std::chrono::system_clock::now(), text);
  WriteAll(STDERR_FILENO, line);
}

void AccessLogLines(std::string_view lines) {
  if (!AccessLogEnabled()) return;
  const std::shared_lock lock(writer_mutex);
  if (writer) writer->Access(lines);  // without a writer no listener is open
}

void LogFileLines(LogFile file, std::string_view lines) {
  const std::shared_lock lock(writer_mutex);
  if (writer && !lines.empty()) writer->File(file, lines);
}

std::uint64_t LostLogLines() { return lost_lines.load(std::memory_order_relaxed); }

bool AccessLogEnabled() { return access_log.load(std::memory_order_relaxed); }
LogFormat CurrentLogFormat() { return current_format.load(std::memory_order_relaxed); }
bool LogEnabled(LogLevel level) { return level >= current_level.load(std::memory_order_relaxed); }

}  // namespace serve
