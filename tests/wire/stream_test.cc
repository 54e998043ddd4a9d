// Answers in parts: counting.pt behind the handler text_generator, whose every token is one more than the
// last.

#include <csignal>
#include <string>
#include <thread>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr char kLastChunk[] = "\r\n0\r\n\r\n";
const Headers kJson = {{"Content-Type", "application/json"}};

class StreamTest : public SharedServer<StreamTest> {
 public:
  static ServerProcess::Options Options() { return {}; }

 protected:
  StreamTest() : model_(testing::UnitTest::GetInstance()->current_test_info()->name()) {}
  void SetUp() override {
    MustRegister(server(), "counting.pt", model_, "&handler=text_generator&batch_size=8");
  }

  [[nodiscard]] std::string Target() const { return "/predictions/" + model_; }
  [[nodiscard]] std::string Ask(const std::string& body, Headers headers = {}) const {
    headers.emplace_back("Content-Type", "application/json");
    return RequestText("POST", Target(), headers, body);
  }
  [[nodiscard]] double Count(const std::string& metric, const std::string& label = "") const {
    return server().Metric(metric, {"model_name=\"" + model_ + "\"", label});
  }

  const std::string model_;
};

TEST_F(StreamTest, EachPartIsAChunk) {
  WireConnection connection(server().inference());
  connection.Send(
      Ask(R"({"input_ids": [8], "max_new_tokens": 3})", {{"X-Request-Id", "abc"}, {"Connection", "close"}}));
  EXPECT_EQ(connection.ReadRest(),
            "HTTP/1.1 200 OK\r\n"
            "content-type: application/x-ndjson\r\n"
            "x-request-id: abc\r\n"
            "ts_stream_next: true\r\n"
            "transfer-encoding: chunked\r\n"
            "connection: close\r\n\r\n"
            "2\r\n9\n\r\n"
            "3\r\n10\n\r\n"
            "3\r\n11\n\r\n"
            "0\r\n\r\n");
}

TEST_F(StreamTest, TheConnectionIsKept) {
  WireConnection connection(server().inference());
  for (int i = 0; i < 3; ++i) {
    connection.Send(Ask(R"({"input_ids": [1, 2], "max_new_tokens": 5})"));
    EXPECT_THAT(connection.ReadUntil(kLastChunk), EndsWith("\r\n2\r\n6\n\r\n2\r\n7\n\r\n0\r\n\r\n"));
  }
  EXPECT_EQ(connection.Request("GET", "/ping").status, 200);
}

TEST_F(StreamTest, TheFirstPartIsThereBeforeTheLast) {
  WireConnection connection(server().inference());
  connection.Send(Ask(R"({"input_ids": [8], "max_new_tokens": 100})"));
  EXPECT_THAT(connection.ReadUntil("\r\n9\n"), HasSubstr("ts_stream_next: true"));
  EXPECT_EQ(Count("flambeau_in_flight_requests"), 1);
  EXPECT_THAT(connection.ReadUntil(kLastChunk), Not(HasSubstr("HTTP")));
}

TEST_F(StreamTest, AnAnswerOfOneStepIsAnsweredAsAnyOther) {
  const HttpResponse response =
      PostJson(server().inference(), Target(), R"({"input_ids": [3], "max_new_tokens": 1})");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "4\n");
  EXPECT_EQ(response.Header("ts_stream_next"), "");
}

TEST_F(StreamTest, WhoAsksForNoStreamGetsTheWholeAnswer) {
  EXPECT_TRUE(IsJson(
      PostJson(server().inference(), Target(), R"({"input_ids": [3], "max_new_tokens": 4, "stream": false})"),
      R"({"output_ids": [4, 5, 6, 7]})"));
  EXPECT_TRUE(IsJson(PostJson(server().inference(), "/v1/models/" + model_ + ":predict",
                              R"({"instances": [{"input_ids": [3], "max_new_tokens": 2}]})"),
                     R"({"predictions": [{"output_ids": [4, 5]}]})"));
  const HttpResponse v2 = PostJson(
      server().inference(), "/v2/models/" + model_ + "/infer",
      R"({"inputs": [{"name": "input_ids", "datatype": "INT64", "shape": [1, 2], "data": [3, 4]}]})");
  ASSERT_EQ(v2.status, 200) << v2.body;
  EXPECT_EQ(v2.Json()["outputs"][0]["shape"], nlohmann::json({1, 64}));
  EXPECT_EQ(v2.Json()["outputs"][0]["data"][1], 6);
}

TEST_F(StreamTest, AnHttp10ClientGetsTheWholeAnswer) {
  WireConnection connection(server().inference());
  const std::string body = R"({"input_ids": [3], "max_new_tokens": 3})";
  connection.Send("POST " + Target() + " HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: " +
                  std::to_string(body.size()) + "\r\n\r\n" + body);
  const HttpResponse response = connection.Read();
  EXPECT_EQ(response.body, "4\n5\n6\n");
  EXPECT_EQ(response.Header("transfer-encoding"), "");
}

