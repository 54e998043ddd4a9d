#include "serve/http/router.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/http/parse_request.h"

namespace serve {
namespace {

using ::testing::HasSubstr;

Router MakeRouter() {
  Router router;
  const auto nothing = [](HttpRequest&) { return HttpReply(); };
  router.Inline(Method::kGet, "/ping", nothing);
  router.Inline(Method::kGet, "/models", nothing);
  router.Inline(Method::kPost, "/models", nothing);
  router.Inline(Method::kGet, "/models/{model}/all", nothing);
  router.Inline(Method::kGet, "/models/{model}/{version}", nothing);
  router.Inline(Method::kPut, "/models/{model}/{version}/set-default", nothing);
  router.Inline(Method::kPost, "/v1/models/{model}:predict", nothing);
  router.Inline(Method::kGet, "/v1/models/{model}", nothing);
  router.Inline(Method::kPost, "/any/{model}/{path...}", nothing);
  router.Inline(Method::kOptions, "/", nothing);
  return router;
}

struct Outcome {
  std::string pattern;  // empty: refused
  int status = 200;
  std::string model;
  std::string version;
  std::string body;
  std::string extra;
};

Outcome Find(const std::string& line) {
  const Router router = MakeRouter();
  HttpRequest request = ParseRequest(line + " HTTP/1.1\r\nHost: test\r\n\r\n");
  const Router::Found found = router.Find(request);
  if (found.route == nullptr) {
    return {"", found.refusal.status, "", "", found.refusal.body, found.refusal.extra_fields};
  }
  return {
      found.route->pattern, 200, request.PathParameter("model"), request.PathParameter("version"), "", ""};
}

TEST(RouterTest, NamedSegmentsAreTakenFromThePath) {
  const Outcome found = Find("GET /models/news/2.0");
  EXPECT_EQ(found.pattern, "/models/{model}/{version}");
  EXPECT_EQ(found.model, "news");
  EXPECT_EQ(found.version, "2.0");
}

TEST(RouterTest, ALiteralThatWasRegisteredFirstWins) {
  EXPECT_EQ(Find("GET /models/news/all").pattern, "/models/{model}/all");
  EXPECT_EQ(Find("PUT /models/news/all/set-default").version, "all");
}

TEST(RouterTest, ASegmentMayEndWithALiteralWhichIsNotPartOfTheName) {
  const Outcome found = Find("POST /v1/models/a:b:predict");
  EXPECT_EQ(found.pattern, "/v1/models/{model}:predict");
  EXPECT_EQ(found.model, "a:b");
  EXPECT_EQ(Find("GET /v1/models/a").pattern, "/v1/models/{model}");
  EXPECT_EQ(Find("GET /v1/models/a:explain").model, "a:explain");
  EXPECT_EQ(Find("POST /v1/models/%61%3apredict").model, "a");
  // The path belongs to the verb alone: no other pattern answers another method.
  const Outcome get = Find("GET /v1/models/a:predict");
  EXPECT_EQ(get.status, 405);
  EXPECT_EQ(get.extra, "Allow: POST\r\n");
  EXPECT_EQ(Find("POST /v1/models/:predict").status, 405);  // a model without a name
}

TEST(RouterTest, ATailTakesTheRestOfThePath) {
  const auto tail = [](const std::string& path) {
    const Router router = MakeRouter();
    HttpRequest request = ParseRequest("POST " + path + " HTTP/1.1\r\nHost: test\r\n\r\n");
    const Router::Found found = router.Find(request);
    return found.route == nullptr ? std::to_string(found.refusal.status) : request.PathParameter("path");
  };
  EXPECT_EQ(tail("/any/m/a"), "a");
  EXPECT_EQ(tail("/any/m/a/b/"), "a/b");
  EXPECT_EQ(tail("/any/m/1/2/3/4/5/6/7/8/9/10/11"), "1/2/3/4/5/6/7/8/9/10/11");
  EXPECT_EQ(tail("/any/m/a%2Fb/%20?q=1"), "a/b/ ");
  EXPECT_EQ(tail("/any/m"), "404");
  EXPECT_EQ(tail("/any/m//a"), "404");
  EXPECT_EQ(tail("/any/m/1/2/3/4/5/6/7/8/%zz"), "400");
  EXPECT_EQ(tail("/any/m/1/2/3/4/5/6/7/8/%00"), "400");
  EXPECT_EQ(tail("/models/1/2/3/4/5/6/7/8/9/10"), "404");
}

TEST(RouterTest, TheRootIsARouteLikeAnyOther) {
  EXPECT_EQ(Find("OPTIONS /").pattern, "/");
  EXPECT_EQ(Find("GET /").status, 405);
}

TEST(RouterTest, ATrailingSlashAndAQueryDoNotMatter) {
  EXPECT_EQ(Find("GET /ping/").pattern, "/ping");
  EXPECT_EQ(Find("GET /models/?limit=1").pattern, "/models");
  EXPECT_EQ(Find("GET http://host:80/ping?x").pattern, "/ping");
}

TEST(RouterTest, EscapesAreDecodedInsideTheirSegment) {
  const Outcome found = Find("GET /models/a%2Fb%20c/1%2e0");
  EXPECT_EQ(found.pattern, "/models/{model}/{version}");
  EXPECT_EQ(found.model, "a/b c");
  EXPECT_EQ(found.version, "1.0");
  EXPECT_EQ(Find("GET /models%2Fnews%2F1.0").status, 404);  // one segment
  EXPECT_EQ(Find("GET /models/a+b/1").model, "a+b");        // a plus is a plus in a path
}

TEST(RouterTest, BrokenEscapesAndNulAre400) {
  for (const char* path : {"/models/a%2/1", "/models/a%zz/1", "/ping%", "/models/a%00/1"}) {
    EXPECT_EQ(Find(std::string("GET ") + path).status, 400) << path;
  }
}

TEST(RouterTest, EmptySegmentsAndUnknownPathsAre404) {
  for (const char* path : {"//ping", "/ping//", "/models//1", "/Ping", "/ping/x", "/a/b/c/d/e/f/g/h/i/j", "*",
                           "http://host", "/models/a/b/c/d"}) {
    EXPECT_EQ(Find(std::string("GET ") + path).status, 404) << path;
  }
  const Outcome found = Find("GET /nowhere");
  EXPECT_THAT(found.body, HasSubstr("Requested resource is not found, please refer to API document."));
  EXPECT_THAT(found.body, HasSubstr("Known here: /ping, /models, /v1, /any"));
  EXPECT_THAT(found.body, HasSubstr("ResourceNotFoundException"));
}

TEST(RouterTest, AnotherMethodIs405AndNamesTheAllowedOnes) {
  const Outcome found = Find("DELETE /models");
  EXPECT_EQ(found.status, 405);
  EXPECT_EQ(found.extra, "Allow: GET, HEAD, POST\r\n");
  EXPECT_THAT(found.body, HasSubstr("Requested method is not allowed, please refer to API document."));
  EXPECT_EQ(Find("get /ping").status, 405);  // methods are case-sensitive
}

TEST(RouterTest, HeadIsAnsweredWhereGetIs) {
  EXPECT_EQ(Find("HEAD /ping").pattern, "/ping");
  EXPECT_EQ(Find("HEAD /models/a/1/set-default").status, 405);
}

TEST(RouterTest, TwoTablesCanShareAListener) {
  Router router = MakeRouter();
  Router more;
  more.Inline(Method::kGet, "/metrics", [](HttpRequest&) { return HttpReply(); });
  router.Add(std::move(more));
  HttpRequest request = ParseRequest("GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n");
  EXPECT_NE(router.Find(request).route, nullptr);
}

TEST(RouterTest, SharedTablesKeepTheirGuards) {
  const auto nothing = [](HttpRequest&) { return HttpReply(); };
  const auto wants = [](std::string key) {
    return [key](const HttpRequest& request, HttpReply& refusal) {
      refusal.status = 401;
      return request.Header("authorization") == key;
    };
  };
  Router router;
  router.Inline(Method::kGet, "/ping", nothing);
  router.Inline(Method::kPost, "/models/{model}/invoke", nothing);
  router.Protect(wants("first"));
  Router other;
  other.Inline(Method::kGet, "/ping", nothing);  // is there already
  other.Inline(Method::kGet, "/models/{model}/{version}", nothing);
  other.Protect(wants("second"));
  router.Add(std::move(other));
  router.Inline(Method::kGet, "/metrics", nothing);
  router.Protect("/metrics", wants("third"));
  router.Inline(Method::kOptions, "/models/{model}/{version}", nothing);
  router.Inline(Method::kOptions, "/", nothing);
  const auto opens = [&](const std::string& line, const std::string& key) {
    HttpRequest request =
        ParseRequest(line + " HTTP/1.1\r\nHost: test\r\nAuthorization: " + key + "\r\n\r\n");
    return router.Find(request).route != nullptr;
  };
  struct Case {
    const char* line;
    const char* key;
  };
  for (const Case& one : {Case{"GET /ping", "first"}, Case{"POST /models/m/invoke", "first"},
                          Case{"GET /models/m/1.0", "second"}, Case{"OPTIONS /models/m/1.0", "second"},
                          Case{"GET /metrics", "third"}}) {
    for (const std::string key : {"first", "second", "third"}) {
      EXPECT_EQ(opens(one.line, key), key == one.key) << one.line << ' ' << key;
    }
  }
  EXPECT_TRUE(opens("OPTIONS /", "none"));
}

}  // namespace
}  // namespace serve
