#include "trainer/news.h"

#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model_store/archive/archive.h"
#include "tests/handlers/text/text_model.h"

namespace serve::trainer {
namespace {

using testing::HasSubstr;

class NewsTest : public testing::Test {
 protected:
  NewsTest() {
    options_.data = std::filesystem::path(FLAMBEAU_SOURCE_DIR) / "trainer/sample/news.csv";
    options_.out = folder_.path() / "store";
  }
  int Run() {
    out_.str("");
    err_.str("");
    return RunNews(options_, {out_, err_, false});
  }
  nlohmann::json Summary() {
    options_.json = true;
    EXPECT_EQ(Run(), kDone) << err_.str();
    return nlohmann::json::parse(out_.str());
  }
  /// The sample's first rows, with `more` behind them.
  void UseRows(int rows, const std::string& more) {
    std::ifstream sample(options_.data);
    std::string text;
    std::string line;
    for (int i = 0; i < rows && std::getline(sample, line); ++i) text += line + "\n";
    options_.data = folder_.Write("rows.csv", text + more);
  }

  const TestFolder folder_;
  NewsOptions options_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(NewsTest, TheSampleBecomesAVerifiedArchiveWithItsLineage) {
  ASSERT_EQ(Run(), kDone) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("432 rows to train on, 48 to validate with"));
  EXPECT_THAT(out_.str(), HasSubstr("flambeau models register news_classification.mar"));
  EXPECT_THAT(err_.str(), HasSubstr("iteration  1/20"));

