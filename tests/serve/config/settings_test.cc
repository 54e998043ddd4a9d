#include "serve/config/settings.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

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

// Every key that TorchServe 0.12 reads, with a value that it takes. Each is used or answered with a warning
// that says why not, whether it comes from a file or from a TS_… variable; none is an error.
const std::vector<std::pair<std::string, std::string>>& TorchServeKeys() {
  static const std::vector<std::pair<std::string, std::string>> keys = {
      {"inference_address", "http://127.0.0.1:8180"},
      {"management_address", "http://127.0.0.1:8181"},
      {"metrics_address", "http://127.0.0.1:8182"},
      {"grpc_inference_address", "127.0.0.1"},
      {"grpc_management_address", "127.0.0.1"},
      {"grpc_inference_port", "7070"},
      {"grpc_management_port", "7071"},
      {"grpc_inference_max_connection_age_ms", "60000"},
      {"grpc_inference_max_connection_age_grace_ms", "60000"},
      {"grpc_management_max_connection_age_ms", "60000"},
      {"grpc_management_max_connection_age_grace_ms", "60000"},
      {"enable_grpc_ssl", "false"},
      {"keystore", ""},
      {"keystore_pass", "changeit"},
      {"keystore_type", "PKCS12"},
      {"private_key_file", ""},
      {"certificate_file", ""},
      {"cors_allowed_origin", "*"},
      {"cors_allowed_methods", "GET, POST"},
      {"cors_allowed_headers", "X-Custom-Header"},
      {"max_request_size", "6553500"},
      {"max_response_size", "6553500"},
      {"model_store", CONFIG_FOLDER},
      {"workflow_store", CONFIG_FOLDER},
      {"load_models", "none"},
      {"models", "{}"},
      {"model_snapshot", "{\"name\":\"x.cfg\",\"modelCount\":0,\"models\":{}}"},
      {"allowed_urls", "https://example.com/.*"},
      {"use_env_allowed_urls", "true"},
      {"enable_model_api", "true"},
      {"disable_token_authorization", "true"},
      {"token_expiration_min", "60"},
      {"default_workers_per_model", "1"},
      {"default_response_timeout", "120"},
      {"default_startup_timeout", "120"},
      {"unregister_model_timeout", "120"},
      {"job_queue_size", "100"},
      {"number_of_netty_threads", "0"},
      {"netty_client_threads", "0"},
      {"number_of_gpu", "0"},
      {"prefer_direct_buffer", "true"},
      {"async_logging", "true"},
      {"decode_input_request", "true"},
      {"limit_max_image_pixels", "true"},
      {"default_service_handler", "image_classifier"},
      {"service_envelope", "kserve"},
      {"install_py_dep_per_model", "true"},
      {"blacklist_env_vars", "AWS.*"},
      {"metrics_config", CONFIG_FOLDER "/config.properties"},
      {"metrics_mode", "prometheus"},
      {"model_metrics_auto_detect", "true"},
      {"disable_system_metrics", "true"},
      {"enable_metrics_api", "true"},
      {"metric_time_interval", "60"},
      {"system_metrics_cmd", "collector.py"},
      {"ts_open_inference_protocol", "true"},
      {"ts_header_key_sequence_id", "ts_request_sequence_id"},
      {"ts_header_key_sequence_start", "ts_request_sequence_start"},
      {"ts_header_key_sequence_end", "ts_request_sequence_end"},
      {"initial_worker_port", "9000"},
      {"initial_distribution_port", "29500"},
      {"cpu_launcher_enable", "true"},
      {"cpu_launcher_args", "--use_logical_core"},
      {"ipex_enable", "true"},
      {"ipex_gpu_enable", "true"},
      {"cpp_log_config", "log.yaml"},
      {"debug", "true"},
      {"model_server_home", "/home"},
      {"use_native_io", "true"},
      {"io_ratio", "50"},
      {"vmargs", "-Xmx1g"},
      {"plugins_path", "plugins"},
      {"NUM_WORKERS", "4"},
      {"enable_envvars_config", "true"},
  };
  return keys;
}

TEST(TorchServeKeysTest, EachIsAcceptedFromAFile) {
  for (const auto& [key, value] : TorchServeKeys()) {
    const std::string path = testing::TempDir() + "flambeau_torchserve_key.properties";
    std::ofstream(path) << "model_store=" << CONFIG_FOLDER << "\n" << key << "=" << value << "\n";
    const ParsedConfig config = ParseConfig({"--config", path, "--check-config"}, {});
    EXPECT_THAT(config.errors, IsEmpty()) << key;
    for (const std::string& warning : config.warnings) {
      EXPECT_THAT(warning, ::testing::Not(HasSubstr("is unknown"))) << key;
      EXPECT_THAT(warning, HasSubstr(": ")) << key;
    }
    std::remove(path.c_str());
  }
}

TEST(TorchServeKeysTest, EachIsAcceptedFromItsVariable) {
  const std::map<std::string, std::string> special = {
      {"token_expiration_min", "TS_TOKEN_EXPIRATION_TIME_MIN"},
      {"ts_open_inference_protocol", "TS_OPEN_INFERENCE_PROTOCOL"}};
  for (const auto& [key, value] : TorchServeKeys()) {
    const auto found = special.find(key);
    const bool own = found != special.end() || key.starts_with("ts_");
    const std::string name = found != special.end() ? found->second : EnvironmentName(own ? "" : "TS_", key);
    const ParsedConfig config =
        ParseConfig({"--check-config"}, {{name, value}, {"FLAMBEAU_MODEL_STORE", CONFIG_FOLDER}}, "/nowhere");
    EXPECT_THAT(config.errors, IsEmpty()) << name;
    if (FindSetting(key) == nullptr || value.empty() || key == "model_store") continue;
    EXPECT_TRUE(std::any_of(config.values.begin(), config.values.end(), [&](const EffectiveValue& one) {
      return one.key == key && one.source == name;
    })) << name;
  }
}

