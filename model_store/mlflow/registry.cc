// The client's model registry.
#include <algorithm>

#include <fmt/format.h>

#include "model_store/mlflow/client.h"
#include "model_store/mlflow/json_records.h"

namespace serve {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kPage = 1000;

}  // namespace

Status MlflowClient::CreateModel(const std::string& name, const std::string& description,
                                 const MlflowTags& tags) const {
  Json body = {{"name", name}, {"tags", TagsJson(tags)}};
  if (!description.empty()) body["description"] = description;
  Json answer;
  Status status = connection_.Send("POST", "registered-models/create", body, answer);
  return status.code == Code::kConflict ? Status{} : status;
}

Result<MlflowModelVersion> MlflowClient::CreateVersion(const MlflowNewVersion& version) const {
  Json body = {{"name", version.name}, {"source", version.source}, {"tags", TagsJson(version.tags)}};
  if (!version.run_id.empty()) body["run_id"] = version.run_id;
  if (!version.description.empty()) body["description"] = version.description;
  Json answer;
  if (Status status =
          connection_.Send("POST", "model-versions/create", body, answer, MlflowRepeat::kIfNotProcessed);
      !status.ok()) {
    return status;
  }
  return ReadModelVersion(answer.value("model_version", Json::object()));
}

Result<MlflowModelVersion> MlflowClient::GetVersion(const std::string& name,
                                                    const std::string& version) const {
  Json answer;
  if (Status status = connection_.Get("model-versions/get", {{"name", name}, {"version", version}}, answer);
      !status.ok()) {
    return status;
  }
  return ReadModelVersion(answer.value("model_version", Json::object()));
}

Result<MlflowModelVersion> MlflowClient::VersionOfAlias(const std::string& name,
                                                        const std::string& alias) const {
  Json answer;
  Status status = connection_.Get("registered-models/alias", {{"name", name}, {"alias", alias}}, answer);
  if (!status.ok()) {
    // MLflow calls it a wrong parameter.
    const bool unknown =
        status.code == Code::kInvalidArgument && status.message.find("not found") != std::string::npos;
    if (unknown) status.code = Code::kNotFound;
    return status;
  }
  return ReadModelVersion(answer.value("model_version", Json::object()));
}

Result<std::vector<MlflowModelVersion>> MlflowClient::SearchVersions(const std::string& filter,
                                                                     std::size_t limit) const {
  std::vector<MlflowModelVersion> versions;
  std::string page;
  do {
    QueryParameters query = {{"filter", filter},
                             {"max_results", std::to_string(std::min(limit - versions.size(), kPage))},
                             {"order_by", "version_number DESC"}};
    if (!page.empty()) query.emplace_back("page_token", page);
    Json answer;
    if (Status status = connection_.Get("model-versions/search", query, answer); !status.ok()) return status;
    for (const Json& one : ListOf(answer, "model_versions")) versions.push_back(ReadModelVersion(one));
    page = StringOf(answer, "next_page_token");
  } while (!page.empty() && versions.size() < limit);
  return versions;
}

Result<MlflowModelVersion> MlflowClient::LatestVersion(const std::string& name) const {
  Result<std::vector<MlflowModelVersion>> found = SearchVersions("name=" + MlflowQuote(name), 1);
  if (!found) return found.error();
  if (found->empty()) {
    return Status{Code::kNotFound, fmt::format("{}: the registered model {} does not exist or has no version",
                                               connection_.base(), name)};
  }
  return std::move(found->front());
}

Result<std::string> MlflowClient::DownloadUri(const std::string& name, const std::string& version) const {
  Json answer;
  if (Status status =
          connection_.Get("model-versions/get-download-uri", {{"name", name}, {"version", version}}, answer);
      !status.ok()) {
    return status;
  }
  return StringOf(answer, "artifact_uri");
}

Result<std::string> MlflowClient::ResolveRuns(const std::string& uri) const {
  constexpr std::string_view kScheme = "runs:/";
  if (!uri.starts_with(kScheme)) return uri;
  const std::string rest = uri.substr(kScheme.size());
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  if (slash == 0) return InvalidArgument(fmt::format("{}: expected runs:/RUN_ID/PATH", uri));
  const Result<MlflowRun> run = GetRun(rest.substr(0, slash));
  if (!run) return run.error();
  return run->artifact_uri + rest.substr(slash);
}

Status MlflowClient::SetAlias(const std::string& name, const std::string& alias,
                              const std::string& version) const {
  Json answer;
  return connection_.Send("POST", "registered-models/alias",
                          {{"name", name}, {"alias", alias}, {"version", version}}, answer);
}

Status MlflowClient::DeleteAlias(const std::string& name, const std::string& alias) const {
  Json answer;
  return connection_.Send("DELETE", "registered-models/alias", {{"name", name}, {"alias", alias}}, answer);
}

Status MlflowClient::SetVersionTag(const std::string& name, const std::string& version,
                                   const std::string& key, const std::string& value) const {
  Json answer;
  return connection_.Send("POST", "model-versions/set-tag",
                          {{"name", name}, {"version", version}, {"key", key}, {"value", value}}, answer);
}

Status MlflowClient::DeleteVersionTag(const std::string& name, const std::string& version,
                                      const std::string& key) const {
  Json answer;
  return connection_.Send("DELETE", "model-versions/delete-tag",
                          {{"name", name}, {"version", version}, {"key", key}}, answer);
}

Status MlflowClient::SetModelTag(const std::string& name, const std::string& key,
                                 const std::string& value) const {
  Json answer;
  return connection_.Send("POST", "registered-models/set-tag",
                          {{"name", name}, {"key", key}, {"value", value}}, answer);
}

Status MlflowClient::DescribeVersion(const std::string& name, const std::string& version,
                                     const std::string& description) const {
  Json answer;
  return connection_.Send("PATCH", "model-versions/update",
                          {{"name", name}, {"version", version}, {"description", description}}, answer);
}

}  // namespace serve
