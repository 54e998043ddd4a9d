#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "serve/workflow/run.h"

namespace serve {

/// The thread of a run: functions one after the other.
class Loop {
 public:
  ~Loop() { Stop(); }
  void Post(UniqueFunction<void()> function) {
    const std::lock_guard lock(mutex_);
    functions_.push_back(std::move(function));
    changed_.notify_all();
  }
  /// Does what is there and ends; what comes later is dropped.
  void Stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Work() {
    for (std::unique_lock lock(mutex_);;) {
      changed_.wait(lock, [this] { return stopped_ || !functions_.empty(); });
      if (functions_.empty()) return;
      UniqueFunction<void()> function = std::move(functions_.front());
      functions_.pop_front();
      lock.unlock();
      function();
      function = nullptr;
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<UniqueFunction<void()>> functions_;
  bool stopped_ = false;
  std::thread thread_{[this] { Work(); }};
};

/// What a model was asked.
struct Asked {
  std::string model;
  Request request;
  RequestContext context;
  UniqueFunction<void(Result<Response>)> done;  // on the loop

  [[nodiscard]] std::string Body() const {
    return request.Input() == nullptr ? "none" : std::string(request.Input()->value);
  }
};

class RunTest : public testing::Test {
 protected:
  WorkflowHandle Make(const std::string& yaml) {
    auto workflow = std::make_shared<Workflow>();
    workflow->name = "w";
    Result<Specification> read = ParseSpecification(yaml);
    EXPECT_TRUE(read) << read.error().message;
    workflow->specification = std::move(*read);
    return workflow;
  }

  static Request Body(const std::string& text, std::string_view type = "application/json") {
    Request request;
    request.body = Buffer(text);
    request.parts.push_back({"body", request.body.view(), type});
    request.body_is_part = true;
    return request;
  }

  /// Models answer by themselves: `model(body)`. Others wait in `asked_`.
  void Answer(const std::string& model, std::function<Result<Response>(const Asked&)> function) {
    models_["w__" + model] = std::move(function);
  }
  static std::function<Result<Response>(const Asked&)> Wrap(const std::string& name) {
    return [name](const Asked& asked) {
      return Response{"\"" + name + "(" + asked.Body().substr(0, 200) + ")\"", "text/plain"};
    };
  }

  std::future<Result<Response>> Start(const WorkflowHandle& workflow, Request request,
                                      RequestContext context = {}) {
    if (context.deadline == TimePoint::max()) context.deadline = SteadyClock::now() + std::chrono::hours(1);
    auto promise = std::make_shared<std::promise<Result<Response>>>();
    auto future = promise->get_future();
    loop_.Post([=, this, request = std::move(request)]() mutable {
      RunWorkflow(
          workflow, std::move(request), context,
          [this](const std::string& model, Request input, RequestContext of_node,
                 UniqueFunction<void(Result<Response>)> done) {
            Ask({model, std::move(input), std::move(of_node), std::move(done)});
          },
          [promise](Result<Response> result) { promise->set_value(std::move(result)); });
    });
    return future;
  }
  Result<Response> Run(const WorkflowHandle& workflow, Request request, RequestContext context = {}) {
    return Start(workflow, std::move(request), std::move(context)).get();
  }

  void Ask(Asked asked) {
    const auto model = models_.find(asked.model);
    if (model == models_.end()) {
      const std::lock_guard lock(mutex_);
      asked_.push_back(std::move(asked));
      changed_.notify_all();
      return;
    }
    // As a worker does: on a thread of its own, and back by the loop.
    const std::lock_guard lock(mutex_);
    workers_.emplace_back([this, function = model->second, asked = std::move(asked)]() mutable {
      Send(asked, function(asked));
    });
  }
  void Send(Asked& asked, Result<Response> result) {
    loop_.Post(
        [done = std::move(asked.done), result = std::move(result)]() mutable { done(std::move(result)); });
  }
  /// Waits for the next question to a model that does not answer by itself.
  Asked Next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !asked_.empty(); });
    Asked asked = std::move(asked_.front());
    asked_.pop_front();
    return asked;
  }
  /// Everything that was posted so far is done.
  void Settle() {
    std::promise<void> done;
    loop_.Post([&done] { done.set_value(); });
    done.get_future().wait();
  }
  std::size_t Waiting() {
    const std::lock_guard lock(mutex_);
    return asked_.size();
  }

  std::map<std::string, std::function<Result<Response>(const Asked&)>> models_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Asked> asked_;
  Loop loop_;
  std::vector<std::jthread> workers_;
};

}  // namespace serve
