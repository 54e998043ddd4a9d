#include "trainer/images.h"

#include <ostream>

#include <fmt/format.h>

#include "trainer/data/idx.h"
#include "trainer/data/png.h"
#include "trainer/export/torchscript.h"
#include "trainer/loop/interrupt.h"
#include "trainer/publish/package.h"

namespace serve::trainer {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kExportTolerance = 1e-4;  // of the scores
constexpr std::size_t kLeastSize = 4;      // points: it is halved twice
constexpr std::size_t kMostSize = 256;

Result<LabelledPictures> ReadSet(const ImagesOptions& options, const char* set) {
  Result<LabelledPictures> pictures = ReadIdx(options.data, set, options.labels.size());
  if (!pictures && pictures.error().code == Code::kNotFound) {
    return Status{Code::kNotFound,
                  pictures.error().message +
                      "; install Debian's package dataset-fashion-mnist, or name a folder with such "
                      "files in --data"};
  }
  if (pictures &&
      (pictures->height != pictures->width || pictures->width < kLeastSize || pictures->width > kMostSize)) {
    return InvalidArgument(
        fmt::format("the pictures of {} have {} x {} points; they must be square, with {} to {}",
                    options.data.string(), pictures->height, pictures->width, kLeastSize, kMostSize));
  }
  return pictures;
}

Json Lineage(const ImagesOptions& options, const LabelledPictures& training, const LabelledPictures& test,
             const Normalization& normalization, bool stopped, const Scores& scores, const Network& network) {
  const NetworkOptions& hyper = options.network;
  return {{"program", "flambeau-train images"},
          {"version", FLAMBEAU_VERSION},
          {"libtorch", TorchVersion()},
          {"created", CreationTime()},
          {"data", {{"set", "train"}, {"sha256", training.sha256}, {"rows", training.count()}}},
          {"validation", {{"set", "t10k"}, {"sha256", test.sha256}, {"rows", test.count()}}},
          {"seed", hyper.seed},
          {"hyper_parameters",
           {{"network", "two convolutions of 32 and 64 channels, a layer of 128"},
            {"epochs", hyper.epochs},
            {"batch_size", hyper.batch_size},
            {"learning_rate", hyper.learning_rate},
            {"mirror", hyper.mirror},
            {"mean", normalization.mean},
            {"std", normalization.std},
            {"threads", hyper.threads}}},
          {"stopped_early", stopped},
          {"metrics", {{"accuracy", scores.accuracy()}, {"rows", scores.rows()}}},
          {"weights_sha256", network.WeightsDigest()}};
}

Result<CreatedArchive> Pack(const ImagesOptions& options, const Network& network,
                            const LabelledPictures& test, const Normalization& normalization,
                            const Json& metrics, const Json& lineage) {
  const Result<WorkFolder> work = WorkFolder::Make();
  if (!work) return work.error();
  const std::filesystem::path module = work->path() / "model.pt";
  if (Status status = network.Export(module); !status.ok()) return status;
  const Result<double> difference = network.CompareExported(module, test);
  if (!difference) return difference.error();
  if (!(*difference <= kExportTolerance)) {
    return Internal(fmt::format(
        "the exported module differs from the trained model by {}, allowed is {}; nothing was packed",
        *difference, kExportTolerance));
  }
  const auto three = [](double value) { return fmt::format("{0},{0},{0}", static_cast<float>(value)); };
  Parts parts;
  parts.name = options.output.name;
  parts.version = options.output.version;
  parts.module = module;
  parts.handler = "image_classifier";
  const std::string size = std::to_string(test.width);
  parts.handler_options = {{"resize", size},
                           {"crop", size},
                           {"mean", three(normalization.mean)},
                           {"std", three(normalization.std)}};
  const auto side = static_cast<std::int64_t>(test.width);
  parts.inputs = {{"pictures", DType::kFloat32, {3, side, side}}};
  parts.outputs = {{"scores", DType::kFloat32, {static_cast<std::int64_t>(options.labels.size())}}};
  parts.labels = options.labels;
  parts.example = {"example_input.png", GreyPng(test.pixels.data(), test.height, test.width)};
  parts.metrics = metrics;
  parts.lineage = lineage;
  return PackParts(parts, *work, options.output.out, options.output.force);
}

}  // namespace

int RunImages(const ImagesOptions& options, const Streams& streams) {
  const RecipeOutput output(options.output, streams);
  if (const Status status = output.CheckFree(); !status.ok()) return output.Fail(status);
  const Result<LabelledPictures> training = ReadSet(options, "train");
  if (!training) return output.Fail(training.error());
  const Result<LabelledPictures> test = ReadSet(options, "t10k");
  if (!test) return output.Fail(test.error());
  if (test->width != training->width) {
    return output.Fail(
        InvalidArgument(fmt::format("the pictures to train on have {} points a side, those to test with {}",
                                    training->width, test->width)));
  }
  output.Say("{} pictures of {} x {} points to train on, {} to test with, {} classes\n", training->count(),
             training->width, training->height, test->count(), options.labels.size());

  const InterruptGuard interrupts;
  const Normalization normalization = Measure(*training);
  Network network(training->height, training->width, options.labels.size(), normalization,
                  options.network.seed);
  Json history = Json::array();
  const Result<bool> stopped =
      network.Train(*training, options.network, InterruptGuard::Interrupted, [&](const Epoch& now) {
        history.push_back({{"epoch", now.number}, {"loss", now.loss}});
        if (!options.output.quiet) {
          streams.err << fmt::format("epoch {}/{}  loss {:.4f}  {:.1f} s\n", now.number,
                                     options.network.epochs, now.loss, now.seconds)
                      << std::flush;
        }
      });
  if (!stopped) return output.Fail(stopped.error());
  if (*stopped) output.Say("stopped early; going on with the weights so far\n");
  auto confusion = network.Confusion(*test);
  if (!confusion) return output.Fail(confusion.error());
  const Scores scores{*std::move(confusion)};
  Json metrics = ScoresJson(scores, options.labels);
  metrics["history"] = history;
  const Json lineage = Lineage(options, *training, *test, normalization, *stopped, scores, network);
  const Result<CreatedArchive> archive = Pack(options, network, *test, normalization, metrics, lineage);
  if (!archive) return output.Fail(archive.error());
  output.Say("\n{}\nweights   sha256 {}\n", ScoresText(scores, options.labels), network.WeightsDigest());
  return output.Finish(*archive, lineage, metrics);
}

}  // namespace serve::trainer