TEST_F(StreamTest, PaddingChangesNoAnswer) {
  for (const int length : {1, 7, 8, 9, 20}) {
    std::string ids = "0";
    for (int i = 1; i < length; ++i) ids += ", " + std::to_string(i % 7);
    const std::string next = std::to_string((length - 1) % 7 + 1);
    EXPECT_TRUE(IsJson(PostJson(server().inference(), Target(),
                                R"({"max_new_tokens": 1, "stream": false, "input_ids": [)" + ids + "]}"),
                       R"({"output_ids": [)" + next + "]}"))
        << length;
  }
}

TEST_F(StreamTest, AnErrorInMidStreamEndsTheConnectionWithoutALastChunk) {
  const double before = server().Metric("flambeau_streams_broken_total");
  WireConnection connection(server().inference());
  connection.Send(Ask(R"({"input_ids": [9, 10], "max_new_tokens": 8})"));
  const std::string read = connection.ReadRest();
  EXPECT_THAT(read, StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(read, EndsWith("\r\n3\r\n13\n\r\n"));
  EXPECT_TRUE(WaitUntil([&] { return server().Metric("flambeau_streams_broken_total") == before + 1; }));
  EXPECT_TRUE(WaitUntil([&] { return server().Log().find("13 is bad luck") != std::string::npos; }));
}

TEST_F(StreamTest, TheDeadlineInMidStreamDoesTheSame) {
  WireConnection connection(server().inference());
  connection.Send(Ask(R"({"input_ids": [8], "max_new_tokens": 1000})", {{"X-Request-Timeout-Ms", "1000"}}));
  EXPECT_THAT(connection.ReadRest(), Not(EndsWith(kLastChunk)));
  EXPECT_TRUE(WaitUntil([&] { return Count("flambeau_in_flight_requests") == 0; }));
}

TEST_F(StreamTest, AClientThatLeavesStopsItsGeneration) {
  WireConnection connection(server().inference());
  connection.Send(Ask(R"({"input_ids": [8], "max_new_tokens": 1000})"));
  connection.ReadUntil("\r\n9\n");
  connection.Close();
  EXPECT_TRUE(WaitUntil([&] { return Count("flambeau_rejections_total", "client_gone") == 1; }));
  EXPECT_EQ(Count("flambeau_in_flight_requests"), 0);
}

TEST_F(StreamTest, GenerationsShareBatches) {
  WireConnection first(server().inference());
  WireConnection second(server().inference());
  first.Send(Ask(R"({"input_ids": [8], "max_new_tokens": 60})"));
  first.ReadUntil("\r\n9\n");
  second.Send(Ask(R"({"input_ids": [8, 9], "max_new_tokens": 60})"));
  first.ReadUntil(kLastChunk);
  second.ReadUntil(kLastChunk);
  EXPECT_LT(Count("flambeau_batches_total"), 120);
  EXPECT_GT(Count("flambeau_batches_total"), 59);
}

TEST_F(StreamTest, BadRequestsAreAnswered400BeforeAnyBatch) {
  const auto message = [&](const std::string& body) {
    const HttpResponse response = PostJson(server().inference(), Target(), body);
    EXPECT_EQ(response.status, 400) << body;
    return response.Text("message");
  };
  EXPECT_THAT(message("{}"), HasSubstr("prompt (a text) or input_ids"));
  EXPECT_THAT(message("[1]"), HasSubstr("expected an object"));
  EXPECT_THAT(message(R"({"prompt": "a"})"), HasSubstr("the archive has no vocabulary"));
  EXPECT_THAT(message(R"({"input_ids": []})"), HasSubstr("input_ids: expected a list"));
  EXPECT_THAT(message(R"({"input_ids": [1, -1]})"), HasSubstr("input_ids[1]"));
  EXPECT_THAT(message(R"({"input_ids": [1], "max_new_tokens": 2000})"),
              HasSubstr("max_new_tokens: expected"));
  EXPECT_THAT(message(R"({"input_ids": [1], "stream": 1})"), HasSubstr("stream: expected true or false"));
}

TEST(StreamStopTest, AStreamEndsBeforeTheServerStops) {
  ServerProcess server(ServerProcess::Options{});
  MustRegister(server, "counting.pt", "m", "&handler=text_generator");
  WireConnection connection(server.inference());
  connection.Send(
      RequestText("POST", "/predictions/m", kJson, R"({"input_ids": [8], "max_new_tokens": 100})"));
  connection.ReadUntil("\r\n9\n");
  std::thread stop([&] { EXPECT_EQ(server.Stop(), 0); });
  EXPECT_THAT(connection.ReadRest(), EndsWith(kLastChunk));
  stop.join();
}

}  // namespace
}  // namespace serve::wire
