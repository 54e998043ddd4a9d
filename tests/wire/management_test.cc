// The life of a model: register, describe, list, scale, choose the default version, unregister.

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/model_store/archive/raw_zip.h"
#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class ManagementTest : public SharedServer<ManagementTest> {
 public:
  static ServerProcess::Options Options() { return {}; }

 protected:
  void SetUp() override {
    for (const std::string name : {"double.pt", "triple.pt"}) server().AddModel(name);
  }
  static HttpResponse Put(const std::string& target) { return Request(server().management(), "PUT", target); }
  static HttpResponse Delete(const std::string& target) {
    return Request(server().management(), "DELETE", target);
  }
  static HttpResponse Predict(const std::string& model) {
    return PostJson(server().inference(), "/predictions/" + model, "[1]");
  }
  /// Registers versions of double.pt (`triple` for the other model).
  static void MustRegisterVersion(const std::string& name, const std::string& version,
                                  const std::string& file = "double.pt") {
    MustRegister(server(), file, name, "version=" + version);
  }
};

TEST_F(ManagementTest, RegisteringByQueryIsConfirmed) {
  EXPECT_TRUE(
      IsStatus(Register(server(), "url=double.pt&model_name=query&initial_workers=2&synchronous=true"), 200,
               "Model \"query\" Version: 1.0 registered with 2 initial workers"));
  EXPECT_TRUE(IsJson(Predict("query"), "[2.0]"));
  EXPECT_TRUE(IsJson(Predict("query/1.0"), "[2.0]"));
  EXPECT_THAT(ModelNames(server()), Contains("query"));
}

TEST_F(ManagementTest, RegisteringByJsonIsConfirmed) {
  const HttpResponse response = PostJson(
      server().management(), "/models",
      R"({"url": "double.pt", "model_name": "json", "initial_workers": "1", "batch_size": 4, "max_batch_delay": 7,
          "response_timeout": 9, "input": ["x:float32:[1]"], "synchronous": true})");
  EXPECT_TRUE(IsStatus(response, 200, "Model \"json\" Version: 1.0 registered with 1 initial workers"));
  const nlohmann::json model = DescribeOne(server(), "json");
  EXPECT_EQ(model["batchSize"], 4);
  EXPECT_EQ(model["maxBatchDelay"], 7);
  EXPECT_EQ(model["responseTimeout"], 9);
  EXPECT_EQ(model["inputs"][0]["name"], "x");
  EXPECT_TRUE(IsJson(Predict("json"), "[2.0]"));
}

TEST_F(ManagementTest, WithoutWorkersTheAnswerSaysHowToAddThem) {
  EXPECT_TRUE(
      IsStatus(Register(server(), "url=double.pt&model_name=idle"), 200,
               "Model \"idle\" Version: 1.0 registered with 0 initial workers. Use scale workers API to add "
               "workers for the model."));
  EXPECT_TRUE(
      IsError(Predict("idle"), 503, "ServiceUnavailableException",
              "Model \"idle\" has no worker to serve inference request. Please use scale workers API to add "
              "workers."));
}

TEST_F(ManagementTest, RegisteringWithoutWaitingIsAccepted) {
  EXPECT_TRUE(
      IsStatus(Register(server(), "url=double.pt&model_name=later&initial_workers=1&synchronous=false"), 202,
               "Processing worker updates..."));
  EXPECT_TRUE(WaitUntil([&] { return Predict("later").status == 200; }));
}

