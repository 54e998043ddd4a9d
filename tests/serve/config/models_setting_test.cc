#include "serve/config/models_setting.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/config/config.h"

namespace serve {
namespace {

using testing::HasSubstr;

TEST(ModelsSettingTest, ValuesAreReadByNameAndVersion) {
  const Result<ModelConfigs> models = ParseModelsSetting(
      R"({"news": {"1.0": {"defaultVersion": true, "marName": "news.mar", "minWorkers": 2, "maxWorkers": 3,
                           "batchSize": 4, "maxBatchDelay": 5, "responseTimeout": 6, "startupTimeout": 7},
                   "2.0": {"batchSize": 0, "maxBatchDelay": -1}}})");
  ASSERT_TRUE(models) << models.error().message;
  const ModelConfig& one = models->at("news").at("1.0");
  EXPECT_TRUE(one.default_version);
  EXPECT_EQ(one.min_workers, 2);
  EXPECT_EQ(one.max_workers, 3);
  EXPECT_EQ(one.batch_size, 4);
  EXPECT_EQ(one.max_batch_delay, std::chrono::milliseconds(5));
  EXPECT_EQ(one.response_timeout, std::chrono::seconds(6));
  EXPECT_EQ(one.startup_timeout, std::chrono::seconds(7));
  const ModelConfig& two = models->at("news").at("2.0");
  EXPECT_FALSE(two.batch_size) << "0 and below mean: not given";
  EXPECT_FALSE(two.max_batch_delay);
}

TEST(ModelsSettingTest, AnErrorNamesModelVersionAndKey) {
  const auto message = [](std::string_view text) {
    const Result<ModelConfigs> models = ParseModelsSetting(text);
    return models ? std::string("no error") : models.error().message;
  };
  EXPECT_THAT(message("{"), HasSubstr("no JSON"));
  EXPECT_THAT(message("[]"), HasSubstr("object"));
  EXPECT_THAT(message(R"({"a": 1})"), HasSubstr("model `a`"));
  EXPECT_THAT(message(R"({"a": {"1": {"batchSize": "x"}}})"),
              HasSubstr("model `a` version `1`: `batchSize` must be a whole number"));
}

TEST(ModelsSettingTest, ABrokenValueIsAnErrorOfTheConfiguration) {
  const ParsedConfig config = ParseConfig({}, {{"TS_MODELS", "{"}});
  EXPECT_THAT(config.errors,
              testing::ElementsAre(testing::AllOf(HasSubstr("TS_MODELS"), HasSubstr("no JSON"))));
}

}  // namespace
}  // namespace serve
