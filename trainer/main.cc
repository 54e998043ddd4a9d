#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "model_store/archive/manifest.h"
#include "trainer/encoder_news.h"
#include "trainer/images.h"
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
  news->add_option("--class-weights", options.class_weights,
                   "\"balanced\": all classes count the same; or what a row of each counts, e.g. 1,2,1,1")
      ->type_name("WEIGHTS");
  news->add_option("--patience", options.train.patience,
                   "End after so many iterations without a better one; 0: never")
      ->check(CLI::Range(0, 10'000))
      ->capture_default_str();
  news->add_option("--max-terms", options.max_terms, "Words that are kept, those of the most texts")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  news->add_option("--memory", options.memory_mib,
                   "MiB for the encoded rows; what is more lies in a file below TMPDIR")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  news->add_option("--checkpoint", options.train.checkpoint.file,
                   "Where checkpoints go; else .checkpoints/NAME.pt in the folder of --out")
      ->type_name("FILE");
  news->add_option("--checkpoint-every", options.train.checkpoint.every, "Iterations between checkpoints")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  news->add_flag("--resume", options.train.checkpoint.resume,
                 "Go on from the checkpoint of a training that was stopped, if there is one");
  CLI::Option* encoder =
      news->add_option("--encoder", options.encoder,
                       "TorchScript sentence encoder: train a head on it instead of the model of words")
          ->type_name("FILE");
  news->add_option("--vocabulary", options.vocabulary,
                   "Folder with the encoder's vocab.txt; else that of FILE")
      ->type_name("FOLDER")
      ->needs(encoder);
  news->add_option("--max-length", options.max_length, "Tokens of a text that the encoder sees, at most")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str()
      ->needs(encoder);
  news->add_option("--head-l2", options.head_l2, "How strongly the weights of the head are held to 0")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str()
      ->needs(encoder);
  news->add_option("--encoder-threads", options.encoder_threads, "Threads that encode; 0: all processors")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str()
      ->needs(encoder);
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
      "Ctrl-C ends training early and packs the best weights so far; a second one ends the program. --resume "
      "goes\n"
      "on from the last checkpoint of either, or of a program that was killed.\n\n"
      "Example:\n"
      "  flambeau-train news --data trainer/sample/news.csv --out model-store\n"
      "  flambeau serve --model-store model-store --models news_classification.mar");
}

void AddOutput(CLI::App& command, trainer::OutputOptions& options) {
  command.add_option("--name", options.name, "Name of the model")
      ->check(Validator(serve::CheckModelName, "NAME"))
      ->capture_default_str();
  command.add_option("--version", options.version, "Version of the model")
      ->check(Validator(serve::CheckModelVersion, "VERSION"))
      ->capture_default_str();
  command.add_option("--out", options.out, "Folder for the archive: the model store of the server")
      ->type_name("FOLDER")
      ->capture_default_str();
  command.add_flag("--force", options.force, "Replace an archive of that name");
  CLI::Option* management = command
                                .add_option("--register", options.management,
                                            "Management API of a running server that shall load the model")
                                ->type_name("URL");
  command.add_option("--initial-workers", options.initial_workers, "Workers that --register asks for")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str()
      ->needs(management);
  command.add_flag("--set-default", options.set_default, "Make the registered version the default one")
      ->needs(management);
  command.add_flag("--quiet", options.quiet, "Print errors only");
  command.add_flag("--json", options.json,
                   "Print a summary as JSON on standard output, the rest on standard error");
}

