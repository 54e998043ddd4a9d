#include "model_store/mlflow/connection.h"

#include <atomic>
#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/handlers/text/text_model.h"
#include "tests/model_store/http_client/fake_server.h"

namespace serve {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;
using std::chrono::milliseconds;

/// A variable for one test.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) { setenv(name, value.c_str(), 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

/// A connection that waits for nothing and notes how long it would have.
class MlflowConnectionTest : public testing::Test {
 protected:
  MlflowSettings Settings(const std::string& uri) {
    MlflowSettings settings;
    settings.uri = uri;
    settings.backoff_jitter = 0;
    settings.sleep = [this](milliseconds wait) { waits_.push_back(wait.count()); };
    return settings;
  }
  /// Answers `first` times with the status, then with `{}`.
  static FakeServer::Answer FailFirst(int first, int status, std::string retry_after = {}) {
    auto left = std::make_shared<std::atomic<int>>(first);
    return [=](const FakeServer::Request&) {
      if ((*left)-- <= 0) return FakeServer::Json(200, "{}");
      FakeServer::Response response =
          FakeServer::Json(status, R"({"error_code":"TEMPORARILY_UNAVAILABLE","message":"later"})");
      if (!retry_after.empty()) response.set("Retry-After", retry_after);
      return response;
    };
  }