TEST_F(ManagementTest, TheParametersOfRegisterAreChecked) {
  EXPECT_TRUE(
      IsError(Register(server(), "model_name=x"), 400, "BadRequestException", "Parameter url is required."));
  EXPECT_TRUE(IsError(Register(server(), "url=double.pt&model_name=x&batch_size=0"), 400,
                      "BadRequestException", "batch_size is 0"));
  EXPECT_TRUE(IsError(Register(server(), "url=double.pt&model_name=x&initial_workers=-1"), 400,
                      "BadRequestException", "initial_workers is -1"));
  EXPECT_TRUE(IsError(PostJson(server().management(), "/models", "{\"url\": "), 400, "BadRequestException",
                      "not valid JSON"));
  EXPECT_TRUE(
      IsError(PostJson(server().management(), "/models", "[]"), 400, "BadRequestException", "an object"));
  EXPECT_TRUE(
      IsError(PostJson(server().management(), "/models", R"({"url": "double.pt", "batch_size": "many"})"),
              400, "BadRequestException", "batch_size must be an integer, not `many`"));
  EXPECT_TRUE(IsError(Register(server(), "url=double.pt&model_name=a%2Fb"), 400, "InvalidModelException",
                      "Model name contains special characters."));
  EXPECT_THAT(ModelNames(server()), Not(Contains("x")));
}

TEST_F(ManagementTest, TheSameVersionTwiceIsAConflict) {
  MustRegisterVersion("twice", "1.0");
  EXPECT_TRUE(IsError(Register(server(), "url=triple.pt&model_name=twice"), 409, "ConflictStatusException",
                      "Model version 1.0 is already registered for model twice"));
  EXPECT_TRUE(IsJson(Predict("twice"), "[2.0]"));
}

TEST_F(ManagementTest, AnArchiveIsServedAndItsFolderRemovedWithIt) {
  const TemporaryFolder folder;
  CreateOptions options;
  options.model_name = "packed";
  options.version = "3.1";
  options.inputs = {Spec("x:float32:[64]")};
  options.outputs = {Spec("y:float32:[4]")};
  options.example_input = folder.Write("example.json", Numbers(64, "0.5"));
  options.lineage = {{"trainedBy", "a test"}};
  Pack(server(), "mlp.pt", options);
  EXPECT_TRUE(IsStatus(Register(server(), "url=packed.mar&initial_workers=1"), 200,
                       "Model \"packed\" Version: 3.1 registered with 1 initial workers"));
  EXPECT_EQ(server().Unpacked().size(), 1);
  const nlohmann::json model = DescribeOne(server(), "packed");
  EXPECT_EQ(model["modelVersion"], "3.1");
  EXPECT_EQ(model["checkedWith"], "example input");
  EXPECT_EQ(model["lineage"]["trainedBy"], "a test");
  EXPECT_EQ(PostJson(server().inference(), "/predictions/packed/3.1", Numbers(64, "1")).Json().size(), 4);
  EXPECT_EQ(Delete("/models/packed/3.1").status, 200);
  EXPECT_EQ(server().Unpacked().size(), 0);
  EXPECT_TRUE(std::filesystem::exists(server().store() / "packed.mar"));
}

TEST_F(ManagementTest, AFolderIsServedInPlace) {
  CreateOptions options;
  options.model_name = "folder";
  options.format = ArchiveFormat::kNoArchive;
  Pack(server(), "double.pt", options);
  EXPECT_EQ(Register(server(), "url=folder&initial_workers=1").status, 200);
  EXPECT_TRUE(IsJson(Predict("folder"), "[2.0]"));
  EXPECT_EQ(Delete("/models/folder").status, 200);
  EXPECT_TRUE(std::filesystem::exists(server().store() / "folder" / "double.pt"));
}

TEST_F(ManagementTest, AnArchiveWithoutAManifestIsServedWhenTheCallNamesTheModel) {
  std::ofstream(server().store() / "bare.mar", std::ios::binary)
      << RawZip({{"double.pt", ReadAll(ModelFile("double.pt"))}});
  EXPECT_TRUE(IsStatus(Register(server(), "url=bare.mar&model_name=bare&initial_workers=1"), 200,
                       "Model \"bare\" Version: 1.0 registered with 1 initial workers"));
  EXPECT_TRUE(IsJson(Predict("bare"), "[2.0]"));
  EXPECT_EQ(Delete("/models/bare").status, 200);
}

