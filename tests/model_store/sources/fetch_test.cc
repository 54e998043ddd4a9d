#include "model_store/sources/fetch.h"

#include <chrono>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_store/archive/test_files.h"
#include "tests/model_store/http_client/fake_server.h"

namespace serve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

FakeServer::Response Bytes(std::string body) { return FakeServer::Json(200, std::move(body)); }
FakeServer::Response Redirect(const std::string& location) {
  FakeServer::Response response = FakeServer::Json(302, "moved");
  response.set("location", location);
  return response;
}

class FetchTest : public testing::Test {
 protected:
  Status Fetch(const std::string& url, const std::string& list = ".*", FetchLimits limits = {}) const {
    const Result<AllowedUrls> allowed = AllowedUrls::Parse(list);
    return FetchArchive(url, *allowed, limits, store_ / "a.mar");
  }
  TemporaryFolder store_;
};

TEST_F(FetchTest, AnArchiveIsFetchedOverHttp) {
  const std::string content(3 << 20, 'x');
  const FakeServer server([&](const auto&) { return Bytes(content); });
  const Status status = Fetch(server.url() + "/a.mar");
  EXPECT_TRUE(status.ok()) << status.message;
  EXPECT_EQ(ReadAll(store_ / "a.mar"), content);
  EXPECT_THAT(NamesIn(store_.path()), ElementsAre("a.mar"));
}

TEST_F(FetchTest, ARefusedUrlMeetsNoServerAndLeavesNoFile) {
  const FakeServer server([](const auto&) { return Bytes("x"); });
  EXPECT_EQ(Fetch(server.url() + "/a.mar", "https://elsewhere/.*").code, Code::kModelNotFound);
  EXPECT_THAT(server.lines(), IsEmpty());
  EXPECT_THAT(NamesIn(store_.path()), IsEmpty());
}

TEST_F(FetchTest, AnExistingFileIsNeverReplaced) {
  const FakeServer server([](const auto&) { return Bytes("new"); });
  store_.Write("a.mar", "old");
  const Status status = Fetch(server.url() + "/a.mar");
  EXPECT_EQ(status.code, Code::kInternal);
  EXPECT_EQ(status.message, "Model file already exists a.mar");
  EXPECT_EQ(ReadAll(store_ / "a.mar"), "old");
}

TEST_F(FetchTest, RedirectsAreFollowedAndCheckedLikeTheFirstUrl) {
  const FakeServer target([](const auto&) { return Bytes("there"); });
  const FakeServer first([&](const auto&) { return Redirect(target.url() + "/b.mar"); });
  EXPECT_TRUE(Fetch(first.url() + "/a.mar").ok());
  EXPECT_EQ(ReadAll(store_ / "a.mar"), "there");
  std::filesystem::remove(store_ / "a.mar");

  const Status refused = Fetch(first.url() + "/a.mar", first.url() + "/.*");
  EXPECT_EQ(refused.code, Code::kDownloadFailed);
  EXPECT_THAT(refused.message, HasSubstr("it redirects: Given URL " + target.url()));
  EXPECT_THAT(target.lines(), testing::SizeIs(1)) << "the second time it was not asked";
  EXPECT_THAT(NamesIn(store_.path()), IsEmpty());
}

TEST_F(FetchTest, ARedirectLeadsNeitherToMetadataNorToAnotherScheme) {
  for (const char* location :
       {"http://169.254.169.254/latest/meta-data", "http://0xA9FEA9FE/x", "file:///etc/passwd",
        "gopher://127.0.0.1/x", "http://metadata.google.internal/x"}) {
    const FakeServer server([&](const auto&) { return Redirect(location); });
    const Status status = Fetch(server.url() + "/a.mar");
    EXPECT_EQ(status.code, Code::kDownloadFailed) << location << status.message;
    EXPECT_THAT(NamesIn(store_.path()), IsEmpty());
  }
}

TEST_F(FetchTest, MetadataIsForbiddenAlsoWithoutARedirect) {
  const Status status = Fetch("http://169.254.169.254/a.mar", "http(s)?://.*");
  EXPECT_EQ(status.code, Code::kDownloadFailed);
  EXPECT_THAT(status.message, HasSubstr("169.254.169.254 is a link-local or metadata address"));
}

TEST_F(FetchTest, RedirectsComeToAnEnd) {
  std::string self;
  const FakeServer server([&](const auto&) { return Redirect(self); });
  self = server.url() + "/a.mar";
  EXPECT_THAT(Fetch(self).message, HasSubstr("it redirects more than 5 times"));
}

TEST_F(FetchTest, SizeAndTimeAreLimited) {
  const FakeServer large([](const auto&) { return Bytes(std::string(1001, 'x')); });
  EXPECT_THAT(Fetch(large.url() + "/a.mar", ".*", {.max_bytes = 1000}).message,
              HasSubstr("it is larger than max_download_size"));
  std::atomic<bool> done{false};
  const FakeServer slow([&](const auto&) {
    while (!done) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return Bytes("x");
  });
  EXPECT_THAT(Fetch(slow.url() + "/a.mar", ".*", {.timeout = std::chrono::milliseconds(50)}).message,
              HasSubstr("it took longer than download_timeout"));
  done = true;
  EXPECT_THAT(NamesIn(store_.path()), IsEmpty());
}

TEST_F(FetchTest, AnErrorStatusAndADeadServerAreFailures) {
  const FakeServer server([](const auto&) { return FakeServer::Json(404, "no"); });
  const Status status = Fetch(server.url() + "/a.mar");
  EXPECT_EQ(status.code, Code::kDownloadFailed);
  EXPECT_EQ(status.message, "Failed to download archive from: " + server.url() + "/a.mar (status 404)");
  EXPECT_EQ(Fetch(DeadUrl() + "/a.mar").code, Code::kDownloadFailed);
  EXPECT_THAT(NamesIn(store_.path()), IsEmpty());
}

TEST_F(FetchTest, AFileIsCopied) {
  const TemporaryFolder elsewhere;
  const auto file = elsewhere.Write("with blank.mar", "content");
  EXPECT_TRUE(Fetch("file://" + (elsewhere / "with%20blank.mar").string()).ok());
  EXPECT_EQ(ReadAll(store_ / "a.mar"), "content");
  std::filesystem::remove(store_ / "a.mar");
  EXPECT_EQ(Fetch("file://" + elsewhere.path().string()).code, Code::kDownloadFailed) << "a folder";
  EXPECT_EQ(Fetch("file:///no/such/file.mar").code, Code::kDownloadFailed);
  EXPECT_THAT(Fetch("file://" + (elsewhere / "with%20blank.mar").string(), ".*", {.max_bytes = 3}).message,
              HasSubstr("max_download_size"));
  EXPECT_THAT(NamesIn(store_.path()), IsEmpty());
}

TEST(FileNameOfUrlTest, IsTheLastPartOfThePath) {
  EXPECT_EQ(*FileNameOfUrl("https://h/a/b.mar?x=c.mar"), "b.mar");
  EXPECT_EQ(*FileNameOfUrl("file:///models/a%20b.mar"), "a b.mar");
  for (const char* url :
       {"https://h", "https://h/", "https://h/a/", "https://h/.hidden", "https://h/a%0Ab"}) {
    EXPECT_FALSE(FileNameOfUrl(url)) << url;
  }
}

}  // namespace
}  // namespace serve