  std::vector<std::int64_t> waits_;
  Json answer_;
};

TEST_F(MlflowConnectionTest, ABusyServerIsAskedAgainWithLongerAndLongerWaits) {
  FakeServer server(FailFirst(4, 503));
  const MlflowConnection connection(Settings(server.url()));
  const Status status = connection.Get("runs/get", {{"run_id", "a b"}}, answer_);
  EXPECT_TRUE(status.ok()) << status.message;
  EXPECT_THAT(waits_, ElementsAre(0, 4000, 8000, 16000));
  EXPECT_EQ(server.lines().back(), "GET /api/2.0/mlflow/runs/get?run_id=a%20b");
}

TEST_F(MlflowConnectionTest, RetryAfterIsObeyedUpToALimit) {
  for (const auto& [asked, waited] :
       {std::pair{"7", 7000}, std::pair{"99999999999999", 0}, {"3600", 120'000}}) {
    waits_.clear();
    FakeServer server(FailFirst(1, 429, asked));
    const MlflowConnection connection(Settings(server.url()));
    EXPECT_TRUE(connection.Get("x", {}, answer_).ok());
    EXPECT_THAT(waits_, ElementsAre(waited == 0 ? 120'000 : waited)) << asked;
  }
}

TEST_F(MlflowConnectionTest, ItGivesUpAndSaysWhatTheServerSaid) {
  FakeServer server(FailFirst(100, 503));
  MlflowSettings settings = Settings(server.url());
  settings.max_retries = 2;
  const Status status = MlflowConnection(settings).Get("x", {}, answer_);
  EXPECT_EQ(status.code, Code::kUnavailable);
  EXPECT_THAT(status.message,
              AllOf(HasSubstr("GET http"), HasSubstr("/x"), HasSubstr("503"), HasSubstr("later")));
  EXPECT_EQ(server.lines().size(), 3U);
}

TEST_F(MlflowConnectionTest, ACreationIsRepeatedOnlyWhenItSurelyWasNotProcessed) {
  const struct {
    int status;
    std::size_t calls;
  } kCases[] = {{429, 2}, {408, 2}, {503, 1}, {500, 1}, {504, 1}};
  for (const auto& [status, calls] : kCases) {
    FakeServer server(FailFirst(1, status));
    const MlflowConnection connection(Settings(server.url()));
    (void)connection.Send("POST", "runs/create", {}, answer_, MlflowRepeat::kIfNotProcessed);
    EXPECT_EQ(server.lines().size(), calls) << status;
  }
}

TEST_F(MlflowConnectionTest, ADeadServerIsTriedAgainEvenForACreation) {
  MlflowSettings settings = Settings(DeadUrl());
  settings.max_retries = 3;
  const Status status =
      MlflowConnection(settings).Send("POST", "runs/create", {}, answer_, MlflowRepeat::kIfNotProcessed);
  EXPECT_EQ(status.code, Code::kUnavailable);
  EXPECT_THAT(status.message, AllOf(HasSubstr("connection refused"), HasSubstr("MLFLOW_TRACKING_URI")));
  EXPECT_EQ(waits_.size(), 3U);
}

TEST_F(MlflowConnectionTest, AWrongRequestIsNotRepeated) {
  FakeServer server([](const auto&) {
    return FakeServer::Json(400, R"({"error_code":"RESOURCE_ALREADY_EXISTS","message":"there is one"})");
  });
  const Status status = MlflowConnection(Settings(server.url())).Send("POST", "x", {}, answer_);
  EXPECT_EQ(status.code, Code::kConflict);
  EXPECT_THAT(status.message, HasSubstr("RESOURCE_ALREADY_EXISTS: there is one"));
  EXPECT_EQ(server.lines().size(), 1U);
}

TEST_F(MlflowConnectionTest, AnErrorThatIsNoJsonIsShownAsItIs) {
  FakeServer server([](const auto&) {
    FakeServer::Response response = FakeServer::Json(403, "Invalid Host header");
    response.set("content-type", "text/plain");
    return response;
  });
  const Status status = MlflowConnection(Settings(server.url())).Get("x", {}, answer_);
  EXPECT_EQ(status.code, Code::kPermissionDenied);
  EXPECT_THAT(status.message, HasSubstr("Invalid Host header"));
}

TEST_F(MlflowConnectionTest, APageThatIsNoMlflowIsNotBelieved) {
  FakeServer server([](const auto&) {
    FakeServer::Response response = FakeServer::Json(200, "<html>");
    response.set("content-type", "text/html");
    return response;
  });
  EXPECT_THAT(MlflowConnection(Settings(server.url())).Get("x", {}, answer_).message,
              HasSubstr("is an MLflow server there?"));
}

TEST_F(MlflowConnectionTest, CredentialsAreSentAndNeverShown) {
  FakeServer server([](const auto&) { return FakeServer::Json(401, "no"); });
  const auto sent = [&](MlflowSettings settings) {
    const Status status = MlflowConnection(std::move(settings)).Get("x", {}, answer_);
    EXPECT_EQ(status.code, Code::kUnauthenticated);
    EXPECT_THAT(status.message, Not(HasSubstr("secret")));
    return std::string(server.requests().back()["authorization"]);
  };
  MlflowSettings settings = Settings(server.url() + "/");
  EXPECT_EQ(sent(settings), "");
  settings.token = "secret-token";
  EXPECT_EQ(sent(settings), "Bearer secret-token");
  settings.username = "ann";
  settings.password = "secret";
  EXPECT_EQ(sent(settings), "Basic YW5uOnNlY3JldA==");  // basic wins
  MlflowSettings in_uri = Settings(server.url());
  in_uri.uri.insert(in_uri.uri.find("127"), "ann:secret@");
  EXPECT_EQ(sent(in_uri), "Basic YW5uOnNlY3JldA==");
}

TEST_F(MlflowConnectionTest, APrefixOfTheServerIsKept) {
  FakeServer server([](const auto&) { return FakeServer::Json(200, "{}"); });
  EXPECT_TRUE(MlflowConnection(Settings(server.url() + "/ml/")).Get("x", {}, answer_).ok());
  EXPECT_EQ(server.lines().back(), "GET /ml/api/2.0/mlflow/x");
}

TEST(MlflowSettingsTest, TheEnvironmentIsReadAsMlflowsOwnClientDoes) {
  const Variable variables[] = {{"MLFLOW_TRACKING_URI", "https://ml.example:5000"},
                                {"MLFLOW_TRACKING_TOKEN", "t"},
                                {"MLFLOW_TRACKING_INSECURE_TLS", "true"},
                                {"MLFLOW_TRACKING_SERVER_CERT_PATH", "/ca.pem"},
                                {"MLFLOW_TRACKING_CLIENT_CERT_PATH", "/me.pem"},
                                {"MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3"},
                                {"MLFLOW_HTTP_REQUEST_TIMEOUT", "1.5"}};
  const Result<MlflowSettings> settings = MlflowSettingsOf();
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->uri, "https://ml.example:5000");
  EXPECT_EQ(settings->token, "t");
  EXPECT_FALSE(settings->tls.verify);
  EXPECT_EQ(settings->tls.ca_file, "/ca.pem");
  EXPECT_EQ(settings->tls.key, "/me.pem");
  EXPECT_EQ(settings->max_retries, 3);
  EXPECT_EQ(settings->timeout.count(), 1500);
}

TEST(MlflowSettingsTest, CredentialsMayLieInAFile) {
  const TestFolder home;
  std::filesystem::create_directory(home.path() / ".mlflow");
  std::ofstream(home.path() / ".mlflow/credentials")
      << "[other]\nmlflow_tracking_username = eve\n[mlflow]\nmlflow_tracking_username = ann\n"
         "mlflow_tracking_password=a=b\n";
  const std::string before = std::getenv("HOME") != nullptr ? std::getenv("HOME") : "";
  setenv("HOME", home.path().c_str(), 1);
  const Result<MlflowSettings> settings = MlflowSettingsOf("http://x");
  setenv("HOME", before.c_str(), 1);
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->username, "ann");
  EXPECT_EQ(settings->password, "a=b");
}

TEST(MlflowSettingsTest, WhatCannotBeUsedIsNamed) {
  EXPECT_EQ(MlflowSettingsOf().error().code, Code::kNotFound);
  for (const char* uri : {"sqlite:///mlflow.db", "./mlruns", "databricks"}) {
    EXPECT_THAT(MlflowSettingsOf(uri).error().message, HasSubstr(uri));
  }
  const Variable retries("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "many");
  EXPECT_THAT(MlflowSettingsOf("http://x").error().message,
              HasSubstr("MLFLOW_HTTP_REQUEST_MAX_RETRIES=many"));
}

}  // namespace
}  // namespace serve
