#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/http/http_server.h"

namespace serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

HttpReply Text(std::string body) {
  HttpReply reply;
  reply.body = std::move(body);
  return reply;
}

TEST(ConnectionTest, AnAnswerHasTheFewFieldsThatItNeeds) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Get("/ping", "X-Request-Id: abc-1\r\n"));
  const auto reply = client.Read();
  EXPECT_EQ(
      reply.head,
      "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: abc-1\r\ncontent-length: 4\r\n");
  EXPECT_EQ(reply.body, "pong");
}

TEST(ConnectionTest, ARequestWithoutAnIdOrWithAnInsaneOneGetsANewOne) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Get("/ping"));
  const auto first = client.Read();
  client.Send(Get("/ping", "X-Request-Id: \"quoted\"\r\n"));
  const auto second = client.Read();
  EXPECT_NE(first.head, second.head);
  EXPECT_THAT(second.head, Not(HasSubstr("quoted")));
  EXPECT_THAT(second.head, HasSubstr("x-request-id: "));
}

TEST(ConnectionTest, OneConnectionServesManyRequests) {
  HttpServer server;
  RawClient client(server.port());
  for (int i = 0; i < 20; ++i) {
    const std::string body = "request " + std::to_string(i);
    client.Send(Post("/echo", body));
    EXPECT_EQ(client.Read().body, body);
  }
}

TEST(ConnectionTest, FiftyRequestsInOneWriteAreAnsweredInOrder) {
  HttpServer server;
  RawClient client(server.port());
  std::string all;
  for (int i = 0; i < 50; ++i) all += Post(i % 3 == 0 ? "/blocking" : "/echo", std::to_string(i));
  client.Send(all);
  for (int i = 0; i < 50; ++i) {
    const auto reply = client.Read();
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, std::to_string(i));
  }
}

TEST(ConnectionTest, ARequestMayArriveByteByByte) {
  HttpServer server;
  RawClient client(server.port());
  const std::string plain = Post("/echo", "hello");
  const std::string chunked =
      "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: "
      "chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n2\r\nde\r\n0\r\n"
      "Trailer: ignored\r\n\r\n";
  for (const char byte : plain + chunked + plain) client.Send({&byte, 1});
  EXPECT_EQ(client.Read().body, "hello");
  EXPECT_EQ(client.Read().body, "abcde");
  EXPECT_EQ(client.Read().body, "hello");
}

TEST(ConnectionTest, ALargeBodyComesBackWhole) {
  HttpServer server;
  RawClient client(server.port());
  std::string body(5'000'000, 'x');
  for (std::size_t i = 0; i < body.size(); i += 997) body[i] = static_cast<char>(i);
  std::thread sender([&] { client.Send(Post("/echo", body)); });
  const auto reply = client.Read();
  sender.join();
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(reply.body == body);
}

TEST(ConnectionTest, AnEmptyLineBeforeARequestIsSkipped) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Post("/echo", "a") + "\r\n" + Post("/echo", "b"));
  EXPECT_EQ(client.Read().body, "a");
  EXPECT_EQ(client.Read().body, "b");
}

TEST(ConnectionTest, ConnectionCloseAndHttp10AreHonoured) {
  HttpServer server;
  RawClient closing(server.port());
  closing.Send(Get("/ping", "Connection: close\r\n"));
  EXPECT_TRUE(closing.Read().HeadHas("connection: close\r\n"));
  EXPECT_TRUE(closing.Ended());

  RawClient old(server.port());
  old.Send("GET /ping HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(old.Read().HeadHas("connection: close\r\n"));
  EXPECT_TRUE(old.Ended());

  RawClient kept(server.port());
  kept.Send("GET /ping HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
  EXPECT_TRUE(kept.Read().HeadHas("connection: keep-alive\r\n"));
  kept.Send("GET /ping HTTP/1.0\r\n\r\n");
  EXPECT_EQ(kept.Read().status, 200);
}

TEST(ConnectionTest, HeadGetsTheHeaderOfGet) {
  HttpServer server;
  RawClient client(server.port());
  client.Send("HEAD /ping HTTP/1.1\r\nHost: test\r\n\r\n" + Get("/ping"));
  EXPECT_TRUE(client.Read(false).HeadHas("content-length: 4\r\n"));
  EXPECT_EQ(client.Read().body, "pong");
}

TEST(ConnectionTest, AnErrorWithAReadBodyKeepsTheConnection) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Post("/nowhere", "body"));
  const auto missing = client.Read();
  EXPECT_EQ(missing.status, 404);
  EXPECT_THAT(missing.body, HasSubstr("/echo"));
  client.Send(Post("/ping", "body"));
  const auto wrong = client.Read();
  EXPECT_EQ(wrong.status, 405);
  EXPECT_TRUE(wrong.HeadHas("Allow: GET, HEAD\r\n"));
  client.Send(Post("/refused", "body"));
  const auto full = client.Read();
  EXPECT_EQ(full.status, 503);
  EXPECT_TRUE(full.HeadHas("Retry-After: 1\r\n"));
  client.Send(Post("/thrower", ""));
  const auto thrown = client.Read();
  EXPECT_EQ(thrown.status, 500);
  EXPECT_THAT(thrown.body, Not(HasSubstr("as the test wants it")));
  client.Send(Get("/ping"));
  EXPECT_EQ(client.Read().body, "pong");
}

TEST(ConnectionTest, TheErrorBodyIsTorchServes) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Post("/refused", ""));
  EXPECT_EQ(
      client.Read().body,
      "{\n  \"code\": 503,\n  \"type\": \"ServiceUnavailableException\",\n  \"message\": \"full\"\n}\n");
}

