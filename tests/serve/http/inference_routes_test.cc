// TorchServe's ways to a prediction beside /predictions/{model}.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "serve/http/content_encoding.h"
#include "tests/serve/http/inference_server.h"

namespace serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string kJson = "Content-Type: application/json\r\n";

class InferenceRoutesTest : public ::testing::Test {
 protected:
  InferenceServer server_;
};

std::string With(const std::string& method, const std::string& target, const std::string& fields = "",
                 const std::string& body = "") {
  return method + " " + target + " HTTP/1.1\r\nHost: test\r\n" + fields +
         (body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n") + "\r\n" + body;
}

TEST_F(InferenceRoutesTest, WhatFollowsTheVersionIsTheHandlersPath) {
  for (const char* path : {"/predictions/double/1.0/a", "/predictions/double/1.0/a/b/c/d/e/f/g/h/i/j/",
                           "/predictions/double/1.0/a%2Fb/%C3%A9"}) {
    EXPECT_EQ(server_.Infer(Post(path, "[1, 2]", kJson)).body, "[2.0,4.0]") << path;
  }
  EXPECT_EQ(server_.Infer(Post("/predictions/double/2.0/a", "[1, 2]", kJson)).status, 404);
  EXPECT_EQ(server_.Infer(Post("/predictions/double/1.0/a%zz", "[1, 2]", kJson)).status, 400);
  EXPECT_EQ(server_.Infer(Post("/predictions/double/1.0/a%00", "[1, 2]", kJson)).status, 400);
}

TEST_F(InferenceRoutesTest, AModelWithoutExplanationsSaysSo) {
  for (const char* path : {"/explanations/double", "/explanations/double/1.0", "/explanations/double/1.0/a/b",
                           "/v1/models/double:explain", "/v2/models/double/explain"}) {
    const auto reply = server_.Infer(Post(path, "[1, 2]", kJson));
    EXPECT_EQ(reply.status, 501) << path;
    EXPECT_THAT(reply.body, HasSubstr("Model \\\"double\\\" version 1.0 has no explanations")) << path;
  }
  EXPECT_EQ(server_.Infer(Post("/explanations/other", "[1, 2]", kJson)).status, 404);
  EXPECT_THAT(server_.Infer(Post("/explanations/double/7", "[1]", kJson)).body,
              HasSubstr("ModelVersionNotFoundException"));
}

TEST_F(InferenceRoutesTest, AnInvocationNamesItsModelInTheQueryOrTheForm) {
  EXPECT_EQ(server_.Infer(Post("/invocations?model_name=double", "[1, 2]", kJson)).body, "[2.0,4.0]");
  EXPECT_EQ(server_
                .Infer(Post("/invocations", "model_name=double&data=%5B1%2C2%5D",
                            "Content-Type: application/x-www-form-urlencoded\r\n"))
                .body,
            "[2.0,4.0]");
  EXPECT_EQ(server_.Infer(With("GET", "/invocations?model_name=double&data=%5B1,2%5D")).body, "[2.0,4.0]");
  const auto unnamed = server_.Infer(Post("/invocations", "[1, 2]", kJson));
  EXPECT_EQ(unnamed.status, 400);
  EXPECT_THAT(unnamed.body, HasSubstr("Parameter model_name is required."));
  EXPECT_EQ(server_.Infer(Post("/invocations?model_name=%z", "[1, 2]", kJson)).status, 400);
  EXPECT_EQ(server_.Infer(Post("/invocations/double", "[1, 2]", kJson)).status, 404);
}

TEST_F(InferenceRoutesTest, TheOnlyModelOfTheStartNeedsNoNameInAnInvocation) {
  server_.Add("start", MakeTensorHandler({}).value(), InferenceServer::Twice, true);
  EXPECT_EQ(server_.Infer(Post("/invocations", "[1, 2]", kJson)).body, "[2.0,4.0]");
  server_.Add("second", MakeTensorHandler({}).value(), InferenceServer::Twice, true);
  EXPECT_EQ(server_.Infer(Post("/invocations", "[1, 2]", kJson)).status, 400);
}

TEST_F(InferenceRoutesTest, OldRoutesTakeInputsFromTheQueryToo) {
  for (const char* path : {"/double/predict", "/double/1.0/predict", "/models/double/invoke"}) {
    const std::string target = path;
    EXPECT_EQ(server_.Infer(With("GET", target + "?data=%5B1,2%5D")).body, "[2.0,4.0]") << path;
    EXPECT_EQ(server_.Infer(Post(target, "[1, 2]", kJson)).body, "[2.0,4.0]") << path;
    EXPECT_EQ(server_.Infer(Post(target + "?other=1", "[1, 2]", kJson)).body, "[2.0,4.0]") << path;
    EXPECT_EQ(server_.Infer(Post(target + "?data=%5B5,6%5D", "[1, 2]", kJson)).body, "[10.0,12.0]") << path;
  }
  EXPECT_EQ(server_.Infer(With("GET", "/other/predict?data=1")).status, 404);
  EXPECT_EQ(server_.Infer(With("GET", "/double/2.0/predict?data=1")).status, 404);
  EXPECT_EQ(server_.Infer(Post("/models/double/other", "[1]", kJson)).status, 404);
}

TEST_F(InferenceRoutesTest, TheQueryOfAPredictionIsNoInput) {
  EXPECT_EQ(server_.Infer(Post("/predictions/double?data=%5B5,6%5D", "[1, 2]", kJson)).body, "[2.0,4.0]");
}

TEST_F(InferenceRoutesTest, AMethodThatIsNotServedNamesThoseThatAre) {
  const auto reply = server_.Infer(With("DELETE", "/predictions/double"));
  EXPECT_EQ(reply.status, 405);
  EXPECT_TRUE(reply.HeadHas("Allow: POST, PUT, OPTIONS\r\n")) << reply.head;
  EXPECT_THAT(reply.body, HasSubstr("Requested method is not allowed, please refer to API document."));
  const auto root = server_.Infer(With("GET", "/"));
  EXPECT_EQ(root.status, 405);
  EXPECT_TRUE(root.HeadHas("Allow: OPTIONS\r\n")) << root.head;
  const auto predict = server_.Infer(With("GET", "/v1/models/double:predict"));
  EXPECT_EQ(predict.status, 405);
  EXPECT_TRUE(predict.HeadHas("Allow: POST\r\n")) << predict.head;
}

TEST_F(InferenceRoutesTest, HeadIsGetWithoutABody) {
  const auto reply = InferenceServer::Ask(*server_.inference, With("HEAD", "/v2/health/live"), false);
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(reply.HeadHas("content-length: 13\r\n"));
}

TEST_F(InferenceRoutesTest, PackedBodiesAreUnpacked) {
  const std::string packed = Gzip("[1, 2]");
  EXPECT_EQ(server_.Infer(Post("/predictions/double", packed, kJson + "Content-Encoding: gzip\r\n")).body,
            "[2.0,4.0]");
  EXPECT_EQ(server_
                .Infer(Post("/v1/models/double:predict", Gzip(R"({"instances": [[1, 2]]})"),
                            "Content-Encoding: gzip\r\n"))
                .body,
            R"({"predictions":[[2.0,4.0]]})");
  const auto damaged =
      server_.Infer(Post("/predictions/double", "not gzip", kJson + "Content-Encoding: gzip\r\n"));
  EXPECT_EQ(damaged.status, 400);
  EXPECT_THAT(damaged.body, HasSubstr("not what its Content-Encoding says"));
  EXPECT_EQ(server_.Infer(Post("/predictions/double", "[1, 2]", kJson + "Content-Encoding: br\r\n")).status,
            415);
  EXPECT_EQ(server_.Infer(Post("/v2/models/double/infer", "{}", "Content-Encoding: br\r\n")).status, 415);
}

TEST(InferenceLimitsTest, ABodyThatUnpacksToMoreThanTheLimitIs413) {
  HttpLimits limits;
  limits.max_body_bytes = 1000;
  const InferenceServer server(limits);
  const std::string bomb = Gzip(std::string(100'000, ' '));
  ASSERT_LT(bomb.size(), 1000u);
  for (const char* path : {"/predictions/double", "/v1/models/double:predict", "/v2/models/double/infer"}) {
    const auto reply = server.Infer(Post(path, bomb, kJson + "Content-Encoding: gzip\r\n"));
    EXPECT_EQ(reply.status, 413) << path;
    EXPECT_THAT(reply.body, HasSubstr("max_request_size")) << path;
  }
}

TEST(InferenceAnswersTest, LargeAnswersArePackedForClientsThatAskWhenSwitchedOn) {
  HttpLimits limits;
  limits.gzip_response_min_bytes = 100;
  const InferenceServer server(limits);
  std::string rows = "[1, 2]";
  for (int i = 0; i < 100; ++i) rows += ", [1, 2]";
  const std::string body = "[" + rows + "]";
  const auto packed =
      server.Infer(Post("/predictions/double", body, kJson + "Accept-Encoding: br, gzip\r\n"));
  EXPECT_EQ(packed.status, 200);
  EXPECT_TRUE(packed.HeadHas("content-encoding: gzip\r\n"));
  EXPECT_TRUE(packed.HeadHas("vary: accept-encoding\r\n"));
  const auto plain = server.Infer(Post("/predictions/double", body, kJson));
  EXPECT_FALSE(plain.HeadHas("content-encoding"));
  EXPECT_EQ(std::string(Unpack("gzip", packed.body, 1'000'000).value().view()), plain.body);
  EXPECT_FALSE(server.Infer(Post("/predictions/double", "[1, 2]", kJson + "Accept-Encoding: gzip\r\n"))
                   .HeadHas("content-encoding"));
}

TEST_F(InferenceRoutesTest, AnswersAreNotPackedByDefault) {
  std::string rows = "[1, 2]";
  for (int i = 0; i < 1000; ++i) rows += ", [1, 2]";
  EXPECT_FALSE(
      server_.Infer(Post("/predictions/double", "[" + rows + "]", kJson + "Accept-Encoding: gzip\r\n"))
          .HeadHas("content-encoding"));
}

TEST_F(InferenceRoutesTest, WithoutCorsSettingsNoAnswerAllowsAnything) {
  EXPECT_FALSE(server_.Infer(Get("/ping", "Origin: http://a\r\n")).HeadHas("access-control"));
  EXPECT_EQ(server_.Infer(With("OPTIONS", "/ping", "Access-Control-Request-Method: POST\r\n")).status, 405);
}

TEST(InferenceCorsTest, EveryAnswerHasTheConfiguredFieldsAndPreflightsAreAnswered) {
  HttpLimits limits;
  limits.cors_allowed_origin = "https://page.example";
  limits.cors_allowed_methods = "GET, POST";
  const InferenceServer server(limits);
  for (const auto& reply : {server.Infer(Get("/ping")), server.Infer(Post("/predictions/none", "1")),
                            server.Manage(Get("/models")), server.Infer("BROKEN\r\n\r\n")}) {
    EXPECT_TRUE(reply.HeadHas("access-control-allow-origin: https://page.example\r\n")) << reply.head;
    EXPECT_TRUE(reply.HeadHas("access-control-allow-methods: GET, POST\r\n")) << reply.head;
    EXPECT_FALSE(reply.HeadHas("access-control-allow-headers")) << reply.head;
  }
  for (const char* path :
       {"/predictions/double", "/v1/models/double:predict", "/v2/models/double/infer", "/none"}) {
    const auto reply = server.Infer(
        With("OPTIONS", path, "Origin: https://page.example\r\nAccess-Control-Request-Method: POST\r\n"));
    EXPECT_EQ(reply.status, 200) << path;
    EXPECT_EQ(reply.body, "") << path;
    EXPECT_TRUE(reply.HeadHas("access-control-allow-origin: https://page.example\r\n")) << path;
  }
}

}  // namespace
}  // namespace serve
