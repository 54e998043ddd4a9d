#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "serve/base/log.h"
#include "serve/config/address.h"
#include "serve/security/tls_keys.h"
#include "tools/doctor/checks.h"
#include "tools/doctor/port_holder.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

/// What bind says to this address; 0: it can be had.
int TryTcp(const ListenAddress& address) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_in);
  auto* four = reinterpret_cast<sockaddr_in*>(&storage);
  auto* six = reinterpret_cast<sockaddr_in6*>(&storage);
  const std::string host = address.host == "localhost" ? "127.0.0.1" : address.host;
  if (inet_pton(AF_INET, host.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(address.port);
  } else if (inet_pton(AF_INET6, host.c_str(), &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(address.port);
    size = sizeof(sockaddr_in6);
  } else {
    return 0;  // a name; the server resolves it when it starts
  }
  const int fd = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const int yes = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const int error = ::bind(fd, reinterpret_cast<sockaddr*>(&storage), size) == 0 ? 0 : errno;
  ::close(fd);
  return error;
}

/// The same for a Unix socket: nobody may answer there, and its folder must take a file.
int TryPath(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof name.sun_path) return ENAMETOOLONG;
  std::memcpy(name.sun_path, path.c_str(), path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const bool answers = ::connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0;
  ::close(fd);
  if (answers) return EADDRINUSE;
  return ::access(fs::path(path).parent_path().c_str(), W_OK | X_OK) == 0 ? 0 : errno;
}

Finding Look(const Place& place, std::string_view api, std::string_view setting,
             const ListenAddress& address) {
  const bool is_path = address.host.starts_with('/');
  const std::string text = fmt::format("{} {}", api, AddressText(address));
  const int error = is_path ? TryPath(address.host) : TryTcp(address);
  const std::string other = fmt::format("choose another address with {}", setting);
  switch (error) {
    case 0:
      return Fine(text + (address.port == 0 && !is_path ? ": a port that the kernel chooses" : " is free"));
    case EADDRINUSE: {
      const std::string holder = is_path ? "" : PortHolder(place.proc, address.port);
      return Wrong(fmt::format("{} is taken{}", text, holder.empty() ? "" : " by " + holder),
                   (holder.starts_with("flambeau") ? "stop the server that runs there already, or " : "") +
                       (holder.empty() ? "`ss -ltnp` as root tells by whom; or " + other : other));
    }
    case EACCES:
    case EPERM:
      return Wrong(
          fmt::format("{}: not permitted", text),
          is_path ? "the folder must be writable" : "ports below 1024 need CAP_NET_BIND_SERVICE; " + other);
    case EADDRNOTAVAIL:
      return Wrong(fmt::format("{}: this machine does not have that address", text),
                   "http://0.0.0.0:PORT means all that it has; " + other);
    default:
      return Wrong(fmt::format("{}: {}", text, std::strerror(error)), other);
  }
}

}  // namespace

Findings CheckAddresses(const Place& place) {
  const AppOptions& options = place.options;
  Findings findings;
  std::vector<ListenAddress> seen;
  const auto look = [&](bool served, std::string_view api, std::string_view setting,
                        const ListenAddress& address) {
    if (!served) return;
    for (const ListenAddress& other : seen) {
      if (SameListener(other, address)) return;
    }
    seen.push_back(address);
    findings.push_back(Look(place, api, setting, address));
  };
  look(true, options.single_port ? "all APIs" : "inference", "--inference-address", options.inference);
  look(options.management_listener && !options.single_port, "management", "--management-address",
       options.management);
  look(options.metrics_listener && !options.single_port, "metrics", "--metrics-address", options.metrics);
  if (options.management_listener && options.insecure && !options.tokens.enabled &&
      !IsLoopback(options.management)) {
    findings.push_back(
        Doubtful(fmt::format("management {} takes calls from anybody", AddressText(options.management)),
                 "set token_file, or listen on 127.0.0.1"));
  }
  return findings;
}

Findings CheckTlsFiles(const Place& place) {
  const AppOptions& options = place.options;
  const bool wanted = options.inference.tls || (options.management_listener && options.management.tls) ||
                      (options.metrics_listener && options.metrics.tls);
  if (!wanted) return {};
  std::chrono::system_clock::time_point end;
  LogOptions quiet;
  quiet.level = LogLevel::kError;  // what it would say in a log stands in the report
  StartLogging(quiet);
  const auto opened = TlsKeys::Open(options.tls, [&end](auto time) { end = time; });
  StopLogging();
  if (!opened) return {Wrong(opened.error().message, "docs/tls.md says which files are needed")};
  const auto days =
      std::chrono::duration_cast<std::chrono::hours>(end - std::chrono::system_clock::now()).count() / 24;
  const std::string text = fmt::format("key and certificate fit; valid until {:%Y-%m-%d} ({} days)",
                                       fmt::gmtime(std::chrono::system_clock::to_time_t(end)), days);
  if (days < 21)
    return {Doubtful(text, "put a new certificate in place: the server reads it without a restart")};
  return {Fine(text)};
}

Findings CheckSecretFiles(const Place& place) {
  const AppOptions& options = place.options;
  Findings findings;
  for (const auto& [setting, path] :
       {std::pair("private_key_file", options.tls.private_key_file),
        std::pair("keystore", options.tls.keystore), std::pair("token_file", options.tokens.token_file)}) {
    struct stat about {};
    if (path.empty()) continue;
    if (::stat(path.c_str(), &about) != 0 || ::access(path.c_str(), R_OK) != 0) {
      findings.push_back(Wrong(fmt::format("{} {}: {}", setting, path, std::strerror(errno)),
                               "the user who runs the server must be able to read it"));
    } else if ((about.st_mode & 027) != 0) {
      findings.push_back(
          Doubtful(fmt::format("{} {} is open to others (mode {:o})", setting, path, about.st_mode & 0777),
                   fmt::format("chmod 600 {}", path)));
    } else {
      findings.push_back(Fine(fmt::format("{} {} is its owner's alone", setting, path)));
    }
  }
  return findings;
}

}  // namespace serve
