#include "serve/workflow/run.h"

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/workflow/run_fixture.h"

namespace serve {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::SizeIs;

constexpr const char* kChain = "models: {a: {url: a}, b: {url: b}}\ndag: {a: [b]}";
constexpr const char* kDiamond =
    "models: {retry-attempts: 0, a: {url: a}, b: {url: b}}\nfunctions: {pre: pass, both: merge}\n"
    "dag: {pre: [a, b], a: [both], b: [both]}";

TEST_F(RunTest, TheNextNodeGetsTheAnswerOfTheLastAsItsBody) {
  Answer("a", Wrap("a"));
  Answer("b", Wrap("b"));
  const auto result = Run(Make(kChain), Body("1"));
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->body, "\"b(\"a(1)\")\"");
  EXPECT_EQ(result->content_type, "text/plain");
}

TEST_F(RunTest, RowsThatCameAsInstancesGoOnAsInstances) {
  auto answer = Start(Make(kChain), Body("{\"predictions\":[1]}"));
  Asked a = Next();
  EXPECT_EQ(a.Body(), "{\"predictions\":[1]}");  // the client's own words stay
  Send(a, Response{"{\n  \"predictions\": [[1], [2]]}"});
  Asked b = Next();
  EXPECT_EQ(b.Body(), "{\"instances\": [[1], [2]]}");
  Send(b, Response{"{\"predictions\":[]}"});
  EXPECT_EQ(answer.get()->body, "{\"predictions\":[]}");
}

TEST_F(RunTest, BranchesRunAtTheSameTime) {
  auto answer = Start(Make(kDiamond), Body("1"));
  Asked first = Next();
  Asked second = Next();  // before the first has answered
  EXPECT_EQ(first.model, "w__a");
  EXPECT_EQ(second.model, "w__b");
  EXPECT_EQ(second.Body(), "1");
  Send(second, Response{"[2]"});
  Send(first, Response{"[1]"});
  const auto result = answer.get();
  ASSERT_TRUE(result);
  EXPECT_EQ(result->body, R"({"a":[1],"b":[2]})");
}

TEST_F(RunTest, SeveralBeforeAModelAreParts) {
  Answer("a", [](const Asked&) { return Response{"[1]"}; });
  Answer("b", [](const Asked&) { return Response{"two", "text/plain"}; });
  auto answer = Start(Make("models: {a: {url: a}, b: {url: b}, c: {url: c}}\nfunctions: {p: pass}\n"
                           "dag: {p: [a, b], a: [c], b: [c]}"),
                      Body("1"));
  Asked asked = Next();
  ASSERT_THAT(asked.request.parts, SizeIs(2));
  EXPECT_EQ(asked.request.parts[0].name, "a");
  EXPECT_EQ(asked.request.parts[0].value, "[1]");
  EXPECT_EQ(asked.request.parts[0].content_type, "application/json");
  EXPECT_EQ(asked.request.parts[1].name, "b");
  EXPECT_EQ(asked.request.parts[1].value, "two");
  Send(asked, Response{"[]"});
  EXPECT_TRUE(answer.get());
}

TEST_F(RunTest, SeveralLeavesMakeOneObject) {
  Answer("a", [](const Asked&) { return Response{"[1]"}; });
  Answer("b", [](const Asked&) { return Response{"two", "text/plain"}; });
  const auto result =
      Run(Make("models: {a: {url: a}, b: {url: b}}\nfunctions: {p: pass}\ndag: {p: [a, b]}"), Body("1"));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->body, R"({"a":[1],"b":"two"})");
  EXPECT_EQ(result->content_type, "application/json");
}

TEST_F(RunTest, TheFormOfTheClientReachesTheStartAndOnlyTheLeafKnowsWhatItAccepts) {
  Request form;
  form.body = Buffer(std::string_view("12"));
  form.head = std::string(100, 'x') + "image/webp" + "application/octet-stream";
  form.parts = {{"data", form.body.view().substr(0, 1), std::string_view(form.head).substr(100, 10)},
                {"note", form.body.view().substr(1, 1), ""}};
  form.accept = std::string_view(form.head).substr(110);
  auto answer = Start(Make(kChain), std::move(form));
  Asked a = Next();
  ASSERT_THAT(a.request.parts, SizeIs(2));
  EXPECT_EQ(a.request.parts[0].content_type, "image/webp");
  EXPECT_EQ(a.request.parts[1].value, "2");
  EXPECT_EQ(a.request.accept, "");
  Send(a, Response{"[1]"});
  Asked b = Next();
  EXPECT_EQ(b.request.accept, "application/octet-stream");
  Send(b, Response{"[1]"});
  EXPECT_TRUE(answer.get());
}

