#include "trainer/tracking/tracking.h"

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model_store/archive/archive.h"
#include "tests/handlers/text/text_model.h"
#include "tests/model_store/mlflow/fake_mlflow.h"
#include "trainer/tracking/baseline.h"
#include "trainer/tracking/charts.h"
#include "trainer/tracking/run_contents.h"
#include "trainer/tracking/sweep.h"

namespace serve::trainer {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;
using Json = nlohmann::ordered_json;

const char* const kLineage = R"({"program":"flambeau-train news","version":"0.1","libtorch":"2.13","seed":7,
  "data":{"file":"news.csv","sha256":"0123456789012345678901234567890123456789","rows":9},
  "validation":{"split":0.1,"rows":1},"hyper_parameters":{"l2":0.0003,"odd [name]":"x"},
  "metrics":{"accuracy":0.9,"macro_f1":0.8},"weights_sha256":"abc","code":{"commit":"c0ffee","dirty":false}})";
const char* const kMetrics = R"({"labels":["World","Sci/Tech"],"confusion_matrix":[[3,1],[0,4]],
  "per_class":[{"label":"World","f1":0.7},{"label":"Sci/Tech","f1":0.9}],
  "history":[{"iteration":0,"loss":0.5,"training_accuracy":0.6},{"iteration":1,"loss":0.4,"training_accuracy":0.7}]})";

TEST(RunContentsTest, WhatAnArchiveSaysBecomesParametersMetricsAndTags) {
  RunRecord record;
  FillRecord(Json::parse(kLineage), Json::parse(kMetrics), 5, record);
  EXPECT_THAT(record.params, testing::UnorderedElementsAre(Pair("l2", "0.0003"), Pair("odd _name_", "x"),
                                                           Pair("seed", "7"), Pair("split", "0.1")));
  const auto metrics = record.LastMetrics();
  EXPECT_EQ(metrics.at("accuracy"), 0.9);
  EXPECT_EQ(metrics.at("f1/Sci/Tech"), 0.9);
  EXPECT_EQ(metrics.at("train/loss"), 0.4);  // the last step
  EXPECT_EQ(record.tags.at("mlflow.source.git.commit"), "c0ffee");
  EXPECT_EQ(record.tags.at("flambeau.weights_sha256"), "abc");
  ASSERT_EQ(record.datasets.size(), 1U);
  EXPECT_EQ(record.datasets[0].digest.size(), 32U);  // MLflow takes 36
}

TEST(RunContentsTest, AStrangeArchiveIsNoReasonToStop) {
  for (const char* text :
       {"null", "[]", "3",
        R"({"metrics":3,"data":[],"hyper_parameters":"x","history":[1,{"iteration":"a"}]})"}) {
    RunRecord record;
    FillRecord(Json::parse(text), Json::parse(text), 5, record);
    EXPECT_TRUE(record.metrics.empty()) << text;
    EXPECT_EQ(ConfusionChart(Json::parse(text)), "");
    EXPECT_EQ(LearningCurve(Json::parse(text)), "");
  }
}

TEST(ChartsTest, TheMatrixShowsCountsAndEscapesNames) {
  const std::string svg = ConfusionSvg({"A<b>", "C&D"}, {{3, 1}, {0, 0}});
  EXPECT_THAT(svg, AllOf(HasSubstr("A&lt;b&gt;"), HasSubstr("C&amp;D"), HasSubstr(">3<"), HasSubstr("75.0 %"),
                         HasSubstr("</svg>"), Not(HasSubstr("nan"))));
  EXPECT_EQ(ConfusionSvg({"a"}, {{1}, {2}}), "");
  EXPECT_EQ(ConfusionSvg({"a", "b"}, {{1}, {2, 3}}), "");
}

TEST(ChartsTest, CurvesLeaveOutWhatIsNotFinite) {
  const std::string svg = CurvesSvg("t", "iteration", {{"loss", {{0, 1}, {1, std::nan("")}, {2, 0.5}}}},
                                    {{"accuracy", {{0, 0.5}, {2, 0.9}}}});
  EXPECT_THAT(svg, AllOf(HasSubstr("<polyline"), HasSubstr("accuracy (right)"), Not(HasSubstr("nan"))));
  EXPECT_THAT(CurvesSvg("t", "x", {}, {}), HasSubstr("</svg>"));
  EXPECT_THAT(CurvesSvg("t", "x", {{"one", {{3, 1}}}}, {}), Not(HasSubstr("nan")));
}