TEST_F(ManagementTest, DescribeHasTorchServesFields) {
  MustRegister(server(), "double.pt", "described", "input=x:float32:[3]");
  const nlohmann::json model = DescribeOne(server(), "described");
  EXPECT_EQ(model["modelName"], "described");
  EXPECT_EQ(model["modelVersion"], "1.0");
  EXPECT_EQ(model["modelUrl"], "double.pt");
  EXPECT_EQ(model["minWorkers"], 1);
  EXPECT_EQ(model["maxWorkers"], 1);
  EXPECT_EQ(model["batchSize"], 1);
  EXPECT_EQ(model["responseTimeout"], 120);
  EXPECT_EQ(model["startupTimeout"], 120);
  EXPECT_EQ(model["deviceType"], "cpu");
  EXPECT_EQ(model["loadedAtStartup"], false);
  for (const std::string key : {"runtime", "maxBatchDelay", "loadTimeMs", "handler"})
    EXPECT_TRUE(model.contains(key));
  ASSERT_EQ(model["workers"].size(), 1);
  EXPECT_TRUE(model["workers"][0]["id"].is_string());
  EXPECT_EQ(model["workers"][0]["status"], "READY");
  EXPECT_EQ(model["workers"][0]["gpu"], false);
  EXPECT_THAT(model["workers"][0]["startTime"].get<std::string>(),
              testing::MatchesRegex("[0-9]+-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+.[0-9][0-9][0-9]Z"));
  EXPECT_EQ(model["jobQueueStatus"]["remainingCapacity"], 100);
  EXPECT_EQ(model["jobQueueStatus"]["pendingRequests"], 0);
  EXPECT_EQ(model["inputs"][0], nlohmann::json::parse(R"({"name": "x", "dtype": "float32", "shape": [3]})"));
  EXPECT_EQ(model["checkedWith"], "declared shape");
}

TEST_F(ManagementTest, AModelThatTakesOnlyIndexZeroIsCheckedWithZeros) {
  MustRegister(server(), "zeros.pt", "zeros", "input=x:int64:[2]");
  EXPECT_EQ(DescribeOne(server(), "zeros")["checkedWith"], "declared shape");
  EXPECT_TRUE(IsJson(PostJson(server().inference(), "/predictions/zeros", "[0, 0]"), "[1,1]"));
}

TEST_F(ManagementTest, WhatIsUnknownIsNamedByEveryCall) {
  const std::string text = "Model not found: nobody";
  EXPECT_TRUE(IsError(Get(server().management(), "/models/nobody"), 404, "ModelNotFoundException", text));
  EXPECT_TRUE(IsError(Get(server().management(), "/models/nobody/all"), 404, "ModelNotFoundException", text));
  EXPECT_TRUE(IsError(Put("/models/nobody?min_worker=1"), 404, "ModelNotFoundException", text));
  EXPECT_TRUE(IsError(Put("/models/nobody/1.0/set-default"), 404, "ModelNotFoundException", text));
  EXPECT_TRUE(IsError(Delete("/models/nobody"), 404, "ModelNotFoundException", text));

  MustRegisterVersion("known", "1.0");
  const std::string version = "Model version: 7 does not exist for model: known";
  EXPECT_TRUE(
      IsError(Get(server().management(), "/models/known/7"), 404, "ModelVersionNotFoundException", version));
  EXPECT_TRUE(IsError(Put("/models/known/7?min_worker=1"), 404, "ModelVersionNotFoundException", version));
  EXPECT_TRUE(IsError(Put("/models/known/7/set-default"), 404, "ModelVersionNotFoundException",
                      "Model version 7 does not exist for model known"));
  EXPECT_TRUE(IsError(Delete("/models/known/7"), 404, "ModelVersionNotFoundException", version));
}

