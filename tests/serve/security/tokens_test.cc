#include "serve/security/tokens.h"

#include <sys/stat.h>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/model_store/archive/test_files.h"

namespace serve {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

constexpr auto kInference = TokenScope::kInference;
constexpr auto kManagement = TokenScope::kManagement;
constexpr const char* kLong = "a-long-lived-key-1";
constexpr const char* kOther = "a-long-lived-key-2";

TokenOptions KeyFile(const std::string& path) {
  TokenOptions options;
  options.key_file = path;
  return options;
}
TokenOptions TokenFile(const std::string& path) {
  TokenOptions options;
  options.token_file = path;
  return options;
}

class TokensTest : public testing::Test {
 protected:
  std::unique_ptr<TokenAuthority> Open(TokenOptions options) {
    if (options.token_file.empty()) options.key_file = (folder_ / "key_file.json").string();
    options.reload_interval = std::chrono::milliseconds(5);
    Result<std::unique_ptr<TokenAuthority>> opened = TokenAuthority::Open(options);
    EXPECT_TRUE(opened) << opened.error().message;
    if (opened) {
      EXPECT_TRUE((*opened)->Publish().ok());
    }
    return opened ? std::move(*opened) : nullptr;
  }
  [[nodiscard]] nlohmann::json Keys() const {
    return nlohmann::json::parse(ReadAll(folder_ / "key_file.json"));
  }
  [[nodiscard]] std::string Bearer(const std::string& api) const {
    return "Bearer " + Keys()[api]["key"].get<std::string>();
  }
  TemporaryFolder folder_;
};

TEST_F(TokensTest, TheKeyFileIsTorchServesAndForItsOwnerAlone) {
  const auto tokens = Open({});
  const std::string text = ReadAll(folder_ / "key_file.json");
  EXPECT_THAT(text,
              MatchesRegex("\\{\n  \"management\": \\{\n    \"key\": \"[^\"]*\",\n    \"expiration time\": "
                           "\"[0-9-]*T[0-9:.]*Z\"\n  \\},\n  \"inference\": \\{\n    \"key\": \"[^\"]*\",\n"
                           "    \"expiration time\": \"[0-9-]*T[0-9:.]*Z\"\n  \\},\n  \"API\": \\{\n"
                           "    \"key\": \"[^\"]*\"\n  \\}\n\\}"));
  EXPECT_EQ(Keys()["API"]["key"].get<std::string>().size(), 32) << "192 random bits";
  struct stat status {};
  ASSERT_EQ(stat((folder_ / "key_file.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(TokensTest, EachKeyOpensItsOwnApiAlone) {
  const auto tokens = Open({});
  EXPECT_TRUE(tokens->Allows(kInference, Bearer("inference")));
  EXPECT_TRUE(tokens->Allows(kManagement, Bearer("management")));
  for (const char* wrong : {"management", "API"}) EXPECT_FALSE(tokens->Allows(kInference, Bearer(wrong)));
  for (const char* wrong : {"inference", "API"}) EXPECT_FALSE(tokens->Allows(kManagement, Bearer(wrong)));
}

TEST_F(TokensTest, TheHeaderIsRead) {
  const auto tokens = Open({});
  const std::string key = Keys()["inference"]["key"];
  for (const std::string& right :
       std::vector<std::string>{"Bearer " + key, "Bearer   " + key, "bearer " + key, "BEARER\t" + key}) {
    EXPECT_TRUE(tokens->Allows(kInference, right)) << right;
  }
  for (const std::string& wrong : std::vector<std::string>{
           "", key, "Bearer", "Bearer ", "Bearer" + key, "Basic " + key, "Bearer " + key + "x",
           "Bearer " + key.substr(1), "Bearer " + key + " " + key, " Bearer " + key}) {
    EXPECT_FALSE(tokens->Allows(kInference, wrong)) << wrong;
  }
}

TEST_F(TokensTest, AKeyEndsWithItsTime) {
  TokenOptions options;
  options.lifetime = std::chrono::milliseconds(30);
  const auto tokens = Open(options);
  const std::string bearer = Bearer("inference");
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (tokens->Allows(kInference, bearer) && std::chrono::steady_clock::now() < end)
    std::this_thread::yield();
  EXPECT_FALSE(tokens->Allows(kInference, bearer));
}

TEST_F(TokensTest, RefreshNeedsTheApiKeyAndEndsTheOldKeyAtOnce) {
  const auto tokens = Open({});
  const std::string before = Bearer("inference");
  const std::string management = Bearer("management");
  for (const std::string& wrong : {management, before, std::string()}) {
    EXPECT_EQ(tokens->Refresh("inference", wrong).code, Code::kUnauthenticated);
  }
  EXPECT_EQ(tokens->Refresh("api", Bearer("API")).code, Code::kUnauthenticated);
  EXPECT_EQ(tokens->Refresh("", Bearer("API")).code, Code::kUnauthenticated);
  EXPECT_TRUE(tokens->Allows(kInference, before));
  EXPECT_TRUE(tokens->Refresh("inference", Bearer("API")).ok());
  EXPECT_FALSE(tokens->Allows(kInference, before));
  EXPECT_TRUE(tokens->Allows(kInference, Bearer("inference")));
  EXPECT_TRUE(tokens->Allows(kManagement, management));
}

TEST_F(TokensTest, LongLivedKeysAreReadAgainWhenTheirFileChanges) {
  const auto file = folder_.Write("tokens.json", std::string(R"({"inference": [")") + kLong + "\"]}");
  const auto tokens = Open(TokenFile(file.string()));
  EXPECT_EQ(tokens->key_file(), "");
  const std::string first = std::string("Bearer ") + kLong;
  const std::string second = std::string("Bearer ") + kOther;
  EXPECT_TRUE(tokens->Allows(kInference, first));
  EXPECT_FALSE(tokens->Allows(kManagement, first));
  EXPECT_FALSE(tokens->Allows(kManagement, "Bearer ")) << "no key of that API opens nothing";
  EXPECT_EQ(tokens->Refresh("inference", first).code, Code::kUnauthenticated);

  const auto until = [&](const std::string& bearer) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!tokens->Allows(kInference, bearer) && std::chrono::steady_clock::now() < end)
      std::this_thread::yield();
    return tokens->Allows(kInference, bearer);
  };
  folder_.Write("tokens.json", std::string(R"({"inference": [")") + kOther + "\", \"" + kOther + "\"]}");
  EXPECT_TRUE(until(second));
  EXPECT_FALSE(tokens->Allows(kInference, first));
  folder_.Write("tokens.json", "{\"inference\": ");  // somebody is writing it
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_TRUE(tokens->Allows(kInference, second)) << "a file that is unusable changes nothing";
}

TEST_F(TokensTest, AnUnusableFileIsAnErrorAtTheStart) {
  const auto message = [](TokenOptions options) {
    const auto opened = TokenAuthority::Open(std::move(options));
    return opened ? std::string("no error") : opened.error().message;
  };
  EXPECT_THAT(message(TokenFile("/no/such/file")), HasSubstr("/no/such/file: it cannot be read"));
  EXPECT_THAT(message(TokenFile(folder_.Write("a", "[]").string())), HasSubstr("no JSON object"));
  EXPECT_THAT(message(TokenFile(folder_.Write("b", R"({"inference": ["short"]})").string())),
              HasSubstr("at least 16 characters"));
  const auto opened = TokenAuthority::Open(KeyFile("/no/such/folder/key_file.json"));
  ASSERT_TRUE(opened);
  EXPECT_THAT((*opened)->Publish().message, HasSubstr("cannot write key_file"));
}

TEST_F(TokensTest, AServerThatCannotStartTakesNobodysKeys) {
  const auto tokens = Open({});
  const std::string before = Bearer("inference");
  { const auto second = TokenAuthority::Open(KeyFile((folder_ / "key_file.json").string())); }
  EXPECT_EQ(Bearer("inference"), before);
}

TEST_F(TokensTest, TheKeyFileGoesWithItsServer) {
  Open({});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "key_file.json"));
}

}  // namespace
}  // namespace serve
