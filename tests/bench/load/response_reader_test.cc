#include "bench/load/response_reader.h"

#include <gtest/gtest.h>

namespace serve {
namespace {

using State = ResponseReader::State;

State FeedByByte(ResponseReader& reader, std::string_view text) {
  reader.Start();
  for (const char& c : text) reader.Feed({&c, 1});
  return reader.state();
}

State Feed(ResponseReader& reader, std::string_view text) {
  reader.Start();
  return reader.Feed(text);
}

TEST(ResponseReaderTest, AnAnswerWithALengthEndsAfterItsBody) {
  ResponseReader reader;
  constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\nServer: x\r\n\r\nhello";
  EXPECT_EQ(Feed(reader, kAnswer.substr(0, kAnswer.size() - 1)), State::kReading);
  EXPECT_EQ(reader.Feed("o"), State::kDone);
  EXPECT_EQ(reader.status(), 200);
  EXPECT_TRUE(reader.keep_alive());
  EXPECT_EQ(FeedByByte(reader, kAnswer), State::kDone);
}

TEST(ResponseReaderTest, AChunkedAnswerEndsAfterItsLastChunkAndTrailers) {
  ResponseReader reader;
  constexpr std::string_view kAnswer =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA;x=1\r\n0123456789\r\n1\r\nz\r\n0\r\nEnd: "
      "1\r\n\r\n";
  EXPECT_EQ(Feed(reader, kAnswer), State::kDone);
  EXPECT_EQ(FeedByByte(reader, kAnswer), State::kDone);
  EXPECT_EQ(Feed(reader, kAnswer.substr(0, kAnswer.size() - 2)), State::kReading);
}

TEST(ResponseReaderTest, WithoutALengthTheEndOfTheConnectionEndsTheBody) {
  ResponseReader reader;
  EXPECT_EQ(Feed(reader, "HTTP/1.0 200 OK\r\n\r\nanything"), State::kReading);
  EXPECT_EQ(reader.FeedEnd(), State::kDone);
  EXPECT_FALSE(reader.keep_alive());
}

TEST(ResponseReaderTest, AnEndInTheMiddleIsBroken) {
  ResponseReader reader;
  Feed(reader, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
  EXPECT_EQ(reader.FeedEnd(), State::kBroken);
  Feed(reader, "");
  EXPECT_EQ(reader.FeedEnd(), State::kBroken);
}

TEST(ResponseReaderTest, AnInterimAnswerIsSkipped) {
  ResponseReader reader;
  EXPECT_EQ(Feed(reader, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"), State::kDone);
  EXPECT_EQ(reader.status(), 204);
}

TEST(ResponseReaderTest, RetryAfterAndCloseAreSeenAndForgottenWithTheNextAnswer) {
  ResponseReader reader;
  Feed(reader, "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(reader.state(), State::kDone);
  EXPECT_EQ(reader.status(), 503);
  EXPECT_EQ(reader.retry_after(), 7);
  EXPECT_FALSE(reader.keep_alive());
  Feed(reader, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(reader.retry_after(), -1);
  EXPECT_TRUE(reader.keep_alive());
}

TEST(ResponseReaderTest, WhatIsNoAnswerOrComesAfterOneIsBroken) {
  ResponseReader reader;
  EXPECT_EQ(Feed(reader, "SSH-2.0-OpenSSH\r\n"), State::kBroken);
  EXPECT_EQ(Feed(reader, "HTTP/1.1 abc OK\r\n"), State::kBroken);
  EXPECT_EQ(Feed(reader, "HTTP/1.1 200 OK\r\nno colon\r\n"), State::kBroken);
  EXPECT_EQ(Feed(reader, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n"), State::kBroken);
  EXPECT_EQ(Feed(reader, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"), State::kBroken);
  EXPECT_EQ(Feed(reader, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), State::kBroken);
}

}  // namespace
}  // namespace serve
