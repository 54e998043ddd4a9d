#include "serve/model/search_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <poll.h>
#include <spawn.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "serve/base/files.h"
#include "serve/base/log.h"
#include "serve/model/search_job.h"

extern char** environ;

namespace serve {
namespace {

using nlohmann::ordered_json;

constexpr int kLookMs = 50;                         // how soon a stop is seen
constexpr std::size_t kMaxAnswerBytes = 1U << 20U;  // of one line

class File {
 public:
  explicit File(int descriptor = -1) : descriptor_(descriptor) {}
  ~File() { Close(); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  void Close() {
    if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
  }
  [[nodiscard]] int get() const { return descriptor_; }

 private:
  int descriptor_;
};

std::string ReadAll(int file) {
  std::string bytes;
  std::array<char, 65'536> part;
  for (;;) {
    const ssize_t got = read(file, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return bytes;
    bytes.append(part.data(), static_cast<std::size_t>(got));
  }
}

Status CannotStart(std::string_view what, int error) {
  return {Code::kNotImplemented, fmt::format("{}: {}", what, std::strerror(error))};
}

/// A process that ends with this object.
class Child {
 public:
  explicit Child(pid_t id) : id_(id) {}
  ~Child() {
    Kill();
    (void)Wait([] { return false; });
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void Kill() const {
    if (!status_) kill(id_, SIGKILL);
  }
  /// How it ended, as waitpid says. Its output is at its end, so that will be soon.
  int Wait(const std::function<bool()>& stop) {
    while (!status_) {
      int status = 0;
      const pid_t ended = waitpid(id_, &status, WNOHANG);
      if (ended == id_) status_ = status;
      if (ended < 0 && errno != EINTR) status_ = 0;  // somebody else has waited for it
      if (status_) break;
      if (stop()) Kill();
      poll(nullptr, 0, 1);
    }
    return *status_;
  }

 private:
  const pid_t id_;
  std::optional<int> status_;
};

/// A file in memory: nothing waits until the other side reads it.
Status WriteJob(int file, const SearchJob& job) {
  const std::string header = JobHeader(job);
  bool written = WriteAll(file, header).empty();
  for (const Tensor* tensor : JobTensors(job)) {
    const std::string_view bytes(reinterpret_cast<const char*>(tensor->data.get()), tensor->bytes());
    written = written && WriteAll(file, bytes).empty();
  }
  if (!written || lseek(file, 0, SEEK_SET) != 0) return CannotStart("its job cannot be written", errno);
  return {};
}

Result<pid_t> Spawn(const std::vector<std::string>& command, int input, int output) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);  // listeners, connections, logs
  pid_t id = -1;
  const int error = posix_spawn(&id, command[0].c_str(), &files, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) return CannotStart(command[0], error);
  return id;
}

/// What the lines that came so far say.
class Answer {
 public:
  void Add(std::string_view bytes) {
    line_.append(bytes);
    for (std::size_t end = line_.find('\n'); end != std::string::npos; end = line_.find('\n')) {
      Read(ordered_json::parse(line_.substr(0, end), nullptr, false));
      line_.erase(0, end + 1);
    }
    if (line_.size() > kMaxAnswerBytes) line_.clear();
  }

  /// The variant that the process crashed with; empty: it did not, or with what nobody can do without.
  [[nodiscard]] std::string Crashed(int status) const {
    const bool crashed = !found_ && WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL;
    return crashed && trying_ != kPlainVariant ? trying_ : "";
  }

  Result<SearchResult> End(int status) const {
    if (found_) return ParseFound(*found_);
    if (!error_.empty()) return Internal(error_);
    const std::string place = trying_.empty() ? "" : fmt::format(" while trying `{}`", trying_);
    if (WIFSIGNALED(status)) {
      const int signal = WTERMSIG(status);
      const char* name = sigdescr_np(signal);
      return Internal(fmt::format("the search ended by signal {} ({}){}{}", signal,
                                  name == nullptr ? "unknown" : name, place,
                                  signal == SIGKILL ? "; there may have been too little memory for it" : ""));
    }
    return Internal(
        fmt::format("the search ended with exit code {} and no result{}", WEXITSTATUS(status), place));
  }

