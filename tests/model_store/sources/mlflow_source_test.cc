#include "model_store/sources/mlflow_source.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/model_store/http_client/fake_server.h"

namespace serve {
namespace {

using testing::HasSubstr;

std::vector<MlflowArtifact> Files(const std::vector<std::string>& paths) {
  std::vector<MlflowArtifact> files;
  for (const std::string& path : paths) files.push_back({path, false, 1});
  return files;
}

TEST(ChooseArtifactTest, TheOnlyArchiveElseAnUnpackedOneElseTheOnlyModule) {
  struct Case {
    std::vector<std::string> files;
    std::string file;
    std::string name;
  };
  const Case cases[] = {
      {{"MLmodel", "data/model.pth", "extra_files/news.mar"}, "extra_files/news.mar", "news.mar"},
      {{"MAR-INF/MANIFEST.json", "weights.pt"}, "", "news"},
      {{"MLmodel", "data/model.pth", "data/pickle_module_info.txt"}, "data/model.pth", "news.pt"},
      {{"a/net.pt2", "notes.txt"}, "a/net.pt2", "net.pt2"},
  };
  for (const Case& one : cases) {
    const auto choice = ChooseArtifact(Files(one.files), "news");
    ASSERT_TRUE(choice) << choice.error().message;
    EXPECT_EQ(choice->file, one.file);
    EXPECT_EQ(choice->name, one.name);
  }
}

TEST(ChooseArtifactTest, WhatCannotBeServedIsExplained) {
  EXPECT_THAT(ChooseArtifact(Files({"a.mar", "b.mar"}), "m").error().message,
              HasSubstr("(a.mar, b.mar): what can be served is a folder with exactly one archive"));
  EXPECT_THAT(ChooseArtifact(Files({"MLmodel", "model.pkl"}), "m").error().message,
              HasSubstr("it is an MLflow model with 2 files (MLmodel, model.pkl)"));
}

/// A registry with the model `news`: version 4 is READY and `production`, 5 is not ready.
class ResolveTest : public testing::Test {
 protected:
  ResolveTest() : server_(Answer) {}
  static FakeServer::Response Answer(const FakeServer::Request& request) {
    const std::string target(request.target());
    const auto version = [](const char* number, const char* status) {
      return FakeServer::Json(
          200, nlohmann::json{{"model_version",
                               {{"name", "news"}, {"version", number}, {"run_id", "r1"}, {"status", status}}}}
                   .dump());
    };
    const auto has = [&target](const char* text) { return target.find(text) != std::string::npos; };
    if (has("alias=production") || has("get?name=news&version=4")) return version("4", "READY");
    if (has("get?name=news&version=5")) return version("5", "PENDING_REGISTRATION");
    if (has("alias=")) {
      return FakeServer::Json(
          400, R"({"error_code":"INVALID_PARAMETER_VALUE","message":"Registered model alias x not found."})");
    }
    if (has("get-download-uri")) return FakeServer::Json(200, R"({"artifact_uri":"runs:/r1/model"})");
    if (has("runs/get?run_id=r1")) {
      return FakeServer::Json(
          200,
          R"({"run":{"info":{"run_id":"r1","artifact_uri":"mlflow-artifacts:/1/r1/artifacts"},"data":{}}})");
    }
    return FakeServer::Json(404, R"({"error_code":"RESOURCE_DOES_NOT_EXIST","message":"there is none"})");
  }
  Status Resolve(const std::string& uri) {
    MlflowSettings settings;
    settings.uri = server_.url();
    settings.max_retries = 0;
    origin_ = {};
    origin_.uri = uri;
    return ResolveMlflowUri(MlflowClient(settings), origin_);
  }
  FakeServer server_;
  SourceOrigin origin_;
};

TEST_F(ResolveTest, AnAliasLeadsToItsVersionAndTheRunsArtifacts) {
  for (const char* uri : {"models:/news@production", "models:/news/4"}) {
    const Status status = Resolve(uri);
    ASSERT_TRUE(status.ok()) << status.message;
    EXPECT_EQ(origin_.resolved, "models:/news/4");
    EXPECT_EQ(origin_.version, "4");
    EXPECT_EQ(origin_.run_id, "r1");
    EXPECT_EQ(origin_.artifact, "mlflow-artifacts:/1/r1/artifacts/model");
  }
  ASSERT_TRUE(Resolve("runs:/r1/other/news.mar").ok());
  EXPECT_EQ(origin_.artifact, "mlflow-artifacts:/1/r1/artifacts/other/news.mar");
  EXPECT_EQ(origin_.run_id, "r1");
}

TEST_F(ResolveTest, WhatIsNotThereOrNotReadyIsAnError) {
  EXPECT_THAT(Resolve("models:/news@x").message, HasSubstr("alias x not found"));
  EXPECT_THAT(Resolve("models:/news/5").message,
              HasSubstr("version 5 of the model news is PENDING_REGISTRATION"));
  EXPECT_THAT(Resolve("models:/news/6").message, HasSubstr("there is none"));
  for (const char* uri : {"models:/news", "models:/@a", "models:/a/b/1", "runs:/r1", "runs:/r1/"}) {
    EXPECT_EQ(Resolve(uri).code, Code::kModelNotFound) << uri;
  }
}

TEST(OriginTest, AnOriginIsReadAsItWasWritten) {
  SourceOrigin origin;
  origin.uri = "models:/news@production";
  origin.resolved = "models:/news/4";
  origin.artifact = "mlflow-artifacts:/1/r1/artifacts/news.mar";
  origin.sha256 = std::string(64, 'a');
  origin.size = 7;
  const SourceOrigin read = ReadOrigin(OriginJson(origin));
  EXPECT_EQ(OriginJson(read), OriginJson(origin));
  EXPECT_TRUE(ReadOrigin(nlohmann::ordered_json("x")).uri.empty());
  EXPECT_TRUE(ReadOrigin({{"uri", "file:///etc/passwd"}, {"artifact", "file:///etc/passwd"}}).uri.empty());
}

TEST(SourceTest, OnlyUrisOfTheCacheAreSourceUris) {
  for (const char* uri : {"models:/a/1", "RUNS:/r/p", "mlflow-artifacts:/1", "s3://b/k", "gs://b/k"}) {
    EXPECT_TRUE(IsSourceUri(uri)) << uri;
  }
  for (const char* uri : {"http://h/s3://", "file:///a", "a.mar", "s3", ""})
    EXPECT_FALSE(IsSourceUri(uri)) << uri;
}

}  // namespace
}  // namespace serve
