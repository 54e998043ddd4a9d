#include "trainer/news.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <optional>
#include <ostream>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "model_store/archive/sha256.h"
#include "trainer/data/bag_chunks.h"
#include "trainer/data/dataset.h"
#include "trainer/data/features.h"
#include "trainer/data/mapped_file.h"
#include "trainer/export/torchscript.h"
#include "trainer/loop/interrupt.h"
#include "trainer/loop/progress.h"
#include "trainer/model/evaluation.h"
#include "trainer/model/naive_bayes.h"
#include "trainer/model/objective.h"
#include "trainer/publish/package.h"
#include "trainer/publish/registration.h"
#include "trainer/recipe.h"

namespace serve::trainer {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

/// The exported module computes in float32 what the model computes in double.
constexpr double kExportTolerance = 1e-5;

/// A file of rows, and what its first reading said.
struct Source {
  MappedFile file;
  Dataset dataset;  // without its rows: they are read again where they are needed
};

/// What was read and how it was divided.
struct Input {
  Source data;
  Source validation;           // without a file: split off
  std::vector<bool> held_out;  // of the data; empty when there is a file
  std::size_t training_rows = 0;
  std::size_t validation_rows = 0;
  std::string example;  // the first text to validate with
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

/// One run, step by step; each step says what went wrong.
class NewsRun {
 public:
  NewsRun(const NewsOptions& options, const Streams& streams)
      : options_(options), streams_(streams), train_(options.train) {}

