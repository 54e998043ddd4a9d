#include "model_store/mlflow/client.h"

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/handlers/text/text_model.h"
#include "tests/model_store/http_client/fake_server.h"

namespace serve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Json = nlohmann::json;

/// A client of a server that answers each request with the next of `answers` (`{}` after the last), at once.
class MlflowClientTest : public testing::Test {
 protected:
  struct Scripted {
    int status = 200;
    std::string body;
  };
  void Script(std::vector<Scripted> answers) {
    auto next = std::make_shared<std::size_t>(0);
    server_ = std::make_unique<FakeServer>([answers = std::move(answers), next](const auto&) {
      if (*next >= answers.size()) return FakeServer::Json(200, "{}");
      const Scripted& answer = answers[(*next)++];
      return FakeServer::Json(answer.status, answer.body);
    });
  }
  MlflowClient Client() {
    MlflowSettings settings;
    settings.uri = server_->url();
    settings.max_retries = 2;
    settings.sleep = [](std::chrono::milliseconds) {};
    return MlflowClient(settings);
  }
  Json Body(std::size_t request) { return Json::parse(server_->requests().at(request).body()); }

  const TestFolder folder_;
  std::unique_ptr<FakeServer> server_;
};

TEST_F(MlflowClientTest, AnExperimentIsFoundOrMadeEvenWhenAnotherMakesItAtThatMoment) {
  Script({{404, R"({"error_code":"RESOURCE_DOES_NOT_EXIST","message":"no"})"},
          {400, R"({"error_code":"RESOURCE_ALREADY_EXISTS","message":"yes"})"},
          {200,
           R"({"experiment":{"experiment_id":"7","name":"n","artifact_location":"mlflow-artifacts:/7"}})"}});
  const Result<MlflowExperiment> experiment = Client().OpenExperiment("n");
  ASSERT_TRUE(experiment) << experiment.error().message;
  EXPECT_EQ(experiment->id, "7");
  EXPECT_EQ(experiment->artifact_location, "mlflow-artifacts:/7");
}

TEST_F(MlflowClientTest, ARunIsReadWithEverythingInIt) {
  Script({{200, R"({"run":{"info":{"run_id":"r","experiment_id":"1","run_name":"brave","status":"FINISHED",
             "start_time":1700000000000,"end_time":"1700000001000","artifact_uri":"mlflow-artifacts:/1/r/artifacts"},
             "data":{"metrics":[{"key":"acc","value":0.5,"timestamp":3,"step":2},{"key":"bad","value":"NaN"}],
             "params":[{"key":"l2","value":"1"}],"tags":[{"key":"t","value":"v"}]},
             "inputs":{"dataset_inputs":[{"tags":[{"key":"mlflow.data.context","value":"training"}],
             "dataset":{"name":"news.csv","digest":"abc","source_type":"local","source":"{}"}}]}}})"}});
  const Result<MlflowRun> run = Client().GetRun("r");
  ASSERT_TRUE(run);
  EXPECT_EQ(run->start_ms, 1700000000000);
  EXPECT_EQ(run->end_ms, 1700000001000);
  EXPECT_EQ(run->params.at("l2"), "1");
  EXPECT_EQ(run->tags.at("t"), "v");
  EXPECT_EQ(run->metrics.at(0).step, 2);
  EXPECT_TRUE(std::isnan(run->metrics.at(1).value));
  EXPECT_EQ(run->datasets.at(0).context, "training");
}

TEST_F(MlflowClientTest, MetricsAndParametersGoInPiecesThatMlflowTakes) {
  Script({});
  std::vector<MlflowMetric> metrics(2001, {"loss", 0.5, 1, 0});
  metrics[0].value = std::numeric_limits<double>::quiet_NaN();
  metrics[1].value = -std::numeric_limits<double>::infinity();
  MlflowTags params;
  for (int i = 0; i < 101; ++i) params[std::to_string(i)] = "x";
  EXPECT_TRUE(Client().LogBatch("r", params, metrics, {{"a", "b"}}).ok());
  ASSERT_EQ(server_->lines().size(), 6U);  // 2 of params, 1 of tags, 3 of metrics
  EXPECT_EQ(Body(0)["params"].size(), 100U);
  EXPECT_EQ(Body(2)["tags"][0]["key"], "a");
  EXPECT_EQ(Body(3)["metrics"][0]["value"], "NaN");  // null would be refused
  EXPECT_EQ(Body(3)["metrics"][1]["value"], "-Infinity");
  EXPECT_EQ(Body(5)["metrics"].size(), 1U);
}

TEST_F(MlflowClientTest, ASearchReadsPageAfterPage) {
  Script({{200, R"({"runs":[{"info":{"run_id":"a"}}],"next_page_token":"p2"})"},
          {200, R"({"runs":[{"info":{"run_id":"b"}}]})"}});
  const Result<std::vector<MlflowRun>> runs = Client().SearchRuns({"1"}, "metrics.a > 1", "", 10);
  ASSERT_TRUE(runs);
  EXPECT_EQ(runs->size(), 2U);
  EXPECT_EQ(Body(1)["page_token"], "p2");
}