TEST(BaselineTest, CodeAndEnvironmentAreAddedAndNotReplaced) {
  Json lineage = {{"code", {{"commit", "mine"}}}};
  AddBaseline(lineage);
  EXPECT_EQ(lineage["code"]["commit"], "mine");
  EXPECT_FALSE(lineage["environment"]["compiler"].get<std::string>().empty());
  EXPECT_FALSE(lineage["environment"]["instruction_set"].get<std::string>().empty());
}

class SweepTest : public testing::Test {
 protected:
  Result<std::vector<SweepPoint>> Grid(const std::string& text) {
    return ReadGrid(folder_.Write("grid.yaml", text));
  }
  const TestFolder folder_;
};

TEST_F(SweepTest, EveryCombinationComesOnce) {
  const auto points = Grid("l2: [1e-4, 3e-4]\nlabels: [\"a,b\", \"c,d\"]\n");
  ASSERT_TRUE(points) << points.error().message;
  ASSERT_EQ(points->size(), 4U);
  EXPECT_THAT((*points)[1], ElementsAre(Pair("l2", "1e-4"), Pair("labels", "c,d")));
}

TEST_F(SweepTest, AGridThatIsNoneIsRefused) {
  for (const char* text :
       {"", "- a\n", "l2: 3\n", "l2: []\n", "l2: [{a: b}]\n", "l2: [1\n", "? [a]\n: [1]\n"}) {
    EXPECT_FALSE(Grid(text)) << text;
  }
  std::string many = "a: [0";
  for (int i = 1; i < 40; ++i) many += "," + std::to_string(i);
  EXPECT_THAT(Grid(many + "]\nb" + many.substr(1) + "]\n").error().message, HasSubstr("1000"));
  EXPECT_EQ(ReadGrid(folder_.path() / "no.yaml").error().code, Code::kNotFound);
}

TEST_F(SweepTest, TheCommandLineGetsTheFlagsOfThePoint) {
  const auto words = SweepArguments({"news", "--sweep", "g.yaml", "--data", "d"}, {{"l2", "-1"}});
  ASSERT_TRUE(words);
  EXPECT_THAT(*words, ElementsAre("news", "--data", "d", "--l2=-1"));
  EXPECT_THAT(*SweepArguments({"news", "--sweep=g.yaml"}, {}), ElementsAre("news"));
  EXPECT_THAT(SweepArguments({"news", "--l2=3"}, {{"l2", "1"}}).error().message, HasSubstr("--l2"));
}

/// A recipe that packs a little archive with an accuracy.
class TrackedTest : public testing::Test {
 protected:
  TrackedTest() {
    options_.runs = folder_.path() / "runs";
    archive_ = folder_.path() / "store/news.mar";
    setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0", 1);
  }
  ~TrackedTest() override { unsetenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES"); }

  void Pack(const std::filesystem::path& out, double accuracy) {
    CreateOptions create;
    create.model_name = "news";
    create.version = "1.0";
    create.serialized_file = folder_.Write("model.pt", "weights");
    create.handler = "text_classifier";
    create.extra_files = {folder_.Write("metrics.json", kMetrics)};
    create.lineage = Json::parse(kLineage);
    create.lineage["metrics"]["accuracy"] = accuracy;
    create.export_path = out;
    create.force = true;
    const Result<CreatedArchive> made = CreateArchive(create);
    ASSERT_TRUE(made) << made.error().message;
  }
  int Run(int code = 0, const std::string& says = "") {
    return RunTracked(
        options_, "news", archive_, false, err_,
        [&](std::ostream& err) {
          err << says;
          if (code == 0) Pack(archive_.parent_path(), 0.9);
          return code;
        },
        &record_);
  }

  const TestFolder folder_;
  TrackingOptions options_;
  std::filesystem::path archive_;
  std::ostringstream err_;
  RunRecord record_;
};

TEST_F(TrackedTest, WithoutAServerTheRunStaysInFiles) {
  ASSERT_EQ(Run(), 0) << err_.str();
  const RunFolder runs(options_.runs);
  const Result<RunRecord> record = runs.Read(record_.id);
  ASSERT_TRUE(record) << record.error().message;
  EXPECT_EQ(record->status, "FINISHED");
  EXPECT_EQ(record->experiment, "news");
  EXPECT_FALSE(record->sent.complete);
  std::vector<std::string> names;
  for (const MlflowArtifact& file : runs.Artifacts(record_.id)) names.push_back(file.path);
  EXPECT_THAT(names, ElementsAre("confusion_matrix.svg", "learning_curve.svg", "lineage.json", "metrics.json",
                                 "model/news.mar"));
}

TEST_F(TrackedTest, ALaterTrainingDoesNotChangeTheRunsArchive) {
  ASSERT_EQ(Run(), 0);
  const auto kept = RunFolder(options_.runs).ArtifactPath(record_.id) / "model/news.mar";
  const auto before = DigestFile(kept);
  Pack(archive_.parent_path(), 0.1);
  EXPECT_NE(DigestFile(archive_)->sha256, before->sha256);
  EXPECT_EQ(DigestFile(kept)->sha256, before->sha256);
}

TEST_F(TrackedTest, AServerGetsTheRunAndTheVersion) {
  const FakeMlflow server;
  options_.uri = server.url();
  options_.registration = {"news", {"candidate"}, {}, ""};
  options_.result = folder_.path() / "result.json";
  ASSERT_EQ(Run(), 0) << err_.str();
  EXPECT_EQ(server.alias("candidate"), "1");
  EXPECT_EQ(server.artifacts().size(), 5U);
  EXPECT_THAT(server.versions()[0]["tags"].dump(), HasSubstr(DigestFile(archive_)->sha256));
  std::ifstream file(options_.result);
  const Json result = Json::parse(file);
  EXPECT_EQ(result["run_id"], "run1");
  EXPECT_EQ(result["version"], "1");
  EXPECT_EQ(result["metrics"]["accuracy"], 0.9);
}

TEST_F(TrackedTest, AServerThatIsDownLosesNothingAndFailsOnlyWhenAsked) {
  options_.uri = DeadUrl();
  setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0", 1);
  EXPECT_EQ(Run(), 0);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("was not sent"), HasSubstr("flambeau runs sync --runs")));
  EXPECT_EQ(RunFolder(options_.runs).Read(record_.id)->status, "FINISHED");
  options_.required = true;
  EXPECT_EQ(Run(), 1);
}

