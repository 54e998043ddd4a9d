#include "serve/workflow/functions.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace serve {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::pair<std::string_view, NodeFunction> kFunctions[] = {
    {"pass", NodeFunction::kPass}, {"merge", NodeFunction::kMerge}, {"best_label", NodeFunction::kBestLabel}};

bool IsJson(std::string_view type) { return type == "application/json" || type.ends_with("+json"); }

std::string Quoted(std::string_view text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::optional<NodeFunction> FindNodeFunction(std::string_view name) {
  for (const auto& [known, function] : kFunctions) {
    if (known == name) return function;
  }
  return std::nullopt;
}

std::string_view NodeFunctionName(NodeFunction function) {
  for (const auto& [name, known] : kFunctions) {
    if (known == function) return name;
  }
  return "";
}

std::string_view NodeFunctionNames() { return "pass, merge, best_label"; }

Result<Response> MergeBodies(const std::vector<NamedBody>& items) {
  Response merged;
  std::size_t bytes = 2;
  for (const NamedBody& item : items) bytes += item.name.size() + item.body.size() + 8;
  merged.body.reserve(bytes);
  merged.body += '{';
  for (const NamedBody& item : items) {
    if (merged.body.size() > 1) merged.body += ',';
    merged.body += Quoted(item.name);
    merged.body += ':';
    const bool text = item.content_type.starts_with("text/");
    if (!text && Json::accept(item.body)) {  // a check without a copy: numbers keep their digits
      merged.body += item.body;
    } else if (IsJson(item.content_type) || !text) {
      return InvalidArgument(fmt::format(
          "node {} gave {} bytes of {} that are no JSON, so they fit into no JSON object", item.name,
          item.body.size(), item.content_type.empty() ? "no type" : item.content_type));
    } else {
      merged.body += Quoted(item.body);
    }
  }
  merged.body += '}';
  return merged;
}

Result<Response> BestLabel(const NamedBody& item) {
  const auto refuse = [&item](std::string_view why) {
    return InvalidArgument(fmt::format(
        "best_label takes a JSON object of numbers, as {{\"cat\": 0.9, \"dog\": 0.1}}; node {} gave {}",
        item.name, why));
  };
  // An object of numbers is two levels deep at most; anything deeper is cut off while it is read.
  bool deep = false;
  const auto shallow = [&deep](int depth, Json::parse_event_t event, Json&) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth > 0) deep = true;
    return !opens || depth == 0;
  };
  const Json labels = Json::parse(item.body, shallow, false);
  if (labels.is_discarded() || !labels.is_object()) return refuse("something else");
  if (deep || labels.empty()) return refuse(deep ? "an object of something else" : "an empty one");
  std::string best;
  std::optional<double> highest;
  for (const auto& [label, number] : labels.items()) {
    if (!number.is_number()) return refuse(fmt::format("no number for {}", Quoted(label)));
    const auto value = number.get<double>();
    if (highest && !(value > *highest)) continue;
    best = label;
    highest = value;
  }
  return Response{std::move(best), "text/plain"};
}

}  // namespace serve
