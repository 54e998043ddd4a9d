#include "serve/http/routes.h"

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "serve/model/loader.h"
#include "tests/serve/http/http_server.h"
#include "tests/serve/model/fake_model.h"

namespace serve {
namespace {

using ::testing::HasSubstr;

/// The inference and management APIs behind real listeners, with a model `m` that answers a number with
/// itself.
class RoutesTest : public ::testing::Test {
 protected:
  RoutesTest() {
    VersionOptions options;
    options.response_timeout = std::chrono::milliseconds(150);
    auto version = testing_model::MakeVersion(
        [this](const std::vector<Tensor>& inputs) {
          gate_.wait();
          return FakeRuntime::Echo(inputs);
        },
        options);
    version->Scale(1, 1, true);
    EXPECT_TRUE(models_.Add(std::move(version)).ok());
    inference_listener_ = Open(InferenceRouter(inference_, limits_));
    management_listener_ = Open(ManagementRouter(management_, inference_, pool_));
    metrics_listener_ = Open(MetricsRouter(metrics_));
  }
  ~RoutesTest() override {
    OpenGate();
    inference_listener_.reset();
    management_listener_.reset();
    metrics_listener_.reset();
    pool_.join();
  }

  std::unique_ptr<Listener> Open(Router router) {
    auto opened = Listener::Open(io_, "127.0.0.1", 0, "--test-address", std::move(router), limits_, metrics_);
    return std::move(*opened);
  }
  void OpenGate() {
    if (!opened_) open_.set_value();
    opened_ = true;
  }
  RawClient::Reply Infer(const std::string& request) { return Ask(*inference_listener_, request); }
  RawClient::Reply Manage(const std::string& request) { return Ask(*management_listener_, request); }
  static RawClient::Reply Ask(const Listener& listener, const std::string& request) {
    RawClient client(listener.port());
    client.Send(request);
    return client.Read();
  }

