#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "serve/app/options.h"
#include "serve/base/status.h"

namespace serve {

/// Reads `http://host[:port][/]`, `https://…` or `unix:/path`; an IPv6 host stands in brackets. The ports are
/// for an address that names none. The error says what is allowed.
Result<ListenAddress> ParseListenAddress(std::string_view text, std::uint16_t http_port,
                                         std::uint16_t https_port = 443);

/// Only this machine reaches it: localhost, 127.0.0.0/8, ::1, a Unix socket.
bool IsLoopback(const ListenAddress& address);

/// Both would bind the same port of one address.
bool Collide(const ListenAddress& left, const ListenAddress& right);

/// Both mean the same listener: one place, written the same way. Port 0 is never the same.
bool SameListener(const ListenAddress& left, const ListenAddress& right);

/// `http://127.0.0.1:8080`, `http://[::1]:8080`, `unix:/path`.
std::string AddressText(const ListenAddress& address);

}  // namespace serve
