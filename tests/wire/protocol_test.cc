// HTTP/1.1 as clients use it: kept connections, pipelines, expectations, bytes that come one by one.

#include <string>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

const Headers kJson = {{"Content-Type", "application/json"}};

class ProtocolTest : public SharedServer<ProtocolTest> {
 public:
  static ServerProcess::Options Options() { return {{"double.pt"}, {}, {}}; }
};

TEST_F(ProtocolTest, AConnectionServesManyRequests) {
  WireConnection connection(server().inference());
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(IsJson(connection.Request("POST", "/predictions/double", kJson, "[1.5]"), "[3.0]"));
    EXPECT_EQ(connection.Request("GET", "/ping").status, 200);
  }
}

TEST_F(ProtocolTest, FiftyPipelinedPredictionsAreAnsweredInOrder) {
  std::string requests;
  for (int i = 0; i < 50; ++i)
    requests += RequestText("POST", "/predictions/double", kJson, Numbers(2, std::to_string(i)));
  WireConnection connection(server().inference());
  connection.Send(requests);
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(IsJson(connection.Read(), Numbers(2, std::to_string(2 * i) + ".0"))) << i;
  }
}

TEST_F(ProtocolTest, APipelineOfMixedOutcomesKeepsItsOrder) {
  WireConnection connection(server().inference());
  connection.Send(RequestText("GET", "/ping") + RequestText("POST", "/predictions/nope", kJson, "[1]") +
                  RequestText("POST", "/predictions/double", kJson, "[x]") +
                  RequestText("POST", "/predictions/double", kJson, "[4]"));
  EXPECT_EQ(connection.Read().status, 200);
  EXPECT_EQ(connection.Read().status, 404);
  EXPECT_EQ(connection.Read().status, 400);
  EXPECT_TRUE(IsJson(connection.Read(), "[8.0]"));
}

TEST_F(ProtocolTest, ARequestMayComeByteByByte) {
  WireConnection connection(server().inference());
  const std::string chunked =
      "POST /predictions/double HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n3;name=value\r\n,2]\r\n0\r\nX-Trailer: a\r\n\r\n";
  for (const std::string& request : {RequestText("POST", "/predictions/double", kJson, "[1,2]"), chunked}) {
    for (const char byte : request) ASSERT_TRUE(connection.Send({&byte, 1}));
    EXPECT_TRUE(IsJson(connection.Read(), "[2.0, 4.0]"));
  }
}

TEST_F(ProtocolTest, AClientThatExpectsContinueIsToldToSend) {
  WireConnection connection(server().inference());
  connection.Send(
      "POST /predictions/double HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
      "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(connection.Read().status, 100);
  connection.Send("[5]");
  EXPECT_TRUE(IsJson(connection.Read(), "[10.0]"));
}

TEST_F(ProtocolTest, AClientThatExpectsContinueKeepsABodyThatNobodyWants) {
  WireConnection connection(server().inference());
  connection.Send(
      "POST /nothing/here HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n");
  EXPECT_EQ(connection.Read().status, 404);
  EXPECT_TRUE(connection.ReadEnd());
}

TEST_F(ProtocolTest, Http10IsClosedUnlessItAsksToBeKept) {
  WireConnection once(server().inference());
  once.Send("GET /ping HTTP/1.0\r\n\r\n");
  EXPECT_EQ(once.Read().status, 200);
  EXPECT_TRUE(once.ReadEnd());
  WireConnection kept(server().inference());
  for (int i = 0; i < 2; ++i) {
    kept.Send("GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const HttpResponse response = kept.Read();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.Header("connection"), "keep-alive");
  }
}

TEST_F(ProtocolTest, ConnectionCloseIsObeyed) {
  WireConnection connection(server().inference());
  const HttpResponse response = connection.Request("GET", "/ping", {{"Connection", "close"}});
  EXPECT_EQ(response.Header("connection"), "close");
  EXPECT_TRUE(connection.ReadEnd());
}

TEST_F(ProtocolTest, HeadAnswersTheHeaderOfGetAlone) {
  WireConnection connection(server().inference());
  const HttpResponse head = connection.Request("HEAD", "/ping");
  const HttpResponse get = connection.Request("GET", "/ping");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.Header("content-length"), get.Header("content-length"));
  EXPECT_EQ(get.Header("content-length"), std::to_string(get.body.size()));
  EXPECT_TRUE(IsStatus(get, 200, "Healthy"));
}

TEST_F(ProtocolTest, OptionsOfAPathTellsItsMethods) {
  const HttpResponse response = Request(server().inference(), "OPTIONS", "/ping");
  EXPECT_TRUE(IsError(response, 405, "MethodNotAllowedException", "Allowed here: GET"));
  EXPECT_EQ(response.Header("allow"), "GET, HEAD");
}

TEST_F(ProtocolTest, TheRequestIdOfTheClientComesBack) {
  EXPECT_EQ(Request(server().inference(), "GET", "/ping", {{"X-Request-Id", "abc-1"}}).Header("x-request-id"),
            "abc-1");
  const std::string first = Get(server().inference(), "/ping").Header("x-request-id");
  EXPECT_FALSE(first.empty());
  EXPECT_NE(first, Get(server().inference(), "/ping").Header("x-request-id"));
}

TEST_F(ProtocolTest, ThePathMayBeEscapedAbsoluteOrEndInASlash) {
  for (const std::string target : {"/predictions/do%75ble", "/predictions/double/", "/predictions/double?a=b",
                                   "http://localhost/predictions/double", "/predictions/double/1.0"}) {
    EXPECT_TRUE(IsJson(PostJson(server().inference(), target, "[1]"), "[2.0]")) << target;
  }
}

}  // namespace
}  // namespace serve::wire
