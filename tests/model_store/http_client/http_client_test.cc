#include "model_store/http_client/http_client.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_store/http_client/fake_server.h"

namespace serve {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

FakeServer::Response Echo(const FakeServer::Request& request) {
  FakeServer::Response response = FakeServer::Json(200, request.body());
  response.set("X-Seen", std::string(request.method_string()) + " " + std::string(request["content-type"]));
  return response;
}

Status ErrorOf(const HttpCall& call) {
  const Result<HttpAnswer> answer = CallHttp(call);
  EXPECT_FALSE(answer);
  return answer ? Status{} : answer.error();
}

TEST(HttpClientTest, MethodHeadersAndBodyArrive) {
  FakeServer server(Echo);
  for (const char* method : {"POST", "PUT", "DELETE"}) {
    HttpCall call;
    call.method = method;
    call.url = server.url() + "/a?b=c%20d";
    call.headers = {{"Content-Type", "text/plain"}, {"X-Priority", "high"}};
    call.body = std::string("x\0y", 3) + std::string(100'000, 'b');
    const Result<HttpAnswer> answer = CallHttp(call);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, call.body);
    EXPECT_EQ(answer->Header("x-seen"), std::string(method) + " text/plain");
    EXPECT_EQ(server.lines().back(), std::string(method) + " /a?b=c%20d");
    EXPECT_EQ(server.requests().back()["x-priority"], "high");
  }
}

TEST(HttpClientTest, NoContentTypeIsInvented) {
  FakeServer server(Echo);
  const Result<HttpAnswer> answer =
      CallHttp({.method = "POST", .url = server.url(), .headers = {}, .body = "x"});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->Header("X-Seen"), "POST");
}

TEST(HttpClientTest, AnErrorStatusIsAnAnswer) {
  FakeServer server([](const auto&) { return FakeServer::Json(503, "busy"); });
  const Result<HttpAnswer> answer = CallHttp({.url = server.url(), .headers = {}, .body = {}});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 503);
  EXPECT_EQ(answer->body, "busy");
}

TEST(HttpClientTest, ARedirectIsNotFollowed) {
  FakeServer server([](const auto&) {
    FakeServer::Response response = FakeServer::Json(302, "");
    response.set("Location", "/elsewhere");
    return response;
  });
  const Result<HttpAnswer> answer = CallHttp({.url = server.url(), .headers = {}, .body = {}});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 302);
  EXPECT_EQ(server.lines().size(), 1U);
}

TEST(HttpClientTest, ARefusedConnectionSaysWhatToDo) {
  const Status error = ErrorOf({.url = DeadUrl() + "/ping", .headers = {}, .body = {}});
  EXPECT_EQ(error.code, Code::kUnavailable);
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("/ping"), HasSubstr("connection refused"), HasSubstr("flambeau serve")));
}

TEST(HttpClientTest, AnAnswerThatIsTooLargeIsRefused) {
  FakeServer server([](const auto&) { return FakeServer::Json(200, std::string(2000, 'x')); });
  HttpCall call;
  call.url = server.url();
  call.max_response_bytes = 1999;
  EXPECT_EQ(ErrorOf(call).code, Code::kPayloadTooLarge);
  call.max_response_bytes = 2000;
  EXPECT_TRUE(CallHttp(call));
}

TEST(HttpClientTest, AServerThatDoesNotAnswerCostsTheTimeoutOnly) {
  boost::asio::io_context context;
  const boost::asio::ip::tcp::acceptor silent(context, {boost::asio::ip::make_address("127.0.0.1"), 0});
  HttpCall call;
  call.url = "http://127.0.0.1:" + std::to_string(silent.local_endpoint().port());
  call.timeout = std::chrono::milliseconds(50);
  const Status error = ErrorOf(call);
  EXPECT_EQ(error.code, Code::kDeadlineExceeded);
  EXPECT_THAT(error.message, HasSubstr("50 ms"));
}

TEST(HttpClientTest, OtherSchemesAndBrokenUrlsAreRefused) {
  for (const char* url :
       {"file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/", "", "http://", "::"}) {
    EXPECT_EQ(ErrorOf({.url = url, .headers = {}, .body = {}}).code, Code::kInvalidArgument) << url;
  }
}

TEST(HttpClientTest, AHeaderCannotSmuggleALine) {
  HttpCall call;
  call.url = DeadUrl();
  call.headers = {{"X-A", "b\r\nX-Evil: 1"}};
  EXPECT_EQ(ErrorOf(call).code, Code::kInvalidArgument);
}

TEST(HttpClientTest, MessagesDoNotShowThePassword) {
  std::string url = DeadUrl();
  url.insert(url.find("127"), "user:secret@");
  EXPECT_THAT(ErrorOf({.url = url, .headers = {}, .body = {}}).message,
              AllOf(Not(HasSubstr("secret")), HasSubstr("127.0.0.1")));
}

TEST(HttpClientTest, AProxyOfTheEnvironmentIsNotUsedForLoopback) {
  FakeServer server(Echo);
  setenv("http_proxy", DeadUrl().c_str(), 1);
  const Result<HttpAnswer> answer = CallHttp({.url = server.url(), .headers = {}, .body = {}});
  unsetenv("http_proxy");
  EXPECT_TRUE(answer);
}

TEST(HttpClientTest, ManyThreadsMayCallAtOnce) {
  FakeServer server(Echo);
  std::vector<std::thread> threads;
  std::atomic<int> answered{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      if (CallHttp({.url = server.url(), .headers = {}, .body = {}})) ++answered;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, 8);
}

TEST(HttpClientTest, ABodyMayComeFromAFile) {
  FakeServer server(Echo);
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("flambeau-body-" + std::to_string(getpid()));
  std::ofstream(file) << std::string(200'000, 'f');
  HttpCall call;
  call.method = "PUT";
  call.url = server.url();
  call.headers = {{"Content-Type", "text/plain"}};
  call.body_file = file;
  call.timeout = {};
  call.stall_timeout = std::chrono::seconds(60);
  const Result<HttpAnswer> answer = CallHttp(call);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, std::string(200'000, 'f'));
  EXPECT_EQ(answer->Header("x-seen"), "PUT text/plain");
  std::filesystem::remove(file);
  EXPECT_EQ(ErrorOf(call).code, Code::kNotFound);
}

TEST(HttpClientTest, ASinkGetsGoodAnswersAndMayEndThem) {
  std::atomic<int> status{200};
  FakeServer server([&](const auto&) { return FakeServer::Json(status, std::string(500'000, 'x')); });
  std::size_t bytes = 0;
  HttpCall call;
  call.url = server.url();
  call.max_response_bytes = 600'000;
  call.sink = [&bytes](std::string_view piece) {
    bytes += piece.size();
    return true;
  };
  ASSERT_TRUE(CallHttp(call));
  EXPECT_EQ(bytes, 500'000U);
  call.sink = [](std::string_view) { return false; };
  EXPECT_EQ(ErrorOf(call).code, Code::kPayloadTooLarge);
  status = 500;  // what went wrong is no part of the file
  const Result<HttpAnswer> failed = CallHttp(call);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->body.size(), 500'000U);
}

TEST(UrlEncodeTest, EverythingButTheUnreservedIsEncoded) {
  EXPECT_EQ(UrlEncode("aZ0-._~"), "aZ0-._~");
  EXPECT_EQ(UrlEncode("a b/ü?&=+%"), "a%20b%2F%C3%BC%3F%26%3D%2B%25");
}

}  // namespace
}  // namespace serve
