// Models that load and then misbehave: each costs its own requests an error, never the process.

#include <string>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::HasSubstr;
using testing::Not;

class BadModelTest : public SharedServer<BadModelTest> {
 public:
  static ServerProcess::Options Options() { return {{"double.pt"}, {}, {}}; }

 protected:
  void TearDown() override {
    EXPECT_TRUE(IsJson(PostJson(server().inference(), "/predictions/double", "[1]"), "[2.0]"));
  }
};

TEST_F(BadModelTest, AModuleThatThrowsFailsItsRequestWithItsOwnReason) {
  MustRegister(server(), "throws.pt", "throws");
  const HttpResponse response = PostJson(server().inference(), "/predictions/throws", "[2000]");
  EXPECT_TRUE(IsError(response, 503, "InternalServerException", "Prediction failed"));
  EXPECT_THAT(response.Text("message"), HasSubstr("the sum of a row is above 1000"));
  EXPECT_THAT(response.Text("message"), Not(HasSubstr("frame #")));
  EXPECT_TRUE(IsJson(PostJson(server().inference(), "/predictions/throws", "[1]"), "[2.0]"));
}

TEST_F(BadModelTest, OneSampleThatSpoilsABatchFailsAlone) {
  MustRegister(server(), "throws.pt", "spoiled", "batch_size=8");
  const std::vector<std::string> label = {"model_name=\"spoiled\""};
  Pending blocker(server().inference(), "/predictions/spoiled", "[700]");
  ASSERT_TRUE(WaitUntil([&] {
    return server().Metric("flambeau_workers", {"model_name=\"spoiled\"", "state=\"busy\""}) == 1;
  }));
  std::vector<std::unique_ptr<Pending>> requests;
  for (const std::string value : {"1", "2", "2000", "3", "4"}) {
    requests.push_back(
        std::make_unique<Pending>(server().inference(), "/predictions/spoiled", Numbers(1, value)));
  }
  ASSERT_TRUE(WaitUntil([&] { return server().Metric("flambeau_queue_depth", label) == 5; }));
  EXPECT_EQ(blocker.Answer().status, 200);
  EXPECT_TRUE(IsJson(requests[0]->Answer(), "[2.0]"));
  EXPECT_TRUE(IsJson(requests[1]->Answer(), "[4.0]"));
  EXPECT_TRUE(IsError(requests[2]->Answer(), 503, "InternalServerException", "above 1000"));
  EXPECT_TRUE(IsJson(requests[3]->Answer(), "[6.0]"));
  EXPECT_TRUE(IsJson(requests[4]->Answer(), "[8.0]"));
  EXPECT_GE(server().Metric("flambeau_batch_retries_total", label), 2) << "the five were no batch";
  EXPECT_EQ(server().Metric("flambeau_predictions_total", {label[0], "outcome=\"error\""}), 1);
}

TEST_F(BadModelTest, TheWrongNumberOfRowsIsTold) {
  MustRegister(server(), "rows.pt", "rows");
  EXPECT_TRUE(IsError(PostJson(server().inference(), "/predictions/rows", "[1, 2]"), 503,
                      "InternalServerException", "3 rows for a batch of 1"));
}

TEST_F(BadModelTest, AnAnswerThatIsNoTensorIsTold) {
  MustRegister(server(), "text.pt", "text");
  EXPECT_TRUE(IsError(PostJson(server().inference(), "/predictions/text", "[1]"), 503,
                      "InternalServerException", "answered with str"));
}

TEST_F(BadModelTest, AnInputThatTheModelCannotUseNamesBothShapes) {
  MustRegister(server(), "mlp.pt", "undeclared");
  const HttpResponse response = PostJson(server().inference(), "/predictions/undeclared", "[1, 2, 3]");
  EXPECT_TRUE(IsError(response, 503, "InternalServerException", "1x3"));
  EXPECT_THAT(response.Text("message"), HasSubstr("64x256"));
}

}  // namespace
}  // namespace serve::wire
