#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/base/status.h"
#include "serve/request/request.h"

namespace serve {

/// What a node does that is no model. They take microseconds and run where the request is, on its I/O thread.
enum class NodeFunction : std::uint8_t {
  kNone,       // the node is a model
  kPass,       // gives on what it got: one start for several models
  kMerge,      // one JSON object: predecessor → what it answered
  kBestLabel,  // {"cat": 0.9, "dog": 0.1} → the text `cat`
};

/// `pass`, `merge`, `best_label`.
std::optional<NodeFunction> FindNodeFunction(std::string_view name);
std::string_view NodeFunctionName(NodeFunction function);
/// `pass, merge, best_label`, for errors.
std::string_view NodeFunctionNames();

/// One answer on its way through a function.
struct NamedBody {
  std::string_view name;  // of the node that gave it
  std::string_view body;
  std::string_view content_type;
};

/// `{"a": …, "b": …}` in the order of `items`: JSON as it is, digit for digit; text as a JSON text.
/// Errors: kInvalidArgument naming the node that gave neither.
Result<Response> MergeBodies(const std::vector<NamedBody>& items);
/// The label with the largest number, as text/plain. Errors: kInvalidArgument for anything but a JSON object
/// of numbers with at least one.
Result<Response> BestLabel(const NamedBody& item);

}  // namespace serve
