#include "trainer/news.h"

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <ostream>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "trainer/data/dataset.h"
#include "trainer/data/features.h"
#include "trainer/export/torchscript.h"
#include "trainer/loop/interrupt.h"
#include "trainer/loop/progress.h"
#include "trainer/model/evaluation.h"
#include "trainer/model/naive_bayes.h"
#include "trainer/publish/package.h"
#include "trainer/publish/registration.h"

namespace serve::trainer {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

/// The exported module computes in float32 what the model computes in double.
constexpr double kExportTolerance = 1e-5;

/// What was read and how it was divided.
struct Input {
  Dataset data;        // its rows have moved into `rows`
  Dataset validation;  // without a file: split off
  Split rows;
};

/// What came out.
struct Product {
  TrainResult trained;
  LinearTextModel model;  // scaled: what is exported
  Evaluation evaluation;
  std::string digest;
  double export_difference = 0;
  std::optional<CreatedArchive> archive;
};

std::string UtcNow() {
  std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  if (const char* fixed = std::getenv("SOURCE_DATE_EPOCH")) now = std::strtoll(fixed, nullptr, 10);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

/// One run, step by step; each step says what went wrong.
class NewsRun {
 public:
  NewsRun(const NewsOptions& options, const Streams& streams) : options_(options), streams_(streams) {}

  int Run() {
    for (const auto step : {&NewsRun::CheckOutput, &NewsRun::Read, &NewsRun::TrainAndPack}) {
      if (Status status = (this->*step)(); !status.ok()) return Fail(status.message);
    }
    const bool registered = options_.management.empty() || Register();
    if (options_.json) {
      streams_.out << Summary(!options_.management.empty() && registered)
                          .dump(2, ' ', false, Json::error_handler_t::replace)
                   << '\n';
    }
    return registered ? kDone : kFailed;
  }

 private:
  int Fail(const std::string& message) {
    streams_.err << "error: " << message << '\n';
    return kFailed;
  }

  template <class... Args>
  void Say(fmt::format_string<Args...> format, Args&&... args) {
    if (options_.quiet) return;
    (options_.json ? streams_.err : streams_.out)
        << fmt::format(format, std::forward<Args>(args)...) << std::flush;
  }

  /// Before the work, not after it.
  Status CheckOutput() {
    std::error_code error;
    const std::filesystem::path archive = options_.out / (options_.name + ".mar");
    if (!options_.force && std::filesystem::exists(std::filesystem::symlink_status(archive, error))) {
      return {Code::kConflict,
              fmt::format("{} exists already; replace it with --force, or choose another --name or --out",
                          archive.string())};
    }
    return {};
  }

  Result<Dataset> ReadFile(const std::filesystem::path& file, std::size_t least) {
    Result<Dataset> dataset = ReadDataset(file, options_.labels);
    if (!dataset) return dataset;
    if (!dataset->header.empty()) {
      Say("{}:1: taken for a header and left out: {}\n", file.string(), dataset->header);
    }
    for (const BadRow& row : dataset->bad_rows) {
      streams_.err << fmt::format("{}:{}: {}\n", file.string(), row.line, row.reason);
    }
    if (dataset->bad_row_count > dataset->bad_rows.size()) {
      streams_.err << fmt::format("{}: {} more bad rows\n", file.string(),
                                  dataset->bad_row_count - dataset->bad_rows.size());
    }
    if (Status status = CheckDataset(*dataset, options_.labels, options_.max_bad_rows, least); !status.ok()) {
      return status;
    }
    return dataset;
  }

  Status Read() {
    const bool split = options_.validation.empty();
    Result<Dataset> data = ReadFile(options_.data, split ? 2 : 1);
    if (!data) return data.error();
    input_.data = *std::move(data);
    if (split) {
      input_.rows =
          SplitRows(std::move(input_.data.rows), options_.labels.size(), options_.split, options_.seed);
    } else {
      Result<Dataset> validation = ReadFile(options_.validation, 0);
      if (!validation) return validation.error();
      input_.validation = *std::move(validation);
      input_.rows = {std::move(input_.data.rows), std::move(input_.validation.rows)};
    }
    return {};
  }

  Status TrainAndPack() {
    const Result<Vocabulary> vocabulary = CountVocabulary(input_.rows.training);
    if (!vocabulary) return vocabulary.error();
    terms_ = vocabulary->terms().size();
    const LabelledBags training = EncodeRows(input_.rows.training, *vocabulary);
    const LabelledBags validation = EncodeRows(input_.rows.validation, *vocabulary);
    Say("{} rows to train on, {} to validate with, {} terms, {} classes\n", training.labels.size(),
        validation.labels.size(), terms_, options_.labels.size());

    const InterruptGuard interrupts;
    const LinearTextModel start =
        ComplementNaiveBayes(training, terms_, options_.labels.size(), options_.smoothing);
    if (Status status = Fit(training, validation, start); !status.ok()) return status;
    product_.model = Scaled(product_.trained.model, static_cast<float>(options_.logit_scale));
    product_.evaluation = Evaluate(product_.model, validation);
    product_.digest = WeightsDigest(product_.model);
    return Pack(*vocabulary, validation);
  }

  Status Fit(const LabelledBags& training, const LabelledBags& validation, const LinearTextModel& start) {
    const auto form = options_.quiet      ? Progress::Form::kNone
                      : streams_.terminal ? Progress::Form::kBar
                                          : Progress::Form::kLines;
    Progress progress(streams_.err, form, options_.train.max_iterations);
    Result<TrainResult> trained =
        Train(training, validation, start, options_.train, InterruptGuard::Interrupted,
              [&progress](const Iteration& now) { progress.Show(now); });
    progress.Finish();
    if (!trained) return trained.error();
    product_.trained = *std::move(trained);
    if (product_.trained.stopped_early) {
      Say("stopped early; going on with the best weights so far, those of iteration {}\n",
          product_.trained.best_iteration);
    }
    return {};
  }

  Status Pack(const Vocabulary& vocabulary, const LabelledBags& validation) {
    const Result<WorkFolder> work = WorkFolder::Make();
    if (!work) return work.error();
    const std::filesystem::path module = work->path() / "model.pt";
    if (Status status = ExportTorchScript(product_.model, module); !status.ok()) return status;
    TextBags rows = validation.bags;
    rows.offsets.push_back(static_cast<std::int64_t>(rows.ids.size()));  // a text without any known word
    const Result<double> difference = CompareExported(module, product_.model, rows);
    if (!difference) return difference.error();
    product_.export_difference = *difference;
    if (!(*difference <= kExportTolerance)) {
      return Internal(
          fmt::format("the exported module differs from the trained model by {}, allowed is {}; nothing was "
                      "packed",
                      *difference, kExportTolerance));
    }
    Json metrics = EvaluationJson(product_.evaluation, options_.labels);
    for (const Iteration& iteration : product_.trained.history) {
      metrics["history"].push_back({{"iteration", iteration.number},
                                    {"loss", iteration.loss},
                                    {"training_accuracy", iteration.training_accuracy},
                                    {"validation_accuracy", iteration.validation_accuracy}});
    }
    Result<CreatedArchive> archive =
        PackModel({options_.name, options_.version, module, options_.labels,
                   input_.rows.validation.front().text, std::move(metrics), Lineage()},
                  vocabulary, *work, options_.out, options_.force);
    if (!archive) return archive.error();
    product_.archive = *std::move(archive);
    Report();
    return {};
  }

  [[nodiscard]] Json Lineage() const {
    const auto source = [](const Dataset& dataset, std::size_t rows) {
      return Json{{"file", dataset.file},
                  {"sha256", dataset.sha256},
                  {"rows", rows},
                  {"bad_rows", dataset.bad_row_count}};
    };
    const Split& rows = input_.rows;
    const bool split = options_.validation.empty();
    return {{"program", "flambeau-train news"},
            {"version", FLAMBEAU_VERSION},
            {"libtorch", TorchVersion()},
            {"created", UtcNow()},
            {"data", source(input_.data, rows.training.size() + (split ? rows.validation.size() : 0))},
            {"validation", split ? Json{{"split", options_.split}, {"rows", rows.validation.size()}}
                                 : source(input_.validation, rows.validation.size())},
            {"seed", options_.seed},
            {"hyper_parameters",
             {{"features", "tf-idf of words"},
              {"terms", terms_},
              {"smoothing", options_.smoothing},
              {"l2", options_.train.l2},
              {"max_iterations", options_.train.max_iterations},
              {"logit_scale", options_.logit_scale},
              {"threads", options_.train.threads}}},
            {"iterations", product_.trained.history.size() - 1},
            {"best_iteration", product_.trained.best_iteration},
            {"stopped_early", product_.trained.stopped_early},
            {"metrics",
             {{"accuracy", product_.evaluation.accuracy},
              {"macro_f1", product_.evaluation.macro_f1},
              {"log_loss", product_.evaluation.log_loss},
              {"rows", product_.evaluation.rows}}},
            {"weights_sha256", product_.digest}};
  }

  [[nodiscard]] Registration Where() const {
    return {options_.management,      options_.name,       options_.version, product_.archive->path,
            options_.initial_workers, options_.set_default};
  }

  [[nodiscard]] double Seconds() const {
    return std::chrono::duration<double>(Clock::now() - begin_).count();
  }

  void Report() {
    Say("\n{}\n", EvaluationText(product_.evaluation, options_.labels));
    Say("weights   sha256 {}\n", product_.digest);
    Say("export    largest difference from the trained model {:.1e}\n", product_.export_difference);
    Say("archive   {} ({} bytes), {} {}\n", product_.archive->path.string(), product_.archive->size,
        options_.name, options_.version);
    Say("time      {:.1f} s\n", Seconds());
    if (options_.management.empty()) {
      Say("\nServe it:              flambeau serve --model-store {} --models {}\n"
          "Or, in a running one:  {}\n",
          options_.out.string(), product_.archive->path.filename().string(), RegisterCommand(Where()));
    }
  }

  bool Register() {
    const Registration where = Where();
    const Result<std::string> said = RegisterModel(where);
    if (said) {
      Say("\nregistered with {}: {}\n", where.management, *said);
      return true;
    }
    Fail(
        fmt::format("{} was not registered: {}\nThe archive stays. It must lie in the model store of that "
                    "server; then: {}",
                    where.archive.string(), said.error().message, RegisterCommand(where)));
    return false;
  }

  [[nodiscard]] Json Summary(bool registered) const {
    Json summary = {{"name", options_.name},
                    {"version", options_.version},
                    {"archive", product_.archive->path.string()},
                    {"archive_sha256", product_.archive->sha256},
                    {"registered", registered},
                    {"seconds", std::round(Seconds() * 1000) / 1000},
                    {"export_difference", product_.export_difference}};
    summary["lineage"] = Lineage();
    summary["metrics"] = EvaluationJson(product_.evaluation, options_.labels);
    return summary;
  }

  const NewsOptions& options_;
  const Streams& streams_;
  const Clock::time_point begin_ = Clock::now();
  Input input_;
  std::size_t terms_ = 0;
  Product product_;
};

}  // namespace

int RunNews(const NewsOptions& options, const Streams& streams) { return NewsRun(options, streams).Run(); }

Status CheckLabels(const std::vector<std::string>& labels) {
  if (labels.size() < 2) return InvalidArgument("name at least two labels, e.g. --labels World,Sports");
  std::set<std::string> seen;
  for (const std::string& label : labels) {
    if (label.empty()) return InvalidArgument("a label is empty");
    for (const char c : label) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
        return InvalidArgument("a label holds a control character");
    }
    if (!seen.insert(label).second) return InvalidArgument(fmt::format("the label {} is named twice", label));
    try {
      static_cast<void>(Json(label).dump());
    } catch (const Json::exception&) {
      return InvalidArgument("a label is not UTF-8");
    }
  }
  return {};
}

}  // namespace serve::trainer
