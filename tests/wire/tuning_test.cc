// The search for the fastest way to run a model, in a process of its own.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/types.h>
#include <unistd.h>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::HasSubstr;

/// The process that searches for the server; 0: there is none.
pid_t SearchOf(pid_t server) {
  const std::string wanted = std::string("search-variants") + '\0' + std::to_string(server) + '\0';
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::ifstream file(entry.path() / "cmdline", std::ios::binary);
    std::ostringstream words;  // takes no harm when the process ends while it is read
    words << file.rdbuf();
    if (words.str().ends_with(wanted)) return std::stoi(entry.path().filename());
  }
  return 0;
}

/// The moment in which a search runs; fails the test when none comes.
pid_t WaitForSearch(ServerProcess& server) {
  pid_t found = 0;
  EXPECT_TRUE(WaitUntil([&] { return (found = SearchOf(server.process().id())) != 0; })) << server.Log();
  return found;
}

/// A model that is busy for 100 ms, so that the search lasts for seconds: the answer to the registration,
/// which a disk may delay, comes before its end.
std::string PackSlow(const ServerProcess& server) {
  const TemporaryFolder folder;
  CreateOptions options;
  options.model_name = "slow";
  options.example_input = folder.Write("example.json", "[100]");
  return Pack(server, "slow.pt", options).filename();
}

nlohmann::json TuningOf(const ServerProcess& server, const std::string& model) {
  return DescribeOne(server, model).value("tuning", nlohmann::json::object());
}

bool Settles(const ServerProcess& server, const std::string& model) {
  return WaitUntil([&] {
    const std::string state = TuningOf(server, model).value("state", "");
    return state == "done" || state == "failed";
  });
}

TEST(TuningTest, AModelIsReadyOnceAnotherProcessHasFoundItsFastestWay) {
  ServerProcess server({{}, {"--tuning", "load", "--batch-size", "4", "--tuning-budget-ms", "1000"}, {}});
  CreateOptions options;
  options.model_name = "mlp";
  options.inputs = {Spec("x:float32:[64]")};
  const std::string file = Pack(server, "mlp.pt", options).filename();
  ASSERT_EQ(Register(server, "url=" + file + "&initial_workers=1").status, 200) << server.Log();
  const nlohmann::json tuning = TuningOf(server, "mlp");
  EXPECT_EQ(tuning.value("state", ""), "done") << tuning << server.Log();
  EXPECT_GT(tuning["trials"].size(), 3U);
  EXPECT_EQ(SearchOf(server.process().id()), 0);
  EXPECT_EQ(PostJson(server.inference(), "/predictions/mlp", Numbers(64, "0.5")).status, 200);
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

TEST(TuningTest, ASearchThatIsKilledLeavesTheModelServingAsItWasSaved) {
  ServerProcess server({{}, {"--batch-size", "4"}, {}});
  ASSERT_EQ(Register(server, "url=" + PackSlow(server) + "&initial_workers=1").status, 200) << server.Log();
  const pid_t search = WaitForSearch(server);
  ASSERT_NE(search, 0);
  EXPECT_EQ(kill(search, SIGKILL), 0);
  ASSERT_TRUE(Settles(server, "slow")) << server.Log();
  const nlohmann::json tuning = TuningOf(server, "slow");
  EXPECT_EQ(tuning.value("state", ""), "failed");
  EXPECT_EQ(tuning.value("variant", ""), "plain");
  EXPECT_THAT(tuning.value("reason", ""), HasSubstr("the search ended by signal 9 (Killed)"));
  const std::string logged = "not tuned: the search ended by signal 9";
  EXPECT_TRUE(WaitUntil([&] { return server.Log().find(logged) != std::string::npos; })) << server.Log();
  EXPECT_EQ(PostJson(server.inference(), "/predictions/slow", "[[1]]").status, 200);
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

TEST(TuningTest, ASearchEndsWithItsServer) {
  for (const int signal : {SIGTERM, SIGKILL}) {
    ServerProcess server({{}, {"--batch-size", "4"}, {}});
    ASSERT_EQ(Register(server, "url=" + PackSlow(server) + "&initial_workers=1").status, 200) << server.Log();
    const pid_t id = server.process().id();
    ASSERT_NE(WaitForSearch(server), 0);
    server.process().Signal(signal);
    ASSERT_TRUE(server.process().WaitForExit());
    EXPECT_TRUE(WaitUntil([&] { return SearchOf(id) == 0; }));
  }
}

TEST(TuningTest, NobodyElseStartsTheProgramThatSearches) {
  const Ran ran = RunProgram({"search-variants", "1"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("`flambeau serve` starts"));
}

}  // namespace
}  // namespace serve::wire
