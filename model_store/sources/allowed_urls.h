#pragma once

#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/status.h"

struct sockaddr;

namespace serve {

/// Which URLs archives may be fetched from: regular expressions that must match the whole URL, in any case.
///
/// A URL with a user, a fragment, a backslash, a blank, a control character or `..` (also with escapes) is
/// never allowed. Source: TorchServe's allowed_urls; an empty list allows nothing.
class AllowedUrls {
 public:
  /// `list`: expressions with commas between them. Errors: kInvalidArgument naming the one that is none.
  static Result<AllowedUrls> Parse(std::string_view list);

  /// Ok, or kModelNotFound with TorchServe's text and the reason.
  [[nodiscard]] Status Check(const std::string& url) const;
  /// Whether an expression that matches `url` holds `host` literally. Only then it may be one that is
  /// link-local or gives out credentials of the machine.
  [[nodiscard]] bool NamesHost(const std::string& url, std::string_view host) const;
  [[nodiscard]] bool empty() const { return patterns_.empty(); }

 private:
  struct Pattern {
    std::string text;
    std::regex expression;
  };
  std::vector<Pattern> patterns_;
};

/// Link-local, unspecified and multicast addresses, and those where clouds answer with credentials; IPv4
/// inside IPv6 too.
bool IsForbiddenAddress(const sockaddr& address);
/// Names and written addresses of the same kind, before anything is resolved.
bool IsForbiddenHost(std::string_view host);

/// Whether it begins with http://, https:// or file:, in any case.
bool IsFetchUrl(std::string_view url);

}  // namespace serve
