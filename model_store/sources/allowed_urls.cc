#include "model_store/sources/allowed_urls.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <netinet/in.h>

#include <fmt/format.h>

namespace serve {
namespace {

constexpr std::size_t kMaxUrl = 4096;  // bounds the time of a regular expression, too

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

/// %2e and %2E are dots, %5c a backslash, %00 and below what they are. Twice, for %252e.
std::string Decoded(std::string text) {
  for (int pass = 0; pass < 2; ++pass) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      unsigned value = 0;
      if (text[i] == '%' && i + 2 < text.size() &&
          std::isxdigit(static_cast<unsigned char>(text[i + 1])) != 0 &&
          std::isxdigit(static_cast<unsigned char>(text[i + 2])) != 0) {
        value = static_cast<unsigned>(std::stoul(text.substr(i + 1, 2), nullptr, 16));
        out += static_cast<char>(value);
        i += 2;
      } else {
        out += text[i];
      }
    }
    text = std::move(out);
  }
  return text;
}

bool IsForbidden(const in_addr& address) {
  const std::uint32_t ip = ntohl(address.s_addr);
  return ip >> 16 == 0xA9FE    // 169.254.0.0/16: link-local, and the metadata of most clouds
         || ip >> 24 == 0      // this host
         || ip >> 28 == 0xE    // multicast
         || ip == 0xFFFFFFFF   // broadcast
         || ip == 0x646464C8;  // 100.100.100.200: metadata of one more
}

bool IsForbidden(const in6_addr& address) {
  if (IN6_IS_ADDR_V4MAPPED(&address) || IN6_IS_ADDR_V4COMPAT(&address)) {
    in_addr inner{};
    std::memcpy(&inner, address.s6_addr + 12, sizeof(inner));
    if (IN6_IS_ADDR_LOOPBACK(&address)) return false;  // ::1 looks like one
    return IsForbidden(inner);
  }
  static constexpr std::uint8_t kMetadata[16] = {0xFD, 0, 0x0E, 0xC2, 0, 0, 0,    0,
                                                 0,    0, 0,    0,    0, 0, 0x02, 0x54};
  return IN6_IS_ADDR_LINKLOCAL(&address) || IN6_IS_ADDR_UNSPECIFIED(&address) ||
         IN6_IS_ADDR_MULTICAST(&address) || std::memcmp(address.s6_addr, kMetadata, 16) == 0;
}

}  // namespace

Result<AllowedUrls> AllowedUrls::Parse(std::string_view list) {
  AllowedUrls allowed;
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    std::string text(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
    text.erase(0, std::min(text.find_first_not_of(" \t"), text.size()));
    text.erase(text.find_last_not_of(" \t") + 1);
    if (text.empty()) continue;
    try {
      allowed.patterns_.push_back(
          {text, std::regex(text, std::regex::ECMAScript | std::regex::icase | std::regex::optimize)});
    } catch (const std::regex_error& error) {
      return InvalidArgument(fmt::format("`{}` is no regular expression: {}", text, error.what()));
    }
  }
  return allowed;
}

Status AllowedUrls::Check(const std::string& url) const {
  const auto refuse = [&url](std::string_view why) {
    return Status{Code::kModelNotFound,
                  fmt::format("Given URL {} does not match any allowed URL(s){}", url.substr(0, 300), why)};
  };
  if (url.size() > kMaxUrl) return refuse(": it is too long");
  const std::string decoded = Decoded(url);
  if (decoded.find("..") != std::string::npos) {
    return {Code::kModelNotFound, fmt::format("Relative path is not allowed in url: {}", url)};
  }
  const bool odd =
      std::any_of(decoded.begin(), decoded.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  if (odd || url.find_first_of("\\ #") != std::string::npos || decoded.find('\\') != std::string::npos) {
    return refuse(": it holds a blank, a fragment, a backslash or a control character");
  }
  const std::size_t authority = url.find("://");
  if (authority != std::string::npos) {
    const std::string_view rest = std::string_view(url).substr(authority + 3);
    if (rest.substr(0, rest.find_first_of("/?")).find('@') != std::string_view::npos) {
      return refuse(": it holds a user");
    }
  }
  try {
    for (const Pattern& pattern : patterns_) {
      if (std::regex_match(url, pattern.expression)) return {};
    }
  } catch (const std::regex_error& error) {  // too complex for this URL
    return refuse(fmt::format(": {}", error.what()));
  }
  return refuse(patterns_.empty()
                    ? " of the setting allowed_urls, which is empty. Put the archive into the model store "
                      "and register it by its file name, or allow its URL."
                    : "");
}

bool AllowedUrls::NamesHost(const std::string& url, std::string_view host) const {
  const std::string wanted = Lower(host);
  return std::any_of(patterns_.begin(), patterns_.end(), [&](const Pattern& pattern) {
    std::string literal = Lower(pattern.text);
    std::erase(literal, '\\');
    return literal.find(wanted) != std::string::npos && std::regex_match(url, pattern.expression);
  });
}

bool IsForbiddenAddress(const sockaddr& address) {
  if (address.sa_family == AF_INET)
    return IsForbidden(reinterpret_cast<const sockaddr_in&>(address).sin_addr);
  if (address.sa_family == AF_INET6)
    return IsForbidden(reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
  return true;
}

bool IsForbiddenHost(std::string_view host) {
  std::string name = Lower(host);
  if (name.size() > 2 && name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  while (name.ends_with('.')) name.pop_back();
  if (name == "metadata" || name == "metadata.google.internal" || name == "instance-data") return true;
  in_addr four{};
  if (inet_aton(name.c_str(), &four) != 0) return IsForbidden(four);  // also 0xA9FEA9FE, 2852039166
  in6_addr six{};
  return inet_pton(AF_INET6, name.substr(0, name.find('%')).c_str(), &six) == 1 && IsForbidden(six);
}

bool IsFetchUrl(std::string_view url) {
  const std::string lower = Lower(url.substr(0, 8));
  return lower.starts_with("http://") || lower.starts_with("https://") || lower.starts_with("file:");
}

}  // namespace serve
