#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "handlers/text/token_choice.h"
#include "serve/base/status.h"
#include "serve/request/request.h"

namespace serve {

/// How one answer is generated. The handler's options are the defaults of the requests.
struct GenerateOptions {
  std::int64_t max_new_tokens = 64;
  TokenChoice choice;
  std::int64_t eos_id = -1;  // generating ends there; -1: no such token
  std::optional<std::uint64_t> seed{};
  bool stream = true;
};

/// What a client asks for.
struct GenerateRequest {
  std::string prompt;                   // when there are no ids
  std::vector<std::int64_t> input_ids;  // empty: there is a prompt
  GenerateOptions options;
  bool instances = false;  // asked as {"instances": [...]}, KServe v1
};

/// Reads a request.
///
/// Text: a raw body, or a form's field `data`: the prompt.
/// JSON: {"prompt": "..."} (also "text", "data") or {"input_ids": [1, 2]}, and beside it max_new_tokens,
///       temperature, top_k, seed, eos_id, stream; other keys are ignored. {"instances": [{...}]} with one
///       instance is answered as {"predictions": [...]}, at once. Taken for JSON when its type ends with
///       json, and when a raw body without a type begins with `{`.
/// Errors:  kInvalidArgument with the key.
/// Threads: any; each keeps a JSON parser.
Result<GenerateRequest> ReadGenerateRequest(const Request& request, const GenerateOptions& defaults,
                                            std::int64_t most_new_tokens);

}  // namespace serve
