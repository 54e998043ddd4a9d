#include "serve/workflow/specification.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

namespace serve {
namespace {

constexpr std::size_t kLongestKey = 100;  // errors repeat keys

/// A number of `models:` or of one model.
struct NumberKey {
  std::string_view key;
  int low;
  int high;
  void (*set)(NodeSettings&, int);
};
constexpr NumberKey kNumberKeys[] = {
    {"min-workers", 0, 1024, [](NodeSettings& s, int n) { s.min_workers = n; }},
    {"max-workers", 1, 1024, [](NodeSettings& s, int n) { s.max_workers = n; }},
    {"batch-size", 1, 100'000, [](NodeSettings& s, int n) { s.batch_size = n; }},
    {"max-batch-delay", 0, 600'000,
     [](NodeSettings& s, int n) { s.max_batch_delay = std::chrono::milliseconds(n); }},
    {"retry-attempts", 0, 10, [](NodeSettings& s, int n) { s.retry_attempts = n; }},
    {"timeout-ms", 1, 86'400'000, [](NodeSettings& s, int n) { s.timeout = std::chrono::milliseconds(n); }},
};

const NumberKey* FindNumberKey(std::string_view key) {
  const auto* found = std::find_if(std::begin(kNumberKeys), std::end(kNumberKeys),
                                   [key](const NumberKey& row) { return row.key == key; });
  return found == std::end(kNumberKeys) ? nullptr : found;
}

/// The keys that stand in one place, as errors list them.
std::string NumberKeys() {
  std::string text;
  for (const NumberKey& row : kNumberKeys) text += fmt::format(", {}", row.key);
  return text;
}

/// Reads the events of a text without making anything of them: an alias inside an alias would otherwise stand
/// for any number of nodes, and nesting costs stack.
class Sentry final : public YAML::EventHandler {
 public:
  std::string problem;

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { Look(mark, anchor); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { Look(mark, 1); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string&) override {
    Look(mark, anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Look(mark, anchor);
    Enter(mark);
  }
  void OnSequenceEnd() override { --depth_; }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Look(mark, anchor);
    Enter(mark);
  }
  void OnMapEnd() override { --depth_; }

 private:
  static constexpr int kMaxDepth = 8;

  void Look(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != 0) Refuse(mark, "anchors and aliases (& and *) are not taken; write the values out");
  }
  void Enter(const YAML::Mark& mark) {
    if (++depth_ > kMaxDepth) Refuse(mark, fmt::format("it is nested deeper than {} levels", kMaxDepth));
  }
  [[noreturn]] void Refuse(const YAML::Mark& mark, const std::string& why) {
    problem = fmt::format("line {}: {}", mark.line + 1, why);
    throw YAML::ParserException(mark, why);  // the only way to end the parser
  }

  int depth_ = 0;
};

Status Invalid(std::string text) {
  return InvalidArgument("the workflow's specification: " + std::move(text));
}

/// Goes through the map of one place; `each` gets key and value and may refuse them.
template <class Each>
Status ForEachEntry(const YAML::Node& map, std::string_view place, std::size_t max_entries, Each each) {
  if (!map.IsMap()) return Invalid(fmt::format("`{}` must be a map", place));
  std::set<std::string, std::less<>> seen;
  for (const auto& entry : map) {
    if (!entry.first.IsScalar()) return Invalid(fmt::format("`{}` has a key that is no text", place));
    const std::string& key = entry.first.Scalar();
    if (key.size() > kLongestKey) {
      return Invalid(
          fmt::format("`{}` has a key of {} bytes, allowed are {}", place, key.size(), kLongestKey));
    }
    if (!seen.insert(key).second) return Invalid(fmt::format("`{}` has the key {} twice", place, key));
    if (seen.size() > max_entries) {
      return Invalid(fmt::format("`{}` has more than {} entries, which is the limit (max_workflow_nodes)",
                                 place, max_entries));
    }
    if (Status status = each(key, entry.second); !status.ok()) return status;
  }
  return {};
}

/// Letters, digits, `_`, `-` and `.`: a part of the model's name.
Status CheckNodeName(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  };
  if (!name.empty() && name.size() <= 100 && std::all_of(name.begin(), name.end(), allowed)) return {};
  return Invalid(fmt::format("a node's name is 1 to 100 letters, digits, `_`, `-` and `.`, not `{}`",
                             name.substr(0, 100)));
}

class Reader {
 public:
  explicit Reader(const SpecificationLimits& limits) : limits_(limits) {}

