// The command lines of TorchServe's own programs.

#include <fstream>
#include <string>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// `torchserve …` with a pid file, a model store and a configuration of its own; what it left running is
/// stopped with the object.
class Launcher {
 public:
  explicit Launcher(const std::string& more = {}) {
    fs::create_directories(folder_ / "store");
    folder_.Write("ts.properties",
                  "inference_address=http://127.0.0.1:0\nmanagement_address=http://127.0.0.1:0\n"
                  "metrics_address=http://127.0.0.1:0\nport_file=" +
                      (folder_ / "ports").string() + "\n" + more);
  }
  ~Launcher() { Run({"--stop"}); }
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  Ran Run(const std::vector<std::string>& args) const {
    std::vector<std::string> words = {Program("torchserve")};
    words.insert(words.end(), args.begin(), args.end());
    // Stays for the server that it may leave behind: MKL ends a process whose working folder is gone.
    const fs::path working = folder_ / ("run" + std::to_string(++runs_));
    fs::create_directories(working);
    ChildProcess process(words, working, {{"TMPDIR", folder_.path().string()}});
    const std::optional<int> code = process.WaitForExit();
    return {code.value_or(-1), process.Out(), process.Err()};
  }
  Ran Start(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"--start", "--ts-config", (folder_ / "ts.properties").string(),
                               "--model-store", store().string()});
    return Run(more);
  }

  static std::string Program(const std::string& name) {
    return (fs::path(ProgramPath()).parent_path() / name).string();
  }
  [[nodiscard]] fs::path store() const { return folder_ / "store"; }
  [[nodiscard]] fs::path pid_file() const { return folder_ / ".model_server.pid"; }
  [[nodiscard]] int Port(const std::string& listener) const {
    std::ifstream file(folder_ / "ports");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with(listener + "=")) return std::atoi(line.c_str() + listener.size() + 1);
    }
    return 0;
  }

 private:
  TemporaryFolder folder_;
  mutable int runs_ = 0;
};

TEST(LauncherTest, StartReturnsWhenTheServerListensAndStopWhenItHasEnded) {
  const Launcher launcher;
  fs::copy_file(ModelFile("double.pt"), launcher.store() / "double.pt");
  fs::copy_file(ModelFile("triple.pt"), launcher.store() / "triple.pt");
  const Ran started = launcher.Start({"--models", "double.pt", "other=triple.pt", "--ncs"});
  ASSERT_EQ(started.code, 0) << started.out << started.err;
  ASSERT_TRUE(fs::exists(launcher.pid_file()));
  const int port = launcher.Port("inference");
  ASSERT_TRUE(CanConnect(port));
  EXPECT_TRUE(WaitUntil([&] { return Get(port, "/ping").status == 200; }));
  EXPECT_TRUE(IsJson(PostJson(port, "/predictions/double", "[1]"), "[2.0]"));
  EXPECT_TRUE(IsJson(PostJson(port, "/predictions/other", "[1]"), "[3.0]"));

  const Ran again = launcher.Start();
  EXPECT_EQ(again.code, 1);
  EXPECT_EQ(again.out, "TorchServe is already running, please use torchserve --stop to stop TorchServe.\n");

  const Ran stopped = launcher.Run({"--stop"});
  EXPECT_EQ(stopped.code, 0);
  EXPECT_EQ(stopped.out, "TorchServe has stopped.\n");
  EXPECT_FALSE(CanConnect(port));
  EXPECT_FALSE(fs::exists(launcher.pid_file()));
  EXPECT_EQ(launcher.Run({"--stop"}).out, "TorchServe is not currently running.\n");
}

TEST(LauncherTest, AServerThatCannotStartIsSaidWithItsReason) {
  const Launcher launcher("batch_size=none\n");
  const Ran ran = launcher.Start();
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("`batch_size` = 'none' is not possible"));
  EXPECT_FALSE(fs::exists(launcher.pid_file()));
}

TEST(LauncherTest, AStalePidFileIsRemoved) {
  const Launcher launcher;
  std::ofstream(launcher.pid_file()) << 1;  // somebody else's process
  EXPECT_EQ(launcher.Run({"--stop"}).out, "TorchServe is not currently running.\n");
  std::ofstream(launcher.pid_file()) << 1;
  const Ran started = launcher.Start();
  EXPECT_EQ(started.code, 0) << started.err;
  EXPECT_THAT(started.out, HasSubstr("Removing orphan pid file.\n"));
  EXPECT_EQ(launcher.Run({"--stop", "--foreground"}).out, "");
}

