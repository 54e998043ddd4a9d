#include "serve/model/model_config.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

ReadConfig Parse(const std::string& yaml) {
  Result<ReadConfig> read = ParseModelConfig(yaml);
  EXPECT_TRUE(read) << read.error().message;
  return read ? *read : ReadConfig{};
}

TEST(ModelConfigTest, EveryKeyThatCountsHereIsRead) {
  const ReadConfig read = Parse(
      "minWorkers: 2\nmaxWorkers: 4\nbatchSize: 8\nmaxBatchDelay: 50\nresponseTimeout: 30\n"
      "startupTimeout: 60\nclientTimeoutInMills: 700\njobQueueSize: 9\n"
      "handler:\n  profile: true\n");
  EXPECT_THAT(read.warnings, IsEmpty());
  EXPECT_TRUE(read.config.HasWorkers());
  EXPECT_EQ(read.config.min_workers, 2);
  EXPECT_EQ(read.config.max_workers, 4);
  EXPECT_EQ(read.config.batch_size, 8);
  EXPECT_EQ(read.config.max_batch_delay, milliseconds(50));
  EXPECT_EQ(read.config.response_timeout, milliseconds(30'000));
  EXPECT_EQ(read.config.startup_timeout, milliseconds(60'000));
  EXPECT_EQ(read.config.client_timeout, milliseconds(700));
  EXPECT_EQ(read.config.job_queue_size, 9);
}

TEST(ModelConfigTest, AValueOfAWrongTypeIsAWarningAndItsKeyIgnored) {
  const ReadConfig read =
      Parse("minWorkers: many\nbatchSize: [1, 2]\nmaxBatchDelay: 1.5\nresponseTimeout: 7\n");
  EXPECT_THAT(read.warnings, SizeIs(3));
  EXPECT_THAT(read.warnings, Contains(AllOf(HasSubstr("`minWorkers`"), HasSubstr("whole number"))));
  EXPECT_THAT(read.warnings, Contains(HasSubstr("`batchSize`")));
  EXPECT_THAT(read.warnings, Contains(HasSubstr("`maxBatchDelay`")));
  EXPECT_FALSE(read.config.min_workers);
  EXPECT_FALSE(read.config.batch_size);
  EXPECT_FALSE(read.config.max_batch_delay);
  EXPECT_EQ(read.config.response_timeout, milliseconds(7'000));
}

TEST(ModelConfigTest, NumbersAreClampedAsInTorchServe) {
  const ReadConfig read =
      Parse("minWorkers: 0\nmaxWorkers: -1\nbatchSize: -3\nmaxBatchDelay: 0\njobQueueSize: 0\n");
  EXPECT_THAT(read.warnings, IsEmpty());
  EXPECT_EQ(read.config.min_workers, 1);
  EXPECT_FALSE(read.config.max_workers);
  EXPECT_FALSE(read.config.HasWorkers());
  EXPECT_EQ(read.config.batch_size, 1);
  EXPECT_FALSE(read.config.max_batch_delay);
  EXPECT_FALSE(read.config.job_queue_size);
  EXPECT_FALSE(Parse("minWorkers: 3\nmaxWorkers: 2\n").config.HasWorkers());
}

TEST(ModelConfigTest, AKeyThatAsksForWhatIsNotDoneIsAWarning) {
  const ReadConfig read =
      Parse("parallelType: tp\nuseVenv: false\ndeviceType: gpu\nmaxRetryTimeoutInSec: 300\n");
  EXPECT_THAT(read.warnings, SizeIs(2));
  EXPECT_THAT(read.warnings, Contains(HasSubstr("`parallelType` is ignored")));
  EXPECT_THAT(read.warnings, Contains(HasSubstr("`deviceType` is ignored")));
}

TEST(ModelConfigTest, WhatIsNoMapIsRefused) {
  EXPECT_TRUE(ParseModelConfig(""));
  EXPECT_TRUE(ParseModelConfig("# nothing\n"));
  for (const std::string& text :
       {std::string("- 1\n- 2\n"), std::string("just a text"), std::string("a: [1\n"),
        std::string("a: b: c\n"), std::string(2 << 20, ' '), std::string(100'000, '[')}) {
    const Result<ReadConfig> read = ParseModelConfig(text);
    ASSERT_FALSE(read) << text.substr(0, 20);
    EXPECT_EQ(read.error().code, Code::kInvalidArgument);
  }
}

TEST(ModelConfigTest, AliasesDoNotMultiply) {
  std::string bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n";
  for (char name = 'b'; name <= 'z'; ++name) {
    bomb += std::string(1, name) + ": &" + name + " [";
    for (int i = 0; i < 9; ++i) bomb += std::string(i == 0 ? "" : ", ") + "*" + static_cast<char>(name - 1);
    bomb += "]\n";
  }
  EXPECT_EQ(Parse(bomb + "batchSize: 2\n").config.batch_size, 2);
}

TEST(ModelConfigTest, ATextBetweenQuotesIsNoNumber) {
  const ReadConfig read = Parse("batchSize: \"4\"\n");
  EXPECT_FALSE(read.config.batch_size);
  EXPECT_THAT(read.warnings, SizeIs(1));
}

}  // namespace
}  // namespace serve
