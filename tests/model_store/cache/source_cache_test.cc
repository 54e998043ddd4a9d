#include "model_store/cache/source_cache.h"

#include <chrono>
#include <string>
#include <sys/stat.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model_store/archive/sha256.h"
#include "tests/model_store/archive/test_files.h"

namespace serve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SourceCacheTest : public testing::Test {
 protected:
  /// Puts a file with this content into the cache.
  Result<SourceCache::Entry> Insert(const SourceCache& cache, const std::string& content,
                                    const std::string& key = {}) {
    return cache.Insert(folder_.Write("incoming", content), "m.mar", key);
  }
  /// As if it had been used `seconds` after 1970.
  void UsedAt(const std::string& sha256, int seconds) const {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, (folder_ / "cache" / "sha256" / sha256 / ".lock").c_str(), times, 0), 0);
  }
  TemporaryFolder folder_;
};

TEST_F(SourceCacheTest, WhatIsPutInIsFoundByItsDigestAndByItsKey) {
  const SourceCache cache(folder_ / "cache", 0);
  EXPECT_FALSE(cache.Find(Sha256OfBytes("one")));
  const auto one = Insert(cache, "one", "uri etag");
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->sha256, Sha256OfBytes("one"));
  EXPECT_EQ(one->size, 3U);
  EXPECT_EQ(one->path.filename(), "m.mar");
  EXPECT_EQ(ReadAll(cache.Find(one->sha256)->path), "one");
  EXPECT_EQ(cache.FindKnown("uri etag")->path, one->path);
  EXPECT_FALSE(cache.FindKnown("uri other"));
  EXPECT_FALSE(cache.Find("../../etc")) << "no digest";
  EXPECT_EQ(Insert(cache, "one")->path, one->path) << "the same content is there once";
}

TEST_F(SourceCacheTest, WhatWasNotUsedForTheLongestTimeGoesAndWhatIsUsedStays) {
  const SourceCache cache(folder_ / "cache", 25);
  const std::string oldest = Insert(cache, std::string(10, 'a'))->sha256;
  auto used = Insert(cache, std::string(10, 'b'));
  UsedAt(oldest, 2000);
  UsedAt(used->sha256, 1000);
  const SourceCache other_process(folder_ / "cache", 25);
  const std::string third = Insert(other_process, std::string(10, 'c'))->sha256;
  EXPECT_FALSE(cache.Find(oldest));
  EXPECT_TRUE(cache.Find(used->sha256)) << "it has a lease";
  const std::string digest = used->sha256;
  used->lease.reset();
  UsedAt(digest, 1000);
  EXPECT_TRUE(Insert(cache, std::string(10, 'd')));
  EXPECT_FALSE(cache.Find(digest)) << "nobody uses it any more";
  EXPECT_TRUE(cache.Find(third));
}

TEST_F(SourceCacheTest, OneCallerFetchesAUriAndTheNextOneWaits) {
  const SourceCache cache(folder_ / "cache", 0);
  const auto now = std::chrono::steady_clock::now();
  auto first = cache.ClaimPartial("s3://b/k", now);
  ASSERT_TRUE(first) << first.error().message;
  const auto second = cache.ClaimPartial("s3://b/k", now);
  EXPECT_EQ(second.error().code, Code::kDeadlineExceeded);
  EXPECT_TRUE(cache.ClaimPartial("s3://b/other", now));
  first->lock.reset();
  EXPECT_TRUE(cache.ClaimPartial("s3://b/k", now));
}

TEST_F(SourceCacheTest, AFolderIsKnownByItsFiles) {
  const SourceCache cache(folder_ / "cache", 0);
  folder_.Write("model/MAR-INF/MANIFEST.json", "{}");
  folder_.Write("model/weights.pt", "w");
  const auto digest = DigestOf(folder_ / "model");
  const auto entry = cache.Insert(folder_ / "model", "news", "");
  ASSERT_TRUE(entry) << entry.error().message;
  EXPECT_EQ(entry->sha256, digest->sha256);
  EXPECT_EQ(entry->size, 3U);
  EXPECT_EQ(ReadAll(entry->path / "weights.pt"), "w");
  folder_.Write("model/weights.pt", "w");
  EXPECT_NE(DigestOf(folder_ / "model")->sha256, digest->sha256) << "a file is missing";
}

TEST_F(SourceCacheTest, ACacheThatCannotBeWrittenSaysSo) {
  folder_.Write("file", "x");
  const SourceCache cache(folder_ / "file" / "cache", 0);
  EXPECT_THAT(cache.ClaimPartial("s3://b/k", std::chrono::steady_clock::now()).error().message,
              HasSubstr("cannot be written"));
}

}  // namespace
}  // namespace serve
