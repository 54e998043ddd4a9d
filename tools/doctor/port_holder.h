#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace serve {

/// Who listens on this TCP port of this machine: `flambeau (process 4711)`; empty when the kernel does not
/// say, for the process is another user's or lives in another container.
/// Source: net/tcp and net/tcp6 below `proc` (state 0A), and the sockets in <pid>/fd.
std::string PortHolder(const std::filesystem::path& proc, std::uint16_t port);

}  // namespace serve
