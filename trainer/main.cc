#include <algorithm>
#include <iostream>
#include <string>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "model_store/archive/manifest.h"
#include "trainer/news.h"
#include "trainer/tracking/flags.h"
#include "trainer/tracking/sweep.h"
#include "trainer/tracking/tracking.h"

namespace {

using serve::Status;
namespace trainer = serve::trainer;

/// A check of ours as CLI11 wants it: an empty text is fine.
template <class Check>
CLI::Validator Validator(Check check, const char* name) {
  return CLI::Validator([check](std::string& text) { return check(text).message; }, name);
}

void AddNews(CLI::App& app, trainer::NewsOptions& options, trainer::TrackingOptions& tracking) {
  CLI::App* news =
      app.add_subcommand("news", "Train a classifier of news items and pack it as a model archive");
  news->add_option("--data", options.data,
                   "CSV file: class,title,description or class,text; a header is fine")
      ->required()
      ->type_name("FILE");
  CLI::Option* validation =
      news->add_option("--validation", options.validation, "CSV file to validate with")->type_name("FILE");
  news->add_option("--split", options.split,
                   "Share of the data to validate with, when there is no --validation")
      ->check(CLI::Range(0.001, 0.5))
      ->capture_default_str()
      ->excludes(validation);
  news->add_option("--labels", options.labels, "Names of the classes 1, 2, ...")
      ->delimiter(',')
      ->capture_default_str();
  news->add_option("--seed", options.seed, "Chooses the rows of --split")->capture_default_str();
  news->add_option("--epochs", options.train.max_iterations, "Iterations of L-BFGS over all rows, at most")
      ->check(CLI::Range(0, 10'000))
      ->capture_default_str();
  news->add_option("--l2", options.train.l2, "How strongly weights are held to those of naive Bayes")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  news->add_option("--smoothing", options.smoothing, "Added to the counts of naive Bayes")
      ->check(CLI::Range(1e-6, 1e6))
      ->capture_default_str();
  news->add_option("--logit-scale", options.logit_scale,
                   "Multiplies the scores before the softmax; more than 1 gives more confident probabilities")
      ->check(CLI::Range(0.01, 100.0))
      ->capture_default_str();
  news->add_option("--max-bad-rows", options.max_bad_rows,
                   "Share of rows that may be unusable before training fails")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  news->add_option("--name", options.name, "Name of the model")
      ->check(Validator(serve::CheckModelName, "NAME"))
      ->capture_default_str();
  news->add_option("--version", options.version, "Version of the model")
      ->check(Validator(serve::CheckModelVersion, "VERSION"))
      ->capture_default_str();
  news->add_option("--out", options.out, "Folder for the archive: the model store of the server")
      ->type_name("FOLDER")
      ->capture_default_str();
  news->add_flag("--force", options.force, "Replace an archive of that name");
  CLI::Option* management = news->add_option("--register", options.management,
                                             "Management API of a running server that shall load the model")
                                ->type_name("URL");
  news->add_option("--initial-workers", options.initial_workers, "Workers that --register asks for")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str()
      ->needs(management);
  news->add_flag("--set-default", options.set_default, "Make the registered version the default one")
      ->needs(management);
  news->add_option("--threads", options.train.threads,
                   "Threads that train; 0: all processors. More rarely help here")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  news->add_flag("--quiet", options.quiet, "Print errors only");
  news->add_flag("--json", options.json,
                 "Print a summary as JSON on standard output, the rest on standard error");
  trainer::AddTrackingFlags(*news, tracking, "news");
  news->footer(
      "Ctrl-C ends training early and packs the best weights so far; a second one ends the program.\n\n"
      "Example:\n"
      "  flambeau-train news --data trainer/sample/news.csv --out model-store\n"
      "  flambeau serve --model-store model-store --models news_classification.mar");
}

/// One command line. `part`: it is one training of a sweep.
int Train(const std::vector<std::string>& words, trainer::SweepPart* part) {
  trainer::NewsOptions options;
  trainer::TrackingOptions tracking;
  CLI::App app("Trains models for Flambeau", "flambeau-train");
  app.set_version_flag("--version", "flambeau-train " FLAMBEAU_VERSION);
  app.require_subcommand(1);
  app.footer("Exit codes: 0 done, 1 failed, 2 wrong usage.\nflambeau-train news --help lists the options.");
  AddNews(app, options, tracking);
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));  // as CLI11 wants them
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? trainer::kDone : trainer::kUsage;
  }
  if (const Status status = trainer::CheckLabels(options.labels); !status.ok()) {
    std::cerr << "--labels: " << status.message << '\n';
    return trainer::kUsage;
  }
  if (!tracking.sweep.empty() && !options.management.empty()) {
    std::cerr << "--sweep and --register exclude each other: register the best archive afterwards\n";
    return trainer::kUsage;
  }
  if (!tracking.sweep.empty()) {
    const trainer::SweepOptions sweep{"news", options.out / (options.name + ".mar"), options.force,
                                      options.quiet, options.json};
    return trainer::RunSweep(tracking, sweep, words, std::cout, std::cerr,
                             [](const auto& one, trainer::SweepPart& its) { return Train(one, &its); });
  }
  if (part != nullptr) {
    options.out = part->out;
    options.quiet = true;
    options.json = false;
    trainer::TrackingOptions its;
    its.experiment = tracking.experiment;
    its.runs = tracking.runs;
    its.tags = tracking.tags;
    its.parent = part->parent;
    tracking = its;
  }
  const bool terminal = isatty(STDERR_FILENO) == 1;
  return trainer::RunTracked(
      tracking, "news", options.out / (options.name + ".mar"), options.quiet, std::cerr,
      [&](std::ostream& err) {
        return trainer::RunNews(options, {std::cout, err, terminal});
      },
      part != nullptr ? &part->record : nullptr);
}

}  // namespace

int main(int argc, char** argv) { return Train({argv + std::min(argc, 1), argv + argc}, nullptr); }
