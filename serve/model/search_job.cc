#include "serve/model/search_job.h"

#include <cstring>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace serve {
namespace {

using nlohmann::ordered_json;

ordered_json TrialJson(const Trial& trial) {
  ordered_json json{{"variant", trial.variant}, {"workers", trial.workers}, {"threads", trial.threads}};
  if (trial.refused.empty()) {
    json["rows_per_second"] = trial.rows_per_second;
    json["max_difference"] = trial.max_difference;
  } else {
    json["refused"] = trial.refused;
  }
  return json;
}

Trial ParseTrial(const ordered_json& json) {
  Trial trial;
  trial.variant = json.at("variant").get<std::string>();
  trial.workers = json.at("workers").get<int>();
  trial.threads = json.at("threads").get<int>();
  trial.rows_per_second = json.value("rows_per_second", 0.0);
  trial.max_difference = json.value("max_difference", 0.0);
  trial.refused = json.value("refused", "");
  return trial;
}

/// Takes a tensor's bytes from the front of `rest`.
std::optional<Tensor> TakeTensor(const ordered_json& json, std::string_view& rest) {
  const std::optional<DType> dtype = ParseDType(json.at("dtype").get<std::string>());
  if (!dtype) return std::nullopt;
  Tensor described{*dtype, json.at("shape").get<std::vector<std::int64_t>>(), nullptr};
  if (described.elements() < 0 || described.bytes() > rest.size()) return std::nullopt;
  Tensor tensor = Tensor::Empty(described.dtype, described.shape);
  std::memcpy(tensor.data.get(), rest.data(), tensor.bytes());
  rest.remove_prefix(tensor.bytes());
  return tensor;
}

}  // namespace

std::vector<const Tensor*> JobTensors(const SearchJob& job) {
  std::vector<const Tensor*> tensors;
  for (const SizedBatch& batch : job.batches) {
    for (const Tensor& input : batch.inputs) tensors.push_back(&input);
  }
  return tensors;
}

std::string JobHeader(const SearchJob& job) {
  ordered_json inputs = ordered_json::array();
  for (const TensorSpec& spec : job.runtime.inputs) inputs.push_back(SpecText(spec));
  ordered_json batches = ordered_json::array();
  for (const SizedBatch& batch : job.batches) {
    ordered_json tensors = ordered_json::array();
    for (const Tensor& input : batch.inputs)
      tensors.push_back({{"dtype", DTypeName(input.dtype)}, {"shape", input.shape}});
    batches.push_back({{"rows", batch.rows}, {"inputs", std::move(tensors)}});
  }
  const ordered_json header{{"artifact", job.artifact.string()},
                            {"scratch", job.runtime.scratch.string()},
                            {"own_file", job.runtime.own_file},
                            {"inputs", std::move(inputs)},
                            {"batch", {job.runtime.batch.min, job.runtime.batch.max}},
                            {"precision", job.options.precision},
                            {"threads", job.options.threads},
                            {"cpus", job.options.cpus},
                            {"may_add_workers", job.options.may_add_workers},
                            {"refused", job.options.refused},
                            {"budget_ms", job.options.budget.count()},
                            {"batches", std::move(batches)}};
  // A path need not be UTF-8; one that is not would be another file.
  return header.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Result<SearchJob> ParseJob(std::string_view bytes) try {
  const std::size_t end = bytes.find('\n');
  if (end == std::string_view::npos) return InvalidArgument("the job of a search has no header");
  const ordered_json header = ordered_json::parse(bytes.substr(0, end));
  std::string_view rest = bytes.substr(end + 1);
  SearchJob job;
  job.artifact = header.at("artifact").get<std::string>();
  job.runtime.scratch = header.at("scratch").get<std::string>();
  job.runtime.own_file = header.at("own_file").get<bool>();
  for (const ordered_json& input : header.at("inputs")) {
    Result<TensorSpec> spec = ParseTensorSpec(input.get<std::string>());
    if (!spec) return spec.error();
    job.runtime.inputs.push_back(std::move(*spec));
  }
  job.runtime.batch.min = header.at("batch").at(0).get<std::int64_t>();
  job.runtime.batch.max = header.at("batch").at(1).get<std::int64_t>();
  job.options.precision = header.at("precision").get<Precision>();
  job.options.threads = header.at("threads").get<int>();
  job.options.cpus = header.at("cpus").get<int>();
  job.options.may_add_workers = header.at("may_add_workers").get<bool>();
  job.options.refused = header.at("refused").get<std::map<std::string, std::string>>();
  job.options.budget = std::chrono::milliseconds(header.at("budget_ms").get<std::int64_t>());
  for (const ordered_json& batch : header.at("batches")) {
    SizedBatch sized;
    sized.rows = batch.at("rows").get<std::int64_t>();
    for (const ordered_json& input : batch.at("inputs")) {
      std::optional<Tensor> tensor = TakeTensor(input, rest);
      if (!tensor) return InvalidArgument("the job of a search lacks bytes of its tensors");
      sized.inputs.push_back(std::move(*tensor));
    }
    job.batches.push_back(std::move(sized));
  }
  if (job.batches.empty()) return InvalidArgument("the job of a search has no batch");
  return job;
} catch (const ordered_json::exception& error) {
  return InvalidArgument(fmt::format("this is no job of a search: {}", error.what()));
}

ordered_json FoundJson(const SearchResult& result) {
  ordered_json trials = ordered_json::array();
  for (const Trial& trial : result.trials) trials.push_back(TrialJson(trial));
  return {{"variant", result.variant},
          {"workers", result.workers},
          {"threads", result.threads},
          {"trials", std::move(trials)}};
}

Result<SearchResult> ParseFound(const ordered_json& found) try {
  SearchResult result;
  result.variant = found.at("variant").get<std::string>();
  result.workers = found.at("workers").get<int>();
  result.threads = found.at("threads").get<int>();
  for (const ordered_json& trial : found.at("trials")) result.trials.push_back(ParseTrial(trial));
  if (result.workers < 1 || result.threads < 1) return Internal("a search found no workers or no threads");
  return result;
} catch (const ordered_json::exception& error) {
  return Internal(fmt::format("this is no result of a search: {}", error.what()));
}

}  // namespace serve
