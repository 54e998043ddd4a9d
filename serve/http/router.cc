#include "serve/http/router.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <exception>
#include <memory>
#include <utility>

#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include "serve/base/log.h"
#include "serve/http/url.h"

namespace serve {
namespace {

constexpr std::size_t kMostSegments = 8;
constexpr std::string_view kTail = "...";

bool IsNamed(const std::string& segment) { return segment.size() > 2 && segment.front() == '{'; }

/// What follows the `}` of a named segment: `:predict`.
std::string_view SuffixOf(const std::string& segment) {
  if (segment.back() == '}') return {};  // nearly always
  return std::string_view(segment).substr(segment.find('}') + 1);
}

std::string_view NameOf(const std::string& segment) {
  std::string_view name = std::string_view(segment).substr(1, segment.find('}') - 1);
  if (name.ends_with(kTail)) name.remove_suffix(kTail.size());
  return name;
}

bool Matches(const std::string& pattern, std::string_view segment) {
  if (!IsNamed(pattern)) return pattern == segment;
  const std::string_view suffix = SuffixOf(pattern);
  return segment.size() > suffix.size() && segment.ends_with(suffix);
}

struct Segments {
  std::array<std::string_view, kMostSegments> items;
  std::size_t count = 0;
  bool more = false;  // than there is room for
};

/// Cuts at slashes; false: the path has no such form (an empty segment, no slash at its start).
bool Cut(std::string_view path, Segments& segments) {
  if (path.empty() || path[0] != '/') return false;
  path.remove_prefix(1);
  while (!path.empty()) {
    const std::size_t end = path.find('/');
    const std::string_view segment = path.substr(0, end);
    if (segment.empty()) return false;
    if (segments.count == kMostSegments) {
      segments.more = true;
    } else {
      segments.items[segments.count++] = segment;
    }
    path.remove_prefix(end == std::string_view::npos ? path.size() : end + 1);
  }
  return true;
}

/// The rest of the path from its segment `first` on, decoded.
bool TakeTail(std::string_view path, std::string_view first, std::string& value) {
  value = path.substr(static_cast<std::size_t>(first.data() - path.data()));
  if (value.back() == '/') value.pop_back();
  const auto length = PercentDecode(value.data(), value.size(), false);
  if (!length) return false;
  value.resize(*length);
  return value.find('\0') == std::string::npos;
}

HttpReply NoSuchPath(const std::vector<Router::Route>& routes) {
  std::string known;
  for (const Router::Route& route : routes) {
    if (route.segments.empty() || IsNamed(route.segments[0])) continue;
    const std::string first = "/" + route.segments[0];
    if ((known + ",").find(first + ",") == std::string::npos) known += (known.empty() ? "" : ", ") + first;
  }
  return ErrorReply(Status{
      Code::kNotFound,
      fmt::format("Requested resource is not found, please refer to API document. Known here: {}", known)});
}

}  // namespace

void Router::Insert(Method method, std::string pattern, RouteFunction answer, AsyncRouteFunction start) {
  Segments segments;
  [[maybe_unused]] const bool cut = Cut(pattern, segments);
  assert(cut);
  Route route{method, pattern, {}, std::move(answer), std::move(start)};
  for (std::size_t i = 0; i < segments.count; ++i) route.segments.emplace_back(segments.items[i]);
  route.has_tail = pattern.ends_with("...}");
  route.has_suffix = !pattern.ends_with('}') && pattern.find("}:") != std::string::npos;
  const auto same = std::find_if(routes_.begin(), routes_.end(),
                                 [&](const Route& known) { return known.pattern == route.pattern; });
  if (same != routes_.end()) route.guard = same->guard;
  routes_.push_back(std::move(route));
}

void Router::Inline(Method method, std::string pattern, RouteFunction function) {
  Insert(method, std::move(pattern), std::move(function), nullptr);
}

void Router::Async(Method method, std::string pattern, AsyncRouteFunction function) {
  Insert(method, std::move(pattern), nullptr, std::move(function));
}

void Router::Blocking(Method method, std::string pattern, RouteFunction function,
                      boost::asio::thread_pool& pool) {
  const auto shared = std::make_shared<const RouteFunction>(std::move(function));
  Async(method, std::move(pattern), [shared, &pool](HttpRequest& request, ReplySender sender) {
    boost::asio::post(pool, [shared, copy = request.TakeCopy(), sender = std::move(sender)]() mutable {
      HttpReply reply;
      try {
        reply = (*shared)(copy);
      } catch (const std::exception& error) {
        LogError("{} {} failed: {}", copy.method_text, copy.target, error.what());
        reply = ErrorReply(Internal("the server failed to answer this request; its log says why"));
      }
      std::move(sender).Send(std::move(reply));
    });
    return TimePoint::max();
  });
}

void Router::Add(Router other) {
  for (Route& route : other.routes_) {
    const bool there = std::any_of(routes_.begin(), routes_.end(), [&](const Route& known) {
      return known.method == route.method && known.pattern == route.pattern;
    });
    if (!there) routes_.push_back(std::move(route));
  }
}

void Router::Protect(RequestGuard guard, const std::vector<std::string_view>& open) {
  const auto shared = std::make_shared<const RequestGuard>(std::move(guard));
  for (Route& route : routes_) {
    if (std::find(open.begin(), open.end(), route.pattern) == open.end()) route.guard = shared;
  }
}

void Router::Protect(std::string_view pattern, RequestGuard guard) {
  const auto shared = std::make_shared<const RequestGuard>(std::move(guard));
  for (Route& route : routes_) {
    if (route.pattern == pattern) route.guard = shared;
  }
}

Router::Found Router::Find(HttpRequest& request) const {
  Segments raw;
  if (!Cut(request.path, raw)) return {nullptr, NoSuchPath(routes_)};

  // Escapes are rare: only a path with one pays for decoding.
  std::array<std::string, kMostSegments> decoded;
  Segments segments = raw;
  if (request.path.find('%') != std::string_view::npos) {
    for (std::size_t i = 0; i < raw.count; ++i) {
      decoded[i] = raw.items[i];
      const auto length = PercentDecode(decoded[i].data(), decoded[i].size(), false);
      if (!length) {
        return {nullptr,
                ErrorReply(InvalidArgument(fmt::format(
                    "the path segment `{}` has a broken escape: % must be followed by two hex digits",
                    raw.items[i])))};
      }
      decoded[i].resize(*length);
      if (decoded[i].find('\0') != std::string::npos) {
        return {nullptr, ErrorReply(InvalidArgument("the path has a NUL character"))};
      }
      segments.items[i] = decoded[i];
    }
  }

  std::string allowed;
  const std::string* only = nullptr;  // the pattern that has claimed this path
  for (const Route& route : routes_) {
    const std::size_t size = route.segments.size();
    if (size != segments.count || segments.more) {
      if (!route.has_tail || size > segments.count) continue;
    }
    if (only != nullptr && route.pattern != *only) continue;
    bool same = true;
    for (std::size_t i = 0; same && i < size; ++i) same = Matches(route.segments[i], segments.items[i]);
    if (!same) continue;
    if (route.has_suffix) only = &route.pattern;
    if (route.method != request.method &&
        !(route.method == Method::kGet && request.method == Method::kHead)) {
      if (!allowed.empty()) allowed += ", ";
      allowed += MethodName(route.method);
      if (route.method == Method::kGet) allowed += ", HEAD";
      continue;
    }
    std::size_t next = 0;
    for (std::size_t i = 0; i < size; ++i) {
      if (!IsNamed(route.segments[i])) continue;
      std::string_view value = segments.items[i];
      value.remove_suffix(SuffixOf(route.segments[i]).size());
      request.parameters[next].name = NameOf(route.segments[i]);
      request.parameters[next].value = value;
      ++next;
    }
    if (route.has_tail && !TakeTail(request.path, raw.items[size - 1], request.parameters[next - 1].value)) {
      return {nullptr, ErrorReply(InvalidArgument("the path has a broken escape or a NUL character"))};
    }
    if (route.guard) {
      HttpReply refusal;
      if (!(*route.guard)(request, refusal)) return {nullptr, std::move(refusal)};
    }
    return {&route, {}};
  }
  if (allowed.empty()) return {nullptr, NoSuchPath(routes_)};
  HttpReply reply = ErrorReply(
      Status{Code::kMethodNotAllowed,
             fmt::format("Requested method is not allowed, please refer to API document. Allowed here: {}",
                         allowed)});
  reply.extra_fields = "Allow: " + allowed + "\r\n";
  return {nullptr, std::move(reply)};
}

}  // namespace serve
