// What a client gets for a request that is wrong, before or in the model's handler.

#include <string>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::HasSubstr;

constexpr std::size_t kBodyLimit = 100'000;
const std::string kBadRequest = "BadRequestException";

class BadHttpTest : public SharedServer<BadHttpTest> {
 public:
  static ServerProcess::Options Options() {
    return {{"double.pt"}, {"--max-request-size", std::to_string(kBodyLimit), "--max-header-size", "8k"}, {}};
  }

 protected:
  /// What follows a refused request cannot be trusted: the server says so and closes.
  static void ExpectClosed(WireConnection& connection, const HttpResponse& response) {
    EXPECT_EQ(response.Header("connection"), "close");
    EXPECT_TRUE(connection.ReadEnd());
  }
  static void ExpectStillServing() {
    EXPECT_TRUE(IsJson(PostJson(server().inference(), "/predictions/double", "[1]"), "[2.0]"));
  }
};

TEST_F(BadHttpTest, AnUnknownModelIsNamed) {
  EXPECT_TRUE(IsError(PostJson(server().inference(), "/predictions/nope", "[1]"), 404,
                      "ModelNotFoundException", "Model not found: nope"));
}

TEST_F(BadHttpTest, AnUnknownVersionIsNamed) {
  EXPECT_TRUE(IsError(PostJson(server().inference(), "/predictions/double/9.9", "[1]"), 404,
                      "ModelVersionNotFoundException",
                      "Model version: 9.9 does not exist for model: double"));
}

TEST_F(BadHttpTest, AnUnknownRouteTellsTheKnownOnes) {
  const HttpResponse response = PostJson(server().inference(), "/prediction/double", "[1]");
  EXPECT_TRUE(IsError(response, 404, "ResourceNotFoundException",
                      "Requested resource is not found, please refer to API document."));
  EXPECT_THAT(response.Text("message"), HasSubstr("/predictions, "));
  EXPECT_TRUE(IsError(Get(server().management(), "/nope"), 404, "ResourceNotFoundException", "/models"));
  EXPECT_TRUE(IsError(Get(server().metrics(), "/nope"), 404, "ResourceNotFoundException", "/metrics"));
}

TEST_F(BadHttpTest, AWrongMethodTellsTheAllowedOnes) {
  const HttpResponse response = Request(server().inference(), "DELETE", "/ping");
  EXPECT_TRUE(IsError(response, 405, "MethodNotAllowedException",
                      "Requested method is not allowed, please refer to API document."));
  EXPECT_EQ(response.Header("allow"), "GET, HEAD");
  const HttpResponse patch = Request(server().management(), "PATCH", "/models/double");
  EXPECT_TRUE(IsError(patch, 405, "MethodNotAllowedException", "PUT"));
}

TEST_F(BadHttpTest, InvalidJsonIsRefusedWithThePlace) {
  for (const std::string body : {"[1, 2", "[1, 2]]", "[1 2]", "{\"instances\": [[1]", "[1,]", "[01]"}) {
    EXPECT_TRUE(IsError(PostJson(server().inference(), "/predictions/double", body), 400, kBadRequest,
                        "invalid JSON"))
        << body;
  }
}

TEST_F(BadHttpTest, NaNIsNoJsonNumber) {
  for (const std::string word : {"NaN", "Infinity", "-Infinity"}) {
    EXPECT_TRUE(IsError(PostJson(server().inference(), "/predictions/double", "[1, " + word + "]"), 400,
                        kBadRequest, word + " is no JSON number"));
  }
}

TEST_F(BadHttpTest, AWrongShapeNamesTheInputAndBothShapes) {
  MustRegister(server(), "mlp.pt", "shaped", "input=x:float32:[64]");
  const std::string target = "/predictions/shaped";
  EXPECT_TRUE(IsError(PostJson(server().inference(), target, "[1, 2, 3]"), 400, kBadRequest,
                      "input \"x\": expected shape [64], got [3]"));
  EXPECT_TRUE(IsError(PostJson(server().inference(), target, "[" + Numbers(64, "1") + ",[1]]"), 400,
                      kBadRequest, "input \"x\": expected shape [64], got [1] at row 1"));
  EXPECT_TRUE(
      IsError(PostJson(server().inference(), target, "7"), 400, kBadRequest, "expected an array 1 deep"));
  EXPECT_TRUE(
      IsError(PostJson(server().inference(), target, "{\"y\": 1}"), 400, kBadRequest, "unknown name \"y\""));
}

TEST_F(BadHttpTest, AWrongElementIsNamedByItsIndex) {
  EXPECT_TRUE(IsError(PostJson(server().inference(), "/predictions/double", "[1, 2, \"x\"]"), 400,
                      kBadRequest, "body[2]: expected a number, found a string"));
}

TEST_F(BadHttpTest, AnEmptyBodyIsRefused) {
  EXPECT_TRUE(IsError(PostJson(server().inference(), "/predictions/double", ""), 400, kBadRequest,
                      "the body is empty"));
  EXPECT_TRUE(
      IsError(Request(server().inference(), "POST", "/predictions/double"), 400, kBadRequest, "empty"));
}

