#include "serve/http/content_encoding.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using ::testing::HasSubstr;

std::string Text(std::size_t size) {
  std::string text;
  while (text.size() < size) text += std::to_string(text.size() * 7919) + " ";
  text.resize(size);
  return text;
}

TEST(ContentEncodingTest, WhatWasPackedComesBack) {
  for (const std::size_t size : {0, 1, 1000, 100'000, 3'000'000}) {
    const std::string text = Text(size);
    const auto unpacked = Unpack("GZip", Gzip(text), size);
    ASSERT_TRUE(unpacked) << unpacked.error().message;
    EXPECT_EQ(unpacked->view(), text) << size;
  }
}

TEST(ContentEncodingTest, TheLimitCountsUnpackedBytes) {
  const std::string text(100'000, 'a');
  EXPECT_TRUE(Unpack("gzip", Gzip(text), 100'000));
  const auto larger = Unpack("gzip", Gzip(text), 99'999);
  ASSERT_FALSE(larger);
  EXPECT_EQ(larger.error().code, Code::kPayloadTooLarge);
  EXPECT_THAT(larger.error().message, HasSubstr("99999"));
}

TEST(ContentEncodingTest, DeflateIsAZlibStream) {
  const std::string packed("\x78\x9c\x4b\x4c\x4a\x06\x00\x02\x4d\x01\x27", 11);
  EXPECT_EQ(Unpack("deflate", packed, 3).value().view(), "abc");
}

TEST(ContentEncodingTest, SeveralGzipMembersAreOneBody) {
  EXPECT_EQ(Unpack("gzip", Gzip("ab") + Gzip("cd"), 10).value().view(), "abcd");
}

TEST(ContentEncodingTest, DamagedBodiesAreRefused) {
  const std::string packed = Gzip(Text(1000));
  for (std::size_t size = 0; size < packed.size(); ++size) {
    const auto cut = Unpack("gzip", packed.substr(0, size), 10'000);
    ASSERT_FALSE(cut) << size;
    EXPECT_EQ(cut.error().code, Code::kInvalidArgument);
  }
  EXPECT_FALSE(Unpack("gzip", packed + "x", 10'000));
  EXPECT_FALSE(Unpack("deflate", packed, 10'000));
  std::string changed = packed;
  changed[packed.size() / 2] ^= 0x55;
  EXPECT_FALSE(Unpack("gzip", changed, 10'000));
}

TEST(ContentEncodingTest, AnotherCodingIsNamedWithThoseThatAreKnown) {
  for (const char* coding : {"br", "gzip, gzip", "zstd"}) {
    const auto other = Unpack(coding, "abc", 10);
    ASSERT_FALSE(other) << coding;
    EXPECT_EQ(other.error().code, Code::kUnsupportedMedia);
    EXPECT_THAT(other.error().message, HasSubstr("gzip and deflate"));
  }
}

TEST(ContentEncodingTest, AClientAcceptsGzipByNameOrByStarUnlessItsQualityIsZero) {
  for (const char* field : {"gzip", "GZIP", "br, gzip", "gzip;q=0.5", "gzip ; q=1.0", "*", "deflate, *;q=0.1",
                            "*;q=0, gzip", "x-gzip"}) {
    EXPECT_TRUE(AcceptsGzip(field)) << field;
  }
  for (const char* field : {"", "br", "identity", "gzip;q=0", "gzip;q=0.000, *", "*;q=0", "gzipped"}) {
    EXPECT_FALSE(AcceptsGzip(field)) << field;
  }
}

}  // namespace
}  // namespace serve