TEST_F(ManagementTest, TheListIsSortedAndComesInPages) {
  for (const std::string name : {"page_c", "page_a", "page_b"}) MustRegisterVersion(name, "1.0");
  std::vector<std::string> names;
  std::string token = "0";
  for (int pages = 0; !token.empty() && pages < 100; ++pages) {
    const HttpResponse response = Get(server().management(), "/models?limit=2&next_page_token=" + token);
    ASSERT_EQ(response.status, 200);
    const nlohmann::json json = response.Json();
    EXPECT_LE(json["models"].size(), 2);
    for (const nlohmann::json& model : json["models"]) {
      names.push_back(model["modelName"]);
      EXPECT_TRUE(model["modelUrl"].is_string());
    }
    token = response.Text("nextPageToken");
  }
  EXPECT_EQ(names, ModelNames(server()));
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_THAT(names, testing::IsSupersetOf({"page_a", "page_b", "page_c"}));
  const nlohmann::json past = Get(server().management(), "/models?next_page_token=1000").Json();
  EXPECT_EQ(past, nlohmann::json::parse("{\"models\": []}"));
}

TEST_F(ManagementTest, VersionsAreOrderedAsNumbersAndTheFirstOneIsTheDefault) {
  for (const std::string version : {"2.0", "10.0", "1.0"}) MustRegisterVersion("many", version);
  const nlohmann::json all = Get(server().management(), "/models/many/all").Json();
  std::vector<std::string> versions;
  for (const nlohmann::json& one : all) versions.push_back(one["modelVersion"]);
  EXPECT_THAT(versions, ElementsAre("1.0", "2.0", "10.0"));
  EXPECT_EQ(DescribeOne(server(), "many")["modelVersion"], "2.0");
  EXPECT_EQ(DescribeOne(server(), "many/10.0")["modelVersion"], "10.0");
}

TEST_F(ManagementTest, SetDefaultChoosesWhatUnversionedRequestsGet) {
  MustRegisterVersion("chosen", "1.0");
  MustRegisterVersion("chosen", "2.0", "triple.pt");
  EXPECT_TRUE(IsJson(Predict("chosen"), "[2.0]"));
  EXPECT_TRUE(IsStatus(Put("/models/chosen/2.0/set-default"), 200,
                       "Default version successfully updated for model \"chosen\" to \"2.0\""));
  EXPECT_TRUE(IsJson(Predict("chosen"), "[3.0]"));
  EXPECT_TRUE(IsJson(Predict("chosen/1.0"), "[2.0]"));
}

TEST_F(ManagementTest, ScalingAddsAndRemovesWorkers) {
  MustRegisterVersion("scaled", "1.0");
  EXPECT_TRUE(IsStatus(Put("/models/scaled?min_worker=3&synchronous=true"), 200,
                       "Workers scaled to 3 for model: scaled"));
  EXPECT_EQ(DescribeOne(server(), "scaled")["workers"].size(), 3);
  EXPECT_TRUE(IsStatus(Put("/models/scaled/1.0?min_worker=1&max_worker=2&synchronous=true"), 200,
                       "Workers scaled to 1 for model: scaled, version: 1.0"));
  EXPECT_EQ(DescribeOne(server(), "scaled")["workers"].size(), 2);
  EXPECT_EQ(DescribeOne(server(), "scaled")["maxWorkers"], 2);
  EXPECT_TRUE(IsStatus(Put("/models/scaled?min_worker=0&synchronous=true"), 200,
                       "Workers scaled to 0 for model: scaled"));
  EXPECT_TRUE(IsError(Predict("scaled"), 503, "ServiceUnavailableException", "Please use scale workers API"));
  EXPECT_TRUE(IsStatus(Put("/models/scaled?min_worker=1"), 202, "Processing worker updates..."));
  EXPECT_TRUE(WaitUntil([&] { return Predict("scaled").status == 200; }));
  EXPECT_EQ(Get(server().inference(), "/ping").status, 200);
}

