#include "serve/telemetry/metrics_config.h"

#include <algorithm>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

namespace serve {
namespace {

using Type = TorchServeMetric::Type;

const TorchServeMetric* FindDefault(const std::string& name) {
  const std::vector<TorchServeMetric>& known = DefaultTorchServeMetrics();
  const auto found =
      std::find_if(known.begin(), known.end(), [&](const auto& metric) { return metric.name == name; });
  return found == known.end() ? nullptr : &*found;
}

/// Empty when there is no such text.
std::string TextOf(const YAML::Node& map, const char* key) {
  const YAML::Node node = map[key];
  return node && node.IsScalar() ? node.Scalar() : std::string();
}

/// Reads one section; the first thing that is wrong ends it.
class Section {
 public:
  Section(std::string name, bool of_model, MetricsConfig& out)
      : name_(std::move(name)), of_model_(of_model), out_(out) {}

  Status Read(const YAML::Node& root) {
    const YAML::Node section = root[name_];
    if (!section || section.IsNull()) return {};
    if (!section.IsMap()) return InvalidArgument(name_ + " must be a map of counter, gauge and histogram");
    for (const auto& entry : section) {
      const YAML::Node list = entry.second;
      const std::string type = entry.first.IsScalar() ? entry.first.Scalar() : "";
      if (type != "counter" && type != "gauge" && type != "histogram") {
        return InvalidArgument(
            fmt::format("{} has `{}`; counter, gauge and histogram are known", name_, type));
      }
      if (list.IsNull()) continue;
      if (!list.IsSequence()) return InvalidArgument(fmt::format("{}.{} must be a list", name_, type));
      for (std::size_t i = 0; i < list.size(); ++i) {
        const std::string place = fmt::format("{}.{}[{}]", name_, type, i);
        if (Status read = ReadEntry(list[i], type, place); !read.ok()) return read;
      }
    }
    return {};
  }

 private:
  Status ReadEntry(const YAML::Node& entry, const std::string& type, const std::string& place) {
    if (!entry.IsMap()) return InvalidArgument(place + " must be a map with name, unit and dimensions");
    TorchServeMetric metric;
    metric.name = TextOf(entry, "name");
    metric.unit = TextOf(entry, "unit");
    if (metric.name.empty() || metric.unit.empty()) {
      return InvalidArgument(fmt::format("{} needs a name and a unit", place));
    }
    const YAML::Node dimensions = entry["dimensions"];
    if (dimensions && !dimensions.IsNull()) {
      if (!dimensions.IsSequence()) return InvalidArgument(place + ".dimensions must be a list");
      for (const auto& dimension : dimensions) {
        if (!dimension.IsScalar()) return InvalidArgument(place + ".dimensions must be a list of names");
        metric.dimensions.push_back(dimension.Scalar());
      }
    }
    if (of_model_) metric.dimensions.emplace_back("Hostname");
    metric.type = type == "counter" ? Type::kCounter : Type::kGauge;
    metric.of_model = of_model_;
    Keep(std::move(metric), type);
    return {};
  }

  void Keep(TorchServeMetric metric, const std::string& type) {
    const TorchServeMetric* known = FindDefault(metric.name);
    const auto skip = [&](std::string_view why) {
      out_.warnings.push_back(fmt::format("{}: {} is not exported: {}", name_, metric.name, why));
    };
    if (metric.name.starts_with("GPU")) return skip("this version computes on CPUs");
    if (known == nullptr) return skip("it is not one of TorchServe's own, and models run without Python");
    if (type == "histogram")
      return skip("of times there are histograms of our own, such as flambeau_queue_seconds");
    if (metric.dimensions.size() != known->dimensions.size()) {
      out_.warnings.push_back(fmt::format("{}: {} keeps its dimensions {}: {} were expected, {} are named",
                                          name_, metric.name, fmt::join(known->dimensions, ", "),
                                          known->dimensions.size(), metric.dimensions.size()));
      metric.dimensions = known->dimensions;
    }
    const auto same = [&](const auto& other) { return other.name == metric.name; };
    if (std::any_of(out_.metrics.begin(), out_.metrics.end(), same)) return skip("it stands there twice");
    out_.metrics.push_back(std::move(metric));
  }

  const std::string name_;
  const bool of_model_;
  MetricsConfig& out_;
};

}  // namespace

const std::vector<TorchServeMetric>& DefaultTorchServeMetrics() {
  static const std::vector<TorchServeMetric> metrics = [] {
    const std::vector<std::string> host = {"Level", "Hostname"};
    const std::vector<std::string> version = {"model_name", "model_version", "hostname"};
    const std::vector<std::string> model = {"ModelName", "Level", "Hostname"};
    return std::vector<TorchServeMetric>{
        {"Requests2XX", "Count", Type::kCounter, host},
        {"Requests4XX", "Count", Type::kCounter, host},
        {"Requests5XX", "Count", Type::kCounter, host},
        {"ts_inference_requests_total", "Count", Type::kCounter, version},
        {"ts_inference_latency_microseconds", "Microseconds", Type::kCounter, version},
        {"ts_queue_latency_microseconds", "Microseconds", Type::kCounter, version},
        {"QueueTime", "Milliseconds", Type::kGauge, host},
        {"WorkerThreadTime", "Milliseconds", Type::kGauge, host},
        {"WorkerLoadTime", "Milliseconds", Type::kGauge, {"WorkerName", "Level", "Hostname"}},
        {"CPUUtilization", "Percent", Type::kGauge, host},
        {"MemoryUsed", "Megabytes", Type::kGauge, host},
        {"MemoryAvailable", "Megabytes", Type::kGauge, host},
        {"MemoryUtilization", "Percent", Type::kGauge, host},
        {"DiskUsage", "Gigabytes", Type::kGauge, host},
        {"DiskUtilization", "Percent", Type::kGauge, host},
        {"DiskAvailable", "Gigabytes", Type::kGauge, host},
        {"HandlerTime", "ms", Type::kGauge, model, true},
        {"PredictionTime", "ms", Type::kGauge, model, true},
    };
  }();
  return metrics;
}

Result<MetricsConfig> ParseMetricsConfig(std::string_view text) {
  MetricsConfig config;
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (!root.IsMap()) return InvalidArgument("it must be a map with ts_metrics and model_metrics");
    for (const bool of_model : {false, true}) {
      Section section(of_model ? "model_metrics" : "ts_metrics", of_model, config);
      if (Status read = section.Read(root); !read.ok()) return read;
    }
  } catch (const YAML::Exception& error) {
    return InvalidArgument(fmt::format("it is no YAML: {}", error.what()));
  }
  return config;
}

}  // namespace serve
