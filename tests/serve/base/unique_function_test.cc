#include "serve/base/unique_function.h"

#include <memory>

#include <gtest/gtest.h>

namespace serve {
namespace {

TEST(UniqueFunctionTest, HoldsWhatCannotBeCopied) {
  UniqueFunction<int(int)> add = [held = std::make_unique<int>(40)](int more) { return *held + more; };
  UniqueFunction<int(int)> moved = std::move(add);
  EXPECT_FALSE(add);  // NOLINT(bugprone-use-after-move)
  ASSERT_TRUE(moved);
  EXPECT_EQ(moved(2), 42);
}

TEST(UniqueFunctionTest, PassesMoveOnlyArguments) {
  UniqueFunction<int(std::unique_ptr<int>)> read = [](std::unique_ptr<int> value) { return *value; };
  EXPECT_EQ(read(std::make_unique<int>(7)), 7);
}

TEST(UniqueFunctionTest, DestroysWhatItHoldsOnce) {
  auto count = std::make_shared<int>(0);
  {
    UniqueFunction<void()> first = [count] {};
    UniqueFunction<void()> second = std::move(first);
    EXPECT_EQ(count.use_count(), 2);
  }
  EXPECT_EQ(count.use_count(), 1);
}

}  // namespace
}  // namespace serve
