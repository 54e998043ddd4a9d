#include "serve/model/sequence_table.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A table whose queue is a list that the test empties by hand, and a clock of its own.
class SequenceTableTest : public ::testing::Test {
 protected:
  struct Count final : SampleState {
    int number = 0;
  };

  SequenceTable& Make(SequenceOptions options) {
    options.enabled = true;
    table_ = std::make_unique<SequenceTable>(
        "m", options,
        [this] {
          auto state = std::make_shared<Count>();
          state->number = ++begun_;
          return state;
        },
        [this](Waiting waiting, bool) {
          if (refuse_) {
            std::move(waiting.responder).Send(Status{Code::kUnavailable, "closed"});
            return false;
          }
          queue_.push_back(std::move(waiting));
          return true;
        });
    return *table_;
  }

  void TearDown() override {  // what is not answered asks for the table
    refuse_ = true;
    while (!queue_.empty()) Answer();
  }

  bool Ask(SequenceTable& table, const std::string& id, const std::string& text, bool start = false,
           bool end = false) {
    Responder responder([this, text](Result<Output> output) {
      answers_.push_back(text + (output ? "" : ": " + output.error().message));
    });
    Waiting waiting{Sample(), RequestContext(), std::move(responder), now_};
    return table.Push(std::move(waiting), {id, start, end}, true);
  }

  /// Answers the first request in the queue; gives which sequence's state it had.
  int Answer() {
    Waiting first = std::move(queue_.front());
    queue_.erase(queue_.begin());
    const int state = static_cast<Count*>(first.sample.state.get())->number;
    std::move(first.responder).Send(Output());
    return state;
  }

  std::unique_ptr<SequenceTable> table_;
  TimePoint now_ = SteadyClock::now();
  std::vector<Waiting> queue_;
  std::vector<std::string> answers_;
  int begun_ = 0;
  bool refuse_ = false;
};

TEST_F(SequenceTableTest, PutsOneRequestOfASequenceAfterTheOther) {
  SequenceOptions options;
  options.max_sequences = 2;
  options.max_queued = 2;
  SequenceTable& table = Make(options);
  EXPECT_TRUE(Ask(table, "a", "a1"));
  EXPECT_FALSE(Ask(table, "a", "a2"));
  EXPECT_FALSE(Ask(table, "a", "a3"));
  EXPECT_TRUE(Ask(table, "b", "b1"));
  EXPECT_EQ(queue_.size(), 2U);
  EXPECT_EQ(Answer(), 1);  // a1; a2 follows b1
  EXPECT_EQ(Answer(), 2);
  EXPECT_EQ(Answer(), 1);
  EXPECT_EQ(Answer(), 1);
  EXPECT_THAT(answers_, ElementsAre("a1", "b1", "a2", "a3"));
  EXPECT_EQ(table.Open(), 2U);
}

TEST_F(SequenceTableTest, RefusesTooManySequencesAndTooManyRequestsOfOne) {
  SequenceTable& table = Make({});
  Ask(table, "a", "a1");
  Ask(table, "a", "a2");
  Ask(table, "a", "a3");
  Ask(table, "b", "b1");
  ASSERT_EQ(answers_.size(), 2U);
  EXPECT_THAT(answers_[0], HasSubstr("maxSequenceJobQueueSize"));
  EXPECT_THAT(answers_[1], HasSubstr("maxNumSequence"));
}

TEST_F(SequenceTableTest, EndsASequenceWhenARequestSaysSo) {
  SequenceTable& table = Make({});
  Ask(table, "a", "a1");
  Ask(table, "a", "a2", false, true);
  EXPECT_EQ(table.Open(), 0U);
  EXPECT_TRUE(Ask(table, "a", "new"));
  EXPECT_EQ(Answer(), 1);
  EXPECT_EQ(Answer(), 2);
  EXPECT_EQ(Answer(), 1);  // what was accepted before the end is still answered
  EXPECT_THAT(answers_, ElementsAre("a1", "new", "a2"));
}

TEST_F(SequenceTableTest, BeginsAnewWhenARequestSaysSo) {
  SequenceTable& table = Make({});
  Ask(table, "a", "a1");
  EXPECT_EQ(Answer(), 1);
  Ask(table, "a", "a2", true);
  EXPECT_EQ(Answer(), 2);
  EXPECT_EQ(table.Open(), 1U);
}

TEST_F(SequenceTableTest, ForgetsASequenceThatIsIdleOrTooOld) {
  SequenceOptions options;
  options.max_idle = milliseconds(100'000);
  options.timeout = milliseconds(150'000);
  SequenceTable& table = Make(options);
  Ask(table, "a", "a1");
  EXPECT_EQ(Answer(), 1);
  now_ += milliseconds(90'000);
  Ask(table, "a", "a2");
  EXPECT_EQ(Answer(), 1);
  now_ += milliseconds(90'000);  // 180 s old
  Ask(table, "a", "a3");
  EXPECT_EQ(Answer(), 2);
  now_ += milliseconds(101'000);
  Ask(table, "b", "b1");  // takes the only place
  EXPECT_EQ(Answer(), 3);
  EXPECT_EQ(table.Open(), 1U);
}

TEST_F(SequenceTableTest, AnswersEverythingThatWaitsWhenTheQueueTakesNoMore) {
  SequenceOptions options;
  options.max_queued = 100'000;
  SequenceTable& table = Make(options);
  for (int i = 0; i < 50'000; ++i) Ask(table, "a", "x");
  refuse_ = true;
  EXPECT_EQ(Answer(), 1);
  EXPECT_EQ(answers_.size(), 50'000U);
}

}  // namespace
}  // namespace serve