TEST_F(RunTest, AnErrorInsideAModelIsTriedAgainWithTheSameInput) {
  Answer("b", Wrap("b"));
  auto answer = Start(Make(kChain), Body("[1, 2]"));
  Asked first = Next();
  EXPECT_EQ(first.Body(), "[1, 2]");
  Send(first, Status{Code::kPredictionFailed, "out of luck"});
  Asked second = Next();
  EXPECT_EQ(second.model, "w__a");
  EXPECT_EQ(second.Body(), "[1, 2]");
  Send(second, Response{"[3]"});
  const auto result = answer.get();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->body, "\"b([3])\"");
}

TEST_F(RunTest, TriesComeToAnEnd) {
  std::atomic<int> tries{0};
  Answer("a", [&tries](const Asked&) -> Result<Response> {
    ++tries;
    return Status{Code::kPredictionFailed, "always"};
  });
  const auto result =
      Run(Make("models: {retry-attempts: 3, a: {url: a}, b: {url: b}}\ndag: {a: [b]}"), Body("1"));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kPredictionFailed);
  EXPECT_EQ(result.error().message, "Error executing a: always");
  EXPECT_EQ(tries, 4);
}

TEST_F(RunTest, OtherErrorsAndLargeInputsAreNotTriedAgain) {
  std::atomic<int> tries{0};
  Code code = Code::kResourceExhausted;
  Answer("a", [&](const Asked&) -> Result<Response> {
    ++tries;
    return Status{code, "no", 7};
  });
  const auto full = Run(Make(kChain), Body("1"));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Code::kResourceExhausted);
  EXPECT_EQ(full.error().retry_after, 7);
  EXPECT_EQ(tries, 1);
  code = Code::kPredictionFailed;
  EXPECT_FALSE(Run(Make(kChain), Body(std::string(kRetryBytes + 1, ' '))));
  EXPECT_EQ(tries, 2);
}

TEST_F(RunTest, BadInputIsTheClientsFaultOnlyWhereTheClientSentIt) {
  const auto bad = [](const Asked&) -> Result<Response> { return InvalidArgument("expected a number"); };
  Answer("a", bad);
  EXPECT_EQ(Run(Make(kChain), Body("x")).error().code, Code::kInvalidArgument);
  Answer("b", Wrap("b"));
  EXPECT_EQ(Run(Make(kDiamond), Body("x")).error().code, Code::kInvalidArgument);
  Answer("a", Wrap("a"));
  Answer("b", bad);
  const auto result = Run(Make(kChain), Body("x"));
  EXPECT_EQ(result.error().code, Code::kInternal);
  EXPECT_EQ(result.error().message, "Error executing b: expected a number");
  Answer("a", [](const Asked&) -> Result<Response> { return Status{Code::kModelNotFound, "gone"}; });
  EXPECT_EQ(Run(Make(kChain), Body("x")).error().code, Code::kInternal);
}

TEST_F(RunTest, AFailedBranchAnswersAtOnceAndCancelsTheOther) {
  auto answer = Start(Make(kDiamond), Body("1"));
  Asked a = Next();
  Asked b = Next();
  EXPECT_FALSE(b.context.Cancelled());
  Send(a, Status{Code::kPredictionFailed, "broken"});
  const auto result = answer.get();  // b has not answered
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "Error executing a: broken");
  Settle();
  EXPECT_TRUE(b.context.Cancelled());
  Send(b, Response{"[1]"});  // too late, and harmless
  Settle();
  EXPECT_EQ(Waiting(), 0U);
}

TEST_F(RunTest, NothingStartsOnceTheClientIsGone) {
  RequestContext context;
  context.cancelled = std::make_shared<std::atomic<bool>>(false);
  auto answer = Start(Make(kChain), Body("1"), context);
  Asked a = Next();
  context.cancelled->store(true);
  Send(a, Response{"[1]"});
  EXPECT_FALSE(answer.get());
  EXPECT_EQ(Waiting(), 0U);
}