TEST_F(MlflowClientTest, AnAliasThatDoesNotExistIsNotFound) {
  Script(
      {{400, R"({"error_code":"INVALID_PARAMETER_VALUE","message":"Registered model alias x not found."})"}});
  EXPECT_EQ(Client().VersionOfAlias("m", "x").error().code, Code::kNotFound);
}

TEST_F(MlflowClientTest, ARunsUriIsResolvedByItsRun) {
  Script({{200, R"({"run":{"info":{"artifact_uri":"mlflow-artifacts:/1/r/artifacts"}}})"}});
  const Result<std::string> uri = Client().ResolveRuns("runs:/r/model/x.mar");
  ASSERT_TRUE(uri);
  EXPECT_EQ(*uri, "mlflow-artifacts:/1/r/artifacts/model/x.mar");
  EXPECT_EQ(*Client().ResolveRuns("gs://b/x"), "gs://b/x");
}

TEST_F(MlflowClientTest, AFileIsUploadedInBlocksAndAgainAfterAnError) {
  Script({{503, "{}"}, {200, ""}});
  const std::string content(900'000, 'x');
  const auto file = folder_.Write("big", content);
  const Status status = Client().UploadArtifact("mlflow-artifacts:/1/r/artifacts/a b/ü.bin", file);
  EXPECT_TRUE(status.ok()) << status.message;
  ASSERT_EQ(server_->lines().size(), 2U);
  EXPECT_EQ(server_->lines()[1], "PUT /api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/a%20b/%C3%BC.bin");
  EXPECT_EQ(server_->requests()[1].body(), content);
}

TEST_F(MlflowClientTest, ADownloadIsCompleteOrLeavesNothing) {
  const std::string content(3'000'000, 'y');
  Script(
      {{503, "busy"}, {200, content}, {200, content}, {404, R"({"error_code":"RESOURCE_DOES_NOT_EXIST"})"}});
  const auto target = folder_.path() / "got";
  EXPECT_TRUE(Client().DownloadArtifact("mlflow-artifacts:/1/x", target, content.size()).ok());
  std::ostringstream got;
  got << std::ifstream(target).rdbuf();
  EXPECT_EQ(got.str(), content);

  const auto other = folder_.path() / "other";
  EXPECT_EQ(Client().DownloadArtifact("mlflow-artifacts:/1/x", other, content.size() - 1).code,
            Code::kPayloadTooLarge);
  EXPECT_FALSE(std::filesystem::exists(other));
  EXPECT_EQ(Client().DownloadArtifact("mlflow-artifacts:/1/x", other, 1).code, Code::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(other));
}

TEST_F(MlflowClientTest, ATreeIsListedWithAllItsFiles) {
  Script(
      {{200, R"({"files":[{"path":"MLmodel","is_dir":false,"file_size":3},{"path":"data","is_dir":true}]})"},
       {200, R"({"files":[{"path":"m.pt","is_dir":false,"file_size":"9"}]})"}});
  const auto files = Client().ArtifactTree("mlflow-artifacts:/1/r");
  ASSERT_TRUE(files);
  ASSERT_EQ(files->size(), 2U);
  EXPECT_EQ((*files)[1].path, "data/m.pt");
  EXPECT_EQ((*files)[1].size, 9U);
  EXPECT_EQ(server_->lines()[1], "GET /api/2.0/mlflow-artifacts/artifacts?path=1%2Fr%2Fdata");
}

TEST_F(MlflowClientTest, NamesThatLeaveTheFolderAreRefused) {
  for (const char* name : {"../x", "/etc/passwd", "a/../../b", ""}) {
    Script({{200, std::string(R"({"files":[{"is_dir":false,"path":")") + name + R"("}]})"}});
    EXPECT_EQ(Client().ArtifactTree("mlflow-artifacts:/1").error().code, Code::kInvalidArgument) << name;
  }
  EXPECT_EQ(Client().ListArtifacts("mlflow-artifacts:/../x").error().code, Code::kInvalidArgument);
}

TEST_F(MlflowClientTest, CredentialsGoToOneServerOnly) {
  Script({});
  EXPECT_THAT(Client().ListArtifacts("mlflow-artifacts://evil.example/1").error().message,
              HasSubstr("names another server"));
  EXPECT_TRUE(server_->lines().empty());
  const std::string host = server_->url().substr(7);
  EXPECT_TRUE(Client().ListArtifacts("mlflow-artifacts://" + host + "/1"));
  EXPECT_EQ(Client().ListArtifacts("gs://b/x").error().code, Code::kNotImplemented);
}

TEST_F(MlflowClientTest, AModelThatExistsIsNoError) {
  Script({{400, R"({"error_code":"RESOURCE_ALREADY_EXISTS"})"}});
  EXPECT_TRUE(Client().CreateModel("m", "", {}).ok());
}

TEST(MlflowQuoteTest, AQuoteIsEscaped) { EXPECT_EQ(MlflowQuote("it's"), "'it\\'s'"); }

}  // namespace
}  // namespace serve
