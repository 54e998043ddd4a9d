#include "trainer/encoder_news.h"

#include <algorithm>
#include <fstream>
#include <ostream>
#include <sstream>
#include <system_error>

#include "model_store/archive/sha256.h"
#include "trainer/data/dataset.h"
#include "trainer/data/mapped_file.h"
#include "trainer/encoder/frozen_encoder.h"
#include "trainer/export/torchscript.h"
#include "trainer/loop/interrupt.h"
#include "trainer/publish/package.h"
#include "trainer/recipe.h"

namespace serve::trainer {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr double kExportTolerance = 1e-3;  // of the scores; a text's company changes the last digits
constexpr std::size_t kCompared = 64;      // rows
constexpr int kHeadIterations = 200;
constexpr const char* kVocabularies[] = {"vocab.txt", "spiece.model", "tokenizer.model",
                                         "sentencepiece.bpe.model"};

Result<Dataset> ReadRows(const NewsOptions& options, const fs::path& file, std::size_t least,
                         const Streams& streams) {
  Result<Dataset> dataset = ReadDataset(file, options.labels);
  if (!dataset) return dataset;
  for (const BadRow& row : dataset->bad_rows)
    streams.err << fmt::format("{}:{}: {}\n", file.string(), row.line, row.reason);
  if (Status status = CheckDataset(*dataset, options.labels, options.max_bad_rows, least); !status.ok())
    return status;
  return dataset;
}

Scores Judge(const Head& head, const Vectors& vectors) {
  const std::size_t classes = head.bias.size();
  Scores scores{std::vector<std::vector<std::size_t>>(classes, std::vector<std::size_t>(classes))};
  const std::vector<double> all = HeadScores(head, vectors);
  for (std::size_t text = 0; text < vectors.labels.size(); ++text) {
    const auto row = all.begin() + static_cast<std::ptrdiff_t>(text * classes);
    ++scores.confusion[static_cast<std::size_t>(vectors.labels[text])][static_cast<std::size_t>(
        std::max_element(row, row + static_cast<std::ptrdiff_t>(classes)) - row)];
  }
  return scores;
}

std::string HeadDigest(const Head& head) {
  Sha256 digest;
  for (const std::vector<float>* values : {&head.weight, &head.bias})
    digest.Update({reinterpret_cast<const char*>(values->data()), values->size() * sizeof(float)});
  return digest.Finish();
}

Status Pack(const FrozenEncoder& encoder, const Head& head, const Vectors& vectors,
            const std::vector<LabelledText>& rows, const fs::path& vocabulary, const fs::path& module,
            Parts& parts) {
  if (Status status = encoder.Export(head, module); !status.ok()) return status;
  const std::size_t compared = std::min(rows.size(), kCompared);
  Vectors some = vectors;
  some.labels.resize(compared);
  const Result<double> difference = encoder.CompareExported(
      module, {rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(compared)}, some, head);
  if (!difference) return difference.error();
  if (!(*difference <= kExportTolerance)) {
    return Internal(fmt::format(
        "the exported module differs from the trained one by {}, allowed is {}; nothing was packed",
        *difference, kExportTolerance));
  }
  for (const char* name : kVocabularies) {
    std::error_code error;
    if (!fs::is_regular_file(vocabulary / name, error)) continue;
    const Result<MappedFile> file = MappedFile::Open(vocabulary / name);
    if (!file) return file.error();
    parts.extra_files.emplace_back(name, std::string(file->content()));
    break;
  }
  return {};
}

}  // namespace