TEST(LogFilesTest, AreWrittenWhereTheEnvironmentSays) {
  const auto logs = [](const std::vector<std::string>& args, const Environment& environment) {
    const ParsedConfig config = ParseConfig(args, environment, "/nowhere");
    EXPECT_THAT(config.errors, IsEmpty());
    return std::pair(config.options.log.folder, config.options.log.metrics_folder);
  };
  using Folders = std::pair<std::string, std::string>;
  EXPECT_EQ(logs({}, {}), Folders("", ""));
  EXPECT_EQ(logs({}, {{"LOG_LOCATION", "/l"}}), Folders("/l", "logs"));
  EXPECT_EQ(logs({}, {{"LOG_LOCATION", "/l"}, {"METRICS_LOCATION", "/m"}}), Folders("/l", "/m"));
  EXPECT_EQ(logs({"--log-files"}, {}), Folders("logs", "logs"));
  EXPECT_EQ(logs({"--log-files", "false"}, {{"LOG_LOCATION", "/l"}}), Folders("", ""));
}

TEST(TraceSettingsTest, OpenTelemetrysVariablesAreRead) {
  const ParsedConfig config = ParseConfig({},
                                          {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"},
                                           {"OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b,x=y=z"},
                                           {"OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"},
                                           {"OTEL_EXPORTER_OTLP_TIMEOUT", "250"},
                                           {"OTEL_SERVICE_NAME", "news"},
                                           {"OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod"},
                                           {"OTEL_TRACES_SAMPLER", "parentbased_traceidratio"},
                                           {"OTEL_TRACES_SAMPLER_ARG", "0.25"},
                                           {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"},
                                           {"GOOGLE_CLOUD_PROJECT", "lab"}},
                                          "/nowhere");
  EXPECT_THAT(config.errors, IsEmpty());
  const TraceExport& traces = config.options.trace_export;
  EXPECT_EQ(traces.endpoint, "http://collector:4318/v1/traces");
  EXPECT_EQ(traces.headers, (KeyValues{{"api-key", "a b"}, {"x", "y=z"}}));
  EXPECT_TRUE(traces.gzip);
  EXPECT_EQ(traces.timeout.count(), 250);
  EXPECT_EQ(traces.service_name, "news");
  EXPECT_EQ(traces.resource, (KeyValues{{"deployment.environment.name", "prod"}}));
  EXPECT_EQ(config.options.trace_sampling.sampler, TraceSampler::kParentRatio);
  EXPECT_EQ(config.options.trace_sampling.ratio, 0.25);
  EXPECT_EQ(config.options.log.place.project, "lab");
  EXPECT_THAT(config.warnings, testing::ElementsAre(HasSubstr("not as grpc")));
  EXPECT_THAT(CheckReport(config), testing::Not(HasSubstr("a%20b"))) << "a collector's key";
}

TEST(TraceSettingsTest, TheNameForTracesAndTheFlagAreStronger) {
  const Environment both = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318"},
                            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b/otlp"}};
  EXPECT_EQ(ParseConfig({}, both, "/nowhere").options.trace_export.endpoint, "http://b/otlp");
  EXPECT_EQ(ParseConfig({"--trace-endpoint", "http://c"}, both, "/nowhere").options.trace_export.endpoint,
            "http://c");
}

TEST(TraceSettingsTest, WhatIsWrongIsSaid) {
  for (const auto& [key, value] : std::map<std::string, std::string>{{"trace-endpoint", "collector:4318"},
                                                                     {"trace-ratio", "1.1"},
                                                                     {"trace-ratio", "nan"},
                                                                     {"trace-sampler", "sometimes"},
                                                                     {"trace-headers", "key"},
                                                                     {"trace-headers", "key=%4"},
                                                                     {"trace-headers", "key=%0d%0ax"},
                                                                     {"trace-project", "a\"b"}}) {
    const ParsedConfig config = ParseConfig({"--" + key, value}, {}, "/nowhere");
    EXPECT_THAT(config.errors, testing::ElementsAre(HasSubstr("--" + key))) << value;
  }
}

TEST(CloudRunTest, ChangesDefaultsAndNothingThatIsGiven) {
  const Environment cloud_run = {
      {"K_SERVICE", "news"}, {"K_REVISION", "news-0001"}, {"K_CONFIGURATION", "news"}, {"PORT", "9090"}};
  const ParsedConfig there = ParseConfig({}, cloud_run, "/nowhere");
  EXPECT_THAT(there.errors, IsEmpty());
  EXPECT_EQ(there.options.log.format, LogFormat::kJson);
  EXPECT_EQ(there.options.grace.count(), 8);
  EXPECT_EQ(there.options.http.trusted_proxies, 1);
  EXPECT_EQ(there.options.instance.revision, "news-0001");
  EXPECT_EQ(there.options.log.place.service, "news");
  EXPECT_EQ(there.options.inference, (ListenAddress{"0.0.0.0", 9090}));
  const ParsedConfig given =
      ParseConfig({"--log-format", "text", "--grace", "3", "--trusted-proxies", "2"}, cloud_run, "/nowhere");
  EXPECT_EQ(given.options.log.format, LogFormat::kText);
  EXPECT_EQ(given.options.grace.count(), 3);
  EXPECT_EQ(given.options.http.trusted_proxies, 2);
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
