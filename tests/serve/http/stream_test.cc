// What a connection does with an answer that comes in parts; the test makes them.
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/http/http_server.h"

namespace serve {
namespace {

using std::chrono::milliseconds;
using ::testing::EndsWith;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kLastChunk[] = "0\r\n\r\n";

void Put(const HttpServer::Later& later, const std::string& part) {
  later.sender.parts()->Put(part, "text/plain", later.cancelled);
}
void End(HttpServer::Later later) { std::move(later.sender).Send(HttpReply()); }

TEST(PartsTest, PartsGoOutAsTheyComeAndTheConnectionIsKept) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Post("/later", ""));
  HttpServer::Later later = server.Take();
  Put(later, "one");
  EXPECT_TRUE(client.Read(false).HeadHas("transfer-encoding: chunked\r\n"));  // before there is another
  Put(later, "two two two two two");
  End(std::move(later));
  client.Send(Get("/ping", "Connection: close\r\n"));
  const std::string rest = client.Rest();
  EXPECT_THAT(rest, StartsWith("3\r\none\r\n13\r\ntwo two two two two\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(rest, EndsWith("pong"));
}

TEST(PartsTest, AllOfItIsSentInOrder) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Post("/later", "", "Connection: close\r\n"));
  HttpServer::Later later = server.Take();
  std::string expected;
  for (int i = 0; i < 2000; ++i) {
    Put(later, std::to_string(100 + i % 900));
    expected += "3\r\n" + std::to_string(100 + i % 900) + "\r\n";
  }
  End(std::move(later));
  EXPECT_THAT(client.Rest(), EndsWith("\r\n\r\n" + expected + kLastChunk));
}

TEST(PartsTest, AnErrorAfterTheFirstPartEndsTheConnection) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Post("/later", ""));
  HttpServer::Later later = server.Take();
  Put(later, "one");
  client.Read(false);
  std::move(later.sender).Send(ErrorReply(Internal("broken")));
  EXPECT_EQ(client.Rest(), "3\r\none\r\n");
  EXPECT_TRUE(Eventually([&] { return server.metrics.streams_broken.Value() == 1; }));
}

TEST(PartsTest, AHolderThatDropsTheAnswerEndsTheConnectionToo) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Post("/later", ""));
  {
    const HttpServer::Later later = server.Take();
    Put(later, "one");
    client.Read(false);
  }
  EXPECT_THAT(client.Rest(), Not(EndsWith(kLastChunk)));
}

TEST(PartsTest, TheDeadlineEndsTheConnection) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Post("/later", "", "X-Deadline-Ms: 300\r\n"));
  const HttpServer::Later later = server.Take();
  Put(later, "one");
  EXPECT_THAT(client.Rest(), EndsWith("3\r\none\r\n"));
  EXPECT_TRUE(later.cancelled->load());
  EXPECT_EQ(server.metrics.streams_broken.Value(), 1);
}

TEST(PartsTest, AClientThatLeavesIsNoticed) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Post("/later", ""));
  const HttpServer::Later later = server.Take();
  Put(later, "one");
  client.Read(false);
  client.Close();
  EXPECT_TRUE(Eventually([&] { return later.cancelled->load(); }));
  Put(later, "two");  // goes nowhere
  EXPECT_EQ(server.metrics.streams_broken.Value(), 0);
}

/// More than any socket buffer takes.
void FillUp(const HttpServer::Later& later) {
  const std::string part(64 * 1024, 'x');
  for (int i = 0; i < 4096 && !later.sender.parts()->Full(); ++i) {
    Put(later, part);
  }
}

TEST(PartsTest, ASlowClientIsToldByTheBacklog) {
  HttpLimits limits;
  limits.max_stream_backlog = 16 << 20;
  HttpServer server(limits);
  RawClient client(server.port());
  client.Send(Post("/later", "", "Connection: close\r\n"));
  HttpServer::Later later = server.Take();
  EXPECT_FALSE(later.sender.parts()->Full());
  FillUp(later);
  ASSERT_TRUE(later.sender.parts()->Full());
  std::thread reader([&] { EXPECT_THAT(client.Rest(), EndsWith(kLastChunk)); });
  EXPECT_TRUE(Eventually([&] { return !later.sender.parts()->Full(); }));
  End(std::move(later));
  reader.join();
}

TEST(PartsTest, AClientThatReadsNothingIsGivenUpAfterTheWriteTimeout) {
  HttpLimits limits;
  limits.max_stream_backlog = 16 << 20;
  limits.write_timeout = milliseconds(200);
  HttpServer server(limits);
  RawClient client(server.port());
  client.Send(Post("/later", ""));
  const HttpServer::Later later = server.Take();
  FillUp(later);
  EXPECT_TRUE(Eventually([&] { return later.cancelled->load(); }));
  EXPECT_TRUE(Eventually([&] { return server.metrics.streams_broken.Value() == 1; }));
  EXPECT_FALSE(later.sender.parts()->Full());
}

}  // namespace
}  // namespace serve
