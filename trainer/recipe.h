#pragma once

#include <chrono>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model_store/archive/archive.h"
#include "serve/base/status.h"
#include "trainer/news.h"
#include "trainer/publish/registration.h"

namespace serve::trainer {

/// What every recipe but `news` says about its archive: the flags of the same names there.
struct OutputOptions {
  std::string name;
  std::string version = "1.0";
  std::filesystem::path out = "model-store";
  bool force = false;
  std::string management{};  // URL; empty: do not register
  int initial_workers = 1;
  bool set_default = false;
  bool quiet = false;
  bool json = false;
};

/// How right a model is, told as a confusion matrix [true class][answered class].
struct Scores {
  std::vector<std::vector<std::size_t>> confusion;
  [[nodiscard]] std::size_t rows() const;
  [[nodiscard]] double accuracy() const;
};
/// Recall of each class and the accuracy, for people.
std::string ScoresText(const Scores& scores, const std::vector<std::string>& labels);
nlohmann::ordered_json ScoresJson(const Scores& scores, const std::vector<std::string>& labels);

/// Before the work, not after it: there is no archive `name` in the folder `out` (or it may be replaced), and
/// the folder can be written, or made. Nothing is made here. Errors: kConflict, kInternal.
Status CheckOutput(const std::filesystem::path& out, const std::string& name, bool replace);

/// The talking and the last steps that recipes share.
class RecipeOutput {
 public:
  RecipeOutput(const OutputOptions& options, const Streams& streams) : options_(options), streams_(streams) {}

  [[nodiscard]] Status CheckFree() const { return CheckOutput(options_.out, options_.name, options_.force); }
  /// kFailed, or kDiverged for kPredictionFailed.
  [[nodiscard]] int Fail(const Status& status) const;

  template <class... Args>
  void Say(fmt::format_string<Args...> format, Args&&... args) const {
    SayText(fmt::format(format, std::forward<Args>(args)...));
  }

  /// Says what came out, registers it when asked, prints the summary when asked. Answers with the exit code.
  int Finish(const CreatedArchive& archive, const nlohmann::ordered_json& lineage,
             const nlohmann::ordered_json& metrics) const;

  [[nodiscard]] double Seconds() const;

 private:
  void SayText(const std::string& text) const;

  const OutputOptions& options_;
  const Streams& streams_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// Now, or what SOURCE_DATE_EPOCH says, as 2026-11-26T23:00:00Z.
std::string CreationTime();

}  // namespace serve::trainer
