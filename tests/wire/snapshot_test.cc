// What was registered is there again after a restart, and nothing of it can stop a start.

#include <memory>
#include <signal.h>
#include <string>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// Servers one after the other on the same store.
class SnapshotTest : public testing::Test {
 protected:
  SnapshotTest() {
    for (const char* name : {"double.pt", "triple.pt"}) {
      std::filesystem::copy_file(ModelFile(name), store_ / name);
    }
  }
  std::unique_ptr<ServerProcess> Start(std::vector<std::string> flags = {},
                                       const Environment& environment = {}) {
    flags.insert(flags.end(), {"--model-store", store_.path().string()});
    return std::make_unique<ServerProcess>(ServerProcess::Options{{}, flags, environment});
  }
  static HttpResponse Put(const ServerProcess& server, const std::string& target) {
    return Request(server.management(), "PUT", target);
  }
  [[nodiscard]] std::vector<std::string> Snapshots() const { return NamesIn(store_ / ".snapshots"); }
  [[nodiscard]] std::string Newest() const { return ReadAll(store_ / (".snapshots/" + Snapshots().back())); }

  TemporaryFolder store_;
};

TEST_F(SnapshotTest, ModelsAreThereAgainAsTheyWere) {
  {
    const auto server = Start();
    EXPECT_EQ(Register(*server,
                       "url=double.pt&model_name=m&initial_workers=2&batch_size=4&max_batch_delay=3&"
                       "response_timeout=9&input=x:float32:[1]")
                  .status,
              200);
    EXPECT_EQ(Register(*server, "url=triple.pt&model_name=m&version=2.0&initial_workers=1").status, 200);
    EXPECT_EQ(Put(*server, "/models/m/2.0/set-default").status, 200);
    EXPECT_EQ(Put(*server, "/models/m/2.0?min_worker=1&max_worker=3&synchronous=true").status, 200);
    EXPECT_EQ(server->Stop(), 0) << server->Log();
  }
  const auto server = Start();
  EXPECT_EQ(Get(server->inference(), "/ping").status, 200);
  const nlohmann::json one = DescribeOne(*server, "m/1.0");
  EXPECT_EQ(one["minWorkers"], 2);
  EXPECT_EQ(one["batchSize"], 4);
  EXPECT_EQ(one["maxBatchDelay"], 3);
  EXPECT_EQ(one["responseTimeout"], 9);
  EXPECT_EQ(one["inputs"][0]["name"], "x");
  EXPECT_EQ(one["loadedAtStartup"], false);
  const nlohmann::json two = DescribeOne(*server, "m");
  EXPECT_EQ(two["modelVersion"], "2.0");
  EXPECT_EQ(two["minWorkers"], 1);
  EXPECT_EQ(two["maxWorkers"], 3);
  EXPECT_TRUE(IsJson(PostJson(server->inference(), "/predictions/m", "[1]"), "[3.0]"));
  EXPECT_EQ(server->Stop(), 0) << server->Log();
}

TEST_F(SnapshotTest, WorkflowsAreThereAgainAndTheirModelsOnlyWithThem) {
  store_.Write("w/spec.yaml",
               "models: {a: {url: double.pt, batch-size: 4}, b: {url: triple.pt}}\ndag: {a: [b]}");
  store_.Write("w/WAR-INF/MANIFEST.json", R"({"workflow": {"specFile": "spec.yaml"}})");
  {
    const auto server = Start();
    EXPECT_EQ(Request(server->management(), "POST", "/workflows?url=w&workflow_name=first").status, 200);
    EXPECT_EQ(Request(server->management(), "POST", "/workflows?url=w&workflow_name=second").status, 200);
    EXPECT_EQ(Request(server->management(), "DELETE", "/workflows/second").status, 200);
    EXPECT_EQ(server->Stop(), 0) << server->Log();
  }
  // Also where nobody may register anything any more.
  const auto server = Start({"--enable-model-api", "false"});
  EXPECT_EQ(Get(server->inference(), "/ping").status, 200);
  EXPECT_THAT(ModelNames(*server), ElementsAre("first__a", "first__b"));
  EXPECT_EQ(DescribeOne(*server, "first__a")["batchSize"], 4);
  EXPECT_TRUE(IsJson(PostJson(server->inference(), "/wfpredict/first", "[1]"), "[6.0]"));
  EXPECT_EQ(server->Stop(), 0) << server->Log();
}

TEST_F(SnapshotTest, EveryChangeIsWrittenInTorchServesForm) {
  const auto server = Start();
  EXPECT_THAT(Snapshots(), ElementsAre(testing::EndsWith("-startup.cfg")));
  EXPECT_EQ(Register(*server, "url=double.pt&initial_workers=1").status, 200);
  EXPECT_THAT(Snapshots(), SizeIs(2));
  EXPECT_THAT(Newest(), testing::StartsWith("#Saving snapshot\n#"));
  EXPECT_THAT(Newest(), HasSubstr("model_snapshot={\\n  \"name\"\\: \""));
  EXPECT_THAT(Newest(), HasSubstr("\"marName\"\\: \"double.pt\""));
  EXPECT_EQ(Put(*server, "/models/double?min_worker=2").status, 202);
  EXPECT_THAT(Newest(), HasSubstr("\"minWorkers\"\\: 2"));
  EXPECT_EQ(Put(*server, "/models/double/1.0/set-default").status, 200);
  EXPECT_THAT(Snapshots(), SizeIs(4));
  EXPECT_EQ(Request(server->management(), "DELETE", "/models/double").status, 200);
  EXPECT_THAT(Newest(), HasSubstr("\"modelCount\"\\: 0"));
  EXPECT_EQ(server->Stop(), 0);
  EXPECT_THAT(Snapshots().back(), testing::EndsWith("-shutdown.cfg"));
}

