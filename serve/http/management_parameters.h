#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "serve/api/management_api.h"
#include "serve/base/status.h"
#include "serve/http/http_message.h"
#include "serve/http/url.h"

namespace serve {

/// The parameters of one management call: the query string, and under it what the body brings.
class Parameters {
 public:
  enum class Body { kNone, kJson, kJsonOrForm };
  /// Errors: kInvalidArgument for a broken escape or a body that is no JSON object though it says so.
  static Result<Parameters> Read(const HttpRequest& request, Body body);

  [[nodiscard]] Result<std::optional<std::string>> Text(std::string_view name) const;
  /// TorchServe's clients rely on a query value that is no integer being taken as not given; in a JSON body
  /// it is an error, as there.
  [[nodiscard]] Result<std::optional<int>> Integer(std::string_view name) const;
  /// True only for `true`, in any case.
  [[nodiscard]] Result<bool> Boolean(std::string_view name, bool otherwise) const;
  /// Every value of a name that may be repeated; in JSON an array or one text.
  [[nodiscard]] Result<std::vector<std::string>> All(std::string_view name) const;

  void WarnOfUnknown(const HttpRequest& request, std::initializer_list<std::string_view> known) const;

 private:
  [[nodiscard]] const nlohmann::json* InBody(std::string_view name) const;
  static Result<std::optional<std::string>> Scalar(std::string_view name, const nlohmann::json& value);

  QueryParameters query_;
  nlohmann::json body_;
};

/// Puts what `read` found into `target`, or keeps its error in `status`.
template <class T, class Target>
void Take(Result<T> read, Target& target, Status& status) {
  if (read) {
    target = std::move(*read);
  } else if (status.ok()) {
    status = read.error();
  }
}

HttpReply ToReply(const Result<ManagementReply>& result);

/// A page of what `api.List(limit, token)` lists.
template <class Api>
HttpReply ListPage(const Api& api, const HttpRequest& request) {
  const auto parameters = Parameters::Read(request, Parameters::Body::kNone);
  if (!parameters) return ErrorReply(parameters.error());
  parameters->WarnOfUnknown(request, {"limit", "next_page_token"});
  Status status;
  std::optional<int> limit;
  std::optional<int> token;
  Take(parameters->Integer("limit"), limit, status);
  Take(parameters->Integer("next_page_token"), token, status);
  if (!status.ok()) return ErrorReply(status);
  return ToReply(api.List(limit.value_or(100), token.value_or(0)));
}

}  // namespace serve
