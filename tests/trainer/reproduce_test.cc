#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/handlers/text/text_model.h"
#include "tests/tools/cli/tool_run.h"
#include "tools/cli/retrain.h"

namespace serve {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Json = nlohmann::ordered_json;

/// The real flambeau-train on the sample, and the tools on what it made.
class ReproduceTest : public testing::Test {
 protected:
  /// Trains into a folder of its own; the lineage of what came out.
  Json Train(std::vector<std::string> more) {
    more.insert(more.begin(), {"news", "--data", data_, "--epochs", "5"});
    const std::filesystem::path work = folder_.path() / std::to_string(count_++);
    std::filesystem::create_directory(work);
    Json lineage;
    const Status status = Retrain(FLAMBEAU_TRAIN, more, work, lineage);
    EXPECT_TRUE(status.ok()) << status.message;
    return lineage;
  }
  [[nodiscard]] std::string Archive(int number) const {
    return (folder_.path() / std::to_string(number) / "store/news_classification.mar").string();
  }

  const TestFolder folder_;
  const std::string data_ = FLAMBEAU_SOURCE_DIR "/trainer/sample/news.csv";
  int count_ = 0;
};

TEST_F(ReproduceTest, TheSameBaselineGivesTheSameWeights) {
  const Json first = Train({"--l2", "0.001", "--seed", "3"});
  const Json second = Train({"--l2", "0.001", "--seed", "3"});
  const Json other = Train({"--l2", "0.001", "--seed", "4"});
  EXPECT_EQ(first["weights_sha256"], second["weights_sha256"]);
  EXPECT_NE(first["weights_sha256"], other["weights_sha256"]);
}

TEST_F(ReproduceTest, VerifyTrainsAgainFromTheArchiveAlone) {
  Train({"--l2", "0.002", "--smoothing", "0.5", "--split", "0.2", "--logit-scale", "1.3", "--seed", "9"});
  const ToolRun run =
      Tool({"baseline", "verify", Archive(0), "--data", data_, "--retrain", "--trainer", FLAMBEAU_TRAIN});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("the weights are the same"));
}

TEST_F(ReproduceTest, DiffShowsTheOneSettingThatChanged) {
  Train({"--l2", "0.001"});
  Train({"--l2", "0.01"});
  const ToolRun run = Tool({"baseline", "diff", Archive(0), Archive(1)});
  EXPECT_THAT(run.out, AllOf(HasSubstr("hyper_parameters.l2"), HasSubstr("weights_sha256"),
                             testing::Not(HasSubstr("data.sha256")), testing::Not(HasSubstr("smoothing"))));
}

}  // namespace
}  // namespace serve
