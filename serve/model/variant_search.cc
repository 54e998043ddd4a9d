#include "serve/model/variant_search.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "serve/request/request.h"

namespace serve {
namespace {

using std::chrono::nanoseconds;

constexpr double kClearlyFaster = 0.95;  // of the time of the simpler choice
constexpr double kWorthMemory = 0.9;
constexpr double kWorthMoreWorkers = 1.15;  // of the rate of one worker: one request alone becomes slower
constexpr double kTolerance = 1e-3;
constexpr double kLowPrecisionTolerance = 5e-2;
constexpr int kRounds = 5;
constexpr int kRateRounds = 3;  // of the rates of one worker and of several, in turn: the best of each counts
constexpr std::chrono::milliseconds kShortestMeasurement{2};
constexpr std::chrono::milliseconds kSmallModel{1};

struct Candidate {
  Trial trial;
  std::shared_ptr<Runtime> runtime;
  std::vector<nanoseconds> best;  // by size
};

Trial TrialOf(const std::string& variant, int workers, int threads) {
  Trial trial;
  trial.variant = variant;
  trial.workers = workers;
  trial.threads = threads;
  return trial;
}

Status Stopped() { return {Code::kUnavailable, "tuning was stopped"}; }

template <class T>
void Compare(const Tensor& expected, const Tensor& got, double& largest, double& difference) {
  for (std::int64_t i = 0; i < expected.elements(); ++i) {
    const auto a = static_cast<double>(expected.as<T>()[i]);
    const auto b = static_cast<double>(got.as<T>()[i]);
    if (std::isfinite(a)) largest = std::max(largest, std::abs(a));
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;  // infinities too
    const double apart = std::abs(a - b);
    difference = std::isnan(apart) ? std::numeric_limits<double>::infinity() : std::max(difference, apart);
  }
}

/// How far apart two answers are, relative to the largest value of `expected`; infinity when they cannot be
/// compared.
double Difference(const RunOutputs& expected, const RunOutputs& got) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  if (expected.tensors.size() != got.tensors.size() || expected.names != got.names) return kInfinite;
  double worst = 0;
  for (std::size_t i = 0; i < expected.tensors.size(); ++i) {
    const Tensor& a = expected.tensors[i];
    const Tensor& b = got.tensors[i];
    if (a.dtype != b.dtype || a.shape != b.shape) return kInfinite;
    double largest = 0;
    double difference = 0;
    if (a.dtype == DType::kFloat32) {
      Compare<float>(a, b, largest, difference);
    } else if (a.dtype == DType::kFloat64) {
      Compare<double>(a, b, largest, difference);
    } else if (std::memcmp(a.data.get(), b.data.get(), a.bytes()) != 0) {
      return kInfinite;
    }
    if (difference > 0) worst = std::max(worst, difference / std::max(largest, 1e-6));
  }
  return worst;
}

/// Time of one run, as the mean of as many as fill the shortest measurement.
Result<nanoseconds> Measure(Runtime& runtime, const SizedBatch& batch,
                            const std::function<TimePoint()>& now = SteadyClock::now) {
  const TimePoint start = now();
  nanoseconds took{0};
  int runs = 0;
  do {
    if (const auto outputs = runtime.Run(batch.inputs); !outputs) return outputs.error();
    ++runs;
    took = now() - start;
  } while (took < kShortestMeasurement);
  return took / runs;
}

/// Mean time of a row over the sizes that were timed.
double Score(const Candidate& candidate, const std::vector<SizedBatch>& batches) {
  double sum = 0;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    sum += static_cast<double>(candidate.best[i].count()) / static_cast<double>(batches[i].rows);
  }
  return sum / static_cast<double>(batches.size());
}

/// Ready, checked against the plain module, and run once at each size.
Status Admit(Candidate& candidate, const std::vector<SizedBatch>& batches,
             const std::vector<RunOutputs>& expected, const std::function<bool()>& stop) {
  const double tolerance = candidate.runtime->LowerPrecision() ? kLowPrecisionTolerance : kTolerance;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if (stop()) return Stopped();
    if (Status status = candidate.runtime->Specialize(batches[i].inputs); !status.ok()) return status;
    const Result<RunOutputs> outputs = candidate.runtime->Run(batches[i].inputs);
    if (!outputs) return outputs.error();
    candidate.trial.max_difference =
        std::max(candidate.trial.max_difference, Difference(expected[i], *outputs));
  }
  if (candidate.trial.max_difference > tolerance) {
    return Internal(fmt::format(
        "its outputs differ from the plain module's by {:.2g} of their largest value; {} is allowed",
        candidate.trial.max_difference, tolerance));
  }
  return {};
}