  Result<Specification> Read(const YAML::Node& root) {
    if (!root.IsMap()) return Invalid("it must be a map with `models` and `dag`");
    std::optional<YAML::Node> models;
    std::optional<YAML::Node> functions;
    std::optional<YAML::Node> dag;
    Status status = ForEachEntry(root, "the file", 16, [&](const std::string& key, const YAML::Node& value) {
      if (key == "models") {
        models = value;
      } else if (key == "functions") {
        functions = value;
      } else if (key == "dag") {
        dag = value;
      } else {
        return Invalid(fmt::format("unknown key {}; known: models, functions, dag", key));
      }
      return Status{};
    });
    if (!status.ok()) return status;
    if (!models) return Invalid("`models` is missing");
    if (!dag) return Invalid("`dag` is missing");
    for (const auto& step : {&Reader::ReadDefaults, &Reader::ReadModels}) {
      if (status = (this->*step)(*models); !status.ok()) return status;
    }
    if (functions && !functions->IsNull()) {
      if (status = ReadFunctions(*functions); !status.ok()) return status;
    }
    if (status = ReadDag(*dag); !status.ok()) return status;
    return std::move(result_);
  }

 private:
  /// Takes one number; nullopt: the key is none of them.
  std::optional<Status> TakeNumber(const std::string& place, const std::string& key, const YAML::Node& value,
                                   NodeSettings& settings, bool& has_max) const {
    const NumberKey* row = FindNumberKey(key);
    if (row == nullptr) return std::nullopt;
    int number = 0;
    const bool quoted = value.IsScalar() && value.Tag() == "!";
    if (!value.IsScalar() || quoted || !YAML::convert<int>::decode(value, number) || number < row->low ||
        number > row->high) {
      return Invalid(
          fmt::format("{}: {} must be a whole number from {} to {}", place, key, row->low, row->high));
    }
    row->set(settings, number);
    has_max = has_max || key == "max-workers";
    return Status{};
  }

  /// A minimum alone raises the maximum that nobody named.
  static Status FitWorkers(const std::string& place, bool has_max, NodeSettings& settings) {
    if (!has_max) settings.max_workers = std::max(settings.max_workers, settings.min_workers);
    if (settings.max_workers >= settings.min_workers) return {};
    return Invalid(fmt::format("{}: max-workers is {}, less than min-workers, which is {}", place,
                               settings.max_workers, settings.min_workers));
  }

  /// The numbers first: they may stand behind the models.
  Status ReadDefaults(const YAML::Node& map) {
    Status status = ForEachEntry(
        map, "models", limits_.max_nodes + std::size(kNumberKeys),
        [this](const std::string& key, const YAML::Node& value) {
          return TakeNumber("models", key, value, result_.defaults, default_max_).value_or(Status{});
        });
    return status.ok() ? FitWorkers("models", default_max_, result_.defaults) : status;
  }

  Status ReadModels(const YAML::Node& map) {
    return ForEachEntry(map, "models", limits_.max_nodes + std::size(kNumberKeys),
                        [this](const std::string& name, const YAML::Node& value) {
                          return FindNumberKey(name) != nullptr ? Status{} : ReadModel(name, value);
                        });
  }

  Status ReadModel(const std::string& name, const YAML::Node& map) {
    if (Status status = CheckNodeName(name); !status.ok()) return status;
    const std::string place = "model " + name;
    if (!map.IsMap()) {
      return Invalid(fmt::format("{}: it must be a map with `url` (models knows besides{})", place,
                                 NumberKeys().substr(1)));
    }
    NodeSpec& node = nodes_[name];
    node.settings = result_.defaults;
    bool has_max = default_max_;
    Status status = ForEachEntry(map, place, 32, [&](const std::string& key, const YAML::Node& value) {
      if (std::optional<Status> taken = TakeNumber(place, key, value, node.settings, has_max)) return *taken;
      if (key != "url")
        return Invalid(fmt::format("{}: unknown key {}; known: url{}", place, key, NumberKeys()));
      if (value.IsScalar()) node.url = value.Scalar();
      return Status{};
    });
    if (!status.ok()) return status;
    if (node.url.empty())
      return Invalid(fmt::format("{}: `url` is missing: the archive that holds it", place));
    return FitWorkers(place, has_max, node.settings);
  }

  Status ReadFunctions(const YAML::Node& map) {
    return ForEachEntry(
        map, "functions", limits_.max_nodes, [this](const std::string& name, const YAML::Node& value) {
          if (Status status = CheckNodeName(name); !status.ok()) return status;
          if (nodes_.contains(name))
            return Invalid(fmt::format("node {} is a model and a function; rename one", name));
          const auto function = value.IsScalar() ? FindNodeFunction(value.Scalar()) : std::nullopt;
          if (!function) {
            return Invalid(fmt::format("function {}: it must be one of {}; Python functions do not run here",
                                       name, NodeFunctionNames()));
          }
          nodes_[name].function = *function;
          return Status{};
        });
  }