TEST_F(TrackedTest, AFailedTrainingIsARunThatSaysWhy) {
  options_.registration.model = "news";
  EXPECT_EQ(Run(3, "row 7 is bad\nerror: the loss is NaN\n"), 3);
  const Result<RunRecord> record = RunFolder(options_.runs).Read(record_.id);
  EXPECT_EQ(record->status, "FAILED");
  EXPECT_EQ(record->tags.at("flambeau.error"), "the loss is NaN");
  EXPECT_EQ(record->registration.model, "");
  EXPECT_THAT(err_.str(), HasSubstr("row 7 is bad"));
}

TEST_F(TrackedTest, AFolderThatCannotBeWrittenDoesNotStopATraining) {
  options_.runs = folder_.Write("file", "") / "runs";
  EXPECT_EQ(Run(), 0);
  EXPECT_THAT(err_.str(), HasSubstr("not tracked"));
  EXPECT_TRUE(std::filesystem::exists(archive_));
}

TEST_F(TrackedTest, ASweepKeepsTheBestAndIsOneRunWithParts) {
  const FakeMlflow server;
  options_.uri = server.url();
  options_.registration = {"news", {"candidate"}, {}, ""};
  options_.sweep = folder_.Write("grid.yaml", "accuracy: [0.5, 0.9, 0.7]\nl2: [1]\n");
  std::ostringstream out;
  const auto train = [&](const std::vector<std::string>& words, SweepPart& part) {
    const double accuracy = std::stod(words[1].substr(words[1].find('=') + 1));
    TrackingOptions its;
    its.runs = options_.runs;
    its.parent = part.parent;
    return RunTracked(
        its, "news", part.out / "news.mar", true, err_,
        [&](std::ostream& err) {
          if (accuracy == 0.7) {
            err << "error: bad luck\n";
            return 1;
          }
          Pack(part.out, accuracy);
          return 0;
        },
        &part.record);
  };
  ASSERT_EQ(
      RunSweep(options_, {"news", archive_, false, false, false}, {"news", "--sweep", "x"}, out, err_, train),
      0)
      << err_.str();
  EXPECT_THAT(out.str(), AllOf(HasSubstr("0.9000"), HasSubstr("<- best"), HasSubstr("failed")));
  const auto runs = server.runs();
  ASSERT_EQ(runs.size(), 4U);
  int parts = 0;
  for (const auto& run : runs) parts += run.tags.contains("mlflow.parentRunId") ? 1 : 0;
  EXPECT_EQ(parts, 3);
  EXPECT_EQ(server.versions().size(), 1U);  // the best one alone
  const auto opened = OpenArchive(archive_, folder_.path() / "open");
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened->manifest.lineage["metrics"]["accuracy"], 0.9);

  // Again: it would replace the archive.
  EXPECT_EQ(RunSweep(options_, {"news", archive_, false, false, false}, {"news"}, out, err_, train), 1);
}

}  // namespace
}  // namespace serve::trainer
