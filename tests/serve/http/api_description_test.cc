#include "serve/http/api_description.h"

#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "serve/http/api_operations.h"
#include "tests/serve/http/inference_server.h"

namespace serve {
namespace {

using nlohmann::json;

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

/// The pattern as the document writes it.
std::string PathOf(std::string pattern) {
  if (const std::size_t dots = pattern.find("..."); dots != std::string::npos) pattern.erase(dots, 3);
  return pattern;
}

class ApiDescriptionTest : public ::testing::Test {
 protected:
  static Router Both(Router first, Router second) {
    first.Add(std::move(second));
    return first;
  }

  InferenceServer server_;
  std::vector<Router> routers_ = {
      WithDescription(
          Both(InferenceRouter(server_.api, {}), WorkflowPredictionRouter(server_.workflow_api, {})),
          "inference", server_.api),
      WithDescription(Both(Both(ManagementRouter(server_.management_api, server_.api, server_.pool),
                                WorkflowManagementRouter(server_.workflow_api, server_.pool)),
                           TrafficRouter(server_.traffic_api, server_.pool)),
                      "management", server_.api),
      WithDescription(MetricsRouter(server_.metrics), "metrics", server_.api)};
};

TEST_F(ApiDescriptionTest, EveryRouteIsInTheDocumentAndNothingElse) {
  for (const Router& router : routers_) {
    const json document = json::parse(DescribeApi(router, "title"));
    std::set<std::string> wanted;
    for (const Router::Route& route : router.routes()) {
      EXPECT_NE(FindOperation(route.method, route.pattern), nullptr)
          << "api_operations.cc has no row for " << MethodName(route.method) << " " << route.pattern;
      wanted.insert(Lower(MethodName(route.method)) + " " + PathOf(route.pattern));
    }
    std::set<std::string> found;
    for (const auto& [path, operations] : document["paths"].items()) {
      for (const auto& [method, operation] : operations.items()) {
        found.insert(method + " " + path);
        EXPECT_FALSE(operation["responses"].empty()) << path;
        // Each name in the path is a parameter.
        for (std::size_t at = path.find('{'); at != std::string::npos; at = path.find('{', at + 1)) {
          const std::string name = path.substr(at + 1, path.find('}', at) - at - 1);
          EXPECT_THAT(operation["parameters"].dump(), ::testing::HasSubstr("\"name\":\"" + name + "\""))
              << path;
        }
      }
    }
    EXPECT_EQ(found, wanted);
  }
}

TEST_F(ApiDescriptionTest, NoRowIsLeftOverAndIdsAreUnique) {
  std::set<std::string> served;
  for (const Router& router : routers_) {
    for (const Router::Route& route : router.routes()) {
      served.insert(std::string(MethodName(route.method)) + route.pattern);
    }
  }
  std::set<std::string_view> ids;
  for (const Operation& operation : Operations()) {
    EXPECT_TRUE(served.count(std::string(MethodName(operation.method)) + std::string(operation.pattern)))
        << "no route for " << operation.pattern;
    if (operation.pattern != "/" && operation.pattern != "/api-description") {
      EXPECT_TRUE(ids.insert(operation.id).second) << operation.id;
    }
  }
}

TEST_F(ApiDescriptionTest, EveryReferenceLeadsSomewhere) {
  for (const Router& router : routers_) {
    const json document = json::parse(DescribeApi(router, "title"));
    const std::string text = document.dump();
    const std::string mark = "\"$ref\":\"#";
    for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) {
      const std::size_t start = at + mark.size();
      const std::string pointer = text.substr(start, text.find('"', start) - start);
      EXPECT_TRUE(document.contains(json::json_pointer(pointer))) << pointer;
    }
  }
}

TEST_F(ApiDescriptionTest, TheDocumentIsAnsweredOnEveryListener) {
  const std::string options = "OPTIONS / HTTP/1.1\r\nHost: test\r\n\r\n";
  for (const Listener* listener :
       {server_.inference.get(), server_.management.get(), server_.metrics_listener.get()}) {
    const auto reply = InferenceServer::Ask(*listener, options);
    EXPECT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.HeadHas("content-type: application/json\r\n"));
    EXPECT_EQ(json::parse(reply.body)["openapi"], "3.0.1");
    EXPECT_EQ(InferenceServer::Ask(*listener, Get("/api-description")).body, reply.body);
  }
}

TEST_F(ApiDescriptionTest, OneModelHasADocumentOfItsOwn) {
  const auto options = [](const std::string& path) {
    return "OPTIONS " + path + " HTTP/1.1\r\nHost: test\r\n\r\n";
  };
  const json document = json::parse(server_.Infer(options("/predictions/double")).body);
  EXPECT_EQ(document["info"]["title"], "RESTful API for: double");
  EXPECT_TRUE(document["paths"].contains("/predictions/double"));
  EXPECT_TRUE(document["paths"].contains("/v2/models/double/infer"));
  EXPECT_FALSE(document["paths"].contains("/ping"));
  EXPECT_EQ(server_.Infer(options("/predictions/other")).status, 404);
  EXPECT_EQ(server_.Infer(options("/predictions/double/9")).status, 404);
  EXPECT_TRUE(
      json::parse(server_.Manage(options("/models/double")).body)["paths"].contains("/models/double"));
  EXPECT_EQ(server_.Manage(options("/models/double/1.0")).status, 200);
  EXPECT_EQ(server_.Manage(options("/models/other")).status, 404);
}

}  // namespace
}  // namespace serve