/// Keeps the best time of each candidate and size over several interleaved rounds.
Status Race(std::vector<Candidate*>& candidates, const std::vector<SizedBatch>& batches, TimePoint end,
            const SearchOptions& options) {
  for (Candidate* candidate : candidates) candidate->best.assign(batches.size(), nanoseconds::max());
  for (int round = 0; round < kRounds && (round == 0 || options.now() < end); ++round) {
    for (Candidate* candidate : candidates) {
      options.trying(candidate->trial.variant);
      candidate->runtime->PrepareThread(candidate->trial.threads);
      for (std::size_t i = 0; i < batches.size(); ++i) {
        if (options.stop()) return Stopped();
        if (!candidate->trial.refused.empty()) break;
        const Result<nanoseconds> took = Measure(*candidate->runtime, batches[i], options.now);
        if (took) {
          candidate->best[i] = std::min(candidate->best[i], *took);
        } else {
          candidate->trial.refused = took.error().message;
        }
      }
    }
  }
  for (Candidate* candidate : candidates) {
    if (candidate->trial.refused.empty()) candidate->trial.rows_per_second = 1e9 / Score(*candidate, batches);
  }
  return {};
}

/// Rows per second of `workers` threads that run `batch` side by side. Each counts from its second run, for
/// the first pays for a new thread, until its own last one. The calling thread is one of them: OpenMP threads
/// that it leaves idle would keep those of another from spinning, and make it look slow.
Result<double> RateOf(const std::shared_ptr<Runtime>& runtime, const SizedBatch& batch, int workers,
                      int threads, nanoseconds period) {
  std::vector<double> rates(static_cast<std::size_t>(workers));
  std::atomic<bool> failed{false};
  std::barrier warm(workers);
  const auto work = [&](double& rate) {
    runtime->PrepareThread(threads);
    if (!runtime->Run(batch.inputs)) failed = true;
    warm.arrive_and_wait();
    const TimePoint start = SteadyClock::now();
    std::chrono::duration<double> took(0);
    std::int64_t rows = 0;
    do {
      if (!runtime->Run(batch.inputs)) failed = true;
      rows += batch.rows;
      took = SteadyClock::now() - start;
    } while (!failed && took < period);
    rate = static_cast<double>(rows) / took.count();
  };
  {
    std::vector<std::jthread> others;
    for (std::size_t i = 1; i < rates.size(); ++i) others.emplace_back([&, i] { work(rates[i]); });
    work(rates[0]);
  }
  if (failed) return Internal("it fails when several workers run it side by side");
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

/// The sizes to time: 1, and the largest that leaves time to try everything.
std::vector<SizedBatch> SizesToTime(const std::vector<SizedBatch>& batches, nanoseconds of_a_row,
                                    nanoseconds budget) {
  std::vector<SizedBatch> sizes{batches.front()};
  const SizedBatch* largest = &batches.front();
  for (const SizedBatch& batch : batches) {
    if (of_a_row * batch.rows <= budget / 60) largest = &batch;
  }
  if (largest != &batches.front()) sizes.push_back(*largest);
  return sizes;
}

}  // namespace

Result<SearchResult> MakeReady(const std::shared_ptr<Runtime>& plain, const std::string& variant, int threads,
                               const std::vector<SizedBatch>& batches, const std::function<bool()>& stop) {
  SearchResult result;
  result.variant = variant;
  result.threads = threads;
  result.runtime = plain;
  if (variant != kPlainVariant) {
    Result<std::shared_ptr<Runtime>> made = plain->MakeVariant(variant);
    if (!made) return made.error();
    result.runtime = std::move(*made);
  }
  result.runtime->PrepareThread(threads);
  for (const SizedBatch& batch : batches) {
    if (stop()) return Stopped();
    if (Status status = result.runtime->Specialize(batch.inputs); !status.ok()) return status;
    Result<nanoseconds> took = Measure(*result.runtime, batch);  // the first run of a size is not its time
    if (took && *took < std::chrono::milliseconds(100)) took = Measure(*result.runtime, batch);
    if (!took) return took.error();
    result.times.emplace_back(batch.rows, *took + batch.forming);
  }
  return result;
}

