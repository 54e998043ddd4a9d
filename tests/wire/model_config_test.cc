// What a version runs with: the call, the archive's model-config.yaml, the settings; and what is loaded at
// start.

#include <algorithm>
#include <string>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::HasSubstr;

/// Packs double.pt with this model-config.yaml.
void PackWith(const ServerProcess& server, const std::string& name, const std::string& version,
              const std::string& yaml) {
  const TemporaryFolder folder;
  CreateOptions options;
  options.model_name = name;
  options.version = version;
  options.config_file = folder.Write("model-config.yaml", yaml);
  options.force = true;
  Pack(server, "double.pt", options);
}

class ModelConfigTest : public SharedServer<ModelConfigTest> {
 public:
  static ServerProcess::Options Options() {
    return {
        {},
        {"--batch-size", "2"},
        {{"TS_MODELS",
          R"({"setting": {"1.0": {"minWorkers": 3, "maxWorkers": 3, "batchSize": 5, "responseTimeout": 6}},
                  "both": {"1.0": {"batchSize": 5, "maxBatchDelay": 33}}})"}}};
  }
};

TEST_F(ModelConfigTest, TheArchivesConfigurationCounts) {
  PackWith(server(), "yaml", "1.0",
           "minWorkers: 2\nmaxWorkers: 3\nbatchSize: 4\nmaxBatchDelay: 7\nresponseTimeout: 8\n"
           "startupTimeout: 9\nclientTimeoutInMills: 5000\njobQueueSize: 11\n");
  // Its workers beat initial_workers, as in TorchServe.
  EXPECT_TRUE(IsStatus(Register(server(), "url=yaml.mar&initial_workers=0"), 200,
                       "Model \"yaml\" Version: 1.0 registered with 2 initial workers"));
  const nlohmann::json model = DescribeOne(server(), "yaml");
  EXPECT_EQ(model["minWorkers"], 2);
  EXPECT_EQ(model["maxWorkers"], 3);
  EXPECT_EQ(model["workers"].size(), 2);
  EXPECT_EQ(model["batchSize"], 4);
  EXPECT_EQ(model["maxBatchDelay"], 7);
  EXPECT_EQ(model["responseTimeout"], 8);
  EXPECT_EQ(model["startupTimeout"], 9);
  EXPECT_EQ(model["clientTimeoutInMills"], 5000);
  EXPECT_EQ(model["jobQueueStatus"]["remainingCapacity"], 11);
}

TEST_F(ModelConfigTest, TheCallBeatsTheArchive) {
  PackWith(server(), "call", "1.0",
           "batchSize: 4\nmaxBatchDelay: 7\nresponseTimeout: 8\nstartupTimeout: 9\n");
  EXPECT_EQ(Register(server(),
                     "url=call.mar&initial_workers=1&batch_size=3&max_batch_delay=1&response_timeout=20&"
                     "startup_timeout=21")
                .status,
            200);
  const nlohmann::json model = DescribeOne(server(), "call");
  EXPECT_EQ(model["minWorkers"], 1);
  EXPECT_EQ(model["batchSize"], 3);
  EXPECT_EQ(model["maxBatchDelay"], 1);
  EXPECT_EQ(model["responseTimeout"], 20);
  EXPECT_EQ(model["startupTimeout"], 21);
}

TEST_F(ModelConfigTest, TheArchiveBeatsTheSettingAndTheSettingTheDefaults) {
  PackWith(server(), "both", "1.0", "batchSize: 4\n");
  EXPECT_EQ(Register(server(), "url=both.mar&initial_workers=1").status, 200);
  const nlohmann::json both = DescribeOne(server(), "both");
  EXPECT_EQ(both["batchSize"], 4);
  EXPECT_EQ(both["maxBatchDelay"], 33);

  server().AddModel("double.pt");
  EXPECT_EQ(Register(server(), "url=double.pt&model_name=setting&initial_workers=1").status, 200);
  const nlohmann::json setting = DescribeOne(server(), "setting");
  EXPECT_EQ(setting["batchSize"], 5);
  EXPECT_EQ(setting["responseTimeout"], 6);
  EXPECT_EQ(setting["minWorkers"], 1) << "the setting's workers are those of the start";
  EXPECT_EQ(Register(server(), "url=double.pt&model_name=none&initial_workers=1").status, 200);
  EXPECT_EQ(DescribeOne(server(), "none")["batchSize"], 2);
}

TEST_F(ModelConfigTest, AWrongTypeIsAWarningAndTheRestCounts) {
  PackWith(server(), "odd", "1.0", "batchSize: many\nmaxBatchDelay: 9\nparallelType: tp\n");
  EXPECT_EQ(Register(server(), "url=odd.mar&initial_workers=1").status, 200);
  EXPECT_EQ(DescribeOne(server(), "odd")["batchSize"], 2);
  EXPECT_EQ(DescribeOne(server(), "odd")["maxBatchDelay"], 9);
  EXPECT_TRUE(
      WaitUntil([&] { return server().Log().find("`parallelType` is ignored") != std::string::npos; }));
  EXPECT_THAT(server().Log(), HasSubstr("`batchSize` is ignored: it must be a whole number"));
}

TEST_F(ModelConfigTest, ABrokenFileIsRefusedByName) {
  PackWith(server(), "broken", "1.0", "batchSize: [1\n");
  EXPECT_TRUE(IsError(Register(server(), "url=broken.mar"), 400, "InvalidModelException",
                      "read model configuration failed (model-config.yaml)"));
}

TEST_F(ModelConfigTest, ARequestThatWaitsLongerThanTheClientTimeoutIsAnswered504) {
  CreateOptions options;
  const TemporaryFolder folder;
  options.model_name = "client";
  options.config_file = folder.Write("model-config.yaml", "clientTimeoutInMills: 50\n");
  Pack(server(), "slow.pt", options);
  EXPECT_EQ(Register(server(), "url=client.mar&initial_workers=1&input=x:float32:[1]").status, 200);
  EXPECT_EQ(PostJson(server().inference(), "/predictions/client", "[400]").status, 504);
}

TEST_F(ModelConfigTest, MinusOneMeansNotGivenAsForTorchServesClients) {
  server().AddModel("double.pt");
  EXPECT_EQ(Register(server(),
                     "url=double.pt&model_name=minus&batch_size=-1&response_timeout=-1&"
                     "startup_timeout=-1&initial_workers=1&runtime=python3")
                .status,
            200);
  EXPECT_EQ(DescribeOne(server(), "minus")["batchSize"], 2);
  EXPECT_EQ(DescribeOne(server(), "minus")["responseTimeout"], 120);
  EXPECT_TRUE(IsError(Register(server(), "url=double.pt&model_name=r&runtime=python4"), 400,
                      "BadRequestException", "Invalid RuntimeType value: python4"));
}

TEST_F(ModelConfigTest, NoTimeToStartIsAFailureWhereWorkersAreWanted) {
  server().AddModel("double.pt");
  EXPECT_TRUE(
      IsError(Register(server(), "url=double.pt&model_name=never&initial_workers=1&startup_timeout=0"), 500,
              "InternalServerException", "Failed to start workers for model never version: 1.0"));
  EXPECT_EQ(Get(server().management(), "/models/never").status, 404);
  EXPECT_EQ(Register(server(), "url=double.pt&model_name=never&startup_timeout=0").status, 200);
}

TEST(StartModelsTest, TheFirstVersionOfTheListIsTheDefaultOrTheOneThatTheSettingNames) {
  const TemporaryFolder store;
  const auto pack = [&store](const std::string& name, const std::string& version) {
    CreateOptions options;
    options.model_name = name;
    options.version = version;
    options.handler = "tensor";
    options.serialized_file = ModelFile("double.pt");
    options.export_path = store.path();
    options.force = true;
    ASSERT_TRUE(CreateArchive(options));
    std::filesystem::rename(store / (name + ".mar"), store / (name + version + ".mar"));
  };
  for (const char* name : {"a", "b"}) {
    pack(name, "1.0");
    pack(name, "2.0");
  }
  ServerProcess server(
      {{},
       {"--model-store", store.path().string(), "--models", "a2.0.mar", "a1.0.mar", "b1.0.mar", "b2.0.mar"},
       {{"TS_MODELS", R"({"b": {"2.0": {"defaultVersion": true, "minWorkers": 2, "maxWorkers": 2}}})"}}});
  EXPECT_EQ(DescribeOne(server, "a")["modelVersion"], "2.0");
  EXPECT_EQ(DescribeOne(server, "b")["modelVersion"], "2.0");
  EXPECT_EQ(DescribeOne(server, "b")["workers"].size(), 2) << "at the start the setting's workers count";
  EXPECT_EQ(DescribeOne(server, "b/1.0")["workers"].size(), 1);
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

}  // namespace
}  // namespace serve::wire
