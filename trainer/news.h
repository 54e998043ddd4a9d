#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/features.h"
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
  std::size_t max_terms = VocabularyCounter::kMaxTerms;
  std::size_t memory_mib = 2048;  // for the encoded rows; what is more goes to a file below TMPDIR
  // Comma-separated, one for each label, above 0; "balanced": all classes count the same; empty: all rows do.
  std::string class_weights;
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
  // Of RunEncoderNews alone (trainer/encoder_news.h).
  std::filesystem::path encoder;     // TorchScript; empty: the linear model of words
  std::filesystem::path vocabulary;  // folder with vocab.txt or the like; empty: that of the encoder
  std::int64_t max_length = 128;     // tokens of a text
  double head_l2 = 3e-5;
  int encoder_threads = 0;  // 0: all processors
};

struct Streams {
  std::ostream& out;
  std::ostream& err;
  bool terminal = false;  // err is one: progress may overwrite its line
};

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr int kDiverged = 3;  // the loss was no finite number

/// Reads, trains, evaluates, exports, compares, packs and, when asked, registers. Answers with the exit code;
/// what went wrong stands on `err`. Ctrl-C while it trains keeps the best weights so far, and a checkpoint:
/// by default
/// `<out>/.checkpoints/<name>.pt`, which is removed at the end of a training that was not stopped.
///
/// Memory: bounded by options, whatever the size of the files: they are read three times, mapped; the
/// vocabulary takes about
///         100 bytes for each of up to 4 · max_terms terms while it is counted, the rows up to memory_mib and
///         5 bytes each.
int RunNews(const NewsOptions& options, const Streams& streams);

/// What `text`, the option class_weights, says for these labels; `rows`: how many there are of each.
/// Errors: kInvalidArgument.
Result<std::vector<double>> ParseClassWeights(std::string_view text, const std::vector<std::size_t>& rows);

/// Labels that can be learned and written: at least two, none empty or twice, UTF-8 without control
/// characters.
Status CheckLabels(const std::vector<std::string>& labels);

}  // namespace serve::trainer