TEST_F(ManagementTest, BetweenTheBoundsDescribeTellsOfTheAutoscaler) {
  MustRegisterVersion("auto", "1.0");
  EXPECT_FALSE(DescribeOne(server(), "auto").contains("autoscaling"));
  EXPECT_EQ(Put("/models/auto?min_worker=1&max_worker=3&synchronous=true&number_gpu=0").status, 200);
  const nlohmann::json model = DescribeOne(server(), "auto");
  EXPECT_EQ(model["minWorkers"], 1);
  EXPECT_EQ(model["maxWorkers"], 3);
  EXPECT_EQ(model["autoscaling"]["workers"], 1);
  EXPECT_EQ(model["autoscaling"]["changes"], 0);
}

TEST_F(ManagementTest, DescribeHasEveryFieldOfTorchServeInItsOrder) {
  MustRegisterVersion("fields", "1.0");
  const HttpResponse response = Get(server().management(), "/models/fields");
  const auto described = nlohmann::ordered_json::parse(response.body)[0];
  const std::vector<std::string> wanted = {"modelName",
                                           "modelVersion",
                                           "modelUrl",
                                           "runtime",
                                           "minWorkers",
                                           "maxWorkers",
                                           "batchSize",
                                           "maxBatchDelay",
                                           "responseTimeout",
                                           "startupTimeout",
                                           "maxRetryTimeoutInSec",
                                           "clientTimeoutInMills",
                                           "parallelType",
                                           "parallelLevel",
                                           "deviceType",
                                           "continuousBatching",
                                           "useJobTicket",
                                           "useVenv",
                                           "stateful",
                                           "sequenceMaxIdleMSec",
                                           "sequenceTimeoutMSec",
                                           "maxNumSequence",
                                           "maxSequenceJobQueueSize",
                                           "loadedAtStartup",
                                           "workers",
                                           "jobQueueStatus"};
  std::vector<std::string> keys;
  for (const auto& item : described.items()) keys.push_back(item.key());
  ASSERT_GE(keys.size(), wanted.size());
  keys.resize(wanted.size());
  EXPECT_EQ(keys, wanted);
  EXPECT_GT(described["workers"][0]["pid"], 0);
  EXPECT_GT(described["workers"][0]["memoryUsage"], 1 << 20);
  EXPECT_EQ(response.body.substr(0, 8), "[\n  {\n  ");
  EXPECT_EQ(response.body.back(), '\n');
}

TEST_F(ManagementTest, CustomizedAsksForTheArchivesMetadata) {
  MustRegisterVersion("custom", "1.0");
  EXPECT_FALSE(DescribeOne(server(), "custom").contains("customizedMetadata"));
  EXPECT_FALSE(DescribeOne(server(), "custom?customized=false").contains("customizedMetadata"));
  EXPECT_EQ(DescribeOne(server(), "custom?customized=TRUE")["customizedMetadata"], nlohmann::json::object());
  EXPECT_FALSE(Get(server().management(), "/models/custom/all?customized=true")
                   .Json()[0]
                   .contains("customizedMetadata"));
  EXPECT_EQ(Put("/models/custom?min_worker=0&synchronous=true").status, 200);
  EXPECT_TRUE(IsError(
      Get(server().management(), "/models/custom?customized=true"), 503, "ServiceUnavailableException",
      "Model \"custom\" has no worker to serve describe request. Please use scale workers API to "
      "add workers."));
}

TEST_F(ManagementTest, OtherMethodsAreNotAllowed) {
  for (const auto& [method, target] :
       {std::pair{"DELETE", "/models"}, std::pair{"PUT", "/models"}, std::pair{"POST", "/models/m"},
        std::pair{"GET", "/models/m/1.0/set-default"}, std::pair{"DELETE", "/models/m/1.0/set-default"}}) {
    EXPECT_TRUE(IsError(Request(server().management(), method, target), 405, "MethodNotAllowedException",
                        "Requested method is not allowed, please refer to API document."))
        << method << target;
  }
  EXPECT_EQ(Put("/models/m/1.0/other").status, 404);
}

