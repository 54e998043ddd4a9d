// Requests that wait: deadlines, priorities, the bound of the queue, clients that go away. Each test keeps
// the only worker of a model of its own busy with slow.pt, and looks at the queue in the metrics before it
// goes on.

#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

/// How long the worker is kept busy while a test arranges what waits behind it.
#ifdef __SANITIZE_ADDRESS__
constexpr int kBusy = 3000;
#else
constexpr int kBusy = 700;
#endif

class QueueTest : public SharedServer<QueueTest> {
 public:
  static ServerProcess::Options Options() { return {{}, {"--job-queue-size", "3"}, {}}; }

 protected:
  /// The model's name and its route are the name of the test.
  QueueTest() : model_(testing::UnitTest::GetInstance()->current_test_info()->name()) {}
  void SetUp() override { MustRegister(server(), "slow.pt", model_); }

  [[nodiscard]] std::string Target() const { return "/predictions/" + model_; }
  [[nodiscard]] Pending Start(int milliseconds, const Headers& headers = {}) const {
    return Pending(server().inference(), Target(), Numbers(1, std::to_string(milliseconds)), headers);
  }
  [[nodiscard]] double Count(const std::string& metric, const std::string& label = "") const {
    return server().Metric(metric, {"model_name=\"" + model_ + "\"", label});
  }
  [[nodiscard]] bool WaitUntilBusy() const {
    return WaitUntil([&] { return Count("flambeau_workers", "state=\"busy\"") == 1; });
  }
  [[nodiscard]] bool WaitUntilQueued(int requests) const {
    return WaitUntil([&] { return Count("flambeau_queue_depth") == requests; });
  }

  const std::string model_;
};

TEST_F(QueueTest, AModelSlowerThanTheDeadlineIsAnswered504) {
  const HttpResponse response =
      PostJson(server().inference(), Target(), "[1000]", {{"X-Request-Timeout-Ms", "100"}});
  EXPECT_TRUE(IsError(response, 504, "RequestTimeoutException", "within the limit of 100 ms"));
  EXPECT_TRUE(IsJson(PostJson(server().inference(), Target(), "[1]"), "[1.0]"));  // the worker is still there
}

TEST_F(QueueTest, ARequestThatExpiresInTheQueueIsAnswered504AndNeverRun) {
  Pending blocker = Start(kBusy);
  ASSERT_TRUE(WaitUntilBusy());
  EXPECT_TRUE(IsError(PostJson(server().inference(), Target(), "[1]", {{"X-Request-Timeout-Ms", "50"}}), 504,
                      "RequestTimeoutException", "50 ms"));
  EXPECT_EQ(blocker.Answer().status, 200);
  EXPECT_TRUE(WaitUntil([&] { return Count("flambeau_queue_depth") == 0; }));
  EXPECT_EQ(Count("flambeau_inference_seconds_count"), 1);
}

TEST_F(QueueTest, ADeadlineThatIsNoNumberOfMillisecondsIsRefused) {
  for (const std::string value : {"0", "-5", "soon", "1.5", "10ms", "99999999999999999999"}) {
    EXPECT_TRUE(IsError(PostJson(server().inference(), Target(), "[1]", {{"X-Request-Timeout-Ms", value}}),
                        400, "BadRequestException", "X-Request-Timeout-Ms"))
        << value;
  }
}

TEST_F(QueueTest, AnUnknownPriorityIsRefused) {
  EXPECT_TRUE(IsError(PostJson(server().inference(), Target(), "[1]", {{"X-Request-Priority", "urgent"}}),
                      400, "BadRequestException",
                      "X-Request-Priority must be `high`, `normal` or `low`, not `urgent`"));
}

