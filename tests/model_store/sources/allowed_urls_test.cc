#include "model_store/sources/allowed_urls.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using testing::HasSubstr;

AllowedUrls Parse(const std::string& list) {
  Result<AllowedUrls> allowed = AllowedUrls::Parse(list);
  EXPECT_TRUE(allowed) << allowed.error().message;
  return allowed ? std::move(*allowed) : AllowedUrls{};
}
bool Allows(const std::string& list, const std::string& url) { return Parse(list).Check(url).ok(); }

TEST(AllowedUrlsTest, TheWholeUrlMustMatchInAnyCase) {
  const std::string list = "https://ok\\.org/.*\\.mar, file:///models/.*";
  EXPECT_TRUE(Allows(list, "https://ok.org/a/b.mar"));
  EXPECT_TRUE(Allows(list, "HTTPS://OK.ORG/B.MAR"));
  EXPECT_TRUE(Allows(list, "file:///models/a.mar"));
  EXPECT_FALSE(Allows(list, "https://ok.org/a.mar?x=1"));
  EXPECT_FALSE(Allows(list, "https://ok.org.evil.com/a.mar"));
  EXPECT_FALSE(Allows(list, "x https://ok.org/a.mar"));
  EXPECT_FALSE(Allows(list, "http://ok.org/a.mar"));
}

TEST(AllowedUrlsTest, AnEmptyListAllowsNothingAndSaysWhatToDo) {
  const Status status = Parse("").Check("https://ok.org/a.mar");
  EXPECT_EQ(status.code, Code::kModelNotFound);
  EXPECT_THAT(status.message, HasSubstr("Given URL https://ok.org/a.mar does not match any allowed URL(s)"));
  EXPECT_THAT(status.message, HasSubstr("allowed_urls"));
}

TEST(AllowedUrlsTest, TricksAreRefusedWhateverTheListSays) {
  const std::string list = ".*";
  for (const std::string url :
       {"https://ok/../x.mar", "https://ok/%2e%2e/x.mar", "https://ok/%2E%2E%2fx.mar",
        "https://ok/%252e%252e/x.mar", "https://ok@evil/x.mar", "https://u:p@evil/x.mar",
        "https://ok/x.mar#y", "https://ok\\@evil/x.mar", "https://ok/%5cx.mar", "https://ok/x .mar",
        "https://ok/x%00.mar", "https://ok/x\n.mar"}) {
    EXPECT_FALSE(Allows(list, url)) << url;
  }
  EXPECT_FALSE(Allows(list, "https://ok/" + std::string(5000, 'a')));
  EXPECT_TRUE(Allows(list, "https://ok/a@b.mar"));
  EXPECT_THAT(Parse(list).Check("https://ok/../x").message,
              HasSubstr("Relative path is not allowed in url: "));
}

TEST(AllowedUrlsTest, WhatIsNoExpressionIsNamed) {
  EXPECT_THAT(AllowedUrls::Parse("a.*,[b").error().message, HasSubstr("`[b` is no regular expression"));
}

TEST(AllowedUrlsTest, AHostIsNamedWhenTheExpressionHoldsItLiterally) {
  const std::string url = "http://169.254.169.254/m.mar";
  EXPECT_FALSE(Parse("http://.*").NamesHost(url, "169.254.169.254"));
  EXPECT_TRUE(Parse("http://169\\.254\\.169\\.254/.*").NamesHost(url, "169.254.169.254"));
  EXPECT_FALSE(Parse("http://169\\.254\\.169\\.254/other").NamesHost(url, "169.254.169.254"));
}

TEST(AllowedUrlsTest, HostsThatGiveOutCredentialsAreForbiddenInEveryForm) {
  for (const char* host :
       {"169.254.169.254", "169.254.1.1", "0xA9FEA9FE", "2852039166", "0251.0376.0251.0376", "[fe80::1]",
        "fe80::1%eth0", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "0.0.0.0", "100.100.100.200",
        "metadata.google.internal", "METADATA.google.internal.", "[::]"}) {
    EXPECT_TRUE(IsForbiddenHost(host)) << host;
  }
  for (const char* host : {"127.0.0.1", "10.0.0.1", "192.168.1.1", "example.org", "[::1]", "[2001:db8::1]"}) {
    EXPECT_FALSE(IsForbiddenHost(host)) << host;
  }
}

TEST(AllowedUrlsTest, AddressesAreToldOnTheSocketToo) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, "169.254.169.254", &address.sin_addr);
  EXPECT_TRUE(IsForbiddenAddress(reinterpret_cast<const sockaddr&>(address)));
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  EXPECT_FALSE(IsForbiddenAddress(reinterpret_cast<const sockaddr&>(address)));
}

TEST(AllowedUrlsTest, WhatIsFetchedIsToldByItsScheme) {
  for (const char* url : {"http://h/a", "HTTPS://h/a", "file:///a", "file:a"})
    EXPECT_TRUE(IsFetchUrl(url)) << url;
  for (const char* url : {"a.mar", "s3://b/a", "ftp://h/a", "httpx://h", ""})
    EXPECT_FALSE(IsFetchUrl(url)) << url;
}

}  // namespace
}  // namespace serve
