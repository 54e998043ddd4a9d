#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tools/cli/api_client.h"

namespace serve {

using Json = nlohmann::ordered_json;

/// A text as it is, anything else as JSON.
std::string Text(const Json& value);
/// The member as text; empty when there is none.
std::string Field(const Json& object, const char* key);
/// Columns as wide as their longest cell; the last one is not padded.
std::string Table(const std::vector<std::vector<std::string>>& rows);
/// Reports an answer that no management API sends.
int UnexpectedAnswer(const ApiClient& client, const HttpAnswer& answer);

}  // namespace serve
