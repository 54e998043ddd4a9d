#include "serve/model/autoscaler.h"

#include <algorithm>
#include <exception>
#include <pthread.h>

#include <fmt/format.h>

#include "serve/base/log.h"

namespace serve {

int AutoscaleRule::Decide(TimePoint now, int running, int min, int max, std::chrono::nanoseconds queue_time) {
  if (running < min || running > max) return std::clamp(running, min, max);
  if (queue_time > options_.high) {
    calm_since_.reset();
    if (++busy_looks_ < 2 || running == max) return running;
    busy_looks_ = 0;
    return running + 1;
  }
  busy_looks_ = 0;
  if (queue_time > options_.high / 4) {
    calm_since_.reset();
    return running;
  }
  if (!calm_since_) calm_since_ = now;
  if (now - *calm_since_ < options_.calm || running == min) return running;
  calm_since_ = now;
  return running - 1;
}

Autoscaler::Autoscaler(ServedModels& models, AutoscaleOptions options)
    : models_(models), options_(options), thread_([this] { Run(); }) {}

Autoscaler::~Autoscaler() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

void Autoscaler::Run() {
  pthread_setname_np(pthread_self(), "autoscaler");
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, options_.interval, [this] { return stopping_; })) {
    lock.unlock();
    try {
      Look(SteadyClock::now());
    } catch (const std::exception& error) {  // no thread could be started, say
      LogWarning("the number of workers stays as it is: {}", error.what());
    }
    lock.lock();
  }
}

void Autoscaler::Look(TimePoint now) {
  std::erase_if(rules_, [](const auto& rule) { return rule.first.expired(); });
  for (const ServedModels::Entry& entry : models_.List()) {
    for (const ModelHandle& version : entry.versions) {
      const int min = version->MinWorkers();
      const int max = version->MaxWorkers();
      if (min == max || max == 0) continue;
      const int running = version->RunningWorkers();
      const std::chrono::nanoseconds queue_time = version->QueueTime();
      AutoscaleRule& rule = rules_.try_emplace(version, options_).first->second;
      const int wanted = rule.Decide(now, running, min, max, queue_time);
      if (wanted == running) continue;
      const int got = version->Resize(wanted);
      const std::string why =
          fmt::format("{} to {} workers: a request would wait {} ms", running, got,
                      std::chrono::duration_cast<std::chrono::milliseconds>(queue_time).count());
      version->NoteAutoscaled(why);
      LogInfo("Model {} version {}: from {}", version->info().name, version->info().version, why);
    }
  }
}

}  // namespace serve
