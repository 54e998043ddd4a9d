#pragma once

#include <string>
#include <sys/stat.h>
#include <time.h>

namespace serve {

/// What tells that a file is another one than before. Links are followed, so it also sees that one now points
/// elsewhere, which is how Kubernetes changes a mounted secret.
struct FileMark {
  timespec changed{};
  off_t size = -1;  // there is no such file
  ino_t inode = 0;

  static FileMark Of(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return {};
    return {status.st_mtim, status.st_size, status.st_ino};
  }
  bool operator==(const FileMark& other) const {
    return changed.tv_sec == other.changed.tv_sec && changed.tv_nsec == other.changed.tv_nsec &&
           size == other.size && inode == other.inode;
  }
};

}  // namespace serve
