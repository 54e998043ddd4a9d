#include "tools/cli/baseline_commands.h"

#include <algorithm>
#include <memory>
#include <ostream>
#include <system_error>

#include <fmt/format.h>

#include "model_store/archive/archive.h"
#include "model_store/mlflow/client.h"
#include "serve/base/files.h"
#include "serve/base/work_folder.h"
#include "tools/cli/answer_text.h"
#include "tools/cli/retrain.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

/// `models:/NAME/VERSION` or `models:/NAME@ALIAS` → the version's only archive, in `into`.
Result<fs::path> FetchVersion(const std::string& uri, const fs::path& into) {
  constexpr std::uint64_t kMaxBytes = 8ULL << 30;
  const Result<MlflowSettings> settings = MlflowSettingsOf();
  if (!settings) return settings.error();
  const MlflowClient client(*settings);
  const std::string rest = uri.substr(uri.find('/') + 1);
  const std::size_t split = rest.find_last_of("/@");
  if (split == std::string::npos || split == 0 || split + 1 == rest.size()) {
    return InvalidArgument(fmt::format("{}: expected models:/NAME/VERSION or models:/NAME@ALIAS", uri));
  }
  const std::string name = rest.substr(0, split);
  const std::string last = rest.substr(split + 1);
  const Result<MlflowModelVersion> version =
      rest[split] == '@' ? client.VersionOfAlias(name, last) : client.GetVersion(name, last);
  if (!version) return version.error();
  const Result<std::string> place = client.DownloadUri(name, version->version);
  if (!place) return place.error();
  const Result<std::string> root = client.ResolveRuns(*place);
  if (!root) return root.error();
  const Result<std::vector<MlflowArtifact>> files = client.ArtifactTree(*root);
  if (!files) return files.error();
  std::vector<std::string> archives;
  for (const MlflowArtifact& file : *files) {
    if (file.path.ends_with(".mar")) archives.push_back(file.path);
  }
  if (archives.size() != 1) {
    return InvalidArgument(
        fmt::format("{} ({}) holds {} archives (.mar): expected one", uri, *root, archives.size()));
  }
  std::error_code error;
  const fs::path target = into / fmt::format("{}-{}.mar", name, version->version);
  fs::remove(target, error);
  if (Status status = client.DownloadArtifact(*root + "/" + archives.front(), target, kMaxBytes);
      !status.ok()) {
    return status;
  }
  return target;
}

struct Baseline {
  Manifest manifest;
  std::vector<std::string> labels;
  VerifyReport report;
  Status digests;  // of VerifyArchive
};

Result<Baseline> ReadBaseline(const std::string& what, const fs::path& into, bool verify) {
  fs::path archive = what;
  if (what.starts_with("models:/")) {
    const Result<fs::path> fetched = FetchVersion(what, into);
    if (!fetched) return fetched.error();
    archive = *fetched;
  }
  Result<UnpackedArchive> opened = OpenArchive(archive, into);
  if (!opened) return opened.error();
  Baseline baseline;
  baseline.manifest = opened->manifest;
  if (verify) {
    const Result<VerifyReport> report = VerifyArchive(*opened);
    if (report) {
      baseline.report = *report;
    } else {
      baseline.digests = report.error();
    }
  }
  constexpr std::uint64_t kMostBytes = 16U << 20;
  const Result<std::string> text = ReadFile(opened->folder / "index_to_name.json", kMostBytes);
  const Json names = text ? Json::parse(*text, nullptr, false) : Json();
  for (std::size_t i = 0; names.is_object() && names.contains(std::to_string(i)); ++i) {
    baseline.labels.push_back(Text(names[std::to_string(i)]));
  }
  RemoveUnpacked(*opened);
  if (!baseline.manifest.lineage.is_object()) {
    return InvalidArgument(
        fmt::format("{} does not say what it was made from: its manifest has no lineage", what));
  }
  return baseline;
}

/// What a baseline says, in lines `data.sha256 → …`; the model's own name and version first.
using Lines = std::vector<std::pair<std::string, std::string>>;

void Flatten(const std::string& prefix, const Json& json, Lines& lines) {
  if (!json.is_object()) {
    lines.emplace_back(prefix, Text(json));
    return;
  }
  for (const auto& [key, value] : json.items())
    Flatten(prefix.empty() ? key : prefix + "." + key, value, lines);
}

Lines LinesOf(const Baseline& baseline) {
  Lines lines = {{"model", baseline.manifest.model_name}, {"model_version", baseline.manifest.model_version}};
  Flatten("", baseline.manifest.lineage, lines);
  return lines;
}

Json BaselineJson(const std::string& what, const Baseline& baseline) {
  return {{"archive", what},
          {"model", baseline.manifest.model_name},
          {"version", baseline.manifest.model_version},
          {"lineage", baseline.manifest.lineage}};
}

