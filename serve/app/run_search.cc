#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <string>
#include <sys/prctl.h>
#include <unistd.h>
#include <vector>

#include "serve/app/server.h"
#include "serve/model/search_process.h"

namespace serve {

int RunSearch(const std::vector<std::string>& args, const MakeRuntimes& runtimes) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // also when the server has no time to end us
  if (args.size() != 1 || args[0] != std::to_string(getppid())) {
    std::fputs("error: search-variants is what `flambeau serve` starts to tune a model\n", stderr);
    return 2;
  }
  // A stop signal for the whole group is the server's to handle.
  for (const int signal : {SIGTERM, SIGINT, SIGPIPE}) std::signal(signal, SIG_IGN);
  std::ofstream("/proc/self/oom_score_adj") << "1000";  // rather this process than the server
  // Libraries may print to the standard output.
  const int answers = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  // Without destructors: nothing here is worth the time, and libtorch's may crash.
  std::_Exit(AnswerSearch(runtimes(), STDIN_FILENO, answers));
}

}  // namespace serve
