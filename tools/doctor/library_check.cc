#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <dlfcn.h>
#include <poll.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "serve/base/files.h"
#include "serve/runtime/shared_library.h"
#include "tools/doctor/checks.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kPatience{60};

/// What the dynamic loader says, and what it means. The first that fits counts.
struct Cause {
  std::string_view text;
  std::string_view advice;
};
constexpr Cause kCauses[] = {
    {"libtorch_cpu.so: cannot open",
     "libtorch is not where it was at build time: put its lib folder into LD_LIBRARY_PATH"},
    {"libtorch.so: cannot open",
     "libtorch is not where it was at build time: put its lib folder into LD_LIBRARY_PATH"},
    {"libc10.so: cannot open",
     "libtorch is not where it was at build time: put its lib folder into LD_LIBRARY_PATH"},
    {"flambeau_torchscript.so: cannot open",
     "install it beside the program, or in ../lib/flambeau (cmake --install does)"},
    {"cannot open shared object file", "install the package that holds the library that is named"},
    {"GLIBCXX_",
     "the C++ library of this system is older than that of the build: build here, or use the image"},
    {"GLIBC_", "this system is older than that of the build: build here, or use the image"},
    {"undefined symbol",
     "another libtorch is found than the one of the build: look at LD_LIBRARY_PATH and `ldd`"},
    {"invalid ELF header", "the file is damaged or for another machine: install it again"},
    {"wrong ELF class", "the file is for another machine: install it again"},
    {"failed to map segment", "the file system is mounted noexec, or memory is at its limit"},
    {"cannot allocate memory", "memory is at its limit: give the server at least 1 GB"},
};

std::string_view AdviceFor(const std::string& text) {
  for (const Cause& cause : kCauses) {
    if (text.find(cause.text) != std::string::npos) return cause.advice;
  }
  return "`ldd` on the library shows what it looks for";
}

/// In the child: `+` and the description, or `-` and the reason.
void LoadHere(const std::vector<fs::path>& places, int fd) {
  std::string reasons;
  for (const fs::path& path : places) {
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      std::error_code error;
      const std::string reason = dlerror();
      if (fs::exists(path, error)) {  // why this one does not load, not why others are not there
        reasons = reason;
        break;
      }
      reasons += (reasons.empty() ? "" : "; ") + reason;
      continue;
    }
    const auto describe = reinterpret_cast<DescribeRuntime>(dlsym(handle, kRuntimeDescription));
    (void)WriteAll(fd, describe == nullptr
                           ? "-" + path.string() + " is no runtime library of this version"
                           : fmt::format("+{} ({})", describe(), path.lexically_normal().string()));
    return;
  }
  (void)WriteAll(fd, "-" + reasons);
}

/// Everything that the child writes; false when it took too long.
bool ReadAll(int fd, std::string& text) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  std::array<char, 4096> block;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd wait{fd, POLLIN, 0};
    const int ready = left.count() <= 0 ? 0 : ::poll(&wait, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    const ssize_t got = ::read(fd, block.data(), block.size());
    if (got <= 0) return true;
    text.append(block.data(), static_cast<std::size_t>(got));
  }
}

Finding Died(int signal) {
  switch (signal) {
    case SIGILL:
      return Wrong("loading it was ended by an illegal instruction",
                   "this CPU lacks an instruction that libtorch was built for (AVX2): use another machine");
    case SIGBUS:
      return Wrong("loading it was ended by a bus error",
                   "a library is cut short or its disk fails: install the program and libtorch again");
    case SIGKILL:
      return Wrong("loading it was killed", "memory is at its limit: give the server at least 1 GB");
    default:
      return Wrong(fmt::format("loading it was ended by signal {}", signal),
                   "install the program and libtorch again");
  }
}

}  // namespace

Findings CheckLibrary(const Place& place) {
  int ends[2];
  if (::pipe(ends) != 0) return {Doubtful("no pipe could be made", "look at the limit of open files")};
  // A child, for libtorch can never be unloaded, and one that does not fit may take its process along.
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    LoadHere(LibraryPlaces(place.library), ends[1]);
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  const bool in_time = child > 0 && ReadAll(ends[0], text);
  ::close(ends[0]);
  if (child < 0) return {Doubtful("no process could be started", "look at the limit of processes")};
  if (!in_time) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (!in_time) {
    return {Wrong(fmt::format("it was not loaded within {} s", kPatience.count()),
                  "the disk is slow or hangs: copy libtorch to a local one")};
  }
  if (text.starts_with('+')) return {Fine(text.substr(1))};
  if (text.starts_with('-')) return {Wrong(text.substr(1), std::string(AdviceFor(text)))};
  return {Died(WIFSIGNALED(status) ? WTERMSIG(status) : 0)};
}

}  // namespace serve
