#include <chrono>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/http/http_server.h"

namespace serve {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

/// A request whose chunked body starts with these bytes.
std::string Chunked(std::string_view body) {
  return fmt::format("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{}", body);
}

HttpLimits Small() {
  HttpLimits limits;
  limits.max_body_bytes = 1000;
  limits.max_header_bytes = 1024;
  return limits;
}

TEST(LimitsTest, AnAnnouncedBodyThatIsTooLargeIsRefusedBeforeItIsRead) {
  HttpServer server(Small());
  RawClient client(server.port());
  client.Send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 1001\r\n\r\n");
  const auto reply = client.Read();
  EXPECT_EQ(reply.status, 413);
  EXPECT_THAT(reply.body, HasSubstr("1001 bytes is larger than the limit of 1000 bytes"));
  EXPECT_TRUE(reply.HeadHas("connection: close\r\n"));
}

TEST(LimitsTest, TheAnswerReachesAClientThatKeepsSending) {
  HttpServer server(Small());
  RawClient client(server.port());
  client.Send(Post("/echo", std::string(200'000, 'x')));
  EXPECT_EQ(client.Read().status, 413);
  EXPECT_TRUE(client.Ended());  // an orderly end, not a reset
}

TEST(LimitsTest, ABodyOfExactlyTheLimitIsServed) {
  HttpServer server(Small());
  RawClient client(server.port());
  const std::string body(1000, 'x');
  client.Send(Post("/echo", body));
  EXPECT_EQ(client.Read().body, body);
  client.Send(Chunked(fmt::format("3e8\r\n{}\r\n0\r\n\r\n", body)));
  EXPECT_EQ(client.Read().body, body);
}

TEST(LimitsTest, AChunkedBodyThatGrowsTooLargeIsRefused) {
  HttpServer server(Small());
  for (const std::string chunk : {"3e9\r\n", "ffffffffffffffff\r\n", "10000000000000000\r\n"}) {
    RawClient client(server.port());
    client.Send(Chunked(chunk));
    EXPECT_GE(client.Read().status, 400) << chunk;
    EXPECT_TRUE(client.Ended());
  }
  RawClient client(server.port());
  client.Send(Chunked(""));
  for (int i = 0; i < 11; ++i) client.Send(fmt::format("64\r\n{}\r\n", std::string(100, 'x')));
  EXPECT_EQ(client.Read().status, 413);
}

TEST(LimitsTest, AMillionTinyChunksAreCutOff) {
  HttpServer server;
  RawClient client(server.port());
  std::string some;
  for (int i = 0; i < 1000; ++i) some += "1\r\nx\r\n";
  client.Send(Chunked(""));
  int sent = 0;
  while (sent < 1000 && client.Send(some)) ++sent;
  EXPECT_LT(sent, 1000);  // the server stopped reading

  RawClient other(server.port());
  std::string few = Chunked("");
  for (int i = 0; i < 100'000; ++i) few += "1\r\nx\r\n";
  other.Send(few + "0\r\n\r\n");
  const auto reply = other.Read();
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.body, HasSubstr("chunks"));
}

TEST(LimitsTest, AHeaderBombIsRefused) {
  HttpServer server(Small());
  RawClient one_field(server.port());
  one_field.Send(Get("/ping", "X-A: " + std::string(2000, 'x') + "\r\n"));
  EXPECT_EQ(one_field.Read().status, 431);
  EXPECT_TRUE(one_field.Ended());
  RawClient endless(server.port());
  endless.Send("GET /ping HTTP/1.1\r\nX-A: " + std::string(5000, 'x'));
  EXPECT_EQ(endless.Read().status, 431);
  RawClient many(server.port());
  std::string fields;
  for (int i = 0; i < 150; ++i) fields += "a:\r\n";
  many.Send(Get("/ping", fields));
  const auto reply = many.Read();
  EXPECT_EQ(reply.status, 431);
  EXPECT_THAT(reply.body, HasSubstr("151 header fields, the limit is 100"));
}

TEST(LimitsTest, AChunkExtensionBombIsRefused) {
  HttpServer server(Small());
  RawClient client(server.port());
  client.Send(Chunked(fmt::format("1;x={:x>100000}", "")));
  EXPECT_EQ(client.Read().status, 400);
}

TEST(LimitsTest, ASlowHeaderGets408) {
  HttpLimits limits;
  limits.header_timeout = 50ms;
  HttpServer server(limits);
  RawClient client(server.port());
  client.Send("GET /ping HTTP/1.1\r\nHo");
  const auto reply = client.Read();
  EXPECT_EQ(reply.status, 408);
  EXPECT_THAT(reply.body, HasSubstr("50 ms (header_timeout_ms)"));
  EXPECT_TRUE(client.Ended());
}

TEST(LimitsTest, ASlowBodyGets408) {
  HttpLimits limits;
  limits.body_timeout = 50ms;
  HttpServer server(limits);
  RawClient plain(server.port());
  plain.Send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf");
  RawClient chunked(server.port());
  chunked.Send(Chunked("5\r\nhal"));
  EXPECT_EQ(plain.Read().status, 408);
  EXPECT_EQ(chunked.Read().status, 408);
}

TEST(LimitsTest, AnIdleConnectionIsClosedWithoutAWord) {
  HttpLimits limits;
  limits.idle_timeout = 50ms;
  HttpServer server(limits);
  RawClient fresh(server.port());
  RawClient used(server.port());
  used.Send(Get("/ping"));
  EXPECT_EQ(used.Read().status, 200);
  EXPECT_TRUE(fresh.Ended());
  EXPECT_TRUE(used.Ended());
}

TEST(LimitsTest, AWaitingRequestIsNotIdle) {
  HttpLimits limits;
  limits.idle_timeout = limits.header_timeout = limits.body_timeout = limits.write_timeout = 20ms;
  HttpServer server(limits);
  RawClient client(server.port());
  client.Send(Post("/later", ""));
  auto later = server.Take();
  RawClient idle(server.port());
  EXPECT_TRUE(idle.Ended());  // so a sweep has passed, and twenty milliseconds
  HttpReply reply;
  reply.body = "served";
  std::move(later.sender).Send(std::move(reply));
  EXPECT_EQ(client.Read().body, "served");
}

TEST(LimitsTest, AClientThatDoesNotReadIsClosed) {
  HttpLimits limits;
  limits.write_timeout = 50ms;
  limits.max_body_bytes = 64 << 20;
  HttpServer server(limits);
  RawClient client(server.port());
  // More than the buffers of both sockets hold.
  EXPECT_TRUE(client.Send(Post("/echo", std::string(32 << 20, 'x'))));
  EXPECT_TRUE(Eventually([&] { return server.listener->connections() == 0; }));
}

TEST(LimitsTest, SilentConnectionsHoldUpNobody) {
  HttpServer server({}, 1);
  std::vector<RawClient> silent;
  for (int i = 0; i < 200; ++i) silent.emplace_back(server.port());
  RawClient client(server.port());
  client.Send(Get("/ping"));
  EXPECT_EQ(client.Read().body, "pong");
  EXPECT_EQ(server.metrics.connections.Value(), 201);
}

TEST(LimitsTest, OneConnectionTooManyIsToldSo) {
  HttpLimits limits;
  limits.max_connections = 2;
  HttpServer server(limits);
  RawClient first(server.port());
  RawClient second(server.port());
  second.Send(Get("/ping"));
  EXPECT_EQ(second.Read().status, 200);
  RawClient third(server.port());
  const auto reply = third.Read();
  EXPECT_EQ(reply.status, 503);
  EXPECT_THAT(reply.body, HasSubstr("2 open connections"));
  EXPECT_TRUE(reply.HeadHas("connection: close\r\n"));
  EXPECT_TRUE(third.Ended());
  EXPECT_EQ(server.metrics.connections_refused.Value(), 1);

  first.Close();
  EXPECT_TRUE(Eventually([&] { return server.listener->connections() == 1; }));
  RawClient fourth(server.port());
  fourth.Send(Get("/ping"));
  EXPECT_EQ(fourth.Read().status, 200);
}

}  // namespace
}  // namespace serve
