#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "serve/app/options.h"
#include "serve/base/status.h"

namespace serve {

/// Reads `http://host[:port][/]`; an IPv6 host stands in brackets. The error says what is allowed.
Result<ListenAddress> ParseListenAddress(std::string_view text, std::uint16_t default_port);

/// Only this machine reaches it: localhost, 127.0.0.0/8, ::1.
bool IsLoopback(const ListenAddress& address);

/// Both would bind the same port of one address.
bool Collide(const ListenAddress& left, const ListenAddress& right);

/// `http://127.0.0.1:8080`, `http://[::1]:8080`.
std::string AddressText(const ListenAddress& address);

}  // namespace serve
