#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/http/http_server.h"

namespace serve {
namespace {

using ::testing::HasSubstr;

struct Malformed {
  std::string why;    // a word that the message must have
  std::string bytes;  // a second request hides behind some of them; it must never be answered
};

// What two servers in a row may understand differently (request smuggling), and plain nonsense.
const std::vector<Malformed>& AllMalformed() {
  static const std::string get = "GET /ping HTTP/1.1\r\nHost: test\r\n";
  static const std::string post = "POST /echo HTTP/1.1\r\nHost: test\r\n";
  static const std::string hidden = "GET /ping HTTP/1.1\r\nHost: test\r\n\r\n";
  static const std::vector<Malformed> all = {
      {"length twice", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden},
      {"length twice", post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + hidden},
      {"length twice", post + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd" + hidden},
      {"length twice", post + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd" + hidden},
      {"length twice",
       post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden},
      {"Content-Length", post + "Content-Length: 4, 4\r\n\r\nabcd" + hidden},
      {"Content-Length", post + "Content-Length: -1\r\n\r\n" + hidden},
      {"Content-Length", post + "Content-Length: +4\r\n\r\nabcd" + hidden},
      {"Content-Length", post + "Content-Length: 0x4\r\n\r\nabcd" + hidden},
      {"Content-Length", post + "Content-Length: 4 4\r\n\r\nabcd" + hidden},
      {"Content-Length", post + "Content-Length: 99999999999999999999999\r\n\r\n" + hidden},
      {"Content-Length", post + "Content-Length:\r\n\r\n" + hidden},
      {"chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + hidden},
      {"chunked", post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + hidden},
      {"chunked", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden},
      {"chunked", post + "Transfer-Encoding: identity\r\n\r\n" + hidden},
      {"chunked", post + "Transfer-Encoding: \"chunked\"\r\n\r\n" + hidden},
      {"HTTP/1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden},
      {"colon", post + "Content-Length : 4\r\n\r\nabcd" + hidden},
      {"colon", post + "Content Length: 4\r\n\r\nabcd" + hidden},
      {"colon", get + "no colon here\r\n\r\n" + hidden},
      {"folded", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + hidden},
      {"folded", get + "X-A: b\r\n\tc\r\n\r\n" + hidden},
      {"blank", "GET /ping HTTP/1.1\r\n Host: test\r\n\r\n" + hidden},
      {"", post + "X-A: b\nContent-Length: 4\r\n\r\nabcd" + hidden},
      {"", post + "X-A: b\rContent-Length: 4\r\n\r\nabcd" + hidden},
      {"", "GET /ping HTTP/1.1\nHost: test\n\r\n\r\n" + hidden},
      {"forbidden character", get + std::string("X-A: a\0b\r\n\r\n", 12) + hidden},
      {"needs a Host", "GET /ping HTTP/1.1\r\n\r\n" + hidden},
      {"several Host", get + "Host: other\r\n\r\n" + hidden},
      {"Host field is malformed", "GET /ping HTTP/1.1\r\nHost: a b\r\n\r\n" + hidden},
      {"HTTP/1.1", "GET /ping HTTP/2.0\r\nHost: test\r\n\r\n" + hidden},
      {"HTTP/1.1", "GET /ping HTTP/1.1 \r\nHost: test\r\n\r\n" + hidden},
      {"", "GET /ping\r\nHost: test\r\n\r\n" + hidden},
      {"", "GET  /ping HTTP/1.1\r\nHost: test\r\n\r\n" + hidden},
      {"HTTP/1.1", "GET /pi ng HTTP/1.1\r\nHost: test\r\n\r\n" + hidden},
      {"HTTP/1.1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
      {"method", " GET /ping HTTP/1.1\r\nHost: test\r\n\r\n" + hidden},
      {"method", "\r\n\r\n\r\n\r\nGET /ping HTTP/1.1\r\nHost: test\r\n\r\n" + hidden},
      {"TLS", "\x16\x03\x01\x02"},
      {"chunked request body", post + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n" + hidden},
      {"chunked request body", post + "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n" + hidden},
      {"chunked request body", post + "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n" + hidden},
      {"chunked request body", post + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n" + hidden},
      {"", post + "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n" + hidden},
      {"Content-Length", post + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 4\r\n\r\n" + hidden},
  };
  return all;
}

TEST(MalformedRequestTest, EachIsAnsweredOnceWith400AndTheConnectionIsClosed) {
  HttpServer server;
  for (const Malformed& request : AllMalformed()) {
    RawClient client(server.port());
    client.Send(request.bytes);
    const auto reply = client.Read();
    EXPECT_EQ(reply.status, 400) << request.bytes;
    EXPECT_THAT(reply.body, HasSubstr("BadRequestException")) << request.bytes;
    EXPECT_THAT(reply.body, HasSubstr(request.why)) << request.bytes;
    EXPECT_TRUE(reply.HeadHas("connection: close\r\n"));
    EXPECT_TRUE(client.Ended()) << request.bytes;  // and what is hidden behind it was not served
  }
}

TEST(MalformedRequestTest, ATruncatedBodyIsToldAndNothingIsRun) {
  HttpServer server;
  RawClient plain(server.port());
  plain.Send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf");
  plain.CloseSending();
  const auto reply = plain.Read();
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.body, HasSubstr("ended after 4 of the 10 bytes"));

  RawClient chunked(server.port());
  chunked.Send("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal");
  chunked.CloseSending();
  EXPECT_EQ(chunked.Read().status, 400);

  RawClient header(server.port());
  header.Send("POST /echo HT");
  header.CloseSending();
  EXPECT_EQ(header.Read().status, 0);  // there is no request to answer
}

TEST(MalformedRequestTest, TheAbsoluteFormAndOddButLegalRequestsAreServed) {
  HttpServer server;
  RawClient client(server.port());
  for (const std::string request : {
           "GET http://test/ping HTTP/1.1\r\nHost: test\r\n\r\n",
           "GET /ping?x=1&y=%20#z HTTP/1.1\r\nHost: test\r\n\r\n",
           "GET /ping/ HTTP/1.1\r\nHOST:test\r\nX-Empty:\r\nX-Blank: \t a b \t\r\n\r\n",
           "GET /p%69ng HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: test\r\nTRANSFER-encoding:  Chunked "
           "\r\n\r\n04\r\npong\r\n00\r\n\r\n",
       }) {
    client.Send(request);
    const auto reply = client.Read();
    EXPECT_EQ(reply.status, 200) << request;
    EXPECT_EQ(reply.body, "pong") << request;
  }
}

}  // namespace
}  // namespace serve
