#include "serve/model/model_config.h"

#include <iterator>
#include <limits>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "serve/base/files.h"

namespace serve {
namespace {

constexpr std::size_t kMaxBytes = 1024 * 1024;
constexpr int kMaxNumber = 100'000'000;

/// Keys that ask for something which models do not have here, with the value that asks for nothing.
struct UnusedKey {
  const char* key;
  const char* harmless;
  const char* reason;
};
constexpr UnusedKey kUnusedKeys[] = {
    {"deviceType", "cpu", "models compute on the CPU"},
    {"deviceIds", "", "models compute on the CPU"},
    {"parallelType", "", "a model is not spread over processes"},
    {"parallelLevel", "0", "a model is not spread over processes"},
    {"torchrun", "", "a model is not spread over processes"},
    {"maxRetryTimeoutInSec", "300", "workers are threads and need no recovery"},
    {"useJobTicket", "false", "jobQueueSize bounds what waits"},
    {"continuousBatching", "false", "models whose handler generates are always batched so"},
    {"asyncCommunication", "false", "workers are threads, and answers never wait for each other"},
    {"useVenv", "false", "models run without Python"},
};

/// Reads the known keys of one map; what cannot be used becomes a warning.
class Reader {
 public:
  Reader(const YAML::Node& map, ReadConfig& out) : map_(map), out_(out) {}

  /// A whole number; nullopt when there is none or it is none.
  std::optional<int> Integer(const char* key) {
    const YAML::Node node = map_[key];
    if (!node || node.IsNull()) return std::nullopt;
    int number = 0;
    const bool quoted = node.IsScalar() && node.Tag() == "!";  // "4" is a text in YAML
    if (!node.IsScalar() || quoted || !YAML::convert<int>::decode(node, number) || number > kMaxNumber) {
      Warn(key, "it must be a whole number");
      return std::nullopt;
    }
    return number;
  }

  std::optional<std::chrono::milliseconds> Seconds(const char* key) {
    const std::optional<int> number = Integer(key);
    if (!number) return std::nullopt;
    if (*number < 0) {
      Warn(key, "it must not be negative");
      return std::nullopt;
    }
    return std::chrono::seconds(*number);
  }

  bool Flag(const char* key) {
    const YAML::Node node = map_[key];
    bool flag = false;
    if (node && !node.IsNull() && (!node.IsScalar() || !YAML::convert<bool>::decode(node, flag))) {
      Warn(key, "it must be true or false");
    }
    return flag;
  }

  /// The scalars of the map `key`, as texts.
  void Texts(const char* key, std::map<std::string, std::string, std::less<>>& out) {
    const YAML::Node node = map_[key];
    if (!node || node.IsNull()) return;
    if (!node.IsMap()) return Warn(key, "it must be a map of options");
    for (const auto& entry : node) {
      std::string value = entry.second.IsScalar() ? entry.second.Scalar() : "";
      bool usable = entry.first.IsScalar() && (entry.second.IsScalar() || entry.second.IsSequence());
      for (std::size_t i = 0; usable && entry.second.IsSequence() && i < entry.second.size(); ++i) {
        usable = entry.second[i].IsScalar();
        if (usable) value += (i == 0 ? "" : ",") + entry.second[i].Scalar();
      }
      if (usable) {
        out.emplace(entry.first.Scalar(), value);
      } else {
        Warn(key, "one of its options is no text, number, flag or list of them");
      }
    }
  }

  void NoteUnused() {
    for (const UnusedKey& unused : kUnusedKeys) {
      const YAML::Node node = map_[unused.key];
      if (!node || node.IsNull() || (node.IsScalar() && node.Scalar() == unused.harmless)) continue;
      Warn(unused.key, unused.reason);
    }
  }

  void Warn(const char* key, const char* why) {
    out_.warnings.push_back(fmt::format("`{}` is ignored: {}", key, why));
  }

 private:
  const YAML::Node map_;
  ReadConfig& out_;
};

}  // namespace

Result<ReadConfig> ParseModelConfig(std::string_view yaml) try {
  if (yaml.size() > kMaxBytes) return InvalidArgument(fmt::format("it is larger than {} bytes", kMaxBytes));
  ReadConfig read;
  const YAML::Node map = YAML::Load(std::string(yaml));
  if (map.IsNull()) return read;
  if (!map.IsMap()) return InvalidArgument("it is no YAML map of keys and values");
  Reader reader(map, read);
  ModelConfig& config = read.config;
  const auto positive = [](std::optional<int> number) {
    return number ? std::optional(std::max(*number, 1)) : std::nullopt;
  };
  config.min_workers = positive(reader.Integer("minWorkers"));
  config.max_workers = reader.Integer("maxWorkers");
  if (config.max_workers && *config.max_workers < 0) config.max_workers.reset();
  config.batch_size = positive(reader.Integer("batchSize"));
  if (const auto delay = reader.Integer("maxBatchDelay"); delay && *delay > 0) {
    config.max_batch_delay = std::chrono::milliseconds(*delay);
  }
  config.response_timeout = reader.Seconds("responseTimeout");
  config.startup_timeout = reader.Seconds("startupTimeout");
  if (const auto limit = reader.Integer("clientTimeoutInMills"); limit && *limit > 0) {
    config.client_timeout = std::chrono::milliseconds(*limit);
  }
  if (const auto size = reader.Integer("jobQueueSize"); size && *size > 0) config.job_queue_size = *size;
  if (reader.Flag("sequenceBatching")) {
    SequenceOptions& sequences = config.sequences.emplace();
    sequences.enabled = true;
    const auto idle = reader.Integer("sequenceMaxIdleMSec");
    if (idle && *idle > 0) {
      sequences.max_idle = std::chrono::milliseconds(*idle);
    } else {
      reader.Warn("sequenceMaxIdleMSec", "it must be a number of milliseconds above 0; a minute is used");
    }
    sequences.timeout =
        std::chrono::milliseconds(std::max(reader.Integer("sequenceTimeoutMSec").value_or(0), 0));
    const auto count = [&](const char* key) {
      return static_cast<std::size_t>(std::max(reader.Integer(key).value_or(1), 1));
    };
    sequences.max_sequences = count("maxNumSequence");
    sequences.max_queued = count("maxSequenceJobQueueSize");
  }
  reader.Texts("handler", read.handler_options);
  reader.NoteUnused();
  return read;
} catch (const YAML::Exception& error) {
  return InvalidArgument(fmt::format("it is no valid YAML: {}", error.what()));
}

Result<ReadConfig> ReadModelConfig(const std::filesystem::path& file) {
  const Result<std::string> text = ReadFile(file, kMaxBytes);
  if (text) return ParseModelConfig(*text);
  return Status{text.error().code,
                fmt::format("cannot read {}: {}", file.filename().string(), text.error().message)};
}

}  // namespace serve
