#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "model_store/archive/archive.h"
#include "tools/doctor/checks.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

// What is looked at before it is enough: a report in a minute is worth more than a complete one in an hour.
constexpr std::size_t kMaxArchives = 200;
constexpr std::uint64_t kMaxArchiveBytes = 8ULL << 30;
constexpr std::chrono::seconds kMaxTime{120};

/// The folder, or the nearest one above it that is there: where it would be made.
fs::path Nearest(fs::path folder) {
  std::error_code error;
  folder = fs::absolute(folder, error).lexically_normal();
  while (!fs::exists(folder, error) && folder != folder.parent_path()) folder = folder.parent_path();
  return folder;
}

bool Writable(const fs::path& folder) { return ::access(Nearest(folder).c_str(), W_OK | X_OK) == 0; }

struct Folder {
  std::string what;
  fs::path path;
  bool needed;  // the server does not start without it
  std::string advice;
};

/// Those that the server writes to.
std::vector<Folder> WrittenFolders(const Place& place) {
  const AppOptions& options = place.options;
  const ManagementOptions& api = options.management_api;
  std::vector<Folder> folders = {
      {"unpacked archives", place.UnpackFolder(), true, "set unpack_folder or TMPDIR to a writable folder"}};
  const auto add = [&](const char* what, const fs::path& path, bool needed, const char* advice) {
    if (!path.empty()) folders.push_back({what, path, needed, advice});
  };
  const fs::path store = api.model_store;
  add("snapshots", api.snapshot_folder, false,
      "registered models are forgotten at a restart: set snapshot_folder, or config_snapshots=false");
  if (!store.empty() || !options.tuning_folder.empty()) {
    add("results of tuning",
        options.tuning_folder.empty() ? store / ".tuning" : fs::path(options.tuning_folder), false,
        "every start times the models anew: set tuning_folder to a writable folder");
  }
  if (place.UsesSource(":/") || place.UsesSource("http")) {
    add("cache of fetched models", api.source_cache.empty() ? store / ".cache" : fs::path(api.source_cache),
        true, "models cannot be fetched: set source_cache to a writable folder");
  }
  add("log files", options.log.folder, true, "set log_location to a writable folder, or log_files=false");
  add("metric logs", options.log.metrics_folder, true,
      "set metrics_location to a writable folder, or log_files=false");
  if (!options.log.file.empty())
    add("log_file", fs::absolute(options.log.file).parent_path(), true, "name another file");
  if (!options.log.access_file.empty())
    add("access_log_file", fs::absolute(options.log.access_file).parent_path(), true, "name another file");
  if (!options.port_file.empty())
    add("port_file", fs::absolute(options.port_file).parent_path(), true, "name another file");
  return folders;
}

/// The files that load_models names, without `all` and what is fetched.
std::set<std::string> NamedModels(const std::string& load_models) {
  std::set<std::string> names;
  for (std::size_t begin = 0; begin <= load_models.size();) {
    const std::size_t end = std::min(load_models.find(',', begin), load_models.size());
    std::string item = load_models.substr(begin, end - begin);
    begin = end + 1;
    if (const std::size_t equals = item.find('='); equals != std::string::npos) item.erase(0, equals + 1);
    item.erase(0, item.find_first_not_of(" \t"));
    item.erase(item.find_last_not_of(" \t") + 1);
    if (!item.empty() && item != "all" && item != "none" && item.find(':') == std::string::npos)
      names.insert(item);
  }
  return names;
}

bool IsArchive(const fs::path& path) {
  return !path.filename().string().starts_with('.') && HasArchiveName(path);
}

Finding Look(const Place& place, const fs::path& path, bool loaded) {
  UnpackLimits limits;
  limits.max_bytes = place.options.max_archive_bytes;
  limits.allow_missing_manifest = true;
  const std::string name = path.filename().string();
  const auto bad = [&](const std::string& reason) {
    Finding finding =
        Wrong(fmt::format("{}: {}", name, reason),
              "put it there again, or remove it; `flambeau archive verify` looks at one archive");
    if (!loaded) finding.verdict = Verdict::kWarning;
    return finding;
  };
  Result<UnpackedArchive> opened = OpenArchive(path, place.UnpackFolder(), limits);
  if (!opened) return bad(opened.error().message);
  if (opened->bare_file) {
    RemoveUnpacked(*opened);
    return Fine(fmt::format("{}: a model file without an archive; it has no digests", name));
  }
  const Result<VerifyReport> verified = VerifyArchive(*opened);
  const Manifest manifest = opened->manifest;
  RemoveUnpacked(*opened);
  if (!verified) return bad(verified.error().message);
  const std::string text =
      fmt::format("{}: {} {}, {} files", name, manifest.model_name, manifest.model_version,
                  verified->has_digests ? verified->files : manifest.files.size());
  if (!verified->has_digests) {
    return Fine(
        fmt::format("{}: {} {}, made without digests", name, manifest.model_name, manifest.model_version));
  }
  return Fine(
      fmt::format("{} of {} as the manifest says", text, SizeText(static_cast<double>(verified->bytes))));
}

}  // namespace