  Status ReadDag(const YAML::Node& map) {
    std::vector<DagEntry> dag;
    Status status =
        ForEachEntry(map, "dag", limits_.max_nodes, [&](const std::string& name, const YAML::Node& value) {
          std::vector<std::string>& next = dag.emplace_back(name, std::vector<std::string>()).second;
          if (value.IsScalar()) {
            next.push_back(value.Scalar());
          } else if (value.IsSequence()) {
            for (const auto& item : value) {
              if (!item.IsScalar() || next.size() > limits_.max_nodes) {
                return Invalid(fmt::format("dag: node {} must name the nodes that follow, as [a, b]", name));
              }
              next.push_back(item.Scalar());
            }
          } else if (!value.IsNull()) {
            return Invalid(fmt::format("dag: node {} must name the nodes that follow, as [a, b]", name));
          }
          return Status{};
        });
    if (!status.ok()) return status;
    if (status = CheckKnown(dag); !status.ok()) return status;
    Result<Graph> graph = MakeGraph(dag, limits_.max_nodes);
    if (!graph) return graph.error();
    result_.graph = std::move(*graph);
    for (const std::string& name : result_.graph.names) {
      result_.nodes.push_back(std::move(nodes_.find(name)->second));
      nodes_.erase(name);
    }
    if (!nodes_.empty()) return Invalid(fmt::format("node {} is not in the dag", nodes_.begin()->first));
    return CheckFunctions();
  }

  /// Every node of the dag is a model or a function.
  Status CheckKnown(const std::vector<DagEntry>& dag) const {
    const auto known = [this](const std::string& name) { return nodes_.contains(name); };
    std::set<std::string> unknown;
    for (const auto& [name, next] : dag) {
      if (!known(name)) unknown.insert(name.substr(0, 100));
      for (const std::string& successor : next) {
        if (!known(successor)) unknown.insert(successor.substr(0, 100));
      }
      if (unknown.size() > 10) break;
    }
    if (unknown.empty()) return {};
    std::string list;
    for (const std::string& name : unknown) list += (list.empty() ? "" : ", ") + name;
    return Invalid(
        fmt::format("the dag names {}, which `models` does not know; Python functions do not run here, but a "
                    "node may be one of these under `functions`: {}",
                    list, NodeFunctionNames()));
  }

  [[nodiscard]] Status CheckFunctions() const {
    const Graph& graph = result_.graph;
    for (std::size_t node = 0; node < graph.size(); ++node) {
      const NodeFunction function = result_.nodes[node].function;
      const std::size_t before = graph.previous[node].size();
      if (function == NodeFunction::kMerge && before == 0) {
        return Invalid(fmt::format(
            "node {}: merge joins what other nodes answered, so it cannot be the start", graph.names[node]));
      }
      if ((function == NodeFunction::kPass || function == NodeFunction::kBestLabel) && before > 1) {
        return Invalid(fmt::format("node {}: {} follows one node, not {}; put a merge before it",
                                   graph.names[node], NodeFunctionName(function), before));
      }
    }
    return {};
  }

  const SpecificationLimits& limits_;
  Specification result_;
  bool default_max_ = false;
  std::map<std::string, NodeSpec, std::less<>> nodes_;  // those that the dag has not taken yet
};

}  // namespace

Result<Specification> ParseSpecification(std::string_view yaml, const SpecificationLimits& limits) {
  if (yaml.size() > limits.max_bytes) {
    return Invalid(fmt::format("it has {} bytes, allowed are {}", yaml.size(), limits.max_bytes));
  }
  Sentry sentry;
  try {
    const std::string text(yaml);
    std::istringstream stream(text);
    YAML::Parser(stream).HandleNextDocument(sentry);
    return Reader(limits).Read(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    if (!sentry.problem.empty()) return Invalid(sentry.problem);
    return Invalid(fmt::format("it is no valid YAML: {}", error.what()));
  }
}

std::chrono::milliseconds DefaultTimeout(const Specification& specification) {
  const Graph& graph = specification.graph;
  std::vector<std::chrono::milliseconds> until(graph.size());
  std::chrono::milliseconds longest{0};
  for (const std::size_t node : graph.order) {
    for (const std::size_t before : graph.previous[node]) until[node] = std::max(until[node], until[before]);
    if (specification.nodes[node].function == NodeFunction::kNone) {
      until[node] += specification.nodes[node].settings.timeout;
    }
    longest = std::max(longest, until[node]);
  }
  return longest;
}

}  // namespace serve