int RunEncoderNews(const NewsOptions& options, const Streams& streams) {
  OutputOptions names{options.name,        options.version,    options.out,
                      options.force,       options.management, options.initial_workers,
                      options.set_default, options.quiet,      options.json};
  const RecipeOutput output(names, streams);
  if (const Status status = output.CheckFree(); !status.ok()) return output.Fail(status);
  const bool split = options.validation.empty();
  Result<Dataset> data = ReadRows(options, options.data, split ? 2 : 1, streams);
  if (!data) return output.Fail(data.error());
  const std::string digest = data->sha256;
  Split rows;
  Json validation_source = {{"split", options.split}};
  if (split) {
    rows = SplitRows(std::move(data->rows), options.labels.size(), options.split, options.seed);
  } else {
    Result<Dataset> validation = ReadRows(options, options.validation, 0, streams);
    if (!validation) return output.Fail(validation.error());
    validation_source = {{"file", validation->file}, {"sha256", validation->sha256}};
    rows = {std::move(data->rows), std::move(validation->rows)};
  }
  validation_source["rows"] = rows.validation.size();
  std::vector<std::size_t> class_rows(options.labels.size());
  for (const LabelledText& row : rows.training) ++class_rows[static_cast<std::size_t>(row.label)];
  const auto class_weights = ParseClassWeights(options.class_weights, class_rows);
  if (!class_weights) return output.Fail(class_weights.error());

  const fs::path vocabulary =
      options.vocabulary.empty() ? fs::absolute(options.encoder).parent_path() : options.vocabulary;
  const Result<MappedFile> encoder_file = MappedFile::Open(options.encoder);
  if (!encoder_file) return output.Fail(encoder_file.error());
  const InterruptGuard interrupts;
  const auto encoder =
      FrozenEncoder::Load(options.encoder, vocabulary, options.max_length, options.encoder_threads);
  if (!encoder) return output.Fail(encoder.error());
  output.Say("{} rows to train on, {} to validate with, {} classes\n", rows.training.size(),
             rows.validation.size(), options.labels.size());
  std::size_t told = 0;
  const auto progress = [&](std::size_t done) {
    if (!options.quiet && done - told >= 500) {
      told = done;
      streams.err << fmt::format("{} texts encoded, {:.1f} s\n", done, output.Seconds()) << std::flush;
    }
    return !InterruptGuard::Interrupted();
  };
  const Result<Vectors> training = encoder->Encode(rows.training, progress);
  if (!training) return output.Fail(training.error());
  told = 0;
  const Result<Vectors> validation = encoder->Encode(rows.validation, progress);
  if (!validation) return output.Fail(validation.error());
  const Result<Head> head =
      FitHead(*training, options.labels.size(), options.head_l2, kHeadIterations, *class_weights);
  if (!head) return output.Fail(head.error());

  const Scores scores = Judge(*head, *validation);
  const Json metrics = ScoresJson(scores, options.labels);
  const Json lineage = {
      {"program", "flambeau-train news --encoder"},
      {"version", FLAMBEAU_VERSION},
      {"libtorch", TorchVersion()},
      {"created", CreationTime()},
      {"data", {{"file", data->file}, {"sha256", digest}, {"rows", data->classes.size()}}},
      {"validation", validation_source},
      {"encoder",
       {{"file", options.encoder.filename().string()}, {"sha256", Sha256OfBytes(encoder_file->content())}}},
      {"seed", options.seed},
      {"hyper_parameters",
       {{"head_l2", options.head_l2}, {"max_length", options.max_length}, {"class_weights", *class_weights}}},
      {"metrics", {{"accuracy", scores.accuracy()}, {"rows", scores.rows()}}},
      {"weights_sha256", HeadDigest(*head)}};
  const Result<WorkFolder> work = WorkFolder::Make();
  if (!work) return output.Fail(work.error());
  Parts parts;
  parts.name = options.name;
  parts.version = options.version;
  parts.module = work->path() / "model.pt";
  parts.handler = "text_classifier";
  parts.handler_options = {{"max_length", std::to_string(options.max_length)}};
  parts.inputs = {{"input_ids", DType::kInt64, {-1}}, {"attention_mask", DType::kInt64, {-1}}};
  parts.outputs = {{"scores", DType::kFloat32, {static_cast<std::int64_t>(options.labels.size())}}};
  parts.labels = options.labels;
  parts.example = {"example_input.json", Json{{"text", rows.validation.front().text}}.dump(
                                             2, ' ', false, Json::error_handler_t::replace)};
  parts.metrics = metrics;
  parts.lineage = lineage;
  if (const Status status =
          Pack(*encoder, *head, *validation, rows.validation, vocabulary, parts.module, parts);
      !status.ok()) {
    return output.Fail(status);
  }
  const Result<CreatedArchive> archive = PackParts(parts, *work, options.out, options.force);
  if (!archive) return output.Fail(archive.error());
  output.Say("\n{}\nhead      sha256 {}\n", ScoresText(scores, options.labels), HeadDigest(*head));
  return output.Finish(*archive, lineage, metrics);
}

}  // namespace serve::trainer