TEST_F(QueueTest, HighPriorityOvertakesNormalAndNormalOvertakesLow) {
  Pending blocker = Start(kBusy);
  ASSERT_TRUE(WaitUntilBusy());
  std::mutex mutex;
  std::vector<std::string> order;
  std::vector<std::thread> clients;
  int queued = 0;
  for (const std::string priority : {"low", "normal", "high"}) {
    clients.emplace_back([&, priority] {
      Pending request = Start(60, {{"X-Request-Priority", priority}});
      const int status = request.Answer().status;
      const std::lock_guard lock(mutex);
      order.push_back(status == 200 ? priority : "failed");
    });
    EXPECT_TRUE(WaitUntilQueued(++queued));
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(order, (std::vector<std::string>{"high", "normal", "low"}));
  EXPECT_EQ(blocker.Answer().status, 200);
}

TEST_F(QueueTest, AFullQueueIsAnswered503AtOnceWithRetryAfter) {
  Pending blocker = Start(kBusy);
  ASSERT_TRUE(WaitUntilBusy());
  std::vector<std::unique_ptr<Pending>> waiting;
  for (int i = 1; i <= 3; ++i) {
    waiting.push_back(std::make_unique<Pending>(server().inference(), Target(), "[1]"));
    ASSERT_TRUE(WaitUntilQueued(i));
  }
  const HttpResponse refused = PostJson(server().inference(), Target(), "[1]");
  EXPECT_TRUE(
      IsError(refused, 503, "ServiceUnavailableException", "3 requests are waiting (job_queue_size)"));
  EXPECT_EQ(refused.Header("retry-after"), "1");
  EXPECT_EQ(Count("flambeau_rejections_total", "reason=\"queue_full\""), 1);
  EXPECT_EQ(blocker.Answer().status, 200);
  for (const auto& request : waiting) EXPECT_EQ(request->Answer().status, 200);
}

TEST_F(QueueTest, TheRequestOfAClientThatHasGoneIsNeverRun) {
  Pending blocker = Start(kBusy);
  ASSERT_TRUE(WaitUntilBusy());
  Pending gone = Start(1);
  ASSERT_TRUE(WaitUntilQueued(1));
  gone.Abandon();
  EXPECT_EQ(blocker.Answer().status, 200);
  EXPECT_TRUE(WaitUntil([&] { return Count("flambeau_rejections_total", "reason=\"client_gone\"") == 1; }));
  EXPECT_EQ(Count("flambeau_inference_seconds_count"), 1);
  EXPECT_TRUE(IsJson(PostJson(server().inference(), Target(), "[2]"), "[2.0]"));
}

TEST_F(QueueTest, PingAndDescribeAnswerWhileTheModelIsBusy) {
  Pending blocker = Start(kBusy);
  ASSERT_TRUE(WaitUntilBusy());
  Pending waiting = Start(1);
  ASSERT_TRUE(WaitUntilQueued(1));
  EXPECT_EQ(Get(server().inference(), "/ping").status, 200);
  const nlohmann::json queue = DescribeOne(server(), model_)["jobQueueStatus"];
  EXPECT_EQ(queue["pendingRequests"], 1);
  EXPECT_EQ(queue["remainingCapacity"], 2);
  EXPECT_EQ(Count("flambeau_workers", "state=\"busy\""), 1) << "the model was done before it was looked at";
  EXPECT_EQ(blocker.Answer().status, 200);
  EXPECT_EQ(waiting.Answer().status, 200);
}

TEST_F(QueueTest, ScalingToZeroAnswersWhatWaits) {
  Pending blocker = Start(kBusy);
  ASSERT_TRUE(WaitUntilBusy());
  Pending waiting = Start(1);
  ASSERT_TRUE(WaitUntilQueued(1));
  EXPECT_TRUE(
      IsStatus(Request(server().management(), "PUT", "/models/" + model_ + "?min_worker=0&synchronous=true"),
               200, "Workers scaled to 0 for model: " + model_));
  EXPECT_EQ(blocker.Answer().status, 200);
  EXPECT_TRUE(IsError(waiting.Answer(), 503, "ServiceUnavailableException", "scaled to 0 workers"));
}

TEST_F(QueueTest, UnregisteringAnswersWhatIsRunningAndWhatWaits) {
  Pending blocker = Start(kBusy);
  ASSERT_TRUE(WaitUntilBusy());
  Pending waiting = Start(1);
  ASSERT_TRUE(WaitUntilQueued(1));
  EXPECT_TRUE(IsStatus(Request(server().management(), "DELETE", "/models/" + model_), 200,
                       "Model \"" + model_ + "\" unregistered"));
  EXPECT_EQ(blocker.Answer().status, 200);
  EXPECT_EQ(waiting.Answer().status, 200);
  EXPECT_EQ(PostJson(server().inference(), Target(), "[1]").status, 404);
}

}  // namespace
}  // namespace serve::wire
