#include "serve/http/management_parameters.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include <fmt/format.h>

#include "serve/base/log.h"
#include "serve/http/codec.h"

namespace serve {

Result<Parameters> Parameters::Read(const HttpRequest& request, Body body) {
  auto query = QueryParameters::Parse(request.query);
  if (!query) return query.error();
  Parameters parameters;
  parameters.query_ = std::move(*query);
  if (body == Body::kNone) return parameters;
  if (const Status decoded = DecodeJsonObject(request, parameters.body_); !decoded.ok()) return decoded;
  const std::string_view type = request.Header("content-type");
  const bool is_form =
      EqualsIgnoreCase(TrimBlanks(type.substr(0, type.find(';'))), "application/x-www-form-urlencoded");
  if (body == Body::kJsonOrForm && is_form) {
    const auto form = QueryParameters::Parse(request.body.view());
    if (!form) return form.error();
    parameters.body_ = nlohmann::json::object();
    for (const auto& [name, value] : form->items()) parameters.body_[name] = value;
  }
  return parameters;
}

Result<std::optional<std::string>> Parameters::Text(std::string_view name) const {
  if (const std::string* value = query_.Find(name)) return std::optional(*value);
  const nlohmann::json* value = InBody(name);
  if (value == nullptr) return std::optional<std::string>();
  return Scalar(name, *value);
}

Result<std::optional<int>> Parameters::Integer(std::string_view name) const {
  const bool from_query = query_.Find(name) != nullptr;
  const auto text = Text(name);
  if (!text) return text.error();
  if (!*text) return std::optional<int>();
  const std::string& digits = **text;
  int number = 0;
  const char* first = digits.data() + (digits.size() > 1 && digits[0] == '+' ? 1 : 0);
  const auto [end, error] = std::from_chars(first, digits.data() + digits.size(), number);
  if (error == std::errc() && end == digits.data() + digits.size()) return std::optional(number);
  if (!from_query) {
    return InvalidArgument(fmt::format("Parameter {} must be an integer, not `{}`.", name, digits));
  }
  LogWarning("the parameter {}=`{}` is not an integer; its default is used", name, digits);
  return std::optional<int>();
}

Result<bool> Parameters::Boolean(std::string_view name, bool otherwise) const {
  const auto text = Text(name);
  if (!text) return text.error();
  if (!*text) return otherwise;
  return EqualsIgnoreCase(**text, "true");
}

Result<std::vector<std::string>> Parameters::All(std::string_view name) const {
  std::vector<std::string> values = query_.All(name);
  const nlohmann::json* value = InBody(name);
  if (!values.empty() || value == nullptr) return values;
  const nlohmann::json list = value->is_array() ? *value : nlohmann::json::array({*value});
  for (const nlohmann::json& item : list) {
    const auto text = Scalar(name, item);
    if (!text) return text.error();
    if (*text) values.push_back(**text);
  }
  return values;
}

void Parameters::WarnOfUnknown(const HttpRequest& request,
                               std::initializer_list<std::string_view> known) const {
  std::string unknown;
  const auto check = [&](std::string_view name) {
    if (std::find(known.begin(), known.end(), name) == known.end()) unknown += fmt::format(" {}", name);
  };
  for (const auto& item : query_.items()) check(item.first);
  if (body_.is_object()) {
    for (const auto& item : body_.items()) check(item.key());
  }
  if (!unknown.empty()) {
    LogWarning("{} {}: unknown parameters are ignored:{}", request.method_text, request.path, unknown);
  }
}

const nlohmann::json* Parameters::InBody(std::string_view name) const {
  if (!body_.is_object()) return nullptr;
  const auto found = body_.find(std::string(name));
  return found == body_.end() || found->is_null() ? nullptr : &*found;
}

Result<std::optional<std::string>> Parameters::Scalar(std::string_view name, const nlohmann::json& value) {
  if (value.is_string()) return std::optional(value.get<std::string>());
  if (value.is_number() || value.is_boolean()) return std::optional(value.dump());
  return InvalidArgument(
      fmt::format("Parameter {} must be a text, a number or true/false in the JSON body.", name));
}

HttpReply ToReply(const Result<ManagementReply>& result) {
  if (!result) return ErrorReply(result.error());
  HttpReply reply;
  switch (result->outcome) {
    case ManagementReply::Outcome::kDone:
      reply.status = 200;
      break;
    case ManagementReply::Outcome::kAccepted:
      reply.status = 202;
      break;
    case ManagementReply::Outcome::kPartial:
      reply.status = 206;
      break;
  }
  reply.body = result->body.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  reply.body += '\n';
  return reply;
}

}  // namespace serve
