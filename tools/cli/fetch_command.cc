#include "tools/cli/fetch_command.h"

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model_store/cache/source_cache.h"
#include "model_store/sources/source.h"
#include "tools/cli/answer_text.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

struct FetchArguments {
  std::string uri;
  std::string output;
  std::string cache;
  std::string sha256;
  std::int64_t timeout_s = 600;
  bool json = false;
};

fs::path UsualCache() {
  const auto folder = [](const char* variable) {
    const char* value = std::getenv(variable);
    return fs::path(value == nullptr ? "" : value);
  };
  if (const fs::path cache = folder("XDG_CACHE_HOME"); !cache.empty()) return cache / "flambeau";
  return folder("HOME") / ".cache" / "flambeau";
}

/// A file or folder of this machine is what it is.
Result<FetchedSource> Local(const fs::path& path) {
  const Result<ContentDigest> digest = DigestOf(path);
  if (!digest) return digest.error();
  FetchedSource fetched;
  fetched.path = path;
  fetched.origin.uri = fetched.origin.resolved = path.string();
  fetched.origin.sha256 = digest->sha256;
  fetched.origin.size = digest->size;
  return fetched;
}

/// One line that is written over, where somebody looks at it.
Progress ShowTo(std::ostream& err) {
  if (::isatty(STDERR_FILENO) == 0) return {};
  return [&err](std::uint64_t received, std::uint64_t total) {
    constexpr double kMegabyte = 1e6;
    err << fmt::format("\r{:.1f} MB{}   ", static_cast<double>(received) / kMegabyte,
                       total == 0
                           ? ""
                           : fmt::format(" of {:.1f} MB ({} %)", static_cast<double>(total) / kMegabyte,
                                         received * 100 / total))
        << std::flush;
    if (received == total) err << "\r\033[K" << std::flush;
  };
}

Status CopyTo(const FetchedSource& fetched, const std::string& output, fs::path& target) {
  std::error_code error;
  target = output;
  if (fs::is_directory(target, error)) target /= fetched.path.filename();
  if (fs::exists(target, error)) {
    return {Code::kConflict,
            fmt::format("{} exists already: remove it, or name another --output", target.string())};
  }
  fs::path fresh = target;
  fresh += fmt::format(".partial.{}", getpid());
  fs::copy(fetched.path, fresh, fs::copy_options::recursive, error);
  if (!error) fs::rename(fresh, target, error);
  if (!error) return {};
  const std::string why = error.message();
  fs::remove_all(fresh, error);
  return Internal(fmt::format("cannot write {}: {}", target.string(), why));
}

Status RunFetch(const FetchArguments& typed, std::ostream& out, std::ostream& err) {
  std::error_code error;
  SourceOptions options;
  options.cache = typed.cache.empty() ? UsualCache() : fs::path(typed.cache);
  options.limits.timeout = std::chrono::seconds(typed.timeout_s);
  options.limits.max_bytes = 1ULL << 40;
  const Result<AllowedUrls> allowed = AllowedUrls::Parse(".*");  // whoever types it may fetch it
  const Result<FetchedSource> fetched = fs::exists(typed.uri, error)
                                            ? Local(typed.uri)
                                            : FetchSource(typed.uri, *allowed, options, ShowTo(err));
  if (!fetched) return fetched.error();
  const SourceOrigin& origin = fetched->origin;
  if (!typed.sha256.empty() && typed.sha256 != origin.sha256) {
    return InvalidArgument(
        fmt::format("{} has the sha256 {}, not {}", origin.uri, origin.sha256, typed.sha256));
  }
  fs::path place = fetched->path;
  if (!typed.output.empty()) {
    if (Status status = CopyTo(*fetched, typed.output, place); !status.ok()) return status;
  }
  if (typed.json) {
    nlohmann::ordered_json json = OriginJson(origin);
    json["path"] = place.string();
    json["cached"] = fetched->was_cached;
    out << json.dump(2) << '\n';
    return {};
  }
  std::vector<std::vector<std::string>> lines = {{"uri", origin.uri}};
  const auto line = [&lines](const char* name, const std::string& value) {
    if (!value.empty()) lines.push_back({name, value});
  };
  if (origin.resolved != origin.uri) line("resolved", origin.resolved);
  if (origin.artifact != origin.uri) line("artifact", origin.artifact);
  line("version", origin.version);
  line("run", origin.run_id);
  line("sha256", origin.sha256);
  line("size", fmt::format("{} bytes{}", origin.size, fetched->was_cached ? ", from the cache" : ""));
  line("path", place.string());
  out << Table(lines);
  return {};
}

}  // namespace

void AddFetchCommand(CLI::App& app, std::ostream& out, std::ostream& err, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "fetch", "Fetch a model from MLflow, S3, Google Cloud Storage or a URL, and say what it is");
  auto typed = std::make_shared<FetchArguments>();
  command
      ->add_option("uri", typed->uri,
                   "models:/NAME@ALIAS, runs:/ID/PATH, s3://…, gs://…, https://…, or a path")
      ->required();
  command->add_option("--output,-o", typed->output,
                      "File or folder to copy it to [it stays in the cache only]");
  command->add_option("--cache", typed->cache, "Folder of what was fetched [~/.cache/flambeau]")
      ->envname("FLAMBEAU_SOURCE_CACHE");
  command->add_option("--sha256", typed->sha256, "Fail unless it has this digest");
  command->add_option("--fetch-timeout", typed->timeout_s, "Seconds that it may take")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  command->footer(
      "Example:\n  flambeau fetch models:/news@production --output news.mar\n"
      "Settings and credentials: docs/sources.md.");
  command->callback([typed, &app, &out, &err, &exit_code] {
    typed->json = app.count("--json") > 0;
    const Status status = RunFetch(*typed, out, err);
    if (status.ok()) return;
    err << "error: " << status.message << '\n';
    exit_code = 1;
  });
}

}  // namespace serve
