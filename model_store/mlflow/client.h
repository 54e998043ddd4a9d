#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model_store/mlflow/connection.h"
#include "serve/base/status.h"

namespace serve {

using MlflowTags = std::map<std::string, std::string, std::less<>>;

struct MlflowExperiment {
  std::string id;
  std::string name;
  std::string artifact_location;
};

struct MlflowMetric {
  std::string key;
  double value = 0;               // NaN and infinities are sent as MLflow wants them
  std::int64_t timestamp_ms = 0;  // since 1970
  std::int64_t step = 0;
};

struct MlflowDataset {
  std::string name;
  std::string digest;       // at most 36 characters
  std::string source_type;  // "local", "http", "gs", "s3"
  std::string source;       // JSON: {"uri": "…"} or {"url": "…"}
  std::string schema;       // JSON or empty
  std::string profile;      // JSON or empty
  std::string context;      // "training", "validation"
};

struct MlflowRun {
  std::string id;
  std::string experiment_id;
  std::string name;
  std::string status;  // RUNNING, SCHEDULED, FINISHED, FAILED, KILLED
  std::int64_t start_ms = 0;
  std::int64_t end_ms = 0;  // 0: not ended
  std::string artifact_uri;
  std::string lifecycle_stage;  // active or deleted
  MlflowTags tags;
  std::map<std::string, std::string, std::less<>> params;
  std::vector<MlflowMetric> metrics;  // the last value of each key
  std::vector<MlflowDataset> datasets;
};

struct MlflowArtifact {
  std::string path;  // below the listed URI
  bool is_dir = false;
  std::uint64_t size = 0;
};

struct MlflowModelVersion {
  std::string name;
  std::string version;  // "1", "2", …
  std::string source;   // runs:/…, mlflow-artifacts:/…, gs://…, models:/m-…
  std::string run_id;
  std::string status;  // READY, PENDING_REGISTRATION, FAILED_REGISTRATION
  std::string description;
  std::string stage;
  MlflowTags tags;
  std::vector<std::string> aliases;
};

/// What a new version is made of.
struct MlflowNewVersion {
  std::string name;    // of the registered model, which exists
  std::string source;  // runs:/RUN_ID/PATH, or an artifact URI of the run
  std::string run_id;
  std::string description;
  MlflowTags tags;
};

/// The REST API of an MLflow server (2.x, 3.x): tracking, artifacts through the server's proxy, registry.
///
/// Errors:  as MlflowConnection. What is not there is kNotFound, also an alias (which MLflow calls a wrong
///          parameter); what exists already kConflict.
/// Threads: any; calls block, retries included.
/// Source:  MLflow's REST API, https://mlflow.org/docs/latest/rest-api.html.
class MlflowClient {
 public:
  explicit MlflowClient(MlflowSettings settings) : connection_(std::move(settings)) {}
  [[nodiscard]] const MlflowConnection& connection() const { return connection_; }

  // Experiments and runs.
  Result<MlflowExperiment> ExperimentByName(const std::string& name) const;
  Result<MlflowExperiment> ExperimentById(const std::string& id) const;
  /// Finds or creates it; two callers at once get the same one.
  Result<MlflowExperiment> OpenExperiment(const std::string& name) const;
  Result<std::vector<MlflowExperiment>> SearchExperiments(std::size_t limit = 1000) const;

  /// Never sent twice unless the first one surely did nothing.
  Result<MlflowRun> CreateRun(const std::string& experiment_id, const std::string& name,
                              std::int64_t start_ms, const MlflowTags& tags) const;
  Result<MlflowRun> GetRun(const std::string& run_id) const;
  /// `filter` and `order_by` in MLflow's language, e.g. `metrics.accuracy > 0.9`, `attributes.start_time
  /// DESC`.
  Result<std::vector<MlflowRun>> SearchRuns(const std::vector<std::string>& experiment_ids,
                                            const std::string& filter, const std::string& order_by,
                                            std::size_t limit) const;
  /// `end_ms` 0: leaves it.
  Status UpdateRun(const std::string& run_id, const std::string& status, std::int64_t end_ms) const;
  /// Any number of each: split into as many calls as MLflow's limits ask for. The same values again change
  /// nothing.
  Status LogBatch(const std::string& run_id, const MlflowTags& params,
                  const std::vector<MlflowMetric>& metrics, const MlflowTags& tags) const;
  Status LogInputs(const std::string& run_id, const std::vector<MlflowDataset>& datasets) const;
  Result<std::vector<MlflowMetric>> MetricHistory(const std::string& run_id, const std::string& key) const;