  int Run() {
    if (Status status = CheckOutput(options_.out, options_.name, options_.force); !status.ok())
      return Fail(status.message, failure_);
    for (const auto step : {&NewsRun::Read, &NewsRun::TrainAndPack}) {
      if (Status status = (this->*step)(); !status.ok()) return Fail(status.message, failure_);
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
  int Fail(const std::string& message, int code = kFailed) {
    streams_.err << "error: " << message << '\n';
    return code;
  }

  template <class... Args>
  void Say(fmt::format_string<Args...> format, Args&&... args) {
    if (options_.quiet) return;
    (options_.json ? streams_.err : streams_.out)
        << fmt::format(format, std::forward<Args>(args)...) << std::flush;
  }

  Result<Source> ReadFile(const std::filesystem::path& path, std::size_t least) {
    Result<MappedFile> file = MappedFile::Open(path);
    if (!file) return file.error();
    Dataset dataset = ScanDataset(file->content(), options_.labels, [](const LabelledText&) {});
    dataset.file = path.filename().string();
    if (!dataset.header.empty()) {
      Say("{}:1: taken for a header and left out: {}\n", path.string(), dataset.header);
    }
    for (const BadRow& row : dataset.bad_rows) {
      streams_.err << fmt::format("{}:{}: {}\n", path.string(), row.line, row.reason);
    }
    if (dataset.bad_row_count > dataset.bad_rows.size()) {
      streams_.err << fmt::format("{}: {} more bad rows\n", path.string(),
                                  dataset.bad_row_count - dataset.bad_rows.size());
    }
    if (Status status = CheckDataset(dataset, options_.labels, options_.max_bad_rows, least); !status.ok()) {
      return status;
    }
    return Source{*std::move(file), std::move(dataset)};
  }

  Status Read() {
    const bool split = options_.validation.empty();
    Result<Source> data = ReadFile(options_.data, split ? 2 : 1);
    if (!data) return data.error();
    input_.data = *std::move(data);
    const std::vector<std::int32_t>& classes = input_.data.dataset.classes;
    if (split) {
      input_.held_out = HoldOut(classes, options_.labels.size(), options_.split, options_.seed);
      input_.validation_rows =
          static_cast<std::size_t>(std::count(input_.held_out.begin(), input_.held_out.end(), true));
    } else {
      Result<Source> validation = ReadFile(options_.validation, 0);
      if (!validation) return validation.error();
      input_.validation = *std::move(validation);
      input_.validation_rows = input_.validation.dataset.classes.size();
    }
    input_.training_rows = classes.size() - (split ? input_.validation_rows : 0);
    std::vector<std::size_t> class_rows(options_.labels.size());
    for (std::size_t i = 0; i < classes.size(); ++i) {
      if (!HeldOut(i)) ++class_rows[static_cast<std::size_t>(classes[i])];
    }
    Result<std::vector<double>> weights = ParseClassWeights(options_.class_weights, class_rows);
    if (!weights) return weights.error();
    train_.class_weights = *std::move(weights);
    return {};
  }

  [[nodiscard]] bool HeldOut(std::size_t row) const {
    return !input_.held_out.empty() && input_.held_out[row];
  }

  /// Reads the rows to train on, or those to validate with, once more.
  void Visit(bool to_validate, const RowVisitor& visit) const {
    if (to_validate && !options_.validation.empty()) {
      VisitRows(input_.validation.file.content(), options_.labels, visit);
      return;
    }
    std::size_t row = 0;
    VisitRows(input_.data.file.content(), options_.labels, [&](const LabelledText& text) {
      if (HeldOut(row++) == to_validate) visit(text);
    });
  }

  Status Encode(bool to_validate, const Vocabulary& vocabulary, BagChunks& chunks) {
    Status status;
    Visit(to_validate, [&](const LabelledText& row) {
      if (to_validate && input_.example.empty()) input_.example = row.text;
      if (status.ok()) status = chunks.Append(row.text, row.label, vocabulary);
    });
    return status.ok() ? chunks.Finish() : status;
  }

  Status TrainAndPack() {
    VocabularyCounter counter(options_.max_terms);
    Visit(false, [&counter](const LabelledText& row) { counter.Add(row.text); });
    const Result<Vocabulary> vocabulary = counter.Finish();
    if (!vocabulary) return vocabulary.error();
    terms_ = vocabulary->terms().size();
    BagChunks training(options_.memory_mib << 20);
    BagChunks validation(options_.memory_mib << 20);
    if (Status status = Encode(false, *vocabulary, training); !status.ok()) return status;
    if (Status status = Encode(true, *vocabulary, validation); !status.ok()) return status;
    Say("{} rows to train on, {} to validate with, {} terms{}, {} classes\n", training.rows(),
        validation.rows(), terms_, counter.pruned() ? " (rarer ones left out)" : "", options_.labels.size());
    if (training.in_file() > 0) {
      Say("{} MiB of encoded rows lie in a temporary file\n", training.in_file() >> 20);
    }

    const InterruptGuard interrupts;
    const LinearTextModel start = ComplementNaiveBayes(training, terms_, options_.labels.size(),
                                                       options_.smoothing, train_.class_weights);
    if (Status status = Fit(training, validation, start); !status.ok()) return status;
    product_.model = Scaled(product_.trained.model, static_cast<float>(options_.logit_scale));
    product_.evaluation = Evaluate(product_.model, validation);
    product_.digest = WeightsDigest(product_.model);
    if (Status status = Pack(*vocabulary, validation); !status.ok()) return status;
    std::error_code error;
    if (!product_.trained.stopped_early) std::filesystem::remove(train_.checkpoint.file, error);
    return {};
  }

  /// What a checkpoint is good for: all that the weights depend on, but for when training ends.
  [[nodiscard]] std::string Fingerprint() const {
    return Sha256OfBytes(fmt::format("{} {} {} {} {} {} {} {} {} {}", input_.data.dataset.sha256,
                                     input_.validation.dataset.sha256, Json(options_.labels).dump(),
                                     options_.split, options_.seed, options_.smoothing, options_.train.l2,
                                     options_.max_terms, fmt::join(train_.class_weights, ","), terms_));
  }

  Status Fit(const BagChunks& training, const BagChunks& validation, const LinearTextModel& start) {
    train_.checkpoint.fingerprint = Fingerprint();
    if (train_.checkpoint.file.empty())
      train_.checkpoint.file = options_.out / ".checkpoints" / (options_.name + ".pt");
    const auto form = options_.quiet      ? Progress::Form::kNone
                      : streams_.terminal ? Progress::Form::kBar
                                          : Progress::Form::kLines;
    Progress progress(streams_.err, form, options_.train.max_iterations);
    Result<TrainResult> trained = Train(training, validation, start, train_, InterruptGuard::Interrupted,
                                        [&progress](const Iteration& now) { progress.Show(now); });
    progress.Finish();
    if (!trained) {
      if (trained.error().code == Code::kPredictionFailed) failure_ = kDiverged;
      return trained.error();
    }
    product_.trained = *std::move(trained);
    const TrainResult& result = product_.trained;
    const std::string checkpoint = train_.checkpoint.file.string();
    if (result.resumed_from >= 0) {
      Say("went on from {}, after iteration {}\n", checkpoint, result.resumed_from);
    } else if (train_.checkpoint.resume) {
      Say("there is no checkpoint {}: training began anew\n", checkpoint);
    }
    if (result.stopped_early) {
      Say("stopped early; going on with the best weights so far, those of iteration {}\n"
          "To train to the end: the same command with --resume --force (checkpoint {})\n",
          result.best_iteration, checkpoint);
    } else if (result.out_of_patience) {
      Say("no better iteration than {} in {}: training ends\n", result.best_iteration, train_.patience);
    }
    return {};
  }

  Result<double> CompareChunks(const std::filesystem::path& module, const BagChunks& validation) {
    double largest = 0;
    Status status;
    validation.ForEach([&](const LabelledBags& chunk) {
      if (!status.ok()) return;
      TextBags rows = chunk.bags;
      rows.offsets.push_back(static_cast<std::int64_t>(rows.ids.size()));  // a text without any known word
      const Result<double> difference = CompareExported(module, product_.model, rows);
      if (!difference) {
        status = difference.error();
      } else if (!(*difference <= largest)) {
        largest = *difference;  // lets NaN through
      }
    });
    if (!status.ok()) return status;
    return largest;
  }

  Status Pack(const Vocabulary& vocabulary, const BagChunks& validation) {
    const Result<WorkFolder> work = WorkFolder::Make();
    if (!work) return work.error();
    const std::filesystem::path module = work->path() / "model.pt";
    if (Status status = ExportTorchScript(product_.model, module); !status.ok()) return status;
    const Result<double> difference = CompareChunks(module, validation);
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
    Result<CreatedArchive> archive = PackModel({options_.name, options_.version, module, options_.labels,
                                                input_.example, std::move(metrics), Lineage()},
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
    const bool split = options_.validation.empty();
    return {
        {"program", "flambeau-train news"},
        {"version", FLAMBEAU_VERSION},
        {"libtorch", TorchVersion()},
        {"created", CreationTime()},
        {"data", source(input_.data.dataset, input_.data.dataset.classes.size())},
        {"validation", split ? Json{{"split", options_.split}, {"rows", input_.validation_rows}}
                             : source(input_.validation.dataset, input_.validation_rows)},
        {"seed", options_.seed},
        {"hyper_parameters",
         {{"features", "tf-idf of words"},
          {"terms", terms_},
          {"smoothing", options_.smoothing},
          {"l2", options_.train.l2},
          {"max_iterations", options_.train.max_iterations},
          {"max_terms", options_.max_terms},
          {"class_weights", train_.class_weights},
          {"patience", train_.patience},
          {"logit_scale", options_.logit_scale},
          {"threads", options_.train.threads}}},
        {"iterations", product_.trained.history.size() - 1},
        {"best_iteration", product_.trained.best_iteration},
        {"stopped_early", product_.trained.stopped_early},
        {"resumed_from", product_.trained.resumed_from >= 0 ? Json(product_.trained.resumed_from) : Json()},
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
  TrainOptions train_;  // with what only the data tells
  int failure_ = kFailed;
  Input input_;
  std::size_t terms_ = 0;
  Product product_;
};

}  // namespace

int RunNews(const NewsOptions& options, const Streams& streams) { return NewsRun(options, streams).Run(); }

Result<std::vector<double>> ParseClassWeights(std::string_view text, const std::vector<std::size_t>& rows) {
  if (text.empty()) return std::vector<double>();
  if (text == "balanced") return BalancedWeights(rows);
  std::vector<double> weights;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    double weight = 0;
    const auto [stop, error] = std::from_chars(text.data() + at, text.data() + end, weight);
    if (error != std::errc() || stop != text.data() + end || !std::isfinite(weight) || weight <= 0) {
      return InvalidArgument(fmt::format(
          "--class-weights: \"{}\" is no number above 0; write \"balanced\" or one number a label",
          text.substr(at, end - at)));
    }
    weights.push_back(weight);
    at = end + 1;
  }
  if (weights.size() != rows.size()) {
    return InvalidArgument(
        fmt::format("--class-weights: {} weights for {} labels", weights.size(), rows.size()));
  }
  return weights;
}

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
