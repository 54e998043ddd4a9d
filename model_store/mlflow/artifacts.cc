// The client's artifacts, through the server's proxy.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

#include "model_store/archive/manifest.h"
#include "model_store/mlflow/client.h"
#include "model_store/mlflow/json_records.h"

namespace serve {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::string_view kScheme = "mlflow-artifacts:";
constexpr std::string_view kProxy = "/api/2.0/mlflow-artifacts/artifacts";

std::string EncodePath(std::string_view path) {
  std::string encoded;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    if (slash > 0) encoded += "/" + UrlEncode(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return encoded;
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

Result<std::string> MlflowClient::ProxyPath(const std::string& uri) const {
  if (!IsProxied(uri)) {
    return Status{Code::kNotImplemented,
                  fmt::format("{} does not lie on the tracking server: it is read from where it lies", uri)};
  }
  std::string path = uri.substr(kScheme.size());
  if (path.starts_with("//")) {
    const std::size_t slash = std::min(path.find('/', 2), path.size());
    const std::string host = path.substr(2, slash - 2);
    const std::string ours = connection_.base().substr(connection_.base().find("://") + 3);
    // Credentials are for one server.
    if (!host.empty() && host != ours.substr(0, ours.find('/'))) {
      return InvalidArgument(fmt::format(
          "{} names another server than {}: set MLFLOW_TRACKING_URI to that one", uri, connection_.base()));
    }
    path.erase(0, slash);
  }
  const std::size_t begin = path.find_first_not_of('/');
  path.erase(0, std::min(begin, path.size()));
  while (path.ends_with('/')) path.pop_back();
  if (!path.empty()) {
    if (Status status = CheckEntryPath(path, 64); !status.ok()) {
      return InvalidArgument(fmt::format("{}: {}", uri, status.message));
    }
  }
  return path;
}

Result<std::string> MlflowClient::ArtifactUrl(const std::string& uri) const {
  const Result<std::string> path = ProxyPath(uri);
  if (!path) return path.error();
  return fmt::format("{}{}{}", connection_.base(), kProxy, EncodePath(*path));
}

Result<std::vector<MlflowArtifact>> MlflowClient::ListArtifacts(const std::string& uri) const {
  const Result<std::string> path = ProxyPath(uri);
  if (!path) return path.error();
  const Result<HttpAnswer> got = connection_.Call("GET", fmt::format("{}?path={}", kProxy, UrlEncode(*path)),
                                                  MlflowRepeat::kAlways, [](HttpCall&) { return Status{}; });
  if (!got) return got.error();
  const Json answer = Json::parse(got->body, nullptr, false);
  std::vector<MlflowArtifact> files;
  for (const Json& file : ListOf(answer, "files")) {
    const bool is_dir = file.is_object() && file.contains("is_dir") && file["is_dir"] == true;
    files.push_back(
        {StringOf(file, "path"), is_dir, static_cast<std::uint64_t>(IntegerOf(file, "file_size"))});
  }
  return files;
}

Result<std::vector<MlflowArtifact>> MlflowClient::ArtifactTree(const std::string& uri,
                                                               std::size_t max_files) const {
  constexpr std::size_t kMaxFolders = 10'000;
  std::vector<MlflowArtifact> files;
  std::vector<std::string> folders = {""};
  for (std::size_t i = 0; i < folders.size(); ++i) {
    const Result<std::vector<MlflowArtifact>> listed =
        ListArtifacts(folders[i].empty() ? uri : uri + "/" + folders[i]);
    if (!listed) return listed.error();
    for (MlflowArtifact entry : *listed) {
      if (!folders[i].empty()) entry.path = folders[i] + "/" + entry.path;
      // Names come from the server and become files here.
      if (Status status = CheckEntryPath(entry.path); !status.ok()) {
        return InvalidArgument(fmt::format("{}: {}", uri, status.message));
      }
      if (entry.is_dir) {
        folders.push_back(entry.path);
      } else {
        files.push_back(std::move(entry));
      }
    }
    if (files.size() > max_files || folders.size() > kMaxFolders) {
      return InvalidArgument(fmt::format("{}: there are more than {} files below it", uri, max_files));
    }
  }
  return files;
}

Status MlflowClient::Upload(const std::string& uri, const std::function<void(HttpCall&)>& body) const {
  const Result<std::string> path = ProxyPath(uri);
  if (!path) return path.error();
  const Result<HttpAnswer> put = connection_.Call(
      "PUT", fmt::format("{}{}", kProxy, EncodePath(*path)), MlflowRepeat::kAlways, [&](HttpCall& call) {
        call.headers.emplace_back("Content-Type", "application/octet-stream");
        call.stall_timeout = std::chrono::ceil<std::chrono::seconds>(call.timeout);
        call.timeout = {};  // a large file takes its time
        body(call);
        return Status{};
      });
  return put ? Status{} : put.error();
}

Status MlflowClient::UploadArtifact(const std::string& uri, const fs::path& file) const {
  return Upload(uri, [&file](HttpCall& call) { call.body_file = file; });
}

Status MlflowClient::UploadArtifactText(const std::string& uri, std::string_view text) const {
  return Upload(uri, [text](HttpCall& call) { call.body = text; });
}

Status MlflowClient::DownloadArtifact(const std::string& uri, const fs::path& target, std::uint64_t max_bytes,
                                      const std::function<void(std::uint64_t)>& progress) const {
  const Result<std::string> path = ProxyPath(uri);
  if (!path) return path.error();
  std::unique_ptr<std::FILE, CloseFile> file(std::fopen(target.c_str(), "wbxe"));
  const auto disk_error = [&] {
    return Internal(
        fmt::format("cannot write {}: {}", target.string(), std::generic_category().message(errno)));
  };
  if (file == nullptr) return disk_error();
  std::uint64_t bytes = 0;
  bool too_large = false;
  bool disk_failed = false;
  const Result<HttpAnswer> got = connection_.Call(
      "GET", fmt::format("{}{}", kProxy, EncodePath(*path)), MlflowRepeat::kAlways, [&](HttpCall& call) {
        bytes = 0;  // a try before this one may have written something
        if (std::fseek(file.get(), 0, SEEK_SET) != 0 || ftruncate(fileno(file.get()), 0) != 0)
          return disk_error();
        call.stall_timeout = std::chrono::ceil<std::chrono::seconds>(call.timeout);
        call.timeout = {};
        call.sink = [&](std::string_view piece) {
          bytes += piece.size();
          too_large = bytes > max_bytes;
          disk_failed = !too_large && std::fwrite(piece.data(), 1, piece.size(), file.get()) != piece.size();
          if (progress) progress(bytes);
          return !too_large && !disk_failed;
        };
        return Status{};
      });
  Status status = got ? Status{} : got.error();
  if (std::fclose(file.release()) != 0 && status.ok()) disk_failed = true;
  if (disk_failed) status = disk_error();
  if (too_large) {
    status = {Code::kPayloadTooLarge, fmt::format("{} is larger than {} bytes", uri, max_bytes)};
  }
  std::error_code ignored;
  if (!status.ok()) fs::remove(target, ignored);
  return status;
}

}  // namespace serve
