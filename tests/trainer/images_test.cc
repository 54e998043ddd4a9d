#include "trainer/images.h"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model_store/archive/archive.h"
#include "tests/handlers/text/text_model.h"
#include "tests/trainer/idx_files.h"

namespace serve::trainer {
namespace {

using testing::HasSubstr;

class ImagesTest : public testing::Test {
 protected:
  ImagesTest() {
    WriteIdxSet(folder_.path(), "train", 256, 0);
    WriteIdxSet(folder_.path(), "t10k", 40, 1000);
    options_.data = folder_.path();
    options_.labels = {"north-west", "north-east", "south-west", "south-east"};
    options_.network.mirror = false;
    options_.network.batch_size = 16;
    options_.network.epochs = 3;
    options_.network.threads = 1;
    options_.output.out = folder_.path() / "store";
    options_.output.json = true;
  }
  int Run() {
    out_.str("");
    err_.str("");
    return RunImages(options_, {out_, err_, false});
  }

  const TestFolder folder_;
  ImagesOptions options_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(ImagesTest, ASmallSetIsLearnedAndPackedForTheClassifier) {
  ASSERT_EQ(Run(), kDone) << err_.str();
  const auto summary = nlohmann::json::parse(out_.str());
  EXPECT_GE(summary["metrics"]["accuracy"].get<double>(), 0.95);
  EXPECT_EQ(summary["metrics"]["history"].size(), 3U);
  EXPECT_THAT(err_.str(), HasSubstr("epoch 3/3  loss"));

  const auto archive = OpenArchive(options_.output.out / "fashion_mnist.mar", folder_.path() / "open");
  ASSERT_TRUE(archive) << archive.error().message;
  EXPECT_EQ(archive->manifest.handler, "image_classifier");
  EXPECT_EQ(archive->manifest.example_input.content_type, "image/png");
  EXPECT_EQ(archive->manifest.lineage["data"]["rows"], 256);

  // The same seed gives the same bytes, another one does not.
  options_.output.force = true;
  ASSERT_EQ(Run(), kDone) << err_.str();
  const auto digest = [this] { return nlohmann::json::parse(out_.str())["lineage"]["weights_sha256"]; };
  EXPECT_EQ(digest(), summary["lineage"]["weights_sha256"]);
  options_.network.seed = 2;
  ASSERT_EQ(Run(), kDone) << err_.str();
  EXPECT_NE(digest(), summary["lineage"]["weights_sha256"]);
}

TEST_F(ImagesTest, WithoutPicturesThePackageIsNamed) {
  options_.data = folder_.path() / "nothing";
  EXPECT_EQ(Run(), kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("install Debian's package dataset-fashion-mnist"));
}

TEST_F(ImagesTest, ALossThatIsNotFiniteHasItsOwnExitCode) {
  options_.network.learning_rate = 1e9;
  EXPECT_EQ(Run(), kDiverged) << err_.str();
  EXPECT_THAT(err_.str(), HasSubstr("try a smaller --learning-rate"));
  EXPECT_FALSE(std::filesystem::exists(options_.output.out));
}

TEST_F(ImagesTest, AnArchiveThatExistsIsKeptUnlessForced) {
  std::filesystem::create_directories(options_.output.out);
  std::ofstream(options_.output.out / "fashion_mnist.mar") << "mine";
  EXPECT_EQ(Run(), kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("exists already; replace it with --force"));
}

}  // namespace
}  // namespace serve::trainer
