// Where archives come from: the model store, and URLs that the setting allows.

#include <string>
#include <vector>

#include "tests/model_store/http_client/fake_server.h"
#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

/// Serves double.pt under every path but `/none…`.
FakeServer::Response Serve(const FakeServer::Request& request) {
  const std::string target(request.target());
  if (target.starts_with("/none")) return FakeServer::Json(404, "no");
  if (target.starts_with("/away")) {
    FakeServer::Response response = FakeServer::Json(302, "");
    response.set("location", "http://169.254.169.254/x.pt");
    return response;
  }
  return FakeServer::Json(
      200, ReadAll(target.starts_with("/text") ? ModelFile("state_dict.pt") : ModelFile("double.pt")));
}

TEST(SourceTest, NothingIsFetchedUnlessTheSettingAllowsIt) {
  const FakeServer origin(Serve);
  const TemporaryFolder elsewhere;
  std::filesystem::copy_file(ModelFile("double.pt"), elsewhere / "double.pt");
  const ServerProcess server({{}, {}, {}});
  for (const std::string& url : {origin.url() + "/a.pt", "file://" + (elsewhere / "double.pt").string(),
                                 std::string("http://169.254.169.254/a.pt"), std::string("ftp://h/a.pt"),
                                 std::string("s3://b/a.pt")}) {
    EXPECT_TRUE(IsError(Register(server, "url=" + url), 404, "ModelNotFoundException",
                        "Given URL " + url + " does not match any allowed URL(s)"));
  }
  EXPECT_TRUE(IsError(Register(server, "url=../a.pt"), 404, "ModelNotFoundException",
                      "Relative path is not allowed in url: ../a.pt"));
  EXPECT_TRUE(IsError(Register(server, "url="), 404, "ModelNotFoundException", "empty url"));
  EXPECT_THAT(origin.lines(), testing::IsEmpty());
  EXPECT_THAT(NamesIn(server.store()), Not(Contains("a.pt")));
}

class FetchedTest : public testing::Test {
 protected:
  FetchedTest() : origin_(Serve) {
    server_ = std::make_unique<ServerProcess>(
        ServerProcess::Options{{}, {"--allowed-urls", origin_.url() + "/.*,file:///.*"}, {}});
  }
  HttpResponse RegisterUrl(const std::string& path, const std::string& more = "&initial_workers=1") {
    return Register(*server_, "url=" + origin_.url() + path + more);
  }
  FakeServer origin_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(FetchedTest, AnAllowedUrlIsFetchedServedAndRemovedWithItsModel) {
  EXPECT_TRUE(IsStatus(RegisterUrl("/models/a.pt"), 200,
                       "Model \"a\" Version: 1.0 registered with 1 initial workers"));
  EXPECT_TRUE(IsJson(PostJson(server_->inference(), "/predictions/a", "[1]"), "[2.0]"));
  EXPECT_EQ(DescribeOne(*server_, "a")["modelUrl"], origin_.url() + "/models/a.pt");
  EXPECT_THAT(NamesIn(server_->store()), Contains("a.pt"));
  EXPECT_TRUE(
      IsError(RegisterUrl("/models/a.pt"), 500, "InternalServerException", "Model file already exists a.pt"));
  EXPECT_EQ(Request(server_->management(), "DELETE", "/models/a").status, 200);
  EXPECT_THAT(NamesIn(server_->store()), Not(Contains("a.pt")));
  EXPECT_EQ(RegisterUrl("/models/a.pt").status, 200);
}

TEST_F(FetchedTest, WhatCannotBeServedLeavesNoFile) {
  EXPECT_TRUE(IsError(RegisterUrl("/none.pt"), 400, "DownloadArchiveException",
                      "Failed to download archive from: " + origin_.url() + "/none.pt"));
  EXPECT_TRUE(IsError(RegisterUrl("/away.pt"), 400, "DownloadArchiveException", "it redirects"));
  EXPECT_EQ(RegisterUrl("/text.pt").status, 400);
  EXPECT_THAT(NamesIn(server_->store()), Not(Contains(HasSubstr(".pt"))));
}

TEST_F(FetchedTest, AFileUrlIsCopiedIntoTheStore) {
  const TemporaryFolder elsewhere;
  std::filesystem::copy_file(ModelFile("triple.pt"), elsewhere / "copied.pt");
  EXPECT_EQ(
      Register(*server_, "url=file://" + (elsewhere / "copied.pt").string() + "&initial_workers=1").status,
      200);
  EXPECT_TRUE(IsJson(PostJson(server_->inference(), "/predictions/copied", "[1]"), "[3.0]"));
}

TEST(SourceTest, AModelFromAUrlSurvivesARestart) {
  const FakeServer origin(Serve);
  const TemporaryFolder store;
  const std::vector<std::string> flags = {"--model-store",  store.path().string(),
                                          "--allowed-urls", "http://.*",
                                          "--models",       "named=" + origin.url() + "/start.pt"};
  {
    ServerProcess server({{}, flags, {}});
    EXPECT_EQ(Register(server, "url=" + origin.url() + "/later.pt&initial_workers=1").status, 200);
    EXPECT_EQ(server.Stop(), 0);
  }
  ServerProcess server({{}, flags, {}});
  EXPECT_THAT(ModelNames(server), testing::ElementsAre("later", "named"));
  EXPECT_EQ(DescribeOne(server, "later")["modelUrl"], origin.url() + "/later.pt");
  EXPECT_THAT(origin.lines(), testing::SizeIs(2)) << "nothing was fetched twice";
  EXPECT_EQ(Get(server.inference(), "/ping").status, 200);
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

}  // namespace
}  // namespace serve::wire
