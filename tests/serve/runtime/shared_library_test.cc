#include "serve/runtime/shared_library.h"

#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using testing::HasSubstr;

TEST(SharedLibraryTest, ALibraryThatIsNotThereIsNamedWithThePlaces) {
  SharedLibraryFactory factory("libnowhere.so", {".pt"});
  EXPECT_TRUE(factory.Accepts("a.pt"));
  EXPECT_FALSE(factory.Accepts("a.onnx"));
  const auto loaded = factory.Load("a.pt", {});  // waits for nobody's Begin
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Code::kInternal);
  EXPECT_THAT(loaded.error().message, HasSubstr("libnowhere.so"));
  EXPECT_THAT(loaded.error().message, HasSubstr("../lib/flambeau"));
}

TEST(SharedLibraryTest, BeginMayComeOftenAndFromAnyThread) {
  SharedLibraryFactory factory("libnowhere.so", {".pt"});
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      factory.Begin();
      EXPECT_FALSE(factory.Load("a.pt", {}));
      factory.Begin();
    });
  }
}

TEST(SharedLibraryTest, OneThatNobodyUsedEnds) { const SharedLibraryFactory factory("libnowhere.so", {}); }

}  // namespace
}  // namespace serve