Result<SearchResult> SearchVariants(const std::shared_ptr<Runtime>& plain,
                                    const std::vector<SizedBatch>& batches, const SearchOptions& options) {
  const TimePoint end = options.now() + options.budget;
  options.trying(kPlainVariant);
  plain->PrepareThread(options.threads);
  // In a process of its own nothing has run yet, and the first run is no measure.
  if (const Result<RunOutputs> first = plain->Run(batches.front().inputs); !first) return first.error();
  const Result<nanoseconds> alone = Measure(*plain, batches.front(), options.now);
  if (!alone) return alone.error();
  const std::vector<SizedBatch> sizes = SizesToTime(batches, *alone / batches.front().rows, options.budget);

  std::vector<RunOutputs> expected;
  for (const SizedBatch& size : sizes) {
    Result<RunOutputs> outputs = plain->Run(size.inputs);
    if (!outputs) return outputs.error();
    expected.push_back(std::move(*outputs));
  }
  std::vector<Candidate> candidates;
  candidates.push_back({TrialOf(kPlainVariant, 1, options.threads), plain, {}});
  for (const std::string& name : plain->Variants(options.precision)) {
    if (options.stop()) return Stopped();
    Candidate candidate{TrialOf(name, 1, options.threads), nullptr, {}};
    if (const auto refused = options.refused.find(name); refused != options.refused.end()) {
      candidate.trial.refused = refused->second;
      candidates.push_back(std::move(candidate));
      continue;
    }
    options.trying(name);
    Result<std::shared_ptr<Runtime>> made = plain->MakeVariant(name);
    Status status = made ? Status{} : made.error();
    if (made) {
      candidate.runtime = std::move(*made);
      candidate.runtime->PrepareThread(options.threads);
      status = Admit(candidate, sizes, expected, options.stop);
      if (options.stop()) return Stopped();
    }
    if (!status.ok()) {
      candidate.trial.refused = status.message;
      candidate.runtime = nullptr;
    }
    candidates.push_back(std::move(candidate));
    if (options.now() > end) break;
  }

  std::vector<Candidate*> racing;
  for (Candidate& candidate : candidates) {
    if (candidate.runtime) racing.push_back(&candidate);
  }
  if (Status status = Race(racing, sizes, end, options); !status.ok()) return status;
  const Candidate* winner = &candidates.front();
  if (!winner->trial.refused.empty()) return Internal(winner->trial.refused);
  // An operator who wants bfloat16 gets the best of that precision, if any is accepted.
  const bool must_be_lower = options.precision == Precision::kBFloat16;
  for (const Candidate* candidate : racing) {
    if (!candidate->trial.refused.empty()) continue;
    const bool first_lower =
        must_be_lower && candidate->runtime->LowerPrecision() && !winner->runtime->LowerPrecision();
    // Compiling for each shape costs memory for each.
    const double margin =
        candidate->runtime->WantsSpecializedShapes() && !winner->runtime->WantsSpecializedShapes()
            ? kWorthMemory
            : kClearlyFaster;
    if (first_lower || Score(*candidate, sizes) < Score(*winner, sizes) * margin) winner = candidate;
  }

  SearchResult result;
  for (const Candidate& candidate : candidates) result.trials.push_back(candidate.trial);
  int threads = options.threads;
  int workers = 1;
  if (options.threads > 1) {
    Candidate single{TrialOf(winner->trial.variant, 1, 1), winner->runtime, {}};
    Candidate several{TrialOf(winner->trial.variant, 1, options.threads), winner->runtime, {}};
    std::vector<Candidate*> both{&single, &several};
    if (Status status = Race(both, sizes, end, options); !status.ok()) return status;
    // As fast with one thread: the other CPUs are left to other work. A model that takes its time must be
    // clearly faster so, for a busy machine makes the second thread look useless.
    const double margin = *alone > kSmallModel ? 1 / kClearlyFaster : kClearlyFaster;
    if (single.trial.refused.empty() && Score(single, sizes) * margin <= Score(several, sizes)) threads = 1;
    result.trials.push_back(single.trial);
  }
  if (options.may_add_workers && options.cpus > 1 && threads > 1) {
    const SizedBatch& largest = sizes.back();
    const nanoseconds period = std::clamp<nanoseconds>(
        *alone * largest.rows * 8, std::chrono::milliseconds(50), std::chrono::milliseconds(1500));
    double one = 0;
    double many = 0;
    bool failed = false;
    for (int round = 0; round < kRateRounds; ++round) {
      const Result<double> alone_now = RateOf(winner->runtime, largest, 1, threads, period / kRateRounds);
      if (options.stop()) return Stopped();
      const Result<double> many_now = RateOf(winner->runtime, largest, options.cpus, 1, period / kRateRounds);
      if (options.stop()) return Stopped();
      failed = !alone_now || !many_now;
      if (failed) break;
      one = std::max(one, *alone_now);
      many = std::max(many, *many_now);
    }
    if (!failed) {
      result.trials.push_back(TrialOf(winner->trial.variant, options.cpus, 1));
      result.trials.back().rows_per_second = many;
      if (many > one * kWorthMoreWorkers) {
        workers = options.cpus;
        threads = 1;
      }
    }
  }
  const std::string variant = winner->trial.variant;
  const std::shared_ptr<Runtime> chosen = winner->runtime;
  candidates.clear();  // their memory, before more is compiled
  result.runtime = chosen;
  result.variant = variant;
  result.workers = workers;
  result.threads = threads;
  if (options.only_choose) return result;
  chosen->PrepareThread(threads);
  for (const SizedBatch& batch : batches) {
    if (options.stop()) return Stopped();
    const bool timed =
        std::any_of(sizes.begin(), sizes.end(), [&](const auto& s) { return s.rows == batch.rows; });
    if (!timed) {
      if (Status status = chosen->Specialize(batch.inputs); !status.ok()) return status;
    }
    const Result<nanoseconds> took = Measure(*chosen, batch, options.now);
    if (!took) return took.error();
    result.times.emplace_back(batch.rows, *took + batch.forming);
  }
  return result;
}

}  // namespace serve
