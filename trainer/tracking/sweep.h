#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include "serve/base/status.h"
#include "trainer/tracking/tracking.h"

namespace serve::trainer {

/// One combination of a grid: flags (without `--`) with their values.
using SweepPoint = std::vector<std::pair<std::string, std::string>>;

inline constexpr std::size_t kMaxSweepPoints = 1000;

/// Reads a YAML map of flags to lists of values, e.g. `l2: [1e-4, 3e-4]`, and answers with every combination,
/// the last flag changing first. Errors: kNotFound, kInvalidArgument (another form, nothing in a list, more
/// than kMaxSweepPoints).
Result<std::vector<SweepPoint>> ReadGrid(const std::filesystem::path& file);

/// A command line without --sweep, with the flags of the point. Errors: kInvalidArgument when the command
/// line sets one of them itself.
Result<std::vector<std::string>> SweepArguments(const std::vector<std::string>& words,
                                                const SweepPoint& point);

/// What one training of a sweep does differently: it is a part of a run, sends nothing itself, registers
/// nothing, and packs into a folder of its own.
struct SweepPart {
  std::string parent;
  std::filesystem::path out;
  RunRecord record{};  // what came of it
};

struct SweepOptions {
  std::string recipe;
  std::filesystem::path archive;  // where the best one goes
  bool force = false;             // replace what is there
  bool quiet = false;
  bool json = false;
};

/// Trains every combination of `tracking.sweep` as a run of its own below one run, prints a table with the
/// best one (by `tracking.sweep_metric`), and puts its archive where a single training would have; that one
/// is registered. `train` runs one command line and answers with its exit code. Combinations that fail are
/// shown and passed over. Answers with the exit code: 1 when all failed, or the best one could not be
/// written.
int RunSweep(const TrackingOptions& tracking, const SweepOptions& options,
             const std::vector<std::string>& words, std::ostream& out, std::ostream& err,
             const std::function<int(const std::vector<std::string>&, SweepPart&)>& train);

}  // namespace serve::trainer