int RunShow(const ApiClient& client, const std::vector<std::string>& archives) {
  Json list = Json::array();
  for (const std::string& what : archives) {
    const Result<WorkFolder> work = WorkFolder::Make();
    if (!work) return client.Fail(work.error());
    const Result<Baseline> baseline = ReadBaseline(what, work->path(), false);
    if (!baseline) return client.Fail(baseline.error());
    if (client.json()) {
      list.push_back(BaselineJson(what, *baseline));
      continue;
    }
    std::vector<std::vector<std::string>> rows;
    for (const auto& [key, value] : LinesOf(*baseline)) rows.push_back({key, value});
    client.out() << (&what == archives.data() ? "" : "\n") << Table(rows);
  }
  if (client.json()) client.out() << list.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  return kToolDone;
}

int RunDiff(const ApiClient& client, const std::vector<std::string>& archives) {
  std::vector<Lines> sides;
  for (const std::string& what : archives) {
    const Result<WorkFolder> work = WorkFolder::Make();
    if (!work) return client.Fail(work.error());
    const Result<Baseline> baseline = ReadBaseline(what, work->path(), false);
    if (!baseline) return client.Fail(baseline.error());
    sides.push_back(LinesOf(*baseline));
  }
  std::vector<std::string> keys;
  for (const Lines& side : sides) {
    for (const auto& [key, value] : side) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
  }
  std::vector<std::vector<std::string>> rows{{""}};
  rows[0].insert(rows[0].end(), archives.begin(), archives.end());
  Json json = Json::object();
  for (const std::string& key : keys) {
    std::vector<std::string> row = {key};
    for (const Lines& side : sides) {
      const auto line =
          std::find_if(side.begin(), side.end(), [&key](const auto& one) { return one.first == key; });
      row.push_back(line == side.end() ? "-" : line->second);
    }
    if (std::all_of(row.begin() + 1, row.end(), [&row](const std::string& cell) { return cell == row[1]; }))
      continue;
    json[key] = std::vector<std::string>(row.begin() + 1, row.end());
    rows.push_back(std::move(row));
  }
  if (client.json()) {
    client.out() << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else if (rows.size() == 1) {
    client.out() << "no difference\n";
  } else {
    client.out() << Table(rows);
  }
  return kToolDone;
}

struct VerifyArguments {
  std::string archive;
  std::string data;
  std::string validation;
  bool retrain = false;
  std::string trainer;
};

/// The steps of `verify`, each with a line; false: something is not as the baseline says.
class Verification {
 public:
  Verification(const ApiClient& client, const VerifyArguments& typed) : client_(client), typed_(typed) {}

  int Run() {
    if (!work_) return client_.Fail(work_.error());
    const Result<Baseline> baseline = ReadBaseline(typed_.archive, work_->path(), true);
    if (!baseline) return client_.Fail(baseline.error());
    lineage_ = baseline->manifest.lineage;
    const Status& digests = baseline->digests;
    Check(digests.ok() && baseline->report.has_digests,
          digests.ok() ? (baseline->report.has_digests
                              ? fmt::format("files     {} files, {} bytes, have their digests",
                                            baseline->report.files, baseline->report.bytes)
                              : "files     the archive was made without digests")
                       : "files     " + digests.message);
    CheckRecord();
    CheckFile("data", typed_.data);
    CheckFile("validation", typed_.validation);
    if (typed_.retrain && ok_) TrainAgain(*baseline);
    if (client_.json()) {
      client_.out()
          << Json({{"ok", ok_}, {"checks", checks_}}).dump(2, ' ', false, Json::error_handler_t::replace)
          << '\n';
    }
    return ok_ ? kToolDone : kToolFailed;
  }

 private:
  void Check(bool fine, const std::string& text) {
    ok_ = ok_ && fine;
    checks_.push_back({{"ok", fine}, {"text", text}});
    if (!client_.json()) client_.out() << (fine ? "ok      " : "WRONG   ") << text << '\n' << std::flush;
  }

  void CheckRecord() {
    std::string missing;
    for (const char* key : {"program", "version", "code", "environment", "data", "hyper_parameters",
                            "metrics", "weights_sha256"}) {
      if (!lineage_.contains(key)) missing += std::string(missing.empty() ? "" : ", ") + key;
    }
    Check(missing.empty(), missing.empty()
                               ? "record    code, data, hyper-parameters, environment and metrics are there"
                               : "record    the lineage lacks " + missing);
    const Json code = lineage_.value("code", Json::object());
    if (missing.empty() && (Field(code, "commit").empty() || code.value("dirty", false))) {
      client_.err() << "warning: the program was built from sources that are in no commit\n";
    }
  }

  void CheckFile(const char* kind, const std::string& file) {
    if (file.empty()) return;
    std::error_code error;
    if (fs::is_directory(file, error)) {  // several files: only the trainer knows which
      return Check(true, fmt::format("{:<9} {} is a folder: --retrain looks into it", kind, file));
    }
    const Json source = lineage_.value(kind, Json::object());
    const Result<FileDigest> digest = DigestFile(file);
    if (!digest) return Check(false, fmt::format("{:<9} {}", kind, digest.error().message));
    const std::string recorded = source.is_object() ? Field(source, "sha256") : "";
    Check(digest->sha256 == recorded, digest->sha256 == recorded
                                          ? fmt::format("{:<9} {} is what it was trained with", kind, file)
                                          : fmt::format("{:<9} {} has the digest {}, trained with {}", kind,
                                                        file, digest->sha256, recorded));
  }

  static std::string Digest(const Json& lineage, const char* kind) {
    const Json source = lineage.value(kind, Json::object());
    return source.is_object() ? Field(source, "sha256") : "";
  }

  void TrainAgain(const Baseline& baseline) {
    const Json validation = lineage_.value("validation", Json::object());
    if (typed_.data.empty() || (typed_.validation.empty() && !Field(validation, "file").empty())) {
      return Check(false, "retrain   name the files: --data, and --validation where one was used");
    }
    const Result<std::vector<std::string>> arguments =
        RetrainArguments(lineage_, baseline.labels, typed_.data, typed_.validation);
    if (!arguments) return Check(false, "retrain   " + arguments.error().message);
    Json again;
    const Status status =
        Retrain(typed_.trainer.empty() ? TrainerProgram() : typed_.trainer, *arguments, work_->path(), again);
    if (!status.ok()) return Check(false, "retrain   " + status.message);
    for (const char* kind : {"data", "validation"}) {
      const std::string was = Digest(lineage_, kind);
      if (was != Digest(again, kind))
        return Check(false, fmt::format("retrain   the {} is another one now", kind));
    }
    const std::string before = Field(lineage_, "weights_sha256");
    const std::string after = Field(again, "weights_sha256");
    if (before == after) return Check(true, "retrain   the weights are the same: " + after);
    std::string why;
    for (const char* key : {"version", "libtorch"}) {
      if (Field(lineage_, key) == Field(again, key)) continue;
      why += fmt::format("; {} was {}, is {}", key, Field(lineage_, key), Field(again, key));
    }
    if (lineage_.value("stopped_early", false)) why += "; the training had been stopped early";
    if (why.empty()) why = "; another CPU computes sums in another order: compare `baseline show`";
    Check(false, fmt::format("retrain   the weights differ: {} became {}{}", before, after, why));
  }

  const ApiClient& client_;
  const VerifyArguments& typed_;
  const Result<WorkFolder> work_ = WorkFolder::Make();
  Json lineage_;
  Json checks_ = Json::array();
  bool ok_ = true;
};

constexpr const char* kArchive =
    "Archive, or models:/NAME/VERSION, models:/NAME@ALIAS of the server MLFLOW_TRACKING_URI";

}  // namespace