TEST_F(SnapshotTest, AServerThatIsKilledHasLostNothing) {
  {
    const auto server = Start();
    EXPECT_EQ(Register(*server, "url=double.pt&model_name=kept&initial_workers=1").status, 200);
    EXPECT_EQ(Register(*server, "url=triple.pt&model_name=gone&initial_workers=1").status, 200);
    EXPECT_EQ(Request(server->management(), "DELETE", "/models/gone").status, 200);
    server->process().Signal(SIGKILL);
    EXPECT_EQ(server->process().WaitForExit(), 128 + SIGKILL);
  }
  EXPECT_THAT(ModelNames(*Start()), ElementsAre("kept"));
}

TEST_F(SnapshotTest, OneThatDoesNotFitIsSetAsideAndTheRestStarts) {
  {
    const auto server = Start();
    EXPECT_EQ(Register(*server, "url=double.pt&initial_workers=1").status, 200);
    EXPECT_EQ(Register(*server, "url=triple.pt&initial_workers=1").status, 200);
    EXPECT_EQ(server->Stop(), 0);
  }
  std::filesystem::remove(store_ / "double.pt");
  const auto server = Start();
  EXPECT_THAT(ModelNames(*server), ElementsAre("triple"));
  EXPECT_EQ(Get(server->inference(), "/ping").status, 200) << "a snapshot is no configuration";
  EXPECT_THAT(server->Log(), HasSubstr("Failed to restore model double version 1.0"));
  EXPECT_THAT(server->Log(), HasSubstr("does not fit and is set aside"));
  EXPECT_THAT(Snapshots(), testing::Contains(testing::EndsWith(".rejected")));
}

TEST_F(SnapshotTest, ConfigurationCountsForWhatNoCallHadNamed) {
  {
    const auto server = Start({"--models", "double.pt", "--batch-size", "2"});
    EXPECT_EQ(Put(*server, "/models/double?min_worker=3&synchronous=true").status, 200);
    EXPECT_EQ(server->Stop(), 0);
  }
  const auto server = Start({"--models", "double.pt", "--batch-size", "8"});
  const nlohmann::json model = DescribeOne(*server, "double");
  EXPECT_EQ(model["batchSize"], 8) << "a changed setting is not hidden by a snapshot";
  EXPECT_EQ(model["minWorkers"], 3) << "what a call had scaled stays";
  EXPECT_EQ(model["loadedAtStartup"], true);
}

TEST_F(SnapshotTest, WithoutSnapshotsNothingIsNotedAndNothingRestored) {
  {
    const auto server = Start();
    EXPECT_EQ(Register(*server, "url=double.pt&initial_workers=1").status, 200);
  }
  const std::size_t before = Snapshots().size();
  const auto server = Start({"--ncs"});
  EXPECT_THAT(ModelNames(*server), IsEmpty());
  EXPECT_EQ(Register(*server, "url=triple.pt&initial_workers=1").status, 200);
  EXPECT_EQ(Snapshots().size(), before);
}

TEST_F(SnapshotTest, TorchServesPlaceIsTheLogLocation) {
  const TemporaryFolder logs;
  const auto server = Start({}, {{"LOG_LOCATION", logs.path().string()}});
  EXPECT_THAT(NamesIn(logs / "config"), ElementsAre(testing::EndsWith("-startup.cfg")));
  EXPECT_THAT(Snapshots(), IsEmpty());
}

TEST_F(SnapshotTest, AHandWrittenModelSnapshotDecidesAlone) {
  const TemporaryFolder folder;
  const std::string file =
      folder
          .Write(
              "config.properties",
              "load_models=triple.pt\nmodel_snapshot={\"name\":\"startup.cfg\",\"modelCount\":1,\"models\":"
              "{\"hand\":{\"1.0\":{\"defaultVersion\":true,\"marName\":\"double.pt\",\"minWorkers\":2,"
              "\"maxWorkers\":2,\"batchSize\":4,\"maxBatchDelay\":5,\"responseTimeout\":60}}}}\n")
          .string();
  const auto server = Start({"--ts-config", file});
  EXPECT_THAT(ModelNames(*server), ElementsAre("hand"));
  const nlohmann::json model = DescribeOne(*server, "hand");
  EXPECT_EQ(model["minWorkers"], 2);
  EXPECT_EQ(model["batchSize"], 4);
  EXPECT_EQ(model["responseTimeout"], 60);
  EXPECT_EQ(model["loadedAtStartup"], false);
}

TEST_F(SnapshotTest, AStoreThatCannotBeWrittenIsSaidOnceAndServed) {
  store_.Write(".snapshots", "a file where the folder should be");
  const auto server = Start({"--models", "double.pt"});
  EXPECT_EQ(Get(server->inference(), "/ping").status, 200);
  EXPECT_EQ(Register(*server, "url=triple.pt&initial_workers=1").status, 200);
  EXPECT_EQ(server->Stop(), 0);
  const std::string log = server->Log();
  const std::string text = "is not kept for the next start";
  EXPECT_NE(log.find(text), std::string::npos) << log;
  EXPECT_EQ(log.find(text), log.rfind(text));
}

}  // namespace
}  // namespace serve::wire
