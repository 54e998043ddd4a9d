#include <algorithm>
#include <charconv>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "serve/base/log.h"
#include "serve/http/codec.h"
#include "serve/http/routes.h"
#include "serve/http/url.h"

namespace serve {
namespace {

/// The parameters of one management call: the query string, and for register a JSON body under it.
class Parameters {
 public:
  static Result<Parameters> Read(const HttpRequest& request, bool with_body) {
    auto query = QueryParameters::Parse(request.query);
    if (!query) return query.error();
    Parameters parameters;
    parameters.query_ = std::move(*query);
    if (with_body) {
      const Status decoded = DecodeJsonObject(request, parameters.body_);
      if (!decoded.ok()) return decoded;
    }
    return parameters;
  }

  Result<std::optional<std::string>> Text(std::string_view name) const {
    if (const std::string* value = query_.Find(name)) return std::optional(*value);
    const nlohmann::json* value = InBody(name);
    if (value == nullptr) return std::optional<std::string>();
    return Scalar(name, *value);
  }

  /// TorchServe's clients rely on a query value that is no integer being taken as not given; in a JSON body
  /// it is an error, as there.
  Result<std::optional<int>> Integer(std::string_view name) const {
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

  /// True only for `true`, in any case.
  Result<bool> Boolean(std::string_view name, bool otherwise) const {
    const auto text = Text(name);
    if (!text) return text.error();
    if (!*text) return otherwise;
    return EqualsIgnoreCase(**text, "true");
  }

  /// Every value of a name that may be repeated; in JSON an array or one text.
  Result<std::vector<std::string>> All(std::string_view name) const {
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

  void WarnOfUnknown(const HttpRequest& request, std::initializer_list<std::string_view> known) const {
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

 private:
  const nlohmann::json* InBody(std::string_view name) const {
    if (!body_.is_object()) return nullptr;
    const auto found = body_.find(std::string(name));
    return found == body_.end() || found->is_null() ? nullptr : &*found;
  }

  static Result<std::optional<std::string>> Scalar(std::string_view name, const nlohmann::json& value) {
    if (value.is_string()) return std::optional(value.get<std::string>());
    if (value.is_number() || value.is_boolean()) return std::optional(value.dump());
    return InvalidArgument(
        fmt::format("Parameter {} must be a text, a number or true/false in the JSON body.", name));
  }

  QueryParameters query_;
  nlohmann::json body_;
};

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

/// Puts what `read` found into `target`, or keeps its error in `status`.
template <class T, class Target>
void Take(Result<T> read, Target& target, Status& status) {
  if (read) {
    target = std::move(*read);
  } else if (status.ok()) {
    status = read.error();
  }
}

HttpReply Register(ManagementApi& api, const HttpRequest& request) {
  const auto parameters = Parameters::Read(request, true);
  if (!parameters) return ErrorReply(parameters.error());
  parameters->WarnOfUnknown(request, {"url", "model_name", "handler", "runtime", "batch_size",
                                      "max_batch_delay", "initial_workers", "synchronous", "response_timeout",
                                      "startup_timeout", "version", "input", "batch", "s3_sse_kms"});
  Status status;
  std::optional<std::string> url;
  RegisterRequest call;
  Take(parameters->Text("url"), url, status);
  Take(parameters->Text("model_name"), call.model_name, status);
  Take(parameters->Text("handler"), call.handler, status);
  Take(parameters->Text("runtime"), call.runtime, status);
  Take(parameters->Text("version"), call.version, status);
  Take(parameters->Integer("batch_size"), call.batch_size, status);
  Take(parameters->Integer("max_batch_delay"), call.max_batch_delay_ms, status);
  Take(parameters->Integer("initial_workers"), call.initial_workers, status);
  Take(parameters->Integer("response_timeout"), call.response_timeout_s, status);
  Take(parameters->Integer("startup_timeout"), call.startup_timeout_s, status);
  Take(parameters->All("input"), call.inputs, status);
  Take(parameters->Text("batch"), call.batch, status);
  Take(parameters->Boolean("synchronous", true), call.synchronous, status);
  if (!status.ok()) return ErrorReply(status);
  if (!url) return ErrorReply(InvalidArgument("Parameter url is required."));
  call.url = std::move(*url);
  return ToReply(api.Register(call));
}

HttpReply List(ManagementApi& api, const HttpRequest& request) {
  const auto parameters = Parameters::Read(request, false);
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

HttpReply Describe(ManagementApi& api, const HttpRequest& request, const std::string& version) {
  const auto parameters = Parameters::Read(request, false);
  if (!parameters) return ErrorReply(parameters.error());
  parameters->WarnOfUnknown(request, {"customized"});
  const auto customized = parameters->Boolean("customized", false);
  if (!customized) return ErrorReply(customized.error());
  return ToReply(api.Describe(request.PathParameter("model"), version, *customized));
}

HttpReply Scale(ManagementApi& api, const HttpRequest& request) {
  const auto parameters = Parameters::Read(request, false);
  if (!parameters) return ErrorReply(parameters.error());
  parameters->WarnOfUnknown(
      request, {"min_worker", "max_worker", "synchronous", "model_version", "number_gpu", "timeout"});
  Status status;
  std::optional<int> min_worker;
  std::optional<std::string> version;
  ScaleRequest call;
  call.model = request.PathParameter("model");
  call.version = request.PathParameter("version");
  Take(parameters->Integer("min_worker"), min_worker, status);
  Take(parameters->Integer("max_worker"), call.max_worker, status);
  Take(parameters->Boolean("synchronous", false), call.synchronous, status);
  Take(parameters->Text("model_version"), version, status);
  if (!status.ok()) return ErrorReply(status);
  call.min_worker = min_worker.value_or(1);
  if (call.version.empty() && version) call.version = std::move(*version);
  return ToReply(api.Scale(call));
}

}  // namespace

Router ManagementRouter(ManagementApi& management, InferenceApi& inference, boost::asio::thread_pool& pool) {
  Router router;
  ManagementApi& api = management;
  const auto blocking = [&](Method method, const char* pattern, RouteFunction function) {
    router.Blocking(method, pattern, std::move(function), pool);
  };
  const auto describe = [&api](HttpRequest& request) {
    return Describe(api, request, request.PathParameter("version"));
  };
  const auto scale = [&api](HttpRequest& request) { return Scale(api, request); };
  const auto unregister = [&api](HttpRequest& request) {
    return ToReply(api.Unregister(request.PathParameter("model"), request.PathParameter("version")));
  };

  router.Inline(Method::kGet, "/ping", [&inference](HttpRequest&) { return Ping(inference); });
  router.Inline(Method::kGet, "/v1/models/{model}",
                [&inference](HttpRequest& request) { return ModelReadyV1(inference, request); });
  blocking(Method::kGet, "/models", [&api](HttpRequest& request) { return List(api, request); });
  blocking(Method::kPost, "/models", [&api](HttpRequest& request) { return Register(api, request); });
  blocking(Method::kGet, "/models/{model}", describe);
  blocking(Method::kPut, "/models/{model}", scale);
  blocking(Method::kDelete, "/models/{model}", unregister);
  blocking(Method::kGet, "/models/{model}/all",
           [&api](HttpRequest& request) { return Describe(api, request, "all"); });
  blocking(Method::kGet, "/models/{model}/{version}", describe);
  blocking(Method::kPut, "/models/{model}/{version}", scale);
  blocking(Method::kDelete, "/models/{model}/{version}", unregister);
  blocking(Method::kPut, "/models/{model}/{version}/set-default", [&api](HttpRequest& request) {
    return ToReply(api.SetDefault(request.PathParameter("model"), request.PathParameter("version")));
  });
  return router;
}

}  // namespace serve
