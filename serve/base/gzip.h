#pragma once

#include <string>
#include <string_view>

namespace serve {

/// `text` as gzip at the fastest level; empty when zlib has no memory. Threads: any.
std::string Gzip(std::string_view text);

}  // namespace serve
