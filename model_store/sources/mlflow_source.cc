#include "model_store/sources/mlflow_source.h"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace serve {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kModels = "models:/";
constexpr std::string_view kRuns = "runs:/";
constexpr std::string_view kForms =
    "expected models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME/latest, models:/m-ID or runs:/ID/PATH";

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

bool IsNumber(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

Status NoSuchUri(const std::string& uri) {
  return {Code::kModelNotFound, fmt::format("Model not found at: {} ({})", uri, kForms)};
}

Result<MlflowModelVersion> FindVersion(const MlflowClient& client, const std::string& uri) {
  const std::string rest = uri.substr(kModels.size());
  const std::size_t at = rest.find_last_of("@/");
  if (at == std::string::npos || at == 0 || at + 1 == rest.size()) return NoSuchUri(uri);
  const std::string name = rest.substr(0, at);
  const std::string wanted = rest.substr(at + 1);
  if (name.find_first_of("/:@") != std::string::npos) return NoSuchUri(uri);
  if (rest[at] == '@') return client.VersionOfAlias(name, wanted);
  if (Lower(wanted) == "latest") return client.LatestVersion(name);
  if (IsNumber(wanted)) return client.GetVersion(name, wanted);
  Result<std::vector<MlflowModelVersion>> versions =
      client.SearchVersions(fmt::format("name={}", MlflowQuote(name)));
  if (!versions) return versions.error();
  for (MlflowModelVersion& version : *versions) {  // newest first
    if (Lower(version.stage) == Lower(wanted)) return std::move(version);
  }
  return Status{Code::kNotFound,
                fmt::format("the model {} has no version in the stage \"{}\"; did you mean {}{}@{}?", name,
                            wanted, kModels, name, wanted)};
}

/// The artifacts of a logged model, which MLflow 3 has beside runs.
Result<std::string> LoggedModel(const MlflowClient& client, const std::string& id, SourceOrigin& origin) {
  Json answer;
  if (Status status = client.connection().Get("logged-models/" + UrlEncode(id), {}, answer); !status.ok()) {
    return status;
  }
  const auto text = [&answer](const char* key) {
    const auto pointer = Json::json_pointer(fmt::format("/model/info/{}", key));
    return answer.contains(pointer) && answer[pointer].is_string() ? answer[pointer].get<std::string>()
                                                                   : std::string{};
  };
  origin.run_id = text("source_run_id");
  return text("artifact_uri");
}

}  // namespace

bool IsMlflowUri(std::string_view uri) {
  return uri.starts_with(kModels) || uri.starts_with(kRuns) || uri.starts_with("mlflow-artifacts:");
}

Status ResolveMlflowUri(const MlflowClient& client, SourceOrigin& origin) {
  const auto failed = [&origin](const Status& status) {
    return status.code == Code::kModelNotFound ? status : DownloadFailed(origin.uri, status.message);
  };
  origin.resolved = origin.uri;
  std::string place = origin.uri;
  if (place.starts_with("models:/m-") && place.find_first_of("/@", kModels.size()) == std::string::npos) {
    Result<std::string> found = LoggedModel(client, place.substr(kModels.size()), origin);
    if (!found) return failed(found.error());
    place = *std::move(found);
  } else if (place.starts_with(kModels)) {
    const Result<MlflowModelVersion> version = FindVersion(client, place);
    if (!version) return failed(version.error());
    if (!version->status.empty() && version->status != "READY") {
      return DownloadFailed(origin.uri, fmt::format("version {} of the model {} is {}, not READY",
                                                    version->version, version->name, version->status));
    }
    origin.version = version->version;
    origin.run_id = version->run_id;
    origin.resolved = fmt::format("{}{}/{}", kModels, version->name, version->version);
    Result<std::string> uri = client.DownloadUri(version->name, version->version);
    if (!uri) return failed(uri.error());
    place = *std::move(uri);
  } else if (place.starts_with(kRuns)) {
    const std::string rest = place.substr(kRuns.size());
    const std::size_t slash = rest.find('/');
    if (slash == std::string::npos || slash == 0 || slash + 1 == rest.size()) return NoSuchUri(origin.uri);
    origin.run_id = rest.substr(0, slash);
  }
  Result<std::string> resolved = client.ResolveRuns(place);
  if (!resolved) return failed(resolved.error());
  origin.artifact = *std::move(resolved);
  if (origin.artifact.empty()) return DownloadFailed(origin.uri, "MLflow names no place for its files");
  return {};
}

Result<ArtifactChoice> ChooseArtifact(const std::vector<MlflowArtifact>& files, const std::string& model) {
  std::vector<std::string> archives;
  std::vector<std::string> modules;
  bool is_mlmodel = false;
  for (const MlflowArtifact& file : files) {
    const std::string path = Lower(file.path);
    if (file.path == "MAR-INF/MANIFEST.json") return ArtifactChoice{"", model};
    if (path.ends_with(".mar") || path.ends_with(".tar.gz") || path.ends_with(".tgz")) {
      archives.push_back(file.path);
    } else if (path.ends_with(".pt") || path.ends_with(".pt2") || path == "data/model.pth") {
      modules.push_back(file.path);
    }
    is_mlmodel = is_mlmodel || file.path == "MLmodel";
  }
  const std::vector<std::string>& found = archives.empty() ? modules : archives;
  if (found.size() == 1) {
    const std::string name = NameOf(found[0]);
    return ArtifactChoice{found[0], name == "model.pth" ? model + ".pt" : name};
  }
  std::string there;
  for (const std::string& path : found) there += (there.empty() ? "" : ", ") + path;
  if (there.empty()) {
    for (std::size_t i = 0; i < std::min<std::size_t>(files.size(), 5); ++i)
      there += (i == 0 ? "" : ", ") + files[i].path;
  }
  return InvalidArgument(
      fmt::format("{} with {} files ({}{}): what can be served is a folder with exactly one archive (.mar, "
                  ".tar.gz), else with "
                  "exactly one TorchScript or .pt2 file, else an unpacked archive{}",
                  is_mlmodel ? "it is an MLflow model" : "it is a folder", files.size(), there,
                  files.size() > 5 && found.empty() ? ", …" : "",
                  found.size() > 1 ? "; name one of the files"
                                   : "; log the archive beside the model, e.g. as an extra file"));
}

Result<DownloadPlan> ArtifactPlan(std::shared_ptr<const MlflowClient> client, const std::string& artifact,
                                  const std::string& shown) {
  const Result<std::string> url = client->ArtifactUrl(artifact);
  if (!url) return DownloadFailed(shown, url.error().message);
  GetCall call;
  call.url = *url;
  call.headers = client->Authorization();
  const HttpTls& tls = client->connection().settings().tls;
  call.ca_file = tls.ca_file;
  call.verify_tls = tls.verify;
  call.certificate = tls.certificate;
  call.key = tls.key;
  DownloadPlan plan;
  plan.shown = shown;
  plan.request = [call] { return Result<GetCall>(call); };
  plan.explain = [artifact](const GetAnswer& got) -> std::string {
    const int status = got.answer.status;
    if (status == 404) return fmt::format("there is no artifact {} (status 404)", artifact);
    if (status == 401 || status == 403) {
      return fmt::format(
          "the MLflow server refuses it (status {}): look at MLFLOW_TRACKING_USERNAME and _PASSWORD, or "
          "MLFLOW_TRACKING_TOKEN",
          status);
    }
    return fmt::format("status {}, {}", status, got.answer.body.substr(0, 200));
  };
  return plan;
}

}  // namespace serve
