#include "serve/base/work_folder.h"

#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

/// TMPDIR is `value` until the end of a test.
class TmpDir {
 public:
  explicit TmpDir(const std::string& value) {
    if (const char* before = std::getenv("TMPDIR")) before_ = before;
    setenv("TMPDIR", value.c_str(), 1);
  }
  ~TmpDir() {
    if (before_) {
      setenv("TMPDIR", before_->c_str(), 1);
    } else {
      unsetenv("TMPDIR");
    }
  }
  TmpDir(const TmpDir&) = delete;
  TmpDir& operator=(const TmpDir&) = delete;

 private:
  std::optional<std::string> before_;
};

TEST(WorkFolderTest, IsTheUsersAloneAndGoesWithWhatIsInIt) {
  fs::path path;
  {
    auto made = WorkFolder::Make();
    ASSERT_TRUE(made) << made.error().message;
    const WorkFolder moved = *std::move(made);
    path = moved.path();
    EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_all);
    std::ofstream(path / "file") << "x";
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(WorkFolderTest, OneThatIsReleasedStays) {
  fs::path path;
  {
    auto made = WorkFolder::Make();
    ASSERT_TRUE(made);
    path = std::move(*made).Release();
  }
  EXPECT_TRUE(fs::is_directory(path));
  fs::remove(path);
}

TEST(WorkFolderTest, AMissingFolderForTemporaryFilesIsMade) {
  auto outer = WorkFolder::Make();
  ASSERT_TRUE(outer);
  const fs::path missing = outer->path() / "not" / "yet";
  const TmpDir set(missing.string());
  auto made = WorkFolder::Make({}, "name");
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->path().parent_path(), missing);
  EXPECT_THAT(made->path().filename().string(), HasSubstr("name-"));
}

TEST(WorkFolderTest, OneThatCannotBeMadeSaysWhereAndWhatToSet) {
  const TmpDir set("/dev/null/tmp");
  const auto made = WorkFolder::Make();
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::kInternal);
  EXPECT_THAT(made.error().message,
              AllOf(HasSubstr("/dev/null/tmp: Not a directory"), HasSubstr("set TMPDIR")));
  const auto below = WorkFolder::Make("/dev/null");
  ASSERT_FALSE(below);
  EXPECT_THAT(below.error().message, testing::Not(HasSubstr("TMPDIR")));
}

}  // namespace
}  // namespace serve
