#include "serve/http/codec.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "serve/http/content_encoding.h"
#include "serve/http/multipart.h"
#include "serve/http/url.h"

namespace serve {
namespace {

constexpr int kMaxJsonDepth = 64;
constexpr std::size_t kMaxParameters = 1 << 20;  // bytes of an unpacked object of parameters
constexpr std::string_view kForm = "application/x-www-form-urlencoded";
constexpr std::string_view kMultipart = "multipart/form-data";
constexpr std::string_view kJson = "application/json";

// What clients send, as literals: such a request needs no memory for its types.
constexpr std::array<std::string_view, 6> kUsualTypes = {
    kJson, "text/plain", "application/octet-stream", "image/jpeg", "image/png", "*/*"};

std::string_view MediaType(std::string_view content_type) {
  return TrimBlanks(content_type.substr(0, content_type.find(';')));
}

/// Keeps texts in Request::head. All the space is reserved before the first one, so that views stay valid
/// while it grows, and more than a string keeps inside itself, so that they stay valid when it is moved.
class Keeper {
 public:
  /// `bytes`: of all texts together.
  Keeper(std::string& head, std::size_t bytes) : head_(head), bytes_(std::max<std::size_t>(bytes, 64)) {}

  std::string_view Keep(std::string_view text, bool lower) {
    if (text.empty()) return {};
    for (const std::string_view usual : kUsualTypes) {
      if (lower ? EqualsIgnoreCase(text, usual) : text == usual) return usual;
    }
    head_.reserve(bytes_);
    const std::size_t start = head_.size();
    head_ += text;
    if (lower) {
      std::transform(head_.begin() + static_cast<std::ptrdiff_t>(start), head_.end(),
                     head_.begin() + static_cast<std::ptrdiff_t>(start),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    }
    return std::string_view(head_).substr(start);
  }

 private:
  std::string& head_;
  const std::size_t bytes_;
};

void SetPart(std::vector<RequestPart>& parts, const RequestPart& part) {
  for (RequestPart& known : parts) {
    if (known.name == part.name) {
      known = part;
      return;
    }
  }
  parts.push_back(part);
}

Status DecodeForm(Request& request, const HttpLimits& limits) {
  char* data = request.body.data();
  const std::string_view body = request.body.view();
  std::size_t at = 0;
  for (std::size_t number = 1; at < body.size(); ++number) {
    const std::size_t end = std::min(body.find('&', at), body.size());
    const std::string_view item = body.substr(at, end - at);
    const std::size_t equals = item.find('=');
    if (number > limits.max_form_parts) {
      return InvalidArgument(
          fmt::format("the form has more than {} fields, which is the limit", limits.max_form_parts));
    }
    if (equals != std::string_view::npos) {
      const auto name = PercentDecode(data + at, equals, true);
      const auto value = PercentDecode(data + at + equals + 1, item.size() - equals - 1, true);
      if (!name || !value) {
        return InvalidArgument(
            fmt::format("field {} of the form has a broken escape: % must be followed by two hex digits (to "
                        "send a file or "
                        "text as it is, name its Content-Type)",
                        number));
      }
      SetPart(request.parts, {body.substr(at, *name), body.substr(at + equals + 1, *value), {}});
    }
    at = end + 1;
  }
  return {};
}

/// How a body under the urlencoded type is to be read.
bool LooksLikeForm(std::string_view body) { return body.find('=') != std::string_view::npos; }
bool LooksLikeJson(std::string_view body) {
  const std::size_t first = body.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && (body[first] == '{' || body[first] == '[');
}

bool IsPacked(std::string_view encoding) {
  return !encoding.empty() && !EqualsIgnoreCase(encoding, "identity");
}

/// Replaces a packed body by what is in it.
Status UnpackBody(HttpRequest& http, const HttpLimits& limits) {
  const std::string_view encoding = http.Header("content-encoding");
  if (!IsPacked(encoding)) return {};
  Result<Buffer> unpacked = Unpack(encoding, http.body.view(), limits.max_body_bytes);
  if (!unpacked) return unpacked.error();
  http.body = std::move(*unpacked);
  return {};
}

}  // namespace

Result<Request> DecodeRequest(HttpRequest& http, const HttpLimits& limits) {
  if (Status status = UnpackBody(http, limits); !status.ok()) return status;
  const std::string_view content_type = http.Header("content-type");
  const std::string_view type = MediaType(content_type);
  const std::string_view accept = http.Header("accept");

  Request request;
  request.body = std::move(http.body);
  if (request.body.data() == nullptr) request.body = Buffer(std::size_t{0});  // its padding must be readable
  Keeper keeper(request.head, type.size() + accept.size());
  request.accept = keeper.Keep(accept, false);

  if (EqualsIgnoreCase(type, kMultipart)) {
    const auto parts =
        ParseMultipart(request.body.view(), FieldParameter(content_type, "boundary"), limits.max_form_parts);
    if (!parts) return parts.error();
    for (const MultipartPart& part : *parts) {
      const std::string_view none = part.has_file_name ? "application/octet-stream" : "";
      SetPart(request.parts, {part.name, part.value, part.content_type.empty() ? none : part.content_type});
    }
    return request;
  }
  std::string_view raw_type = keeper.Keep(type, true);
  if (raw_type == kForm) {
    const std::string_view body = request.body.view();
    if (LooksLikeJson(body)) {
      raw_type = kJson;
    } else if (!body.empty() && LooksLikeForm(body)) {
      const Status decoded = DecodeForm(request, limits);
      if (!decoded.ok()) return decoded;
      return request;
    } else {
      raw_type = {};
    }
  }
  request.body_is_part = true;
  request.parts.push_back({"body", request.body.view(), raw_type});
  return request;
}

Result<Request> DecodeKServe(HttpRequest& http, const HttpLimits& limits, Protocol protocol) {
  if (Status status = UnpackBody(http, limits); !status.ok()) return status;
  Request request;
  request.protocol = protocol;
  request.body = std::move(http.body);
  if (request.body.data() == nullptr) request.body = Buffer(std::size_t{0});
  request.body_is_part = true;
  request.parts.push_back({"body", request.body.view(), kJson});
  return request;
}

Status AddQueryParts(const HttpRequest& http, const HttpLimits& limits, Request& request) {
  if (http.query.empty()) return {};
  const auto query = QueryParameters::Parse(http.query);
  if (!query) return query.error();
  if (query->items().empty()) return {};
  if (query->items().size() > limits.max_form_parts) {
    return InvalidArgument(
        fmt::format("the query has more than {} parameters, which is the limit", limits.max_form_parts));
  }
  std::size_t bytes = 64;  // more than a string keeps inside itself: views stay valid when it is moved
  for (const auto& [name, value] : query->items()) bytes += name.size() + value.size();
  request.query.reserve(bytes);
  const auto keep = [&request](std::string_view text) {
    const std::size_t start = request.query.size();
    request.query += text;
    return std::string_view(request.query).substr(start);
  };
  for (const auto& [name, value] : query->items()) {
    const std::string_view kept = keep(name);
    SetPart(request.parts, {kept, keep(value), {}});
  }
  request.body_is_part = false;
  return {};
}

Status DecodeJsonObject(const HttpRequest& request, nlohmann::json& object) {
  object = nullptr;
  std::string_view body = request.body.view();
  if (body.empty() || !EqualsIgnoreCase(MediaType(request.Header("content-type")), kJson)) {
    return {};
  }
  Buffer memory;
  if (const auto encoding = request.Header("content-encoding"); IsPacked(encoding)) {
    Result<Buffer> unpacked = Unpack(encoding, body, kMaxParameters);
    if (!unpacked) return unpacked.error();
    memory = std::move(*unpacked);
    body = memory.view();
  }
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxJsonDepth) {
        return InvalidArgument(fmt::format("the JSON body is nested deeper than {} levels", kMaxJsonDepth));
      }
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  nlohmann::json parsed = nlohmann::json::parse(body, nullptr, false);
  if (parsed.is_discarded()) return InvalidArgument("the body is not valid JSON");
  if (!parsed.is_object()) return InvalidArgument("the JSON body must be an object of parameters");
  object = std::move(parsed);
  return {};
}

}  // namespace serve
