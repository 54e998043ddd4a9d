// What flambeau-train makes, behind HTTP: right answers from the archive that it packed.

#include <sstream>

#include "tests/trainer/idx_files.h"
#include "tests/wire/wire_test.h"
#include "trainer/data/png.h"
#include "trainer/images.h"

namespace serve::wire {
namespace {

class TrainedTest : public SharedServer<TrainedTest> {
 public:
  static ServerProcess::Options Options() { return {{}, {"--tuning", "off"}, {}}; }
};

TEST_F(TrainedTest, PicturesThatNobodyTrainedOnAreClassified) {
  const TemporaryFolder folder;
  trainer::WriteIdxSet(folder.path(), "train", 256, 0);
  trainer::WriteIdxSet(folder.path(), "t10k", 40, 1000);
  trainer::ImagesOptions options;
  options.data = folder.path();
  options.labels = {"north-west", "north-east", "south-west", "south-east"};
  options.network.mirror = false;
  options.network.batch_size = 16;
  options.network.threads = 1;
  options.output.name = "quarters";
  options.output.out = server().store();
  options.output.management = "http://127.0.0.1:" + std::to_string(server().management());
  std::ostringstream out;
  std::ostringstream err;
  ASSERT_EQ(trainer::RunImages(options, {out, err, false}), trainer::kDone) << err.str();

  for (std::size_t label = 0; label < 4; ++label) {
    const auto pixels = trainer::QuarterPicture(label, 5000 + label);
    const HttpResponse response =
        Request(server().inference(), "POST", "/predictions/quarters", {{"Content-Type", "image/png"}},
                trainer::GreyPng(pixels.data(), trainer::kSide, trainer::kSide));
    ASSERT_EQ(response.status, 200) << response.body;
    const auto answer = nlohmann::ordered_json::parse(response.body);
    EXPECT_EQ(answer.begin().key(), options.labels[label]);
    EXPECT_GT(answer.front().get<double>(), 0.5);
  }
}

}  // namespace
}  // namespace serve::wire
