#include "model_store/sources/source.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model_store/cache/source_cache.h"
#include "model_store/sources/fetch.h"
#include "model_store/sources/gcs.h"
#include "model_store/sources/mlflow_source.h"
#include "model_store/sources/s3.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// The text members of an origin, under the names that describe and snapshots use.
constexpr std::pair<const char*, std::string SourceOrigin::*> kTexts[] = {
    {"uri", &SourceOrigin::uri},           {"resolved", &SourceOrigin::resolved},
    {"artifact", &SourceOrigin::artifact}, {"file", &SourceOrigin::file},
    {"version", &SourceOrigin::version},   {"runId", &SourceOrigin::run_id},
    {"etag", &SourceOrigin::etag},         {"sha256", &SourceOrigin::sha256},
};

/// The scheme in small letters, with its colon.
std::string SchemeOf(std::string_view uri) {
  std::string scheme(uri.substr(0, std::min(uri.find(':') + 1, uri.size())));
  std::transform(scheme.begin(), scheme.end(), scheme.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return scheme;
}

/// One fetch, from the URI to the entry of the cache.
class Fetching {
 public:
  Fetching(SourceOrigin origin, const AllowedUrls& allowed, const SourceOptions& options,
           const Progress& progress)
      : origin_(std::move(origin)),
        allowed_(allowed),
        options_(options),
        progress_(progress),
        cache_(options.cache, options.cache_bytes),
        deadline_(std::chrono::steady_clock::now() + options.limits.timeout) {}

  Result<FetchedSource> Run() {
    if (Status status = allowed_.Check(origin_.uri); !status.ok()) return status;
    if (IsMlflowUri(origin_.artifact.empty() ? origin_.uri : origin_.artifact)) {
      if (Status status = Connect(); !status.ok()) return status;
    }
    if (origin_.artifact.empty()) {
      if (client_ == nullptr) {
        origin_.resolved = origin_.artifact = origin_.uri;
      } else if (Status status = ResolveMlflowUri(*client_, origin_); !status.ok()) {
        return status;
      }
    }
    if (MlflowClient::IsProxied(origin_.artifact)) return FetchArtifact();
    if (Status status = allowed_.Check(origin_.artifact); !status.ok()) {
      return DownloadFailed(origin_.uri, fmt::format("it leads to {}: {}", origin_.artifact, status.message));
    }
    Result<std::string> name = FileNameOf(origin_.artifact);
    if (!name) return name.error();
    origin_.file = *std::move(name);
    Result<DownloadPlan> plan = PlanOf(origin_.artifact);
    if (!plan) return plan.error();
    return FetchFile(*plan, origin_.file);
  }

 private:
  Status Connect() {
    Result<MlflowSettings> settings = MlflowSettingsOf();
    if (!settings) return DownloadFailed(origin_.uri, settings.error().message);
    settings->max_retries = 2;  // somebody waits for it
    settings->timeout = std::chrono::seconds(30);
    client_ = std::make_shared<const MlflowClient>(*std::move(settings));
    return {};
  }

  Result<std::string> FileNameOf(const std::string& uri) const {
    const std::string scheme = SchemeOf(uri);
    if (scheme == "http:" || scheme == "https:") return FileNameOfUrl(uri);
    const std::string name = uri.substr(uri.rfind('/') + 1);
    if (!name.empty() && name.front() != '.' && name.size() <= 200) return name;
    return Status{Code::kModelNotFound, fmt::format("Model not found at: {} (it ends in no file name)", uri)};
  }

  Result<DownloadPlan> PlanOf(const std::string& uri) const {
    const std::string scheme = SchemeOf(uri);
    if (scheme == "s3:") return S3Plan(uri);
    if (scheme == "gs:") return GcsPlan(uri);
    if (scheme == "http:" || scheme == "https:") return HttpPlan(uri, allowed_);
    return Status{
        Code::kModelNotFound,
        fmt::format("Model not found at: {} (known are models:/, runs:/, mlflow-artifacts:/, s3://, "
                    "gs://, http:// and https://)",
                    uri)};
  }

  /// The file, or all of the folder, that an artifact URI means.
  Result<FetchedSource> FetchArtifact() {
    const Result<std::vector<MlflowArtifact>> files = client_->ArtifactTree(origin_.artifact);
    if (!files) return DownloadFailed(origin_.uri, files.error().message);
    const std::string last = origin_.artifact.substr(origin_.artifact.rfind('/') + 1);
    std::string model = last;
    if (origin_.resolved.starts_with("models:/") && !origin_.version.empty()) {
      model = origin_.resolved.substr(8, origin_.resolved.rfind('/') - 8);
    }
    if (!files->empty()) {
      Result<ArtifactChoice> choice = ChooseArtifact(*files, model);
      if (!choice) return DownloadFailed(origin_.uri, choice.error().message);
      if (choice->file.empty()) return FetchFolder(*files, choice->name);
      origin_.artifact += "/" + choice->file;
      origin_.file = choice->name;
    } else if (origin_.file.empty()) {
      origin_.file = last == "model.pth" ? "model.pt" : last;
    }
    Result<DownloadPlan> plan = ArtifactPlan(client_, origin_.artifact, origin_.uri);
    if (!plan) return plan.error();
    return FetchFile(*plan, origin_.file);
  }

  Result<FetchedSource> FetchFolder(const std::vector<MlflowArtifact>& files, const std::string& name) {
    std::uint64_t total = 0;
    for (const MlflowArtifact& file : files) total += file.size;
    if (total > options_.limits.max_bytes) {
      return DownloadFailed(origin_.uri, "it is larger than max_download_size");
    }
    const Result<SourceCache::Claim> claim = cache_.ClaimPartial(origin_.artifact, deadline_);
    if (!claim) return DownloadFailed(origin_.uri, claim.error().message);
    fs::path folder = claim->partial;
    folder += ".folder";
    std::error_code error;
    fs::remove_all(folder, error);
    FetchLimits limits = options_.limits;
    std::uint64_t before = 0;
    for (const MlflowArtifact& file : files) {
      fs::create_directories((folder / file.path).parent_path(), error);
      const Result<DownloadPlan> plan =
          ArtifactPlan(client_, fmt::format("{}/{}", origin_.artifact, file.path), origin_.uri);
      if (!plan) return plan.error();
      limits.timeout = Left();
      const Progress progress = [&](std::uint64_t received, std::uint64_t) {
        if (progress_) progress_(before + received, total);
      };
      const Result<Downloaded> got = Download(*plan, limits, folder / file.path, false, progress);
      if (!got) {
        fs::remove_all(folder, error);
        return got.error();
      }
      before += got->size;
      limits.max_bytes -= std::min(limits.max_bytes, got->size);
    }
    origin_.file = name;
    return Keep(folder, name, "", false);
  }

  Result<FetchedSource> FetchFile(const DownloadPlan& plan, const std::string& name) {
    const Result<SourceCache::Claim> claim = cache_.ClaimPartial(origin_.artifact, deadline_);
    if (!claim) return DownloadFailed(origin_.uri, claim.error().message);
    // Only what a server can be trusted to change with the content tells that it is the same.
    std::optional<SourceCache::Entry> known;
    const auto is_known = [&](const std::string& validator) {
      known = cache_.FindKnown(KeyOf(validator, name));
      return known.has_value();
    };
    FetchLimits limits = options_.limits;
    limits.timeout = Left();
    const Result<Downloaded> got = Download(plan, limits, claim->partial, true, progress_, is_known);
    if (!got) return got.error();
    origin_.etag = got->validator;
    if (known) return Give(*std::move(known), true);
    return Keep(claim->partial, name, got->validator.empty() ? "" : KeyOf(got->validator, name), false);
  }

  [[nodiscard]] std::string KeyOf(const std::string& validator, const std::string& name) const {
    return fmt::format("{}\n{}\n{}", origin_.artifact, validator, name);
  }

  [[nodiscard]] std::chrono::milliseconds Left() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ -
                                                                 std::chrono::steady_clock::now());
  }

  Result<FetchedSource> Keep(const fs::path& file, const std::string& name, const std::string& key,
                             bool cached) {
    Result<SourceCache::Entry> entry = cache_.Insert(file, name, key);
    if (!entry) return DownloadFailed(origin_.uri, entry.error().message);
    return Give(*std::move(entry), cached);
  }

  Result<FetchedSource> Give(SourceCache::Entry entry, bool cached) {
    if (!origin_.sha256.empty() && origin_.sha256 != entry.sha256) {
      return DownloadFailed(origin_.uri,
                            fmt::format("{} now holds other bytes than before: sha256 {} instead of {}",
                                        origin_.artifact, entry.sha256, origin_.sha256));
    }
    origin_.sha256 = entry.sha256;
    origin_.size = entry.size;
    return FetchedSource{std::move(entry.path), std::move(origin_), cached, std::move(entry.lease)};
  }

  SourceOrigin origin_;
  const AllowedUrls& allowed_;
  const SourceOptions& options_;
  const Progress& progress_;
  const SourceCache cache_;
  const std::chrono::steady_clock::time_point deadline_;
  std::shared_ptr<const MlflowClient> client_;
};

}  // namespace

