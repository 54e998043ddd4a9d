#include "tools/doctor/port_holder.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <set>
#include <sstream>
#include <system_error>

#include <fmt/format.h>

namespace serve {
namespace {

namespace fs = std::filesystem;

/// The inodes of the sockets that listen on the port, as a link of /proc/PID/fd names them.
std::set<std::string> Sockets(const fs::path& table, std::uint16_t port) {
  std::set<std::string> sockets;
  std::ifstream file(table);
  std::string line;
  std::getline(file, line);  // the heading
  const std::string wanted = fmt::format(":{:04X}", port);
  while (std::getline(file, line)) {
    // sl local remote state tx:rx tr:when retransmits uid timeout inode
    std::istringstream words(line);
    std::string word[10];
    for (std::string& one : word) words >> one;
    if (word[1].ends_with(wanted) && word[3] == "0A") sockets.insert(fmt::format("socket:[{}]", word[9]));
  }
  return sockets;
}

}  // namespace

std::string PortHolder(const fs::path& proc, std::uint16_t port) {
  std::set<std::string> sockets = Sockets(proc / "net/tcp", port);
  sockets.merge(Sockets(proc / "net/tcp6", port));
  if (sockets.empty()) return {};
  std::error_code error;
  for (fs::directory_iterator process(proc, error), none; !error && process != none;
       process.increment(error)) {
    const std::string id = process->path().filename().string();
    if (!std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isdigit(c) != 0; })) continue;
    std::error_code closed;  // other users' processes
    for (fs::directory_iterator file(process->path() / "fd", closed); !closed && file != none;
         file.increment(closed)) {
      std::error_code gone;
      if (!sockets.contains(fs::read_symlink(file->path(), gone).string())) continue;
      std::ifstream name_file(process->path() / "comm");
      std::string name;
      std::getline(name_file, name);
      return fmt::format("{} (process {})", name.empty() ? "a program" : name, id);
    }
  }
  return {};
}

}  // namespace serve