Findings CheckFolders(const Place& place) {
  Findings findings;
  const fs::path store = place.options.management_api.model_store;
  std::error_code error;
  if (store.empty()) {
    findings.push_back(Doubtful("no model store", "nothing can be registered: --model-store FOLDER"));
  } else if (!fs::is_directory(store, error)) {
    findings.push_back(Wrong(fmt::format("model store {}: there is no such folder", store.string()),
                             "make it, or name another one with --model-store"));
  } else if (::access(store.c_str(), R_OK | X_OK) != 0) {
    findings.push_back(Wrong(fmt::format("model store {} cannot be read", store.string()),
                             "give the user who runs the server the rights r and x"));
  } else {
    findings.push_back(Fine(fmt::format("model store {} can be read", store.string())));
  }
  for (const Folder& folder : WrittenFolders(place)) {
    if (Writable(folder.path)) {
      findings.push_back(Fine(fmt::format("{}: {} can be written", folder.what, folder.path.string())));
      continue;
    }
    Finding finding =
        Wrong(fmt::format("{}: {} cannot be written", folder.what, folder.path.string()), folder.advice);
    if (!folder.needed) finding.verdict = Verdict::kWarning;
    findings.push_back(std::move(finding));
  }
  return findings;
}

Findings CheckDisks(const Place& place) {
  Findings findings;
  std::set<unsigned long> seen;  // file systems
  for (const Folder& folder : WrittenFolders(place)) {
    struct statvfs disk {};
    const fs::path path = Nearest(folder.path);
    if (::statvfs(path.c_str(), &disk) != 0 || !seen.insert(disk.f_fsid).second) continue;
    const double free = static_cast<double>(disk.f_bavail) * static_cast<double>(disk.f_frsize);
    const double all = static_cast<double>(disk.f_blocks) * static_cast<double>(disk.f_frsize);
    const std::string text =
        fmt::format("{} of {} are free at {}", SizeText(free), SizeText(all), path.string());
    if (free < 64e6) {
      findings.push_back(Wrong(text, "make room: archives cannot be unpacked, log lines will be lost"));
    } else if (free < 1e9) {
      findings.push_back(Doubtful(text, "make room before the next archive is unpacked or fetched"));
    } else {
      findings.push_back(Fine(text));
    }
  }
  return findings;
}

Findings CheckArchives(const Place& place) {
  Findings findings;
  const std::string& load_models = place.options.load_models;
  const fs::path store = place.options.management_api.model_store;
  std::error_code error;
  if (store.empty() || !fs::is_directory(store, error)) return {};
  std::set<std::string> named = NamedModels(load_models);
  const bool all = load_models == "all";
  const auto begin = std::chrono::steady_clock::now();
  std::size_t looked = 0;
  std::size_t left = 0;
  std::uint64_t bytes = 0;
  for (const fs::path& path : EntriesOf(store)) {
    const bool loaded = all || named.erase(path.filename().string()) > 0;
    if (!IsArchive(path) || !fs::is_regular_file(path, error)) continue;
    bytes += fs::file_size(path, error);
    if (looked >= kMaxArchives || (looked > 0 && bytes > kMaxArchiveBytes) ||
        std::chrono::steady_clock::now() - begin > kMaxTime) {
      ++left;
      continue;
    }
    ++looked;
    findings.push_back(Look(place, path, loaded));
  }
  for (const std::string& name : named) {
    if (fs::exists(name, error) || fs::exists(store / name, error)) continue;
    findings.push_back(Wrong(fmt::format("load_models names {}, which is not in {}", name, store.string()),
                             "put it there, or correct load_models"));
  }
  if (left > 0) {
    findings.push_back(Doubtful(fmt::format("{} more archives were not looked at", left),
                                "`flambeau archive verify FILE` looks at one"));
  }
  if (findings.empty()) findings.push_back(Fine("the model store holds no archives"));
  return findings;
}

}  // namespace serve
