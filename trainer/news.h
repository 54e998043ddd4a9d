#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

#include "trainer/loop/train.h"

namespace serve::trainer {

/// `flambeau-train news`: every flag with its default.
struct NewsOptions {
  std::filesystem::path data;
  std::filesystem::path validation;  // empty: `split` of the data is held out
  double split = 0.1;                // above 0, at most 0.5
  std::vector<std::string> labels = {"World", "Sports", "Business", "Sci/Tech"};
  std::uint64_t seed = 1;      // of the split; nothing else is drawn at random
  double smoothing = 0.3;      // of naive Bayes, above 0
  double logit_scale = 1.8;    // above 0; more than 1 makes the probabilities more confident
  double max_bad_rows = 0.01;  // share of the records
  std::string name = "news_classification";
  std::string version = "1.0";
  std::filesystem::path out = "model-store";
  bool force = false;
  std::string management;  // URL; empty: do not register
  int initial_workers = 1;
  bool set_default = false;
  bool quiet = false;  // errors only
  bool json = false;   // the summary as JSON on `out`, everything else on `err`
  TrainOptions train;
};

struct Streams {
  std::ostream& out;
  std::ostream& err;
  bool terminal = false;  // err is one: progress may overwrite its line
};

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

/// Reads, trains, evaluates, exports, compares, packs and, when asked, registers. Answers with the exit code;
/// what went wrong stands on `err`. Ctrl-C while it trains keeps the best weights so far.
int RunNews(const NewsOptions& options, const Streams& streams);

/// Labels that can be learned and written: at least two, none empty or twice, UTF-8 without control
/// characters.
Status CheckLabels(const std::vector<std::string>& labels);

}  // namespace serve::trainer