TEST_F(BadHttpTest, AnAnnouncedBodyOverTheLimitIsRefusedBeforeItIsSent) {
  WireConnection connection(server().inference());
  connection.Send("POST /predictions/double HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n");
  const HttpResponse response = connection.Read();
  EXPECT_TRUE(IsError(response, 413, "RequestEntityTooLargeException",
                      "100001 bytes is larger than the limit of 100000 bytes (max_request_size)"));
  ExpectClosed(connection, response);
}

TEST_F(BadHttpTest, AClientThatSendsTheTooLargeBodyAnywayStillReadsTheAnswer) {
  WireConnection connection(server().inference());
  connection.Send(RequestText("POST", "/predictions/double", {}, std::string(kBodyLimit + 50'000, '1')));
  EXPECT_TRUE(IsError(connection.Read(), 413, "RequestEntityTooLargeException", "max_request_size"));
}

TEST_F(BadHttpTest, AChunkedBodyOverTheLimitIsRefused) {
  WireConnection connection(server().inference());
  connection.Send("POST /predictions/double HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "4000\r\n" + std::string(0x4000, '1') + "\r\n";
  for (int i = 0; i < 7; ++i) connection.Send(chunk);  // the server may have closed before the last one
  const HttpResponse response = connection.Read();
  EXPECT_TRUE(
      IsError(response, 413, "RequestEntityTooLargeException", "limit of 100000 bytes (max_request_size)"));
}

TEST_F(BadHttpTest, ABodyOfExactlyTheLimitIsRead) {
  const std::string body = "[1" + std::string(kBodyLimit - 3, ' ') + "]";
  EXPECT_TRUE(IsJson(PostJson(server().inference(), "/predictions/double", body), "[2.0]"));
}

TEST_F(BadHttpTest, ATruncatedBodyIsToldHowMuchCame) {
  WireConnection connection(server().inference());
  connection.Send("POST /predictions/double HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[1,");
  connection.HalfClose();
  const HttpResponse response = connection.Read();
  EXPECT_TRUE(IsError(response, 400, kBadRequest,
                      "the request body ended after 3 of the 10 bytes that Content-Length says"));
  ExpectClosed(connection, response);
}

TEST_F(BadHttpTest, ATruncatedChunkedBodyIsRefused) {
  WireConnection connection(server().inference());
  connection.Send(
      "POST /predictions/double HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n");
  connection.HalfClose();
  EXPECT_TRUE(IsError(connection.Read(), 400, kBadRequest, "ended before its last chunk"));
}

TEST_F(BadHttpTest, AnInvalidChunkIsRefused) {
  for (const std::string chunk :
       {"zz\r\n[1]\r\n0\r\n\r\n", "3\r\n[1]xx0\r\n\r\n", "-3\r\n[1]\r\n0\r\n\r\n"}) {
    WireConnection connection(server().inference());
    connection.Send("POST /predictions/double HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
                    chunk);
    const HttpResponse response = connection.Read();
    EXPECT_TRUE(IsError(response, 400, kBadRequest, "")) << chunk;
    ExpectClosed(connection, response);
  }
}

TEST_F(BadHttpTest, AHeaderBombIsRefused) {
  WireConnection large(server().inference());
  large.Send("GET /ping HTTP/1.1\r\nHost: x\r\nX-Bomb: " + std::string(9000, 'a'));
  const HttpResponse response = large.Read();
  EXPECT_TRUE(IsError(response, 431, "RequestHeaderTooLargeException", "8192 bytes (max_header_size)"));

  WireConnection many(server().inference());
  std::string head = "GET /ping HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 200; ++i) head += "X-" + std::to_string(i) + ": a\r\n";
  many.Send(head + "\r\n");
  EXPECT_TRUE(
      IsError(many.Read(), 431, "RequestHeaderTooLargeException", "201 header fields, the limit is 100"));
}

TEST_F(BadHttpTest, WhatIsNoHttpIsRefusedAndClosed) {
  const std::vector<std::string> requests = {
      "nonsense\r\n\r\n",
      "GET /ping HTTP/1.1\r\n\r\n",                                    // no Host
      "GET /ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",              // two
      "GET /ping HTTP/7.0\r\nHost: a\r\n\r\n",                         // version
      "GET /ping HTTP/1.1\r\nHost: a\r\nX y: 1\r\n\r\n",               // blank in a name
      "GET /ping HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",           // folded
      "POST /ping HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",  // length
      "POST /ping HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n[]",
      "POST /ping HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  // TLS
  };
  for (const std::string& request : requests) {
    WireConnection connection(server().inference());
    connection.Send(request);
    const HttpResponse response = connection.Read();
    EXPECT_TRUE(IsError(response, 400, kBadRequest, "")) << request;
    EXPECT_FALSE(response.Text("message").empty()) << request;
    ExpectClosed(connection, response);
  }
  ExpectStillServing();
}

TEST_F(BadHttpTest, ABrokenEscapeInThePathIsNamed) {
  EXPECT_TRUE(IsError(PostJson(server().inference(), "/predictions/a%zz", "[1]"), 400, kBadRequest, "a%zz"));
}

TEST_F(BadHttpTest, AnUnknownContentEncodingIsRefused) {
  EXPECT_TRUE(
      IsError(PostJson(server().inference(), "/predictions/double", "[1]", {{"Content-Encoding", "br"}}), 415,
              "UnsupportedMediaTypeException", "gzip"));
}

TEST_F(BadHttpTest, AnUnknownExpectationIsRefused) {
  EXPECT_EQ(PostJson(server().inference(), "/predictions/double", "[1]", {{"Expect", "wonders"}}).status,
            417);
}

TEST_F(BadHttpTest, ARefusedPredictionKeepsTheConnection) {
  WireConnection connection(server().inference());
  const Headers json = {{"Content-Type", "application/json"}};
  EXPECT_EQ(connection.Request("POST", "/predictions/nope", json, "[1]").status, 404);
  EXPECT_EQ(connection.Request("POST", "/predictions/double", json, "[x]").status, 400);
  EXPECT_TRUE(IsJson(connection.Request("POST", "/predictions/double", json, "[1]"), "[2.0]"));
}

class SlowClientTest : public SharedServer<SlowClientTest> {
 public:
  static ServerProcess::Options Options() {
    return {{"double.pt"},
            {"--header-timeout-ms", "300", "--body-timeout-ms", "300", "--idle-timeout-ms", "300",
             "--max-connections", "230"},
            {}};
  }
};

TEST_F(SlowClientTest, AHeaderThatDoesNotEndIsAnswered408) {
  WireConnection connection(server().inference());
  connection.Send("GET /ping HTTP/1.1\r\nHo");
  EXPECT_TRUE(IsError(connection.Read(), 408, "RequestTimeoutException",
                      "the request header was not complete within 300 ms (header_timeout"));
  EXPECT_TRUE(connection.ReadEnd());
}

TEST_F(SlowClientTest, AHeaderThatComesInDropsIsAnswered408) {
  WireConnection connection(server().inference());
  connection.Send("GET /ping HTTP/1.1\r\nX: ");
  // Each byte comes in time; all of them together do not.
  WaitUntil([&] { return !connection.Send("a"); }, std::chrono::milliseconds(400));
  EXPECT_TRUE(IsError(connection.Read(), 408, "RequestTimeoutException", "the request header"));
}

TEST_F(SlowClientTest, ABodyThatDoesNotEndIsAnswered408) {
  WireConnection connection(server().inference());
  connection.Send("POST /predictions/double HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[1");
  EXPECT_TRUE(IsError(connection.Read(), 408, "RequestTimeoutException",
                      "the request body was not complete within 300 ms (body_timeout"));
  EXPECT_TRUE(connection.ReadEnd());
}

TEST_F(SlowClientTest, AnIdleConnectionIsClosedWithoutAWord) {
  WireConnection fresh(server().inference());
  EXPECT_TRUE(fresh.ReadEnd());
  WireConnection used(server().inference());
  EXPECT_EQ(used.Request("GET", "/ping").status, 200);
  EXPECT_TRUE(used.ReadEnd());
}

class SilentConnectionsTest : public SharedServer<SilentConnectionsTest> {
 public:
  static ServerProcess::Options Options() { return {{"double.pt"}, {"--max-connections", "210"}, {}}; }
};

TEST_F(SilentConnectionsTest, TwoHundredOfThemDoNotDisturbPredictions) {
  std::vector<std::unique_ptr<WireConnection>> silent;
  for (int i = 0; i < 200; ++i) silent.push_back(std::make_unique<WireConnection>(server().inference()));
  EXPECT_TRUE(WaitUntil([&] { return server().Metric("flambeau_connections") >= 200; }));
  WireConnection connection(server().inference());
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(
        IsJson(connection.Request("POST", "/predictions/double", {{"Content-Type", "application/json"}},
                                  Numbers(1, std::to_string(i))),
               Numbers(1, std::to_string(2 * i) + ".0")));
  }
}

TEST_F(SilentConnectionsTest, OneConnectionTooManyIsToldSo) {
  std::vector<std::unique_ptr<WireConnection>> held;
  for (int i = 0; i < 210; ++i) held.push_back(std::make_unique<WireConnection>(server().inference()));
  WireConnection one_more(server().inference());
  EXPECT_TRUE(IsError(one_more.Read(), 503, "ServiceUnavailableException", "210 open connections"));
  EXPECT_TRUE(one_more.ReadEnd());
  held.clear();
  EXPECT_TRUE(WaitUntil([&] {
    WireConnection again(server().inference());
    again.Send(RequestText("GET", "/ping"));
    return again.Read().status == 200;
  }));
}

}  // namespace
}  // namespace serve::wire