TEST(LauncherTest, InTheForegroundItIsTheServer) {
  const Launcher launcher;
  const TemporaryFolder folder;
  ChildProcess process(
      {Launcher::Program("torchserve"), "--foreground", "--model-store", launcher.store().string(),
       "--ts-config", (launcher.store().parent_path() / "ts.properties").string(), "--plugins-path", "/x",
       "--log-config", "log4j2.xml"},
      folder.path(), {{"TMPDIR", launcher.store().parent_path().string()}});
  ASSERT_TRUE(WaitUntil([&] { return process.Out().find("Model server started.") != std::string::npos; }))
      << process.Err();
  EXPECT_THAT(process.Err(),
              HasSubstr("--plugins-path: `plugins_path` is not supported: there are no Java plugins"));
  EXPECT_TRUE(fs::exists(launcher.pid_file()));
  process.Signal(SIGTERM);
  EXPECT_EQ(process.WaitForExit(), 0);
  EXPECT_FALSE(fs::exists(launcher.pid_file()));
}

TEST(LauncherTest, WhatIsMissingHasTorchServesTexts) {
  const Launcher launcher;
  const Ran config = launcher.Run({"--start", "--ts-config", "/nowhere/x", "--model-store", "/tmp"});
  EXPECT_EQ(config.code, 1);
  EXPECT_EQ(config.out, "--ts-config file not found: /nowhere/x\n");
  const Ran store = launcher.Run({"--start", "--model-store", "/nowhere"});
  EXPECT_EQ(store.code, 1);
  EXPECT_EQ(store.out, "--model-store directory not found: /nowhere\n");
  const Ran none = launcher.Run({"--start"});
  EXPECT_EQ(none.code, 1);
  EXPECT_EQ(none.out, "Missing mandatory parameter --model-store\n");
}

TEST(LauncherTest, WrongUsageIsTwo) {
  const Launcher launcher;
  const Ran unknown = launcher.Run({"--strat"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("usage: torchserve"));
  EXPECT_EQ(launcher.Run({"--start", "--stop"}).code, 2);
  const Ran word = RunProgram({"torchserve", "--strat"});  // without the link
  EXPECT_EQ(word.code, 2);
  EXPECT_EQ(word.err, unknown.err);
  const Ran version = launcher.Run({"-v"});
  EXPECT_EQ(version.code, 0);
  EXPECT_THAT(version.out, HasSubstr("TorchServe Version is 0.12.0\n"));
}

TEST(ModelArchiverTest, ItsArchiveIsServed) {
  const ServerProcess server({{}, {}, {}});
  const TemporaryFolder folder;
  folder.Write("handler.py", "def handle(data, context): return data\n");
  folder.Write("labels/index_to_name.json", "{\"0\": \"a\"}");
  folder.Write("one.txt", "1");
  folder.Write("two.txt", "2");
  const std::vector<std::string> packed = {Launcher::Program("torch-model-archiver"),
                                           "--model-name",
                                           "packed",
                                           "--version",
                                           "1.0",
                                           "--serialized-file",
                                           ModelFile("double.pt").string(),
                                           "--handler",
                                           "base_handler",
                                           "--extra-files",
                                           (folder / "*.txt").string() + "," + (folder / "labels").string(),
                                           "--export-path",
                                           server.store().string()};
  const Ran first = RunOther(packed[0], {packed.begin() + 1, packed.end()}, "");
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.out + first.err, "");
  EXPECT_EQ(Register(server, "url=packed.mar&initial_workers=1").status, 200);
  EXPECT_TRUE(IsJson(PostJson(server.inference(), "/predictions/packed", "[1]"), "[2.0]"));

  const Ran again = RunOther(packed[0], {packed.begin() + 1, packed.end()}, "");
  EXPECT_EQ(again.code, 1);
  EXPECT_EQ(again.err,
            "ERROR - " + (server.store() / "packed.mar").string() +
                " already exists.\nPlease specify --force/-f option to overwrite the model archive "
                "output file.\nSee -h/--help for more details.\n");

  std::vector<std::string> python = {packed.begin() + 1, packed.end()};
  python[7] = (folder / "handler.py").string();
  python.emplace_back("-f");
  const Ran warned = RunOther(packed[0], python, "");
  EXPECT_EQ(warned.code, 0);
  EXPECT_THAT(warned.err, HasSubstr("WARNING - the handler " + python[7] + " is Python code"));

  python[1] = "bad/name";
  const Ran bad = RunOther(packed[0], python, "");
  EXPECT_EQ(bad.code, 1);
  EXPECT_THAT(bad.err, HasSubstr("ERROR - Model name contains special characters.\n"));
  EXPECT_EQ(RunOther(packed[0], {"--model-name", "x"}, "").code, 2);
}

}  // namespace
}  // namespace serve::wire
