#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/thread_pool.hpp>

#include "serve/http/http_message.h"
#include "serve/http/reply_sender.h"

namespace serve {

/// Answers at once, on the I/O thread (Inline) or on a pool (Blocking).
using RouteFunction = std::function<HttpReply(HttpRequest&)>;
/// Answers through the sender, now or later, from any thread. The request is only valid until it returns.
/// Returns the deadline at which the connection answers 504 by itself (max(): never).
using AsyncRouteFunction = std::function<TimePoint(HttpRequest&, ReplySender)>;

/// Whether the request may be answered; fills `refusal` when it may not.
using RequestGuard = std::function<bool(const HttpRequest&, HttpReply& refusal)>;

/// Method and path → what answers. One table per listener, fixed once the listener runs.
///
/// Patterns: `/models/{model}/all`: literal segments and named ones, up to three; literals are preferred in
/// the order
///           of registration. A trailing slash is accepted; matching is case-sensitive; a percent-escape is
///           decoded after the path was cut into segments, so an encoded slash stays inside its segment. HEAD
///           is answered where GET is.
///           `{model}:predict` matches a segment that ends so, and then no other pattern is looked at. A last
///           segment `{url_path...}` takes one or more segments, decoded, with their slashes.
/// Errors:   kInvalidArgument for a broken escape or a NUL, kNotFound, kMethodNotAllowed (with Allow).
/// Threads:  Find from any thread once nothing is added any more.
class Router {
 public:
  void Inline(Method method, std::string pattern, RouteFunction function);
  /// The function may block: it runs on `pool`, which is borrowed and outlives the listener.
  void Blocking(Method method, std::string pattern, RouteFunction function, boost::asio::thread_pool& pool);
  void Async(Method method, std::string pattern, AsyncRouteFunction function);
  /// Appends the routes of another table: a listener that serves several APIs. A method and pattern that is
  /// there already stays what it is.
  void Add(Router other);

  /// Every route that is in the table now asks `guard` before it answers, but for the patterns `open`.
  /// A route that is added later asks the guard of the first one with the same pattern, if there is one.
  void Protect(RequestGuard guard, const std::vector<std::string_view>& open = {});
  /// The same for the routes of one pattern.
  void Protect(std::string_view pattern, RequestGuard guard);

  struct Route {
    Method method;
    std::string pattern;
    std::vector<std::string> segments;  // `{name}` for a named one
    RouteFunction answer;               // inline routes
    AsyncRouteFunction start;           // all others
    bool has_tail = false;              // the last segment takes the rest of the path
    bool has_suffix = false;            // the last segment is `{model}:predict` or the like
    std::shared_ptr<const RequestGuard> guard = nullptr;
  };
  struct Found {
    const Route* route = nullptr;
    HttpReply refusal;  // when there is no route
  };
  /// Fills `request.parameters`.
  Found Find(HttpRequest& request) const;
  [[nodiscard]] const std::vector<Route>& routes() const { return routes_; }

 private:
  void Insert(Method method, std::string pattern, RouteFunction answer, AsyncRouteFunction start);

  std::vector<Route> routes_;
};

}  // namespace serve