TEST_F(RunTest, OneDeadlineCoversTheWhole) {
  RequestContext context;
  context.priority = Priority::kHigh;
  context.deadline = SteadyClock::now() + milliseconds(500);
  auto answer = Start(Make(kChain), Body("1"), context);
  Asked a = Next();
  EXPECT_EQ(a.context.deadline, context.deadline);  // earlier than its own 10 s
  EXPECT_EQ(a.context.priority, Priority::kHigh);
  std::this_thread::sleep_until(context.deadline);
  Send(a, Response{"[1]"});
  const auto result = answer.get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kDeadlineExceeded);
  EXPECT_THAT(result.error().message, HasSubstr("before node b"));
}

TEST_F(RunTest, ATryMayTakeItsTimeout) {
  const TimePoint before = SteadyClock::now();
  auto answer = Start(Make("models: {a: {url: a, timeout-ms: 2000}}\ndag: {a: []}"), Body("1"));
  Asked a = Next();
  EXPECT_GE(a.context.deadline, before + milliseconds(2000));
  EXPECT_LE(a.context.deadline, SteadyClock::now() + milliseconds(2000));
  Send(a, Response{"[1]"});
  EXPECT_TRUE(answer.get());
}

TEST_F(RunTest, FunctionsAloneAnswerAtOnce) {
  const WorkflowHandle workflow =
      Make("models: {}\nfunctions: {p: pass, q: pass, m: merge}\ndag: {p: [q], q: [m]}");
  const auto result = Run(workflow, Body("[1]"));
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->body, R"({"q":[1]})");
  EXPECT_EQ(Run(workflow, Body("nonsense")).error().code, Code::kInvalidArgument);
  EXPECT_EQ(Run(workflow, Request()).error().code, Code::kInvalidArgument);
}

TEST_F(RunTest, BestLabelFeedsTheNextModel) {
  Answer("a", [](const Asked&) { return Response{R"({"cat": 0.1, "dog": 0.9})"}; });
  Answer("b", Wrap("b"));
  const auto result = Run(Make("models: {a: {url: a}, b: {url: b}}\nfunctions: {label: best_label}\n"
                               "dag: {a: [label], label: [b]}"),
                          Body("1"));
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->body, "\"b(dog)\"");
}

TEST_F(RunTest, ALeaseIsHeldAsLongAsTheRequestRuns) {
  WorkflowHandle workflow = Make(kChain);
  auto answer = Start(workflow, Body("1"));
  {
    Asked a = Next();
    EXPECT_GT(workflow.use_count(), 1);
    Send(a, Status{Code::kUnavailable, "no"});
  }
  EXPECT_FALSE(answer.get());
  Settle();
  EXPECT_EQ(workflow.use_count(), 1);
}

TEST_F(RunTest, ManyRequestsAtOnceKeepApart) {
  Answer("a", Wrap("a"));
  Answer("b", Wrap("b"));
  const WorkflowHandle workflow = Make(kDiamond);
  std::vector<std::future<Result<Response>>> answers;
  for (int i = 0; i < 50; ++i) answers.push_back(Start(workflow, Body(std::to_string(i))));
  for (int i = 0; i < 50; ++i) {
    const auto result = answers[static_cast<std::size_t>(i)].get();
    ASSERT_TRUE(result);
    EXPECT_THAT(result->body, HasSubstr("a(" + std::to_string(i) + ")"));
    EXPECT_THAT(result->body, HasSubstr("b(" + std::to_string(i) + ")"));
  }
}

TEST(CopyRequestTest, ACopyStandsOnItsOwn) {
  auto original = std::make_unique<Request>();
  original->body = Buffer(std::string_view("a=1"));
  original->query = "name=value";
  original->head = "text/plain";
  original->accept = "literal";
  original->parts = {
      {original->body.view().substr(0, 1), original->body.view().substr(2), original->head},
      {std::string_view(original->query).substr(0, 4), std::string_view(original->query).substr(5), ""}};
  original->json_bytes = 3;
  Request copy = CopyRequest(*original);
  EXPECT_EQ(copy.json_bytes, 3U);
  original.reset();
  const Request moved = std::move(copy);
  ASSERT_THAT(moved.parts, SizeIs(2));
  EXPECT_EQ(moved.parts[0].name, "a");
  EXPECT_EQ(moved.parts[0].value, "1");
  EXPECT_EQ(moved.parts[0].content_type, "text/plain");
  EXPECT_EQ(moved.parts[1].name, "name");
  EXPECT_EQ(moved.parts[1].value, "value");
  EXPECT_EQ(moved.accept, "literal");
}

}  // namespace
}  // namespace serve
