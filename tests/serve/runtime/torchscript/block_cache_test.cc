#include "serve/runtime/torchscript/block_cache.h"

#include <cstring>

#include <gtest/gtest.h>

namespace serve {
namespace {

using std::chrono::seconds;

constexpr std::size_t kMegabyte = 1 << 20;
constexpr BlockCache::Clock::time_point kStart{seconds(1000)};

TEST(BlockCacheTest, ABlockThatCameBackServesTheNextOfAboutItsSize) {
  BlockCache cache(100 * kMegabyte, seconds(10));
  void* block = cache.Take(20 * kMegabyte);
  std::memset(block, 1, 20 * kMegabyte);
  EXPECT_TRUE(cache.Give(block, kStart));
  EXPECT_GE(cache.kept(), 20 * kMegabyte);
  EXPECT_EQ(cache.Take(20 * kMegabyte - 1000), block);
  EXPECT_EQ(cache.kept(), 0);
  void* other = cache.Take(20 * kMegabyte);
  EXPECT_NE(other, block);
  EXPECT_TRUE(cache.Give(block, kStart));
  EXPECT_TRUE(cache.Give(other, kStart));
}

TEST(BlockCacheTest, KeepsNoMoreThanItMay) {
  BlockCache cache(50 * kMegabyte, seconds(10));
  void* blocks[3];
  for (void*& block : blocks) block = cache.Take(20 * kMegabyte);
  for (void* block : blocks) EXPECT_TRUE(cache.Give(block, kStart));
  EXPECT_EQ(cache.kept(), 40 * kMegabyte);
  void* large = cache.Take(60 * kMegabyte);
  EXPECT_TRUE(cache.Give(large, kStart));
  EXPECT_LE(cache.kept(), 50 * kMegabyte);
}

TEST(BlockCacheTest, WhatNobodyWantedForLongGoesBack) {
  BlockCache cache(100 * kMegabyte, seconds(10));
  void* old = cache.Take(16 * kMegabyte);
  void* other = cache.Take(32 * kMegabyte);
  EXPECT_TRUE(cache.Give(old, kStart));
  EXPECT_TRUE(cache.Give(other, kStart + seconds(11)));
  EXPECT_EQ(cache.kept(), 32 * kMegabyte);
}

TEST(BlockCacheTest, GivesEverythingBackWhenItIsTold) {
  BlockCache cache(100 * kMegabyte, seconds(10));
  cache.Give(cache.Take(20 * kMegabyte), kStart);
  EXPECT_GT(cache.kept(), 0U);
  cache.Clear();
  EXPECT_EQ(cache.kept(), 0U);
}

TEST(BlockCacheTest, RefusesWhatIsNotItsOwn) {
  BlockCache cache(100 * kMegabyte, seconds(10));
  int stranger = 0;
  EXPECT_FALSE(cache.Give(&stranger, kStart));
  void* block = cache.Take(kMegabyte);
  EXPECT_TRUE(cache.Give(block, kStart));
  EXPECT_FALSE(cache.Give(block, kStart));
}

}  // namespace
}  // namespace serve