void AddBaselineCommands(CLI::App& app, const ApiClient& client, int& exit_code) {
  CLI::App* baseline =
      app.add_subcommand("baseline", "Tell what a model was made from: code, data, settings");
  baseline->require_subcommand(1);

  CLI::App* show = baseline->add_subcommand("show", "Show what made an archive");
  auto shown = std::make_shared<std::vector<std::string>>();
  show->add_option("archive", *shown, kArchive)->required();
  show->footer("Example:\n  flambeau baseline show model-store/news_classification.mar");
  show->callback([=, &client, &exit_code] { exit_code = RunShow(client, *shown); });

  CLI::App* diff = baseline->add_subcommand("diff", "Show what changed between archives");
  auto compared = std::make_shared<std::vector<std::string>>();
  diff->add_option("archives", *compared, kArchive)->required()->expected(2, 10);
  diff->footer("Example:\n  flambeau baseline diff models:/news/3 models:/news/4");
  diff->callback([=, &client, &exit_code] { exit_code = RunDiff(client, *compared); });

  CLI::App* verify = baseline->add_subcommand("verify", "Check an archive against what it says of itself");
  auto typed = std::make_shared<VerifyArguments>();
  verify->add_option("archive", typed->archive, kArchive)->required();
  CLI::Option* data =
      verify->add_option("--data", typed->data, "The file it was trained with")->type_name("FILE");
  verify->add_option("--validation", typed->validation, "The file it was validated with")->type_name("FILE");
  verify->add_flag("--retrain", typed->retrain, "Train again and compare the weights")->needs(data);
  verify->add_option("--trainer", typed->trainer, "The flambeau-train to use [the one beside this program]")
      ->type_name("PROGRAM");
  verify->footer(
      "Example:\n  flambeau baseline verify news.mar\n"
      "  flambeau baseline verify news.mar --data train.csv --validation validation.csv --retrain");
  verify->callback([=, &client, &exit_code] { exit_code = Verification(client, *typed).Run(); });
}

}  // namespace serve
