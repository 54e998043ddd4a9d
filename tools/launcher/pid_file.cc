#include "tools/launcher/pid_file.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <signal.h>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

#include "serve/base/files.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

fs::path ProgramOf(const std::string& process) {
  std::error_code error;
  return fs::read_symlink("/proc/" + process + "/exe", error);
}

}  // namespace

fs::path PidFilePath() {
  std::error_code error;
  for (const char* name : {"TMPDIR", "TEMP", "TMP"}) {
    const char* folder = std::getenv(name);
    if (folder != nullptr && fs::is_directory(folder, error)) return fs::path(folder) / ".model_server.pid";
  }
  return "/tmp/.model_server.pid";
}

pid_t ReadPidFile(const fs::path& file) {
  std::ifstream stream(file);
  pid_t pid = 0;
  return stream >> pid && pid > 0 ? pid : 0;
}

bool IsServer(pid_t pid) {
  if (pid <= 0 || pid == getpid() || (kill(pid, 0) != 0 && errno != EPERM)) return false;
  const std::string number = std::to_string(pid);
  std::ifstream stream("/proc/" + number + "/cmdline", std::ios::binary);
  const std::string line((std::istreambuf_iterator<char>(stream)), {});
  if (line.empty()) return false;  // a zombie has none
  const std::string name = fs::path(line.substr(0, line.find('\0'))).filename().string();
  const fs::path program = ProgramOf(number);
  return name == "torchserve" || name == "flambeau" || (!program.empty() && program == ProgramOf("self"));
}

Status WritePidFile(const fs::path& file) {
  // Made new, never followed: others may write to the same folder.
  const int opened = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (opened < 0) {
    return {errno == EEXIST ? Code::kConflict : Code::kInternal,
            fmt::format("cannot write the pid file {}: {}", file.string(), std::strerror(errno))};
  }
  const std::string text = std::to_string(getpid());
  const bool written = WriteAll(opened, text).empty();
  const int reason = errno;
  ::close(opened);
  if (written) return {};
  std::error_code error;
  fs::remove(file, error);
  return Internal(fmt::format("cannot write the pid file {}: {}", file.string(), std::strerror(reason)));
}

void RemovePidFile(const fs::path& file, pid_t pid) {
  std::error_code error;
  if (ReadPidFile(file) == pid) fs::remove(file, error);
}

}  // namespace serve