ordered_json OriginJson(const SourceOrigin& origin) {
  ordered_json json = ordered_json::object();
  for (const auto& [name, member] : kTexts) {
    if (!(origin.*member).empty()) json[name] = origin.*member;
  }
  json["size"] = origin.size;
  return json;
}

SourceOrigin ReadOrigin(const ordered_json& json) {
  SourceOrigin origin;
  if (!json.is_object()) return origin;
  for (const auto& [name, member] : kTexts) {
    if (const auto found = json.find(name); found != json.end() && found->is_string()) {
      origin.*member = found->get<std::string>();
    }
  }
  if (const auto size = json.find("size"); size != json.end() && size->is_number_unsigned()) {
    origin.size = size->get<std::uint64_t>();
  }
  const bool whole = IsSourceUri(origin.uri) && !origin.artifact.empty() && origin.sha256.size() == 64;
  return whole ? origin : SourceOrigin{};
}

bool IsSourceUri(std::string_view uri) {
  const std::string scheme = SchemeOf(uri);
  const auto names = {"models:", "runs:", "mlflow-artifacts:", "s3:", "gs:"};
  return std::find(names.begin(), names.end(), scheme) != names.end();
}

Result<FetchedSource> FetchSource(const std::string& uri, const AllowedUrls& allowed,
                                  const SourceOptions& options, const Progress& progress) {
  SourceOrigin origin;
  origin.uri = uri;
  return Fetching(std::move(origin), allowed, options, progress).Run();
}

Result<FetchedSource> FetchAgain(const SourceOrigin& origin, const AllowedUrls& allowed,
                                 const SourceOptions& options, const Progress& progress) {
  if (std::optional<SourceCache::Entry> entry =
          SourceCache(options.cache, options.cache_bytes).Find(origin.sha256)) {
    return FetchedSource{std::move(entry->path), origin, true, std::move(entry->lease)};
  }
  return Fetching(origin, allowed, options, progress).Run();
}

}  // namespace serve
