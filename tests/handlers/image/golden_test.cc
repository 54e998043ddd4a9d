// The transform against torchvision's, for the pictures beside image_classifier_transform.json.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "handlers/image/picture.h"
#include "handlers/image/transform.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

/// Where it lies beside the sources: FLAMBEAU_SHARED_DATA, else ../shared/data.
fs::path GoldenFolder() {
  const char* folder = std::getenv("FLAMBEAU_SHARED_DATA");
  return fs::path(folder != nullptr ? fs::path(folder) : fs::path(FLAMBEAU_SOURCE_DIR) / "../shared/data") /
         "golden";
}

std::string ReadFile(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

TEST(ImageTransformTest, AgreesWithTorchvisionOnEveryGoldenPicture) {
  const fs::path file = GoldenFolder() / "image_classifier_transform.json";
  if (!fs::exists(file)) GTEST_SKIP() << "no " << file;
  const nlohmann::json golden = nlohmann::json::parse(ReadFile(file));
  const auto indices = golden["indices"].get<std::vector<std::size_t>>();
  ASSERT_FALSE(golden["images"].empty());
  for (const auto& [name, expected] : golden["images"].items()) {
    SCOPED_TRACE(name);
    const std::string bytes = ReadFile(GoldenFolder() / "images" / name);
    const auto header = ReadPictureHeader(bytes);
    ASSERT_TRUE(header) << header.error().message;
    const auto picture = DecodePicture(bytes, *header);
    ASSERT_TRUE(picture) << picture.error().message;
    std::vector<float> tensor(3 * 224 * 224);
    Transform(*picture, {}, tensor.data());

    const auto values = expected["values"].get<std::vector<float>>();
    ASSERT_EQ(values.size(), indices.size());
    double sum = 0;
    double most = 0;
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const double difference = std::fabs(tensor[indices[i]] - values[i]);
      sum += difference;
      most = std::max(most, difference);
    }
    const double mean = sum / static_cast<double>(indices.size());
    const bool lossless = fs::path(name).extension() == ".png";
    EXPECT_LE(mean, 0.01);
    EXPECT_LE(most, lossless ? 0.03 : 0.12);
    RecordProperty("mean of " + name, std::to_string(mean));
    RecordProperty("most of " + name, std::to_string(most));
    for (std::size_t c = 0; c < 3; ++c) {
      double total = 0;
      for (std::size_t i = 0; i < 224 * 224; ++i) total += tensor[c * 224 * 224 + i];
      EXPECT_NEAR(total / (224 * 224), expected["channel_mean"][c].get<double>(), 0.01);
    }
  }
}

}  // namespace
}  // namespace serve
