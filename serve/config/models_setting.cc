#include "serve/config/models_setting.h"

#include <optional>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace serve {
namespace {

using nlohmann::json;

constexpr int kMaxNumber = 100'000'000;

Status ReadNumber(const json& map, const char* key, std::optional<int>& number) {
  const auto found = map.find(key);
  if (found == map.end() || found->is_null()) return {};
  if (!found->is_number_integer()) return InvalidArgument(fmt::format("`{}` must be a whole number", key));
  const auto value = found->get<std::int64_t>();
  if (value > kMaxNumber) return InvalidArgument(fmt::format("`{}` is above {}", key, kMaxNumber));
  if (value > 0) number = static_cast<int>(value);
  return {};
}

template <class Unit>
Status ReadTime(const json& map, const char* key, std::optional<std::chrono::milliseconds>& time) {
  std::optional<int> number;
  if (Status status = ReadNumber(map, key, number); !status.ok()) return status;
  if (number) time = Unit(*number);
  return {};
}

Status ReadVersion(const json& map, ModelConfig& config) {
  if (!map.is_object()) return InvalidArgument("it must be an object");
  for (const Status& status :
       {ReadNumber(map, "minWorkers", config.min_workers), ReadNumber(map, "maxWorkers", config.max_workers),
        ReadNumber(map, "batchSize", config.batch_size),
        ReadTime<std::chrono::milliseconds>(map, "maxBatchDelay", config.max_batch_delay),
        ReadTime<std::chrono::seconds>(map, "responseTimeout", config.response_timeout),
        ReadTime<std::chrono::seconds>(map, "startupTimeout", config.startup_timeout)}) {
    if (!status.ok()) return status;
  }
  if (const auto found = map.find("defaultVersion"); found != map.end()) {
    if (!found->is_boolean()) return InvalidArgument("`defaultVersion` must be true or false");
    config.default_version = found->get<bool>();
  }
  return {};
}

}  // namespace

Result<ModelConfigs> ParseModelsSetting(std::string_view text) {
  const json parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded()) return InvalidArgument("it is no JSON");
  if (!parsed.is_object()) return InvalidArgument("it must be an object: name → version → values");
  ModelConfigs configs;
  for (const auto& [name, versions] : parsed.items()) {
    if (!versions.is_object()) {
      return InvalidArgument(fmt::format("model `{}`: it must be an object of versions", name));
    }
    for (const auto& [version, values] : versions.items()) {
      if (Status status = ReadVersion(values, configs[name][version]); !status.ok()) {
        return InvalidArgument(fmt::format("model `{}` version `{}`: {}", name, version, status.message));
      }
    }
  }
  return configs;
}

}  // namespace serve
