#include "bench/load/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(LoadOptionsTest, AUrlIsTakenApart) {
  LoadOptions options;
  ASSERT_TRUE(SetUrl("http://localhost:8080/predictions/a?b=c", options).ok());
  EXPECT_EQ(options.host, "localhost");
  EXPECT_EQ(options.port, "8080");
  EXPECT_EQ(options.path, "/predictions/a?b=c");
  ASSERT_TRUE(SetUrl("http://[::1]:9", options).ok());
  EXPECT_EQ(options.host, "::1");
  EXPECT_EQ(options.port, "9");
  EXPECT_EQ(options.path, "/");
  ASSERT_TRUE(SetUrl("http://h", options).ok());
  EXPECT_EQ(options.port, "80");
}

TEST(LoadOptionsTest, AUrlThatCannotBeUsedIsRefusedWithTheReason) {
  LoadOptions options;
  for (const char* url : {"https://h/", "h:80", "http://", "http://:80/", "http://h:0/", "http://h:70000",
                          "http://h:8o", "http://[::1/"}) {
    const Status status = SetUrl(url, options);
    EXPECT_FALSE(status.ok()) << url;
    EXPECT_THAT(status.message, HasSubstr(url));
  }
}

TEST(LoadOptionsTest, EveryBodyBecomesACompleteRequest) {
  LoadOptions options;
  options.path = "/p";
  options.headers = {"A: 1"};
  options.bodies = {"x", ""};
  EXPECT_THAT(RenderRequests(options),
              ElementsAre("POST /p HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nA: 1\r\nContent-Length: 1\r\n\r\nx",
                          "POST /p HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nA: 1\r\nContent-Length: 0\r\n\r\n"));
  options.bodies.clear();
  EXPECT_THAT(RenderRequests(options),
              ElementsAre("GET /p HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nA: 1\r\n\r\n"));
}

}  // namespace
}  // namespace serve
