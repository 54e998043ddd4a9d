#include "serve/model/tuner.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <fstream>
#include <pthread.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "model_store/archive/sha256.h"
#include "serve/base/files.h"
#include "serve/base/free_memory.h"
#include "serve/base/log.h"
#include "serve/model/search_process.h"
#include "serve/model/variant_search.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::uint64_t kMostStoredBytes = 16U << 20;
constexpr int kFormat = 3;  // of the stored file; another one when other variants are tried

/// The CPU as far as results of tuning depend on it.
std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  std::string name = "unknown CPU";
  std::string features;
  while (std::getline(file, line) && (features.empty() || name == "unknown CPU")) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    if (line.starts_with("model name")) name = line.substr(std::min(colon + 2, line.size()));
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    const std::string flags = line + " ";
    for (const char* flag :
         {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16"}) {
      if (flags.find(fmt::format(" {} ", flag)) != std::string::npos) features += fmt::format(" {}", flag);
    }
  }
  return name + features;
}

const char* PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kFloat32:
      return "fp32";
    case Precision::kAuto:
      return "auto";
    case Precision::kBFloat16:
      return "bf16";
  }
  return "";
}

/// Everything besides the model file that a result depends on.
std::string KeyOf(const ModelVersion& version, const std::vector<SizedBatch>& batches, int cpus) {
  const VersionOptions& options = version.options();
  std::string shapes;
  for (const Tensor& input : batches.front().inputs)
    shapes += fmt::format(" {}{}", DTypeName(input.dtype), ShapeText(input.shape));
  return fmt::format("{}; {}; {} CPUs; precision {}; batch_size {}; {} threads{}; inputs{}",
                     version.runtime()->Engine(), CpuName(), cpus, PrecisionName(options.precision),
                     options.scheduler.batch_size, options.intra_op_threads,
                     options.workers_planned ? ", workers planned" : "", shapes);
}

double Rounded(double value) { return value > 100 ? std::round(value) : std::round(value * 1000) / 1000; }

ordered_json TrialsJson(const std::vector<Trial>& trials) {
  ordered_json list = ordered_json::array();
  for (const Trial& trial : trials) {
    ordered_json one{{"variant", trial.variant}, {"workers", trial.workers}, {"threads", trial.threads}};
    if (trial.refused.empty()) {
      one["rowsPerSecond"] = Rounded(trial.rows_per_second);
      one["maxDifference"] = trial.max_difference;
    } else {
      one["refused"] = trial.refused;
    }
    list.push_back(std::move(one));
  }
  return list;
}

/// A stored result, if it is one for this key.
ordered_json ReadStored(const fs::path& file, const std::string& key) {
  const Result<std::string> text = ReadFile(file, kMostStoredBytes);
  if (!text && text.error().code == Code::kNotFound) return nullptr;
  ordered_json stored = text ? ordered_json::parse(*text, nullptr, false) : ordered_json();
  const auto of = [&](const char* name) { return stored.value(name, ordered_json()); };
  const auto count = [&](const char* name) {
    return of(name).is_number_integer() ? of(name).get<std::int64_t>() : 0;
  };
  constexpr std::int64_t kMost = 1024;  // of threads and workers: more was written by nobody
  const bool usable = stored.is_object() && count("format") == kFormat && of("key") == key &&
                      of("variant").is_string() && count("threads") >= 1 && count("threads") <= kMost &&
                      count("workers") >= 1 && count("workers") <= kMost;
  if (!usable)
    LogWarning("{} holds no result of tuning that can be used here; the model is tuned again", file.string());
  return usable ? stored : ordered_json();
}

Status Store(const fs::path& file, const ordered_json& result) {
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  const fs::path partial = fmt::format("{}.partial.{}", file.string(), getpid());
  {
    std::ofstream stream(partial);
    stream << result.dump(2) << '\n';
    if (!stream.flush()) {
      fs::remove(partial, error);
      return Internal(fmt::format("cannot write {}", partial.string()));
    }
  }
  fs::rename(partial, file, error);
  return error ? Internal(fmt::format("cannot write {}: {}", file.string(), error.message())) : Status{};
}

}  // namespace

Tuner::Tuner(TunerOptions options) : options_(std::move(options)) {}

Tuner::~Tuner() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

void Tuner::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  changed_.notify_all();
}

void Tuner::Enqueue(const std::shared_ptr<ModelVersion>& version, Sample sample) {
  version->SetTuning({{"state", "waiting"}});
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    jobs_.push_back({version, std::move(sample), SteadyClock::now() + options_.delay});
    if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  }
  changed_.notify_all();
}

void Tuner::Run() {
  pthread_setname_np(pthread_self(), "tuner");
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    const TimePoint due = jobs_.front().due;
    if (changed_.wait_until(lock, due, [&] { return stopping_.load(); })) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    busy_ = true;
    if (const std::shared_ptr<ModelVersion> version = job.version.lock()) Tune(*version, job.sample);
    busy_ = false;
    lock.lock();
  }
}

