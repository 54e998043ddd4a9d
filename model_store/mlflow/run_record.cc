#include "model_store/mlflow/run_record.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <fcntl.h>
#include <fstream>
#include <random>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

#include "model_store/mlflow/json_records.h"
#include "serve/base/files.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kFile = "run.json";
constexpr std::uint64_t kMostRecordBytes = 64U << 20;

Json RecordJson(const RunRecord& record) {
  Json json = {{"id", record.id},
               {"experiment", record.experiment},
               {"name", record.name},
               {"status", record.status},
               {"start_ms", record.start_ms},
               {"end_ms", record.end_ms},
               {"parent", record.parent},
               {"server_run_id", record.server_run_id},
               {"tags", record.tags},
               {"params", record.params},
               {"metrics", Json::array()},
               {"datasets", Json::array()}};
  for (const MlflowMetric& metric : record.metrics) json["metrics"].push_back(MetricJson(metric));
  for (const MlflowDataset& dataset : record.datasets) json["datasets"].push_back(DatasetJson(dataset));
  const RunRegistration& registration = record.registration;
  if (!registration.model.empty()) {
    json["registration"] = {{"model", registration.model},
                            {"aliases", registration.aliases},
                            {"tags", registration.tags},
                            {"description", registration.description}};
  }
  const RunSent& sent = record.sent;
  if (!sent.uri.empty()) {
    json["sent"] = {{"uri", sent.uri},
                    {"run_id", sent.run_id},
                    {"model_version", sent.model_version},
                    {"complete", sent.complete}};
  }
  return json;
}

RunRecord ParseRecord(const Json& json) {
  RunRecord record;
  record.id = json.at("id");
  record.experiment = json.at("experiment");
  record.name = json.value("name", "");
  record.status = json.at("status");
  record.start_ms = json.value("start_ms", std::int64_t{0});
  record.end_ms = json.value("end_ms", std::int64_t{0});
  record.parent = json.value("parent", "");
  record.server_run_id = json.value("server_run_id", "");
  record.tags = json.at("tags");
  record.params = json.at("params");
  for (const Json& metric : ListOf(json, "metrics")) record.metrics.push_back(ReadMetric(metric));
  // As in a run of the server, so that one function reads both.
  record.datasets = ReadRun({{"inputs", {{"dataset_inputs", ListOf(json, "datasets")}}}}).datasets;
  if (json.contains("registration")) {
    const Json& registration = json["registration"];
    record.registration = {registration.at("model"), registration.at("aliases"), registration.at("tags"),
                           registration.value("description", "")};
  }
  if (json.contains("sent")) {
    const Json& sent = json["sent"];
    record.sent = {sent.at("uri"), sent.at("run_id"), sent.value("model_version", ""), sent.at("complete")};
  }
  return record;
}

bool IsId(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) != 0; });
}

Result<RunRecord> ReadRecord(const fs::path& file) {
  const Result<std::string> text = ReadFile(file, kMostRecordBytes);
  if (!text)
    return Status{text.error().code, fmt::format("cannot read {}: {}", file.string(), text.error().message)};
  try {
    return ParseRecord(Json::parse(*text));
  } catch (const Json::exception& error) {
    return InvalidArgument(fmt::format("{} is no record of a run: {}", file.string(), error.what()));
  }
}

}  // namespace

std::map<std::string, double, std::less<>> RunRecord::LastMetrics() const {
  std::map<std::string, double, std::less<>> last;
  std::map<std::string, std::int64_t, std::less<>> steps;
  for (const MlflowMetric& metric : metrics) {
    const auto step = steps.find(metric.key);
    if (step != steps.end() && step->second > metric.step) continue;
    steps[metric.key] = metric.step;
    last[metric.key] = metric.value;
  }
  return last;
}

std::string NewRunId() {
  std::random_device random;
  std::string id;
  for (int i = 0; i < 4; ++i) id += fmt::format("{:08x}", static_cast<std::uint32_t>(random()));
  return id;
}

std::int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Status RunFolder::Write(const RunRecord& record) const {
  const fs::path file = RunPath(record.id) / kFile;
  const fs::path partial = RunPath(record.id) / fmt::format(".{}.partial.{}", kFile, getpid());
  std::error_code error;
  fs::create_directories(ArtifactPath(record.id), error);
  std::ofstream out(partial, std::ios::binary);
  out << RecordJson(record).dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  out.close();
  if (out) fs::rename(partial, file, error);
  if (out && !error) return {};
  return Internal(fmt::format("cannot write {}; is there room, and may we write to {}?", file.string(),
                              folder_.string()));
}

Result<RunRecord> RunFolder::Read(std::string_view id) const {
  const Status unknown = {Code::kNotFound, fmt::format("there is no run {} in {}", id, folder_.string())};
  if (!IsId(id)) return unknown;
  std::error_code error;
  if (fs::exists(RunPath(id) / kFile, error)) return ReadRecord(RunPath(id) / kFile);
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_, error)) {
    if (entry.path().filename().string().starts_with(id) && fs::exists(entry.path() / kFile, error)) {
      found.push_back(entry.path());
    }
  }
  if (found.empty()) return unknown;
  if (found.size() > 1) {
    return InvalidArgument(
        fmt::format("{} runs in {} begin with {}: write more of the id", found.size(), folder_.string(), id));
  }
  return ReadRecord(found.front() / kFile);
}

std::vector<RunRecord> RunFolder::List(std::vector<std::string>* problems) const {
  std::vector<RunRecord> runs;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_, error)) {
    if (!fs::exists(entry.path() / kFile, error)) continue;
    Result<RunRecord> record = ReadRecord(entry.path() / kFile);
    if (record) {
      runs.push_back(*std::move(record));
    } else if (problems != nullptr) {
      problems->push_back(record.error().message);
    }
  }
  std::sort(runs.begin(), runs.end(), [](const RunRecord& a, const RunRecord& b) {
    return std::tie(b.start_ms, b.id) < std::tie(a.start_ms, a.id);
  });
  return runs;
}

std::vector<MlflowArtifact> RunFolder::Artifacts(std::string_view id) const {
  std::vector<MlflowArtifact> files;
  std::error_code error;
  const fs::path root = ArtifactPath(id);
  for (fs::recursive_directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
    if (!it->is_regular_file(error)) continue;
    files.push_back({it->path().lexically_relative(root).generic_string(), false, it->file_size(error)});
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

RunFolder::Lock::~Lock() { ::close(descriptor_); }

std::unique_ptr<RunFolder::Lock> RunFolder::TryLock(std::string_view id) const {
  std::error_code error;
  fs::create_directories(RunPath(id), error);
  const int descriptor = ::open((RunPath(id) / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) return nullptr;
  auto lock = std::make_unique<Lock>(descriptor);
  return ::flock(descriptor, LOCK_EX | LOCK_NB) == 0 ? std::move(lock) : nullptr;
}

}  // namespace serve
