// Requests of a sequence are answered in order and share a state; sequences share batches.

#include <memory>
#include <string>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class SequenceTest : public SharedServer<SequenceTest> {
 public:
  static ServerProcess::Options Options() {
    return {{}, {"--batch-size", "8"}, {{"TS_HEADER_KEY_SEQUENCE_END", "X-Sequence-End"}}};
  }

 protected:
  static void Serve(const std::string& name, const std::string& limits) {
    const TemporaryFolder folder;
    CreateOptions options;
    options.model_name = name;
    options.inputs = {Spec("x:float32:[1]"), Spec("sum:float32:[1]")};
    options.config_file =
        folder.Write("model-config.yaml", "sequenceBatching: true\nsequenceMaxIdleMSec: 60000\n" + limits +
                                              "handler:\n  state: sum\n");
    Pack(server(), "sum.pt", options);
    ASSERT_EQ(Register(server(), "url=" + name + ".mar&initial_workers=2").status, 200);
  }
  static HttpResponse Add(const std::string& name, const std::string& number, const Headers& headers) {
    return PostJson(server().inference(), "/predictions/" + name, "[" + number + "]", headers);
  }
  static Headers Id(const std::string& id) { return {{"ts_request_sequence_id", id}}; }
};

TEST_F(SequenceTest, KeepsAStateForEachSequence) {
  Serve("sum", "maxNumSequence: 2\n");
  const HttpResponse first = Add("sum", "1", Id("a"));
  EXPECT_TRUE(IsJson(first, "[1.0]"));
  EXPECT_EQ(first.Header("ts_request_sequence_id"), "a");
  EXPECT_TRUE(IsJson(Add("sum", "10", Id("b")), "[10.0]"));
  EXPECT_TRUE(IsJson(Add("sum", "2", Id("a")), "[3.0]"));
  EXPECT_TRUE(IsJson(Add("sum", "20", Id("b")), "[30.0]"));
  EXPECT_TRUE(IsError(Add("sum", "1", Id("c")), 503, "ServiceUnavailableException", "maxNumSequence"));
  EXPECT_EQ(DescribeOne(server(), "sum")["stateful"], true);
  EXPECT_EQ(DescribeOne(server(), "sum")["openSequences"], 2);

  // The last request of `a` makes room.
  EXPECT_TRUE(
      IsJson(Add("sum", "4", {{"ts_request_sequence_id", "a"}, {"x-sequence-end", "true"}}), "[7.0]"));
  const HttpResponse named = Add("sum", "5", {});
  EXPECT_TRUE(IsJson(named, "[5.0]"));
  const std::string id = named.Header("ts_request_sequence_id");
  EXPECT_THAT(id, StartsWith("ts-seq-"));
  EXPECT_TRUE(IsJson(Add("sum", "1", Id(id)), "[6.0]"));
  EXPECT_TRUE(IsJson(Add("sum", "1", {{"ts_request_sequence_id", id}, {"ts_request_sequence_start", "true"}}),
                     "[1.0]"));
}

TEST_F(SequenceTest, SequencesRunSideBySide) {
  Serve("many", "maxNumSequence: 8\nmaxSequenceJobQueueSize: 100\n");
  constexpr int kSequences = 8;
  constexpr int kRequests = 25;
  // What is written on one connection is read in order; other sequences come at the same time.
  std::vector<std::unique_ptr<WireConnection>> connections;
  for (int i = 0; i < kSequences; ++i) {
    connections.push_back(std::make_unique<WireConnection>(server().inference()));
    std::string requests;
    for (int k = 0; k < kRequests; ++k) {
      Headers headers = Id("s" + std::to_string(i));
      headers.emplace_back("Content-Type", "application/json");
      requests += RequestText("POST", "/predictions/many", headers, "[" + std::to_string(i + 1) + "]");
    }
    ASSERT_TRUE(connections.back()->Send(requests));
  }
  for (int i = 0; i < kSequences; ++i) {
    for (int k = 1; k <= kRequests; ++k) {
      const HttpResponse answer = connections[static_cast<std::size_t>(i)]->Read();
      EXPECT_TRUE(IsJson(answer, "[" + std::to_string((i + 1) * k) + ".0]"));
    }
  }
}

TEST_F(SequenceTest, RefusesWhatItCannotRead) {
  Serve("strict", "");
  EXPECT_TRUE(IsError(Add("strict", "1", {{"X-Sequence-End", "perhaps"}}), 400, "BadRequestException",
                      "must be `true` or `false`"));
  EXPECT_TRUE(IsError(Add("strict", "1", Id("a,b")), 400, "BadRequestException", "visible ASCII"));
  EXPECT_TRUE(IsError(PostJson(server().inference(), "/predictions/strict", "[[1], [2]]", Id("a")), 400,
                      "BadRequestException", "each is one row"));
}

}  // namespace
}  // namespace serve::wire