CLI::App* AddImages(CLI::App& app, trainer::ImagesOptions& options, trainer::TrackingOptions& tracking) {
  CLI::App* images = app.add_subcommand(
      "images", "Train a classifier of small grey pictures and pack it as a model archive");
  images->add_option("--data", options.data, "Folder with IDX files, as MNIST and Fashion-MNIST come")
      ->type_name("FOLDER")
      ->capture_default_str();
  images->add_option("--labels", options.labels, "Names of the classes 0, 1, ...")
      ->delimiter(',')
      ->capture_default_str();
  images->add_option("--epochs", options.network.epochs, "How often every picture is shown")
      ->check(CLI::Range(0, 10'000))
      ->capture_default_str();
  images->add_option("--batch-size", options.network.batch_size, "Pictures of one step")
      ->check(CLI::Range(1, 65'536))
      ->capture_default_str();
  images->add_option("--learning-rate", options.network.learning_rate, "The highest one of Adam")
      ->check(CLI::Range(1e-9, 1e9))
      ->capture_default_str();
  images->add_option("--seed", options.network.seed, "Of everything that is drawn at random")
      ->capture_default_str();
  images
      ->add_flag("--mirror,!--no-mirror", options.network.mirror,
                 "Show half of the pictures mirrored: right for clothes, wrong for digits")
      ->capture_default_str();
  images->add_option("--threads", options.network.threads, "Threads that train; 0: all processors")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  AddOutput(*images, options.output);
  trainer::AddTrackingFlags(*images, tracking, "images");
  images->footer(
      "Ctrl-C ends training early and packs the weights so far; a second one ends the program.\n\n"
      "Example:\n"
      "  apt-get install dataset-fashion-mnist\n"
      "  flambeau-train images --out model-store\n"
      "  flambeau serve --model-store model-store --models fashion_mnist.mar");
  return images;
}

/// A recipe with its options, as a run needs it.
struct Recipe {
  std::string name;
  trainer::TrackingOptions& tracking;
  std::filesystem::path& out;
  const std::string& model;
  const std::string& management;
  bool& quiet;
  bool& json;
  bool force;
  std::function<int(const trainer::Streams&)> run;
};

int Train(const std::vector<std::string>& words, trainer::SweepPart* part);

/// `part`: it is one training of a sweep, which `words` are the command line of.
int RunRecipe(const Recipe& recipe, const std::vector<std::string>& words, trainer::SweepPart* part) {
  const std::string file = recipe.model + ".mar";
  if (!recipe.tracking.sweep.empty() && !recipe.management.empty()) {
    std::cerr << "--sweep and --register exclude each other: register the best archive afterwards\n";
    return trainer::kUsage;
  }
  if (!recipe.tracking.sweep.empty()) {
    const trainer::SweepOptions sweep{recipe.name, recipe.out / file, recipe.force, recipe.quiet,
                                      recipe.json};
    return trainer::RunSweep(recipe.tracking, sweep, words, std::cout, std::cerr,
                             [](const auto& one, trainer::SweepPart& its) { return Train(one, &its); });
  }
  if (part != nullptr) {
    recipe.out = part->out;
    recipe.quiet = true;
    recipe.json = false;
    trainer::TrackingOptions its;
    its.experiment = recipe.tracking.experiment;
    its.runs = recipe.tracking.runs;
    its.tags = recipe.tracking.tags;
    its.parent = part->parent;
    recipe.tracking = its;
  }
  const bool terminal = isatty(STDERR_FILENO) == 1;
  return trainer::RunTracked(
      recipe.tracking, recipe.name, recipe.out / file, recipe.quiet, std::cerr,
      [&](std::ostream& err) {
        return recipe.run({std::cout, err, terminal});
      },
      part != nullptr ? &part->record : nullptr);
}

/// One command line.
int Train(const std::vector<std::string>& words, trainer::SweepPart* part) {
  trainer::NewsOptions options;
  trainer::ImagesOptions images;
  trainer::TrackingOptions news_tracking;
  trainer::TrackingOptions images_tracking;
  CLI::App app("Trains models for Flambeau", "flambeau-train");
  app.set_version_flag("--version", "flambeau-train " FLAMBEAU_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the loss was no finite number.\nflambeau-train news "
      "--help lists the options.");
  AddNews(app, options, news_tracking);
  const CLI::App* const images_command = AddImages(app, images, images_tracking);
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));  // as CLI11 wants them
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? trainer::kDone : trainer::kUsage;
  }
  const bool train_images = images_command->parsed();
  if (const Status status = trainer::CheckLabels(train_images ? images.labels : options.labels);
      !status.ok()) {
    std::cerr << "--labels: " << status.message << '\n';
    return trainer::kUsage;
  }
  if (train_images) {
    trainer::OutputOptions& output = images.output;
    return RunRecipe(
        {"images", images_tracking, output.out, output.name, output.management, output.quiet, output.json,
         output.force, [&](const auto& streams) { return trainer::RunImages(images, streams); }},
        words, part);
  }
  return RunRecipe({"news", news_tracking, options.out, options.name, options.management, options.quiet,
                    options.json, options.force,
                    [&](const auto& streams) {
                      return options.encoder.empty() ? trainer::RunNews(options, streams)
                                                     : trainer::RunEncoderNews(options, streams);
                    }},
                   words, part);
}

}  // namespace

int main(int argc, char** argv) try {
  return Train({argv + std::min(argc, 1), argv + argc}, nullptr);
} catch (const std::exception& error) {  // out of memory, say; never a reason to end without a word
  std::cerr << "error: " << error.what() << '\n';
  return trainer::kFailed;
}
