#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "serve/base/status.h"
#include "serve/request/request.h"
#include "serve/runtime/runtime.h"

namespace serve {

/// How one way to run a model did.
struct Trial {
  std::string variant;
  int workers = 1;             // that ran side by side
  int threads = 1;             // of each, inside an operator
  double rows_per_second = 0;  // over the sizes that were timed
  double max_difference =
      0;                // of its outputs from those of the plain module, relative to their largest value
  std::string refused;  // why it cannot be used; empty: it can
};

/// The batches that the queue will form, as the runtime gets them.
struct SizedBatch {
  std::int64_t rows = 1;
  std::vector<Tensor> inputs;
  std::chrono::nanoseconds forming{0};  // what it costs to put the rows together
};

struct SearchOptions {
  Precision precision = Precision::kFloat32;
  int threads = 1;                             // that one worker may use
  int cpus = 1;                                // of the process
  bool may_add_workers = false;                // whether several workers with fewer threads each are tried
  std::chrono::milliseconds budget{20'000};    // no new round begins after it
  std::map<std::string, std::string> refused;  // variants that are not tried, and why
  bool only_choose = false;                    // the result names the winner; MakeReady does the rest
  std::function<bool()> stop = [] { return false; };                                   // asked between runs
  std::function<void(const std::string& variant)> trying = [](const std::string&) {};  // what comes next
  std::function<TimePoint()> now = SteadyClock::now;  // a test brings its own clock
};

struct SearchResult {
  std::shared_ptr<Runtime> runtime;
  std::string variant;
  int workers = 1;
  int threads = 1;
  std::vector<std::pair<std::int64_t, std::chrono::nanoseconds>> times;  // of a batch, by rows
  std::vector<Trial> trials;
};

/// Times the variants of `plain` on `batches` (smallest first) and picks the fastest; the simpler one when
/// they are within 5 %. Runs are interleaved and the best of several rounds counts, so that a disturbance of
/// the machine does not decide. A variant that fails, or whose outputs differ by more than its precision
/// explains, is refused.
///
/// Errors: kUnavailable when it was stopped; what `plain` itself fails with.
Result<SearchResult> SearchVariants(const std::shared_ptr<Runtime>& plain,
                                    const std::vector<SizedBatch>& batches, const SearchOptions& options);

/// The module as it was saved; every runtime has this variant.
inline constexpr const char* kPlainVariant = "plain";

/// Makes the variant ready for all of `batches` and times each once more; for a choice that was made earlier.
Result<SearchResult> MakeReady(const std::shared_ptr<Runtime>& plain, const std::string& variant, int threads,
                               const std::vector<SizedBatch>& batches, const std::function<bool()>& stop);

}  // namespace serve