TEST_F(ManagementTest, NumbersThatAreNoneAndOutOfRangeLimitsAreDefaults) {
  MustRegisterVersion("junk", "1.0");
  EXPECT_EQ(Get(server().management(), "/models?limit=junk&next_page_token=-3").status, 200);
  EXPECT_EQ(Get(server().management(), "/models?limit=101").Json(),
            Get(server().management(), "/models").Json());
  EXPECT_EQ(Get(server().management(), "/models?limit=0").Json(), nlohmann::json::parse(R"({"models": []})"));
  EXPECT_EQ(Put("/models/junk?min_worker=junk&max_worker=junk").status, 202);
  EXPECT_EQ(Put("/models/junk?model_version=7").status, 404);
  EXPECT_EQ(DescribeOne(server(), "junk")["minWorkers"], 1);
}

TEST_F(ManagementTest, TheBoundsOfScaleAreChecked) {
  MustRegisterVersion("bounds", "1.0");
  EXPECT_TRUE(IsError(Put("/models/bounds?min_worker=2&max_worker=1"), 400, "BadRequestException",
                      "max_worker cannot be less than min_worker."));
  EXPECT_TRUE(IsError(Put("/models/bounds?max_worker=0"), 400, "BadRequestException",
                      "max_worker cannot be less than min_worker."));
  EXPECT_TRUE(IsError(Put("/models/bounds?min_worker=-1"), 400, "BadRequestException", "min_worker is -1"));
  EXPECT_EQ(DescribeOne(server(), "bounds")["workers"].size(), 1);
}

TEST_F(ManagementTest, TheDefaultVersionGoesLast) {
  MustRegisterVersion("last", "1.0");
  MustRegisterVersion("last", "2.0", "triple.pt");
  for (const std::string target : {"/models/last", "/models/last/1.0"}) {
    EXPECT_TRUE(IsError(Delete(target), 403, "InvalidModelVersionException",
                        "Cannot remove default version for model last"));
  }
  EXPECT_TRUE(IsStatus(Delete("/models/last/2.0"), 200, "Model \"last\" unregistered"));
  EXPECT_TRUE(IsJson(Predict("last"), "[2.0]"));
  EXPECT_TRUE(IsStatus(Delete("/models/last"), 200, "Model \"last\" unregistered"));
  EXPECT_EQ(Predict("last").status, 404);
  EXPECT_EQ(Delete("/models/last").status, 404);
  EXPECT_THAT(ModelNames(server()), Not(Contains("last")));
  MustRegisterVersion("last", "1.0", "triple.pt");
  EXPECT_TRUE(IsJson(Predict("last"), "[3.0]"));
}

TEST_F(ManagementTest, AVersionIsReplacedUnderLoadWithoutAFailure) {
  MustRegisterVersion("rolling", "1.0");
  std::atomic<bool> stop{false};
  std::atomic<int> done{0};
  std::atomic<int> tripled{0};
  std::vector<std::thread> clients;
  std::vector<std::string> failures(4);
  for (std::string& failure : failures) {
    clients.emplace_back([&] {
      try {
        WireConnection connection(server().inference());
        while (!stop && failure.empty()) {
          const HttpResponse response = connection.Request("POST", "/predictions/rolling",
                                                           {{"Content-Type", "application/json"}}, "[1]");
          ++done;
          if (response.body.find("3.0") != std::string::npos) ++tripled;
          if (response.status != 200) failure = response.body;
        }
      } catch (const std::exception& error) {
        failure = error.what();
      }
    });
  }
  EXPECT_TRUE(WaitUntil([&] { return done > 50; }));
  MustRegisterVersion("rolling", "2.0", "triple.pt");
  EXPECT_EQ(Put("/models/rolling/2.0/set-default").status, 200);
  EXPECT_EQ(Delete("/models/rolling/1.0").status, 200);
  const int before = tripled;
  EXPECT_TRUE(WaitUntil([&] { return tripled > before + 50; }));
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_THAT(failures, ElementsAre("", "", "", ""));
  EXPECT_GT(done, tripled);
}

}  // namespace
}  // namespace serve::wire