  // Artifacts, by `mlflow-artifacts:/PATH` (with or without this server's host).
  /// Whether this server hands out the artifact; gs://, s3:// and files are fetched from where they lie.
  static bool IsProxied(std::string_view uri) { return uri.starts_with("mlflow-artifacts:"); }
  /// What lies directly in the folder; nothing when there is no such folder.
  Result<std::vector<MlflowArtifact>> ListArtifacts(const std::string& uri) const;
  /// All files below, paths relative to `uri`; each passes CheckEntryPath. kInvalidArgument above
  /// `max_files`.
  Result<std::vector<MlflowArtifact>> ArtifactTree(const std::string& uri,
                                                   std::size_t max_files = 10'000) const;
  /// Overwrites; a try that fails is begun anew.
  Status UploadArtifact(const std::string& uri, const std::filesystem::path& file) const;
  Status UploadArtifactText(const std::string& uri, std::string_view text) const;
  /// Into the new file `target`. After an error there is none. kPayloadTooLarge above `max_bytes`;
  /// `progress`, if any, is told the bytes so far.
  Status DownloadArtifact(const std::string& uri, const std::filesystem::path& target,
                          std::uint64_t max_bytes,
                          const std::function<void(std::uint64_t)>& progress = {}) const;
  /// The URL that DownloadArtifact gets, for callers with a downloader of their own (ranges, resume), which
  /// send the headers of Authorization() too.
  Result<std::string> ArtifactUrl(const std::string& uri) const;
  [[nodiscard]] HttpHeaders Authorization() const { return connection_.Authorization(); }

  // Registry.
  /// Ok when it exists already (description and tags are then left alone).
  Status CreateModel(const std::string& name, const std::string& description, const MlflowTags& tags) const;
  Result<MlflowModelVersion> CreateVersion(const MlflowNewVersion& version) const;
  Result<MlflowModelVersion> GetVersion(const std::string& name, const std::string& version) const;
  Result<MlflowModelVersion> VersionOfAlias(const std::string& name, const std::string& alias) const;
  /// The highest number. kNotFound when the model has no version.
  Result<MlflowModelVersion> LatestVersion(const std::string& name) const;
  /// E.g. `name='news' and run_id='…'`; newest first.
  Result<std::vector<MlflowModelVersion>> SearchVersions(const std::string& filter,
                                                         std::size_t limit = 1000) const;
  /// Where the version's files lie: mlflow-artifacts:/…, runs:/ID/PATH (ResolveRuns goes on), gs://…
  Result<std::string> DownloadUri(const std::string& name, const std::string& version) const;
  /// `runs:/ID/PATH` → the artifact URI of that run with PATH; any other URI is answered as it is.
  Result<std::string> ResolveRuns(const std::string& uri) const;
  /// Moves the alias when another version has it.
  Status SetAlias(const std::string& name, const std::string& alias, const std::string& version) const;
  Status DeleteAlias(const std::string& name, const std::string& alias) const;
  Status SetVersionTag(const std::string& name, const std::string& version, const std::string& key,
                       const std::string& value) const;
  Status DeleteVersionTag(const std::string& name, const std::string& version, const std::string& key) const;
  Status SetModelTag(const std::string& name, const std::string& key, const std::string& value) const;
  Status DescribeVersion(const std::string& name, const std::string& version,
                         const std::string& description) const;

 private:
  Result<MlflowExperiment> Experiment(std::string_view path, const char* parameter,
                                      const std::string& value) const;
  Result<std::string> ProxyPath(const std::string& uri) const;
  Status Upload(const std::string& uri, const std::function<void(HttpCall&)>& body) const;

  MlflowConnection connection_;
};

/// Quotes a value for a filter: it's → 'it\'s'. MLflow knows no other escape.
std::string MlflowQuote(std::string_view value);

}  // namespace serve