TEST(ConnectionTest, ExpectContinueIsAnsweredBeforeTheBody) {
  HttpServer server;
  RawClient client(server.port());
  client.Send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.Read(false).status, 100);
  client.Send("body");
  EXPECT_EQ(client.Read().body, "body");
}

TEST(ConnectionTest, ExpectContinueForNothingIsRefusedWithoutTheBody) {
  HttpServer server;
  RawClient client(server.port());
  client.Send("POST /nowhere HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  const auto reply = client.Read();
  EXPECT_EQ(reply.status, 404);
  EXPECT_TRUE(reply.HeadHas("connection: close\r\n"));
  EXPECT_TRUE(client.Ended());
}

TEST(ConnectionTest, AnotherExpectationIsRefused) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Get("/ping", "Expect: miracles\r\n"));
  EXPECT_EQ(client.Read().status, 417);
  EXPECT_TRUE(client.Ended());
}

TEST(ConnectionTest, AnAnswerMayComeLaterFromAnotherThread) {
  HttpServer server;
  std::vector<RawClient> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back(server.port());
    clients.back().Send(Post("/later", std::to_string(i)));
  }
  std::vector<std::thread> workers;
  for (int i = 0; i < 8; ++i) {
    workers.emplace_back(
        [later = server.Take()]() mutable { std::move(later.sender).Send(Text("answer to " + later.body)); });
  }
  for (std::thread& worker : workers) worker.join();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(clients[i].Read().body, "answer to " + std::to_string(i));
}

TEST(ConnectionTest, ADroppedAnswerIsAnError) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Post("/later", ""));
  { const auto dropped = server.Take(); }
  EXPECT_EQ(client.Read().status, 500);
}

TEST(ConnectionTest, AClientThatGoesAwayWhileItWaitsCancelsItsRequest) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Post("/later", ""));
  auto later = server.Take();
  EXPECT_FALSE(later.cancelled->load());
  client.Close();
  EXPECT_TRUE(Eventually([&] { return later.cancelled->load(); }));
  EXPECT_TRUE(Eventually([&] { return server.listener->connections() == 0; }));
  std::move(later.sender).Send(Text("nobody reads this"));
}

TEST(ConnectionTest, AfterTheDeadlineTheLateAnswerIsDropped) {
  HttpServer server;
  RawClient client(server.port());
  client.Send(Post("/later", "", "X-Deadline-Ms: 20\r\n"));
  auto later = server.Take();
  const auto reply = client.Read();
  EXPECT_EQ(reply.status, 504);
  EXPECT_THAT(reply.body, HasSubstr("20 ms"));
  EXPECT_THAT(reply.body, HasSubstr("X-Request-Timeout-Ms"));
  EXPECT_TRUE(later.cancelled->load());
  std::move(later.sender).Send(Text("too late"));
  client.Send(Post("/echo", "the next one"));  // the connection is none the worse
  EXPECT_EQ(client.Read().body, "the next one");
}

TEST(ConnectionTest, AnswersAfterTheServerHasGoneAreHarmless) {
  std::vector<HttpServer::Later> owed;
  {
    HttpServer server;
    RawClient client(server.port());
    client.Send(Post("/later", ""));
    owed.push_back(server.Take());
  }
  EXPECT_TRUE(owed[0].cancelled->load());
  std::move(owed[0].sender).Send(Text("nobody is left"));
}

TEST(DrainTest, IdleConnectionsAreClosedAndBusyOnesGetTheirAnswer) {
  HttpServer server;
  RawClient idle(server.port());
  idle.Send(Get("/ping"));
  EXPECT_EQ(idle.Read().status, 200);
  RawClient busy(server.port());
  busy.Send(Post("/later", ""));
  auto later = server.Take();
  bool drained = false;
  std::thread drain([&] { drained = server.listener->Drain(SteadyClock::now() + std::chrono::seconds(10)); });
  EXPECT_TRUE(idle.Ended());
  EXPECT_THROW(RawClient(server.port()), std::runtime_error);
  std::move(later.sender).Send(Text("done"));
  const auto reply = busy.Read();
  EXPECT_EQ(reply.body, "done");
  EXPECT_TRUE(reply.HeadHas("connection: close\r\n"));
  EXPECT_TRUE(busy.Ended());
  busy.Close();
  drain.join();
  EXPECT_TRUE(drained);
  EXPECT_EQ(server.metrics.connections.Value(), 0);
}

TEST(DrainTest, TheDeadlineEndsTheWait) {
  HttpServer server;
  RawClient busy(server.port());
  busy.Send(Post("/later", ""));
  auto later = server.Take();
  EXPECT_FALSE(server.listener->Drain(SteadyClock::now() + std::chrono::milliseconds(20)));
  server.listener.reset();  // closes what is left
  EXPECT_TRUE(later.cancelled->load());
  EXPECT_EQ(busy.Read().status, 0);
}

TEST(ListenerTest, AnAddressInUseIsNamedWithTheSettingThatChangesIt) {
  HttpServer server;
  Metrics metrics(false);
  IoThreads io(1);
  const auto second =
      Listener::Open(io, "127.0.0.1", server.port(), "--inference-address", Router(), HttpLimits(), metrics);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message, "cannot listen on http://127.0.0.1:" + std::to_string(server.port()) +
                                        ": address in use; choose another address with --inference-address");
  const auto foreign =
      Listener::Open(io, "192.0.2.1", 0, "--inference-address", Router(), HttpLimits(), metrics);
  ASSERT_FALSE(foreign);
  EXPECT_THAT(foreign.error().message, HasSubstr("this machine has no such address"));
}

}  // namespace
}  // namespace serve