  const auto archive = OpenArchive(options_.out / "news_classification.mar", folder_.path() / "open");
  ASSERT_TRUE(archive) << archive.error().message;
  const auto verified = VerifyArchive(*archive);
  ASSERT_TRUE(verified) << verified.error().message;
  EXPECT_TRUE(verified->has_digests);
  for (const char* file :
       {"model.pt", "vocabulary.tsv", "index_to_name.json", "metrics.json", "example_input.json"}) {
    EXPECT_TRUE(archive->manifest.files.contains(file)) << file;
  }
  const auto& lineage = archive->manifest.lineage;
  EXPECT_EQ(lineage["data"]["file"], "news.csv");
  EXPECT_EQ(lineage["data"]["rows"], 480);
  EXPECT_EQ(lineage["data"]["sha256"].get<std::string>().size(), 64U);
  EXPECT_EQ(lineage["validation"]["rows"], 48);
  EXPECT_EQ(lineage["hyper_parameters"]["l2"], 3e-4);
  EXPECT_EQ(lineage["stopped_early"], false);
  EXPECT_GE(lineage["metrics"]["accuracy"].get<double>(), 0.7);  // chance is 0.25
  EXPECT_FALSE(lineage["libtorch"].get<std::string>().empty());
  std::ifstream file(archive->folder / "metrics.json");
  const auto metrics = nlohmann::json::parse(file);
  EXPECT_EQ(metrics["rows"], 48);
  EXPECT_EQ(metrics["accuracy"], lineage["metrics"]["accuracy"]);
  EXPECT_EQ(metrics["history"][0]["iteration"], 0);
}

TEST_F(NewsTest, EqualInputAndSeedGiveEqualWeightsAndAnotherSeedDoesNot) {
  options_.force = true;
  const auto digest = [this] { return Summary()["lineage"]["weights_sha256"].get<std::string>(); };
  const std::string first = digest();
  EXPECT_EQ(first, digest());
  options_.seed = 2;
  EXPECT_NE(first, digest());
}

TEST_F(NewsTest, AnArchiveThatExistsIsKeptUnlessForced) {
  std::filesystem::create_directories(options_.out);
  std::ofstream(options_.out / "news_classification.mar") << "mine";
  EXPECT_EQ(Run(), kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("news_classification.mar exists already; replace it with --force"));
  options_.force = true;
  EXPECT_EQ(Run(), kDone) << err_.str();
}

TEST_F(NewsTest, BadRowsAreShownAndTooManyOfThemFail) {
  UseRows(100, "7,no such class\n\"1\",\"open\n");
  EXPECT_EQ(Run(), kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("rows.csv:101: the class \"7\""));
  EXPECT_THAT(err_.str(), HasSubstr("rows.csv:102: a quoted field that begins on line 102 is never closed"));
  EXPECT_THAT(err_.str(), HasSubstr("2 of 102 rows cannot be used, allowed is a share of 0.01"));
  EXPECT_FALSE(std::filesystem::exists(options_.out));
  options_.max_bad_rows = 0.02;
  EXPECT_EQ(Run(), kDone) << err_.str();
}

TEST_F(NewsTest, AFileThatIsMissingOrHasTooFewClassesIsNamed) {
  options_.data = folder_.path() / "none.csv";
  EXPECT_EQ(Run(), kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("there is no file"));
  std::filesystem::create_symlink("loop.csv", folder_.path() / "loop.csv");
  options_.data =
      folder_.path() / "loop.csv";  // as a folder that may not be entered: not missing, unreadable
  EXPECT_EQ(Run(), kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("loop.csv: Too many levels of symbolic links"));
  options_.data = folder_.Write("one.csv", "1,a b\n1,c d\n2,e\n2,f\n3,g\n3,h\n");
  EXPECT_EQ(Run(), kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("one.csv: the class 4 (Sci/Tech) has 0 rows, needed are at least 2"));
}

TEST_F(NewsTest, AValidationFileIsUsedAsItIs) {
  options_.validation = options_.data;
  const auto summary = Summary();
  EXPECT_EQ(summary["metrics"]["rows"], 480);
  EXPECT_EQ(summary["lineage"]["validation"]["file"], "news.csv");
}

TEST_F(NewsTest, CtrlCPacksTheBestWeightsSoFar) {
  // The signal comes as soon as training reports its first line.
  struct Interrupter : std::stringbuf {
    std::streamsize xsputn(const char* text, std::streamsize size) override {
      if (!sent && std::string_view(text, static_cast<std::size_t>(size)).find("iteration") !=
                       std::string_view::npos) {
        sent = true;
        std::raise(SIGINT);
      }
      return std::stringbuf::xsputn(text, size);
    }
    bool sent = false;
  } buffer;
  std::ostream err(&buffer);
  EXPECT_EQ(RunNews(options_, {out_, err, false}), kDone) << buffer.str();
  EXPECT_TRUE(buffer.sent);
  EXPECT_THAT(out_.str(),
              HasSubstr("stopped early; going on with the best weights so far, those of iteration 0"));
  const auto archive = OpenArchive(options_.out / "news_classification.mar", folder_.path() / "open");
  ASSERT_TRUE(archive) << archive.error().message;
  EXPECT_EQ(archive->manifest.lineage["stopped_early"], true);
  const auto checkpoint = options_.out / ".checkpoints/news_classification.pt";
  EXPECT_TRUE(std::filesystem::exists(checkpoint));

  // The same command goes on, to the weights of a training that nobody stopped; then nothing is left to
  // resume.
  options_.force = true;
  options_.train.checkpoint.resume = true;
  const auto resumed = Summary()["lineage"];
  EXPECT_EQ(resumed["resumed_from"], 0);
  EXPECT_FALSE(std::filesystem::exists(checkpoint));
  const auto anew = Summary()["lineage"];
  EXPECT_EQ(anew["resumed_from"], nullptr);
  EXPECT_EQ(resumed["weights_sha256"], anew["weights_sha256"]);
}

TEST_F(NewsTest, AFolderThatCannotBeWrittenIsNamedWithTheReasonBeforeTheWork) {
  options_.data = folder_.path() / "none.csv";  // is not even opened
  options_.out = folder_.Write("file", "") / "below/store";
  EXPECT_EQ(Run(), kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("file: Not a directory; choose another one with --out"));
  EXPECT_THAT(err_.str(), testing::Not(HasSubstr("none.csv")));
}

TEST_F(NewsTest, ACheckpointOfOtherOptionsIsRefused) {
  options_.train.checkpoint.file = folder_.Write("mine.pt", "no checkpoint");
  options_.train.checkpoint.resume = true;
  EXPECT_EQ(Run(), kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("mine.pt is no checkpoint of this program, or it is damaged"));
  EXPECT_FALSE(std::filesystem::exists(options_.out / "news_classification.mar"));
}

TEST_F(NewsTest, MemoryMakesNoDifferenceToTheWeights) {
  options_.force = true;
  const auto digest = [this] { return Summary()["lineage"]["weights_sha256"].get<std::string>(); };
  const std::string expected = digest();
  options_.memory_mib = 0;
  EXPECT_EQ(digest(), expected);
  EXPECT_THAT(err_.str(), HasSubstr("of encoded rows lie in a temporary file"));
}

TEST_F(NewsTest, ALossThatIsNotFiniteHasItsOwnExitCode) {
  options_.class_weights = "1e308,1e308,1e308,1e308";  // their sum is more than a number holds
  EXPECT_EQ(Run(), kDiverged) << err_.str();
  EXPECT_THAT(err_.str(), HasSubstr("training diverged and nothing was packed; try a larger --l2"));
  EXPECT_FALSE(std::filesystem::exists(options_.out / "news_classification.mar"));
}

TEST(ClassWeightsTest, TheyAreNamedOrCounted) {
  EXPECT_EQ(ParseClassWeights("", {1, 2}).value(), std::vector<double>());
  EXPECT_EQ(ParseClassWeights("balanced", {1, 3}).value(), (std::vector<double>{2, 4.0 / 6}));
  EXPECT_EQ(ParseClassWeights("1,0.5", {1, 3}).value(), (std::vector<double>{1, 0.5}));
  for (const char* bad : {"1", "1,2,3", "1,", "1,-1", "1,nan", "even"}) {
    EXPECT_FALSE(ParseClassWeights(bad, {1, 3})) << bad;
  }
}

TEST_F(NewsTest, AServerThatIsNotThereFailsButTheArchiveStays) {
  options_.management = "http://127.0.0.1:1";
  EXPECT_EQ(Run(), kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("was not registered: "));
  EXPECT_THAT(err_.str(),
              HasSubstr("flambeau models register news_classification.mar --management http://127.0.0.1:1"));
  EXPECT_TRUE(std::filesystem::exists(options_.out / "news_classification.mar"));
}

TEST_F(NewsTest, QuietSaysNothing) {
  options_.quiet = true;
  EXPECT_EQ(Run(), kDone);
  EXPECT_EQ(out_.str(), "");
  EXPECT_EQ(err_.str(), "");
}

TEST(CheckLabelsTest, LabelsThatCannotBeLearnedAreRefused) {
  EXPECT_TRUE(CheckLabels({"a", "\xc3\xa9"}).ok());
  EXPECT_FALSE(CheckLabels({"a"}).ok());
  EXPECT_FALSE(CheckLabels({"a", ""}).ok());
  EXPECT_FALSE(CheckLabels({"a", "\n"}).ok());
  EXPECT_EQ(CheckLabels({"a", "a"}).message, "the label a is named twice");
  EXPECT_EQ(CheckLabels({"a", "\xff"}).message, "a label is not UTF-8");
}

}  // namespace
}  // namespace serve::trainer
