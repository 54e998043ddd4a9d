#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "serve/base/status.h"
#include "serve/model/search_process.h"
#include "serve/model/variant_search.h"

namespace serve {

// How a SearchJob travels to another process of the same program, and its result back. No format for keeps.

/// One line of JSON; the bytes of all tensors follow it, see JobTensors.
std::string JobHeader(const SearchJob& job);
/// The tensors of all batches, in the order in which their bytes travel.
std::vector<const Tensor*> JobTensors(const SearchJob& job);
/// Errors: kInvalidArgument for what is not header and bytes of a job.
Result<SearchJob> ParseJob(std::string_view bytes);

nlohmann::ordered_json FoundJson(const SearchResult& result);
/// Errors: kInternal for what is no result.
Result<SearchResult> ParseFound(const nlohmann::ordered_json& found);

}  // namespace serve