fs::path Tuner::FileFor(const ModelVersion& version, const std::string& key) const {
  if (options_.folder.empty() || version.info().artifact.empty()) return {};
  const Result<FileDigest> digest = DigestFile(version.info().artifact);
  if (!digest) return {};
  return options_.folder /
         fmt::format("{}-{}.json", digest->sha256.substr(0, 32), Sha256OfBytes(key).substr(0, 16));
}

void Tuner::Tune(ModelVersion& version, const Sample& sample) {
  const std::lock_guard lock(one_at_a_time_);
  // A thread of its own: with it end its team of OpenMP, oneDNN's scratch memory and its part of the heap,
  // which held every variant that was tried. What the losers used can then go back to the system.
  std::thread([&] { Search(version, sample); }).join();
  ReturnFreeMemory();
}

/// In a process of its own where there is something to lose: variants that this process need not know.
Result<SearchResult> Tuner::Choose(const ModelVersion& version, const std::vector<SizedBatch>& batches,
                                   const SearchOptions& options) const {
  const VersionInfo& info = version.info();
  const std::shared_ptr<Runtime> plain = version.runtime();
  if (options_.search_command.empty() || info.artifact.empty() || plain->Variants(options.precision).empty())
    return SearchVariants(plain, batches, options);
  const Result<SearchResult> found =
      SearchApart(options_.search_command, {info.artifact, info.loading, batches, options});
  if (!found && found.error().code == Code::kNotImplemented) {
    LogWarning("model {} version {}: the server itself searches, for no process can be started: {}",
               info.name, info.version, found.error().message);
    return SearchVariants(plain, batches, options);
  }
  if (!found) return found.error();
  Result<SearchResult> ready = MakeReady(plain, found->variant, found->threads, batches, options.stop);
  if (!ready) return ready.error();
  ready->workers = found->workers;
  ready->trials = found->trials;
  return ready;
}

void Tuner::Search(ModelVersion& version, const Sample& sample) try {
  const auto stop = [&] { return stopping_.load(std::memory_order_relaxed) || version.closing(); };
  if (stop()) return;
  const VersionInfo& info = version.info();
  const TimePoint start = SteadyClock::now();
  const auto seconds = [&] {
    return Rounded(std::chrono::duration<double>(SteadyClock::now() - start).count());
  };
  const auto give_up = [&](const Status& why) {
    version.SetTuning(
        {{"state", stop() ? "stopped" : "failed"}, {"variant", "plain"}, {"reason", why.message}});
    if (!stop()) LogWarning("model {} version {}: not tuned: {}", info.name, info.version, why.message);
  };
  version.SetTuning({{"state", "running"}, {"variant", "plain"}});

  const Result<std::vector<SizedBatch>> batches = version.Batches(sample);
  if (!batches) return give_up(batches.error());
  const std::string key = KeyOf(version, *batches, options_.cpus);
  const fs::path file = FileFor(version, key);
  const std::shared_ptr<Runtime> plain = version.runtime();

  ordered_json report = file.empty() ? ordered_json() : ReadStored(file, key);
  Result<SearchResult> found = Internal("");
  if (!report.is_null()) {
    found = MakeReady(plain, report["variant"], report["threads"], *batches, stop);
    if (found) found->workers = report["workers"];
  }
  const bool stored = static_cast<bool>(found);
  if (!stored) {
    SearchOptions options;
    options.precision = version.options().precision;
    options.threads = std::max(1, version.options().intra_op_threads);
    options.cpus = options_.cpus;
    options.may_add_workers = version.options().workers_planned;
    options.budget = options_.budget;
    options.stop = stop;
    found = Choose(version, *batches, options);
    if (!found) return give_up(found.error());
    report = {{"format", kFormat},         {"key", key},
              {"variant", found->variant}, {"workers", found->workers},
              {"threads", found->threads}, {"trials", TrialsJson(found->trials)}};
    if (const Status status = file.empty() ? Status{} : Store(file, report); !status.ok()) {
      LogWarning("model {} version {}: the result of tuning is not kept: {}", info.name, info.version,
                 status.message);
    }
  }
  if (stop()) return;
  version.Use(*found);
  if (found->workers > 1 && version.MinWorkers() == 1) version.Scale(found->workers, found->workers, false);
  report.erase("format");
  ordered_json shown{{"state", stored ? "stored" : "done"}, {"seconds", seconds()}};
  shown.update(report);
  version.SetTuning(std::move(shown));
  LogInfo("Model {} version {} runs as `{}` with {} worker(s) x {} thread(s) ({} in {} s).", info.name,
          info.version, found->variant, found->workers, found->threads,
          stored ? "as found before, ready" : "tuned", seconds());
} catch (const std::exception& error) {  // traffic goes on with what there is
  version.SetTuning({{"state", "failed"}, {"reason", error.what()}});
  LogWarning("model {} version {}: not tuned: {}", version.info().name, version.info().version, error.what());
}

}  // namespace serve