 private:
  void Read(const ordered_json& line) {
    if (!line.is_object()) return;
    if (line.contains("found")) found_ = line["found"];
    if (line.contains("error") && line["error"].is_string()) error_ = line["error"];
    if (line.contains("trying") && line["trying"].is_string()) trying_ = line["trying"];
  }

  std::string line_;
  std::optional<ordered_json> found_;
  std::string error_;
  std::string trying_;
};

bool WriteLine(int file, const ordered_json& json) {
  const std::string line = json.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  return WriteAll(file, line).empty();
}

/// One process; `crashed` names the variant that a crash was met with.
Result<SearchResult> SearchOnce(const std::vector<std::string>& command, const SearchJob& job,
                                std::string& crashed) {
  File input(memfd_create("flambeau-search", MFD_CLOEXEC));
  std::array<int, 2> ends{-1, -1};
  if (input.get() < 0 || pipe2(ends.data(), O_CLOEXEC) != 0)
    return CannotStart("no file for a search", errno);
  const File output(ends[0]);
  File its_output(ends[1]);
  if (const Status written = WriteJob(input.get(), job); !written.ok()) return written;
  const Result<pid_t> started = Spawn(command, input.get(), its_output.get());
  if (!started) return started.error();
  Child child(*started);
  input.Close();
  its_output.Close();

  Answer answer;
  std::array<char, 4096> part;
  pollfd readable{output.get(), POLLIN, 0};
  for (;;) {
    if (job.options.stop()) return Status{Code::kUnavailable, "tuning was stopped"};
    if (poll(&readable, 1, kLookMs) <= 0) continue;
    const ssize_t got = read(output.get(), part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    answer.Add({part.data(), static_cast<std::size_t>(got)});
  }
  const int status = child.Wait(job.options.stop);
  if (job.options.stop()) return Status{Code::kUnavailable, "tuning was stopped"};
  crashed = answer.Crashed(status);
  return answer.End(status);
}

}  // namespace

Result<SearchResult> SearchApart(const std::vector<std::string>& command, SearchJob job) {
  for (;;) {
    std::string crashed;
    Result<SearchResult> result = SearchOnce(command, job, crashed);
    if (result || crashed.empty()) return result;
    const bool again = job.options.refused.emplace(crashed, result.error().message).second;
    if (!again) return result;
    LogWarning("{}: {}; it goes on without that variant", job.artifact.filename().string(),
               result.error().message);
  }
}

int AnswerSearch(const std::vector<std::unique_ptr<RuntimeFactory>>& factories, int input, int output) {
  const auto failed = [&](const Status& status) {
    (void)WriteLine(output, {{"error", status.message}});
    return 1;
  };
  Result<SearchJob> job = ParseJob(ReadAll(input));
  if (!job) return failed(job.error());
  const auto factory = std::find_if(factories.begin(), factories.end(),
                                    [&](const auto& f) { return f->Accepts(job->artifact); });
  if (factory == factories.end()) return failed(InvalidArgument("no runtime takes this kind of file"));
  Result<std::unique_ptr<Runtime>> runtime = (*factory)->Load(job->artifact, job->runtime);
  if (!runtime) return failed(runtime.error());
  job->options.only_choose = true;
  job->options.trying = [output](const std::string& variant) {
    (void)WriteLine(output, {{"trying", variant}});
  };
  const Result<SearchResult> found =
      SearchVariants(std::shared_ptr<Runtime>(std::move(*runtime)), job->batches, job->options);
  if (!found) return failed(found.error());
  return WriteLine(output, {{"found", FoundJson(*found)}}) ? 0 : 1;
}

}  // namespace serve
