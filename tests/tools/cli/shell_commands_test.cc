// Completions and manual pages. What a shell or a formatter says of them is asked where it is installed.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/config/settings.h"
#include "tests/model_store/archive/test_files.h"
#include "tests/tools/cli/tool_run.h"

namespace serve {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct ShellRun {
  int code = -1;
  std::string out;  // and what went to standard error
};

ShellRun Shell(const std::string& line) {
  ShellRun run;
  FILE* pipe = popen((line + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return run;
  char block[4096];
  for (std::size_t got = 0; (got = fread(block, 1, sizeof block, pipe)) > 0;) run.out.append(block, got);
  run.code = pclose(pipe);
  return run;
}

bool Installed(const std::string& program) { return Shell("command -v " + program).code == 0; }

class ShellCommandsTest : public testing::Test {
 protected:
  std::string Script(const std::string& shell) {
    const ToolRun run = Tool({"completion", shell});
    EXPECT_EQ(run.code, 0) << run.err;
    return folder_.Write(shell, run.out).string();
  }
  /// What bash offers for the last of these words.
  std::string Offered(const std::string& words) {
    const std::string code =
        folder_
            .Write("ask.bash", "source '" + Script("bash") +
                                   "'\nflambeau() { echo '\"modelName\": \"news\"'; }\n"
                                   "COMP_WORDS=(flambeau " +
                                   words +
                                   ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_flambeau\n"
                                   "echo \"${COMPREPLY[*]}\"\n")
            .string();
    return Shell("cd '" + folder_.path().string() + "' && bash '" + code + "'").out;
  }
  TemporaryFolder folder_;
};

TEST_F(ShellCommandsTest, BashKnowsCommandsOptionsAndTheirValues) {
  EXPECT_EQ(Offered("mo"), "models\n");
  EXPECT_EQ(Offered("models sc"), "scale\n");
  EXPECT_EQ(Offered("--json models sc"), "scale\n");
  EXPECT_EQ(Offered("models scale --mi"), "--min\n");
  EXPECT_EQ(Offered("predict --priority ''"), "high normal low\n");
  EXPECT_EQ(Offered("completion ''"), "bash zsh fish\n");
  EXPECT_EQ(Offered("serve --batch-s"), "--batch-size\n") << "settings are options of serve";
  EXPECT_EQ(Offered("doctor --js"), "--json\n");
  EXPECT_EQ(Offered("models describe n"), "news\n") << "the server is asked for models";
  EXPECT_EQ(Offered("archive inspect ask"), "ask.bash\n") << "anything else may be a file";
}

TEST_F(ShellCommandsTest, EveryShellReadsItsScript) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = Script(shell);
    if (!Installed(shell)) continue;
    const ShellRun run = Shell(std::string(shell) + " -n '" + script + "'");
    EXPECT_EQ(run.code, 0) << shell << ": " << run.out;
    EXPECT_EQ(run.out, "") << shell;
  }
  EXPECT_EQ(Tool({"completion", "tcsh"}).code, 2);
  if (Installed("shellcheck")) {
    EXPECT_EQ(Shell("shellcheck -s bash '" + Script("bash") + "'").out, "");
  }
}

TEST_F(ShellCommandsTest, AllShellsKnowAllCommands) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string text = Tool({"completion", shell}).out;
    for (const char* word : {"set-default", "workflow-archive", "rollback", "status", "doctor"})
      EXPECT_THAT(text, HasSubstr(word)) << shell;
  }
}

TEST_F(ShellCommandsTest, AManualPageHasEverySettingAndTheExamples) {
  const std::string page = Tool({"man", "serve"}).out;
  for (const Setting& setting : Settings()) {
    std::string flag = FlagOf(setting.key);
    for (std::size_t at = 0; (at = flag.find('-', at)) != std::string::npos; at += 2) flag.insert(at, "\\");
    EXPECT_THAT(page, HasSubstr(".B " + flag));
  }
  EXPECT_THAT(page,
              AllOf(HasSubstr(".SH EXIT STATUS"), HasSubstr(".SH FILES"), HasSubstr("FLAMBEAU_BATCH_SIZE")));
  EXPECT_THAT(Tool({"man", "ping"}).out,
              AllOf(HasSubstr(".SH EXAMPLES\n.nf\nflambeau ping"), HasSubstr("0 ready, 1 not ready")));
  EXPECT_THAT(Tool({"man"}).out, HasSubstr(".BR flambeau\\-models (1)"));
  EXPECT_EQ(Tool({"man", "nothing"}).code, 2);
}

TEST_F(ShellCommandsTest, ShareGetsAPageForEachCommandAndEachIsClean) {
  setenv("SOURCE_DATE_EPOCH", "0", 1);
  const std::string share = (folder_.path() / "share").string();
  ASSERT_EQ(Tool({"man", "--share", share}).code, 0);
  unsetenv("SOURCE_DATE_EPOCH");
  EXPECT_THAT(NamesIn(share), ElementsAre("bash-completion", "fish", "man", "zsh"));
  const std::vector<std::string> pages = NamesIn(share + "/man/man1");
  EXPECT_THAT(pages, testing::IsSupersetOf(
                         {"flambeau.1", "flambeau-serve.1", "flambeau-doctor.1", "flambeau-man.1"}));
  EXPECT_THAT(ReadAll(share + "/man/man1/flambeau.1"), HasSubstr("1970-01-01"));
  for (const std::string& page : pages) {
    const std::string file = "'" + share + "/man/man1/" + page + "'";
    if (Installed("mandoc")) {
      EXPECT_EQ(Shell("mandoc -Tlint -W warning " + file).out, "");
    }
    if (Installed("man")) {
      EXPECT_EQ(Shell("LC_ALL=C.UTF-8 man --warnings -l " + file + " 2>&1 >/dev/null").out, "");
    }
  }
}

}  // namespace
}  // namespace serve
