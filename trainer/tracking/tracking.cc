#include "trainer/tracking/tracking.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <ostream>
#include <pwd.h>
#include <streambuf>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

#include "model_store/archive/archive.h"
#include "model_store/mlflow/send_run.h"
#include "serve/base/files.h"
#include "trainer/publish/package.h"
#include "trainer/tracking/charts.h"
#include "trainer/tracking/run_contents.h"

namespace serve::trainer {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

Status WriteText(const fs::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  if (out) return {};
  return Internal(fmt::format("cannot write {}", file.string()));
}

std::string Dump(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

std::string UserName() {
  if (const char* name = std::getenv("USER"); name != nullptr && *name != '\0') return name;
  const passwd* user = getpwuid(geteuid());
  return user != nullptr ? user->pw_name : "unknown";
}

/// Passes everything on, and keeps the last line that begins with `error: `.
class ErrorWatcher : public std::streambuf {
 public:
  explicit ErrorWatcher(std::streambuf* target) : target_(target) {}
  [[nodiscard]] const std::string& error() const { return error_; }

 protected:
  int overflow(int c) override {
    if (c == traits_type::eof()) return target_->pubsync() == 0 ? 0 : c;
    const char letter = traits_type::to_char_type(c);
    if (letter == '\n') {
      constexpr std::string_view kBegin = "error: ";
      if (line_.starts_with(kBegin)) error_ = line_.substr(kBegin.size());
      line_.clear();
    } else if (line_.size() < kLongest) {
      line_ += letter;
    }
    return target_->sputc(letter);
  }
  int sync() override { return target_->pubsync(); }

 private:
  static constexpr std::size_t kLongest = 4000;
  std::streambuf* target_;
  std::string line_;
  std::string error_;
};

}  // namespace

TrackedRun::TrackedRun(const TrackingOptions& options, const std::string& recipe, std::ostream& err,
                       bool quiet)
    : options_(options), err_(err), quiet_(quiet), folder_(options.runs) {
  if (options.off) return;
  record_.id = NewRunId();
  record_.experiment = options.experiment;
  record_.name =
      options.run_name.empty() ? fmt::format("{}-{}", recipe, record_.id.substr(0, 8)) : options.run_name;
  record_.start_ms = NowMs();
  record_.parent = options.parent;
  record_.registration = options.registration;
  // `mlflow run` makes the run and names it; the parts of a sweep are runs of their own.
  if (const char* run = std::getenv("MLFLOW_RUN_ID"); run != nullptr && options.parent.empty()) {
    record_.server_run_id = run;
  }
  record_.tags = options.tags;
  record_.tags.emplace("mlflow.user", UserName());
  record_.tags.emplace("mlflow.source.name", "flambeau-train " + recipe);
  record_.tags.emplace("mlflow.source.type", "LOCAL");
  lock_ = folder_.TryLock(record_.id);
  const Status written = lock_ == nullptr ? Internal(fmt::format("cannot write to {}", options.runs.string()))
                                          : folder_.Write(record_);
  if (!written.ok()) {
    err_ << "warning: this training is not tracked: " << written.message << "; choose a folder with --runs\n";
    lock_.reset();
  }
}

void TrackedRun::Say(const std::string& text) {
  if (!quiet_) err_ << text << '\n' << std::flush;
}

void TrackedRun::ReadArchive(const fs::path& archive) {
  const Result<WorkFolder> work = WorkFolder::Make();
  Result<UnpackedArchive> opened =
      work ? OpenArchive(archive, work->path()) : Result<UnpackedArchive>(work.error());
  if (!opened) {
    err_ << "warning: the run knows nothing of the model: " << opened.error().message << '\n';
    return;
  }
  lineage_ = opened->manifest.lineage;
  const Result<std::string> text = ReadFile(opened->folder / "metrics.json", std::uint64_t{16} << 20);
  if (!text || !ParseLimitedJson(*text, "metrics.json", metrics_).ok()) metrics_ = Json::object();
  RemoveUnpacked(*opened);
  FillRecord(lineage_, metrics_, record_.end_ms, record_);
}

Status TrackedRun::WriteArtifacts(const fs::path& archive) {
  std::error_code error;
  const fs::path root = ArtifactPath();
  const fs::path copy = root / kModelArtifacts / archive.filename();
  fs::create_directories(copy.parent_path(), error);
  if (copy != archive) {
    // The same file under a second name: a later training replaces the name in the model store, not its
    // bytes.
    fs::create_hard_link(archive, copy, error);
    if (error) fs::copy_file(archive, copy, error);
    if (error)
      return Internal(
          fmt::format("cannot copy {} to {}: {}", archive.string(), copy.string(), error.message()));
  }
  // MLflow keeps no digests: whoever fetches the archive finds it here.
  const Result<FileDigest> digest = DigestFile(copy);
  if (!digest) return digest.error();
  record_.tags["flambeau.archive_sha256"] = digest->sha256;
  if (!record_.registration.model.empty()) {
    record_.registration.tags.emplace("flambeau.archive_sha256", digest->sha256);
  }
  const std::pair<const char*, std::string> files[] = {{"metrics.json", Dump(metrics_)},
                                                       {"lineage.json", Dump(lineage_)},
                                                       {"confusion_matrix.svg", ConfusionChart(metrics_)},
                                                       {"learning_curve.svg", LearningCurve(metrics_)}};
  for (const auto& [name, text] : files) {
    if (text.empty()) continue;
    if (Status status = WriteText(root / name, text); !status.ok()) return status;
  }
  return {};
}

Status TrackedRun::Send() {
  Result<MlflowSettings> settings = MlflowSettingsOf(options_.uri);
  if (!settings) return settings.error();
  // A training has somebody who waits for it, and nothing is lost when it gives up.
  if (std::getenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES") == nullptr) settings->max_retries = 2;
  if (std::getenv("MLFLOW_HTTP_REQUEST_TIMEOUT") == nullptr) settings->timeout = std::chrono::seconds(30);
  settings->connect_timeout = std::chrono::seconds(5);
  const MlflowClient client(*std::move(settings));
  return SendLockedRun(client, folder_, record_, [this](const std::string& text) { Say("note: " + text); });
}

bool TrackedRun::Finish(const fs::path& archive, const std::string& failure, bool packed) {
  if (!on()) return true;
  const bool done = failure.empty() || packed;
  record_.end_ms = NowMs();
  record_.status = done ? "FINISHED" : "FAILED";
  if (!failure.empty()) record_.tags["flambeau.error"] = failure;
  Status written;
  if (done) {
    ReadArchive(archive);
    written = WriteArtifacts(archive);
  } else {
    record_.registration = {};
  }
  if (const Status status = folder_.Write(record_); !status.ok()) written = status;
  if (!written.ok()) {
    err_ << "warning: the run could not be written: " << written.message << '\n';
    return !options_.required;
  }
  bool sent = true;
  if (options_.uri.empty()) {
    Say(fmt::format("run       {} ({})", record_.id, folder_.RunPath(record_.id).string()));
  } else if (const Status status = Send(); status.ok()) {
    Say(fmt::format("run       {} at {}", record_.sent.run_id, record_.sent.uri));
    if (!record_.sent.model_version.empty()) {
      Say(fmt::format("version   models:/{}/{}", record_.registration.model, record_.sent.model_version));
    }
  } else {
    sent = false;
    err_ << fmt::format(
        "warning: the run was not sent: {}\nIt stays in {}; send it later: flambeau runs sync --runs {}\n",
        status.message, folder_.RunPath(record_.id).string(), folder_.path().string());
  }
  WriteResult(archive);
  return sent || !options_.required;
}

void TrackedRun::WriteResult(const fs::path& archive) {
  if (options_.result.empty()) return;
  const Json result = {{"status", record_.status},
                       {"run", record_.id},
                       {"tracking_uri", record_.sent.uri},
                       {"run_id", record_.sent.run_id},
                       {"name", record_.registration.model},
                       {"version", record_.sent.model_version},
                       {"archive", record_.status == "FINISHED" ? archive.string() : ""},
                       {"metrics", record_.LastMetrics()}};
  if (const Status status = WriteText(options_.result, Dump(result)); !status.ok()) {
    err_ << "warning: " << status.message << '\n';
  }
}

int RunTracked(const TrackingOptions& options, const std::string& recipe, const fs::path& archive, bool quiet,
               std::ostream& err, const std::function<int(std::ostream&)>& run, RunRecord* record) {
  TrackedRun tracked(options, recipe, err, quiet);
  ErrorWatcher watcher(err.rdbuf());
  std::ostream watched(&watcher);
  const fs::file_time_type begin = fs::file_time_type::clock::now();
  const int code = run(watched);
  watched.flush();
  std::string failure;
  if (code != 0) failure = watcher.error().empty() ? fmt::format("exit code {}", code) : watcher.error();
  // The archive of a training that only failed to register with a server is there all the same.
  std::error_code error;
  const bool packed = fs::last_write_time(archive, error) >= begin && !error;
  const bool sent = tracked.Finish(archive, failure, packed);
  if (record != nullptr) *record = tracked.record();
  return code == 0 && !sent ? 1 : code;
}

}  // namespace serve::trainer
