#include "serve/config/settings.h"

#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/config/config.h"
#include "serve/config/properties.h"

namespace serve {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(SettingsTest, KeysAreUniqueAndEveryRowIsComplete) {
  std::set<std::string, std::less<>> keys;
  for (const Setting& setting : Settings()) {
    EXPECT_TRUE(keys.insert(setting.key).second) << setting.key;
    EXPECT_FALSE(setting.help.empty()) << setting.key;
    EXPECT_FALSE(setting.value.empty()) << setting.key;
  }
  for (const UnusedSetting& setting : UnusedSettings()) {
    EXPECT_TRUE(keys.insert(std::string(setting.key)).second) << setting.key;
    EXPECT_FALSE(setting.reason.empty()) << setting.key;
  }
}

TEST(SettingsTest, GroupsStandTogether) {
  std::set<std::string> seen;
  std::string current;
  for (const Setting& setting : Settings()) {
    if (setting.group == current) continue;
    current = setting.group;
    EXPECT_TRUE(seen.insert(current).second) << current;
  }
}

// The table's defaults and those of the options.h files are one thing written twice.
TEST(SettingsTest, DefaultsAreThoseOfTheOptions) {
  const AppOptions want;
  AppOptions got;
  // Something else everywhere, so that a row that sets nothing shows.
  got.inference = got.management = got.metrics = {"other", 1};
  got.http = {1, 1, 1, {}, {}, {}, {}};
  got.io_threads = got.management_threads = got.start_workers = got.intra_op_threads = -1;
  got.management_api.allow_model_api = false;
  got.management_api.default_workers = -1;
  got.management_api.defaults.scheduler = {7, 7, std::chrono::milliseconds(7)};
  got.management_api.defaults.response_timeout = got.management_api.defaults.startup_timeout = {};
  got.max_archive_bytes = 1;
  got.metrics_listener = false;
  got.torchserve_metric_names = true;
  got.log.level = LogLevel::kError;
  got.log.format = LogFormat::kJson;
  got.log.access_log = false;
  got.grace = {};
  got.load_models = "other";
  got.single_port = true;
  got.tls.keystore_pass = "other";
  got.tls.only_tls_1_3 = true;
  got.client_certificates = {false, false, true};
  for (const Setting& setting : Settings()) {
    if (setting.default_text.empty()) continue;
    EXPECT_EQ(setting.apply(setting.default_text, got), "") << setting.key;
  }

  EXPECT_EQ(got.inference, want.inference);
  EXPECT_EQ(got.management, want.management);
  EXPECT_EQ(got.metrics, want.metrics);
  EXPECT_EQ(got.http.max_body_bytes, want.http.max_body_bytes);
  EXPECT_EQ(got.http.max_header_bytes, want.http.max_header_bytes);
  EXPECT_EQ(got.http.max_connections, want.http.max_connections);
  EXPECT_EQ(got.http.header_timeout, want.http.header_timeout);
  EXPECT_EQ(got.http.body_timeout, want.http.body_timeout);
  EXPECT_EQ(got.http.idle_timeout, want.http.idle_timeout);
  EXPECT_EQ(got.http.write_timeout, want.http.write_timeout);
  EXPECT_EQ(got.io_threads, want.io_threads);
  EXPECT_EQ(got.management_threads, want.management_threads);
  EXPECT_EQ(got.start_workers, want.start_workers);
  EXPECT_EQ(got.intra_op_threads, want.intra_op_threads);
  EXPECT_EQ(got.management_api.allow_model_api, want.management_api.allow_model_api);
  EXPECT_EQ(got.management_api.default_workers, want.management_api.default_workers);
  const VersionOptions& got_version = got.management_api.defaults;
  const VersionOptions& want_version = want.management_api.defaults;
  EXPECT_EQ(got_version.scheduler.capacity, want_version.scheduler.capacity);
  EXPECT_EQ(got_version.scheduler.batch_size, want_version.scheduler.batch_size);
  EXPECT_EQ(got_version.scheduler.max_batch_delay, want_version.scheduler.max_batch_delay);
  EXPECT_EQ(got_version.response_timeout, want_version.response_timeout);
  EXPECT_EQ(got_version.startup_timeout, want_version.startup_timeout);
  EXPECT_EQ(got.max_archive_bytes, want.max_archive_bytes);
  EXPECT_EQ(got.metrics_listener, want.metrics_listener);
  EXPECT_EQ(got.torchserve_metric_names, want.torchserve_metric_names);
  EXPECT_EQ(got.log.level, want.log.level);
  EXPECT_EQ(got.log.format, want.log.format);
  EXPECT_EQ(got.log.access_log, want.log.access_log);
  EXPECT_EQ(got.grace, want.grace);
  EXPECT_EQ(got.load_models, want.load_models);
  EXPECT_EQ(got.single_port, want.single_port);
  EXPECT_EQ(got.tls.keystore_pass, want.tls.keystore_pass);
  EXPECT_EQ(got.tls.only_tls_1_3, want.tls.only_tls_1_3);
  EXPECT_EQ(got.client_certificates.inference, want.client_certificates.inference);
  EXPECT_EQ(got.client_certificates.management, want.client_certificates.management);
  EXPECT_EQ(got.client_certificates.metrics, want.client_certificates.metrics);
}

Properties ReadFile(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return ParseProperties(std::string((std::istreambuf_iterator<char>(file)), {}));
}

TEST(ShippedFilesTest, ConfigPropertiesHasEverySettingWithItsDefault) {
  const Properties file = ReadFile(CONFIG_FOLDER "/config.properties");
  EXPECT_THAT(file.errors, IsEmpty());
  std::map<std::string, std::string> values;
  for (const Property& property : file.entries) {
    EXPECT_TRUE(values.emplace(property.key, property.value).second) << "twice: " << property.key;
    EXPECT_NE(FindSetting(property.key), nullptr) << "unknown: " << property.key;
  }
  for (const Setting& setting : Settings()) {
    ASSERT_TRUE(values.count(setting.key)) << "missing: " << setting.key;
    EXPECT_EQ(values[setting.key], setting.default_text) << setting.key;
  }
}

TEST(ShippedFilesTest, ExamplesAreUsable) {
  for (const char* name : {"container", "development"}) {
    const std::string path = std::string(CONFIG_FOLDER "/examples/") + name + ".properties";
    // Their model stores are not here; another one is stronger.
    const ParsedConfig config = ParseConfig({"--config", path, "--model-store", CONFIG_FOLDER}, {});
    EXPECT_THAT(config.errors, IsEmpty()) << name;
    EXPECT_THAT(config.warnings, IsEmpty()) << name;
  }
}

TEST(NearestTest, FindsATypoAndNothingForAnotherWord) {
  const std::vector<std::string> known = {"batch_size", "job_queue_size", "grace"};
  EXPECT_EQ(Nearest("bach_size", known), "batch_size");
  EXPECT_EQ(Nearest("job_queue_sise", known), "job_queue_size");
  EXPECT_EQ(Nearest("grcae", known), "grace");
  EXPECT_EQ(Nearest("colour", known), "");
}

TEST(HelpTest, ListsEverySettingWithFlagVariableAndDefault) {
  const std::string help = HelpText();
  for (const Setting& setting : Settings()) {
    EXPECT_THAT(help, HasSubstr(FlagOf(setting.key) + " ")) << setting.key;
    EXPECT_THAT(help, HasSubstr(EnvironmentName("FLAMBEAU_", setting.key) + "\n")) << setting.key;
    EXPECT_THAT(help, HasSubstr("[default: " + setting.default_text)) << setting.key;
  }
  EXPECT_THAT(help, HasSubstr("--inference-address URL   [default: http://127.0.0.1:8080]"));
  EXPECT_THAT(help, HasSubstr("Examples:"));
}

}  // namespace
}  // namespace serve
