#include "serve/config/address.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <system_error>

#include <fmt/format.h>

namespace serve {
namespace {

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(), [](char left, char right) {
           return left == std::tolower(static_cast<unsigned char>(right));
         });
}

bool IsHostCharacter(char c, bool ipv6) {
  if (ipv6) return std::isxdigit(static_cast<unsigned char>(c)) || c == ':' || c == '.' || c == '%';
  return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_';
}

bool IsWildcard(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

bool IsPath(const ListenAddress& address) { return address.host.starts_with('/'); }

std::string Canonical(const std::string& host) { return host == "localhost" ? "127.0.0.1" : host; }

}  // namespace

Result<ListenAddress> ParseListenAddress(std::string_view text, std::uint16_t http_port,
                                         std::uint16_t https_port) {
  constexpr std::string_view kAllowed =
      "http://HOST:PORT or https://HOST:PORT, e.g. http://127.0.0.1:8080, or unix:/absolute/path";
  if (StartsWith(text, "unix:")) {
    if (!text.substr(5).starts_with('/')) return InvalidArgument(std::string(kAllowed));
    return ListenAddress{std::string(text.substr(5)), 0, false};
  }
  const bool tls = StartsWith(text, "https://");
  if (!tls && !StartsWith(text, "http://")) return InvalidArgument(std::string(kAllowed));
  std::string_view rest = text.substr(tls ? 8 : 7);
  if (!rest.empty() && rest.back() == '/') rest.remove_suffix(1);

  ListenAddress address;
  address.tls = tls;
  address.port = tls ? https_port : http_port;
  const bool ipv6 = !rest.empty() && rest.front() == '[';
  const std::size_t host_end = ipv6 ? rest.find(']') : std::min(rest.find(':'), rest.size());
  if (host_end == std::string_view::npos) return InvalidArgument("a ']' after the IPv6 address");
  address.host = rest.substr(ipv6 ? 1 : 0, host_end - (ipv6 ? 1 : 0));
  if (address.host.empty() || !std::all_of(address.host.begin(), address.host.end(),
                                           [ipv6](char c) { return IsHostCharacter(c, ipv6); })) {
    return InvalidArgument(std::string(kAllowed));
  }
  rest.remove_prefix(std::min(host_end + (ipv6 ? 1 : 0), rest.size()));
  if (rest.empty()) return address;
  if (rest.front() != ':') return InvalidArgument(std::string(kAllowed));
  rest.remove_prefix(1);
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), address.port);
  if (rest.empty() || error != std::errc() || end != rest.data() + rest.size()) {
    return InvalidArgument("a port from 0 (any free one) to 65535");
  }
  return address;
}

bool IsLoopback(const ListenAddress& address) {
  if (IsPath(address)) return true;
  const bool is_number = address.host.find_first_not_of("0123456789.") == std::string::npos;
  return address.host == "localhost" || address.host == "::1" ||
         (is_number && StartsWith(address.host, "127."));
}

bool Collide(const ListenAddress& left, const ListenAddress& right) {
  if (IsPath(left) || IsPath(right)) return left.host == right.host;
  if (left.port == 0 || left.port != right.port) return false;
  return IsWildcard(left.host) || IsWildcard(right.host) || Canonical(left.host) == Canonical(right.host);
}

bool SameListener(const ListenAddress& left, const ListenAddress& right) {
  if (IsPath(left)) return left == right;
  return left.port != 0 && left.port == right.port && left.tls == right.tls &&
         Canonical(left.host) == Canonical(right.host);
}

std::string AddressText(const ListenAddress& address) {
  if (IsPath(address)) return "unix:" + address.host;
  const char* scheme = address.tls ? "https" : "http";
  const bool ipv6 = address.host.find(':') != std::string::npos;
  return ipv6 ? fmt::format("{}://[{}]:{}", scheme, address.host, address.port)
              : fmt::format("{}://{}:{}", scheme, address.host, address.port);
}

}  // namespace serve
