#include "serve/base/buffer.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include <gtest/gtest.h>

namespace serve {
namespace {

TEST(BufferTest, IsAlignedAndPaddedWithZeros) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{1000}}) {
    const Buffer buffer(std::string(size, 'x'));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % Buffer::kAlignment, 0u);
    EXPECT_EQ(buffer.view(), std::string(size, 'x'));
    EXPECT_TRUE(std::all_of(buffer.data() + size, buffer.data() + size + Buffer::kPadding,
                            [](char byte) { return byte == 0; }));
  }
}

TEST(BufferTest, MovingKeepsTheMemoryWhereItIs) {
  Buffer buffer("some bytes");
  const char* before = buffer.data();
  const Buffer moved = std::move(buffer);
  EXPECT_EQ(moved.data(), before);
}

TEST(BufferTest, AShorterOneIsPaddedWithZerosToo) {
  Buffer buffer(std::string_view("abcdef"));
  buffer.Shrink(2);
  EXPECT_EQ(buffer.view(), "ab");
  for (std::size_t i = 0; i < Buffer::kPadding; ++i) EXPECT_EQ(buffer.data()[2 + i], 0);
}

TEST(BufferTest, ReleasedMemoryOutlivesTheBuffer) {
  std::shared_ptr<std::byte> memory;
  {
    Buffer buffer("abc");
    memory = std::move(buffer).Release();
    EXPECT_TRUE(buffer.empty());  // NOLINT(bugprone-use-after-move): this is what is promised
  }
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(memory.get()), 3), "abc");
}

}  // namespace
}  // namespace serve
