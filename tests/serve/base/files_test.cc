#include "serve/base/files.h"

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ReadFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "flambeau-read-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path Write(const std::string& text) const {
    std::ofstream(folder_ / "file", std::ios::binary) << text;
    return folder_ / "file";
  }

  fs::path folder_;
};

TEST_F(ReadFileTest, GivesEveryByteUpToTheLimit) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{300'000}}) {
    std::string text(size, 'x');
    if (size > 1) text[7] = '\0';
    const fs::path file = Write(text);
    const Result<std::string> read = ReadFile(file, size);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, text);
    if (size == 0) continue;
    const Result<std::string> more = ReadFile(file, size - 1);
    ASSERT_FALSE(more);
    EXPECT_EQ(more.error().code, Code::kInvalidArgument);
    EXPECT_EQ(more.error().message,
              "it has " + std::to_string(size) + " bytes, allowed are " + std::to_string(size - 1));
  }
}

TEST_F(ReadFileTest, AFolderAndAMissingFileAreErrorsThatSayWhatTheyAre) {
  const Result<std::string> folder = ReadFile(folder_, 100);
  ASSERT_FALSE(folder);
  EXPECT_EQ(folder.error().code, Code::kInvalidArgument);
  EXPECT_THAT(folder.error().message, HasSubstr("directory"));
  for (const fs::path& missing : {folder_ / "none", Write("x") / "below"}) {
    const Result<std::string> none = ReadFile(missing, 100);
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, Code::kNotFound) << none.error().message;
  }
}

TEST_F(ReadFileTest, APipeIsReadToItsEndAndNotBeyondTheLimit) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::uint64_t limit : {200'000, 199'999}) {
    std::thread writer([&] { std::ofstream(pipe, std::ios::binary) << std::string(200'000, 'y'); });
    const Result<std::string> read = ReadFile(pipe, limit);
    writer.join();
    EXPECT_EQ(read.has_value(), limit == 200'000);
    if (read) {
      EXPECT_EQ(*read, std::string(200'000, 'y'));
    }
  }
}

TEST(ReadFileOfTheKernel, HasNoSizeAndIsReadAllTheSame) {
  const Result<std::string> read = ReadFile("/proc/self/status", 1U << 20);
  ASSERT_TRUE(read);
  EXPECT_THAT(*read, HasSubstr("VmRSS"));
}

TEST(WriteAllTest, GoesOnWhereAPipeTakesAPartAndGivesWhatIsRefused) {
  int ends[2] = {};
  ASSERT_EQ(pipe(ends), 0);
  const std::string text(300'000, 'z');  // more than a pipe holds
  std::string got;
  std::thread reader([&] {
    char part[1000];
    for (ssize_t count = 0; (count = read(ends[0], part, sizeof part)) > 0;)
      got.append(part, static_cast<std::size_t>(count));
  });
  EXPECT_EQ(WriteAll(ends[1], text), "");
  close(ends[1]);
  reader.join();
  close(ends[0]);
  EXPECT_EQ(got, text);

  const int full = open("/dev/full", O_WRONLY);
  ASSERT_GE(full, 0);
  EXPECT_EQ(WriteAll(full, "abc"), "abc");
  EXPECT_EQ(errno, ENOSPC);
  close(full);
}

}  // namespace
}  // namespace serve
