#pragma once

#include <filesystem>
#include <sys/types.h>

#include "serve/base/status.h"

namespace serve {

/// `.model_server.pid` in the folder for temporary files: TMPDIR, TEMP, TMP, else /tmp.
std::filesystem::path PidFilePath();

/// The number in the file; 0 when there is no file or no number in it.
pid_t ReadPidFile(const std::filesystem::path& file);

/// Whether a server of ours runs under this number. A number that was given to another program meanwhile, a
/// zombie and the calling process itself (number 1 of a restarted container) are none.
bool IsServer(pid_t pid);

/// Notes the calling process in a new file. Errors: kConflict when there is one already, kInternal.
Status WritePidFile(const std::filesystem::path& file);

/// Removes the file if it holds `pid`.
void RemovePidFile(const std::filesystem::path& file, pid_t pid);

}  // namespace serve
