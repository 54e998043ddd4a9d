#include "bench/load/options.h"

#include <charconv>
#include <string_view>

#include <fmt/format.h>

namespace serve {

namespace {

bool IsPort(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value > 0 && value < 65'536;
}

}  // namespace

Status SetUrl(const std::string& url, LoadOptions& options) {
  constexpr std::string_view kScheme = "http://";
  const auto refuse = [&](std::string_view reason) {
    return InvalidArgument(fmt::format("--url {}: {}; expected http://HOST[:PORT][/PATH]", url, reason));
  };
  if (!url.starts_with(kScheme)) return refuse("only http:// is known");
  std::string_view rest = std::string_view(url).substr(kScheme.size());
  const std::size_t slash = rest.find('/');
  options.path = slash == std::string_view::npos ? "/" : std::string(rest.substr(slash));
  rest = rest.substr(0, slash);
  std::string_view host;
  if (rest.starts_with('[')) {
    const std::size_t end = rest.find(']');
    if (end == std::string_view::npos) return refuse("a bracket is not closed");
    host = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
  } else {
    host = rest.substr(0, rest.find(':'));
    rest.remove_prefix(host.size());
  }
  if (host.empty()) return refuse("the host is missing");
  options.host = host;
  options.port = "80";
  if (rest.empty()) return {};
  if (!rest.starts_with(':') || !IsPort(rest.substr(1)))
    return refuse("the port is no number from 1 to 65535");
  options.port = rest.substr(1);
  return {};
}

std::vector<std::string> RenderRequests(const LoadOptions& options) {
  const bool has_body = !options.bodies.empty();
  const std::string method = !options.method.empty() ? options.method : has_body ? "POST" : "GET";
  const bool is_ipv6 = options.host.find(':') != std::string::npos;
  std::string head = fmt::format("{} {} HTTP/1.1\r\nHost: {}:{}\r\n", method, options.path,
                                 is_ipv6 ? fmt::format("[{}]", options.host) : options.host, options.port);
  for (const std::string& header : options.headers) head += header + "\r\n";
  if (!has_body) return {head + "\r\n"};
  std::vector<std::string> requests;
  for (const std::string& body : options.bodies) {
    requests.push_back(fmt::format("{}Content-Length: {}\r\n\r\n", head, body.size()) + body);
  }
  return requests;
}

}  // namespace serve