  std::promise<void> open_;
  bool opened_ = false;
  std::shared_future<void> gate_ = open_.get_future().share();  // the model computes nothing before it opens
  HttpLimits limits_;
  Metrics metrics_{false};
  ServedModels models_;
  Loader loader_{{}, metrics_, {}, {}};
  InferenceApi inference_{models_};
  ManagementApi management_{models_, loader_, ManagementOptions()};
  boost::asio::thread_pool pool_{1};
  IoThreads io_{2};
  std::unique_ptr<Listener> inference_listener_;
  std::unique_ptr<Listener> management_listener_;
  std::unique_ptr<Listener> metrics_listener_;
};

std::string Put(const std::string& target) {
  return "PUT " + target + " HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n";
}

TEST_F(RoutesTest, APredictionComesBack) {
  OpenGate();
  EXPECT_EQ(Infer(Post("/predictions/m", "42")).body, "42");
  EXPECT_EQ(Infer(Post("/predictions/m/1.0", "43")).body, "43");
  EXPECT_EQ(
      Infer(Post("/predictions/m", "data=44", "Content-Type: application/x-www-form-urlencoded\r\n")).body,
      "44");
  EXPECT_EQ(
      Infer(Post("/predictions/m", "45", "X-Request-Priority: High\r\nX-Request-Timeout-Ms: 60000\r\n")).body,
      "45");
}

TEST_F(RoutesTest, ManyPredictionsAtOnceKeepTheirAnswers) {
  OpenGate();
  RawClient client(inference_listener_->port());
  std::string all;
  for (int i = 0; i < 50; ++i) all += Post("/predictions/m", std::to_string(i));
  client.Send(all);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(client.Read().body, std::to_string(i));
}

TEST_F(RoutesTest, WhatCannotBeServedSaysWhy) {
  OpenGate();
  const auto unknown = Infer(Post("/predictions/other", "1"));
  EXPECT_EQ(unknown.status, 404);
  EXPECT_THAT(unknown.body, HasSubstr("Model not found: other"));
  const auto version = Infer(Post("/predictions/m/7", "1"));
  EXPECT_EQ(version.status, 404);
  EXPECT_THAT(version.body, HasSubstr("Model version: 7 does not exist for model: m"));
  EXPECT_EQ(Infer(Post("/predictions/m", "no number")).status, 400);
  EXPECT_EQ(Infer(Get("/predictions/m")).status, 405);
  EXPECT_EQ(Infer(Post("/predictions/m", "1", "Content-Encoding: br\r\n")).status, 415);
  EXPECT_EQ(Infer(Post("/predictions", "1")).status, 404);
}

TEST_F(RoutesTest, HeadersThatAskForNonsenseAreRefused) {
  for (const char* timeout : {"0", "-1", "1.5", "ten", "86400001", "99999999999999999999"}) {
    const auto reply =
        Infer(Post("/predictions/m", "1", "X-Request-Timeout-Ms: " + std::string(timeout) + "\r\n"));
    EXPECT_EQ(reply.status, 400) << timeout;
    EXPECT_THAT(reply.body, HasSubstr(timeout));
  }
  const auto reply = Infer(Post("/predictions/m", "1", "X-Request-Priority: urgent\r\n"));
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.body, HasSubstr("`urgent`"));
}

TEST_F(RoutesTest, TheDeadlineOfTheRequestOrOfTheModelIsKeptWhileTheModelHangs) {
  EXPECT_EQ(Infer(Post("/predictions/m", "1", "X-Request-Timeout-Ms: 10\r\n")).status, 504);
  EXPECT_EQ(Infer(Post("/predictions/m", "1")).status, 504);  // response_timeout
}

TEST_F(RoutesTest, PingTellsWhetherTheServerIsReady) {
  const auto healthy = Infer(Get("/ping"));
  EXPECT_EQ(healthy.status, 200);
  EXPECT_EQ(healthy.body, "{\n  \"status\": \"Healthy\"\n}\n");
  models_.SetDraining();
  for (const Listener* listener : {inference_listener_.get(), management_listener_.get()}) {
    const auto reply = Ask(*listener, Get("/ping"));
    EXPECT_EQ(reply.status, 503);
    EXPECT_EQ(nlohmann::json::parse(reply.body),
              nlohmann::json({{"status", "Unhealthy"}, {"reason", "the server is shutting down"}}));
  }
}

TEST_F(RoutesTest, ManagementListsAndDescribes) {
  const auto list =
      Manage(Get("/models?limit=ten&whatever=1"));  // no integer: the default, as TorchServe does
  EXPECT_EQ(list.status, 200);
  EXPECT_EQ(nlohmann::json::parse(list.body)["models"][0]["modelName"], "m");
  EXPECT_EQ(list.body.back(), '\n');
  for (const char* path : {"/models/m", "/models/m/1.0", "/models/m/all", "/models/m/"}) {
    const auto reply = Manage(Get(path));
    EXPECT_EQ(reply.status, 200) << path;
    EXPECT_EQ(nlohmann::json::parse(reply.body)[0]["modelVersion"], "1.0") << path;
  }
  EXPECT_EQ(Manage(Get("/models/other")).status, 404);
  EXPECT_EQ(Manage(Get("/models?limit=%2")).status, 400);
}

TEST_F(RoutesTest, ManagementScalesAndSetsTheDefault) {
  EXPECT_EQ(Manage(Put("/models/m?min_worker=2&max_worker=2&synchronous=TRUE")).status, 200);
  EXPECT_EQ(models_.Find("m", "").value()->Read().workers.size(), 2u);
  EXPECT_EQ(Manage(Put("/models/m?min_worker=1&model_version=9")).status, 404);
  EXPECT_EQ(Manage(Put("/models/m/1.0/set-default")).status, 200);
  EXPECT_EQ(Manage(Put("/models/m/9/set-default")).status, 404);
  EXPECT_EQ(Manage(Post("/models/m/1.0/set-default", "")).status, 405);
}

TEST_F(RoutesTest, RegisterTakesItsParametersFromTheQueryOrFromJson) {
  const std::string json = "Content-Type: application/json\r\n";
  EXPECT_THAT(Manage(Post("/models", "")).body, HasSubstr("Parameter url is required."));
  EXPECT_THAT(Manage(Post("/models", "{}", json)).body, HasSubstr("Parameter url is required."));
  EXPECT_THAT(Manage(Post("/models", R"({"url": "a.mar", "batch_size": "x"})", json)).body,
              HasSubstr("Parameter batch_size must be an integer, not `x`."));
  EXPECT_THAT(Manage(Post("/models", R"({"url": ["a.mar"]})", json)).body,
              HasSubstr("Parameter url must be"));
  EXPECT_EQ(Manage(Post("/models", "{\"url\": ", json)).status, 400);
  // The query wins; there is no model store, so nothing is found.
  const auto reply = Manage(Post("/models?url=from_query.mar", R"({"url": "from_json.mar"})", json));
  EXPECT_GE(reply.status, 400);
  EXPECT_THAT(reply.body, ::testing::Not(HasSubstr("from_json")));
  EXPECT_EQ(Manage(Post("/models?url=a.mar", std::string(100'000, '['), json)).status, 400);
}

TEST_F(RoutesTest, UnregisterTakesTheModelAway) {
  EXPECT_EQ(Manage("DELETE /models/m HTTP/1.1\r\nHost: test\r\n\r\n").status, 200);
  EXPECT_EQ(Infer(Post("/predictions/m", "1")).status, 404);
}

TEST_F(RoutesTest, MetricsAreTextThatCanBeFiltered) {
  const auto all = Ask(*metrics_listener_, Get("/metrics"));
  EXPECT_EQ(all.status, 200);
  EXPECT_TRUE(all.HeadHas("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_FALSE(all.body.empty());
  EXPECT_EQ(Ask(*metrics_listener_, Get("/metrics?name%5B%5D=no_such_sample")).body, "");
}

}  // namespace
}  // namespace serve
