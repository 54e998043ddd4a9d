#include "serve/config/config.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// An empty working folder.
class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "flambeau_config_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~ConfigTest() override { std::filesystem::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }
  ParsedConfig Parse(const std::vector<std::string>& args, const Environment& environment = {}) {
    return ParseConfig(args, environment, folder_.string());
  }
  static EffectiveValue ValueOf(const ParsedConfig& config, const std::string& key) {
    for (const EffectiveValue& value : config.values) {
      if (value.key == key) return value;
    }
    ADD_FAILURE() << "no value of " << key;
    return {};
  }
  static std::int64_t BatchSize(const ParsedConfig& config) {
    return config.options.management_api.defaults.scheduler.batch_size;
  }

  std::filesystem::path folder_;
};

TEST_F(ConfigTest, NothingGivenIsTheDefaults) {
  const ParsedConfig config = Parse({});
  EXPECT_THAT(config.errors, IsEmpty());
  EXPECT_THAT(config.warnings, IsEmpty());
  EXPECT_EQ(config.action, ParsedConfig::Action::kServe);
  EXPECT_EQ(config.options.inference, (ListenAddress{"127.0.0.1", 8080}));
  EXPECT_EQ(ValueOf(config, "batch_size").source, "default");
}

TEST_F(ConfigTest, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  const std::string file = Write("my.properties", "batch_size=2\n");
  const Environment ts = {{"TS_BATCH_SIZE", "3"}};
  const Environment both = {{"TS_BATCH_SIZE", "3"}, {"FLAMBEAU_BATCH_SIZE", "4"}};

  const ParsedConfig by_file = Parse({"--config", file});
  EXPECT_EQ(BatchSize(by_file), 2);
  EXPECT_EQ(ValueOf(by_file, "batch_size").source, file + ":1");
  EXPECT_EQ(BatchSize(Parse({"--config", file}, ts)), 3);
  const ParsedConfig by_environment = Parse({"--config", file}, both);
  EXPECT_EQ(BatchSize(by_environment), 4);
  EXPECT_EQ(ValueOf(by_environment, "batch_size").source, "FLAMBEAU_BATCH_SIZE");
  const ParsedConfig by_flag = Parse({"--config", file, "--batch-size", "5"}, both);
  EXPECT_EQ(BatchSize(by_flag), 5);
  EXPECT_EQ(ValueOf(by_flag, "batch_size").source, "--batch-size");
}

TEST_F(ConfigTest, AFlagMayBeWrittenWithEqualsAndTheLastOneCounts) {
  EXPECT_EQ(BatchSize(Parse({"--batch-size=2", "--batch-size", "3"})), 3);
}

TEST_F(ConfigTest, ABooleanMayStandAlone) {
  EXPECT_TRUE(Parse({"--access-log", "--grace", "1"}).options.log.access_log);
  EXPECT_FALSE(Parse({"--access-log", "false"}).options.log.access_log);
  EXPECT_FALSE(Parse({"--access-log=FALSE"}).options.log.access_log);
  EXPECT_TRUE(Parse({"--enable-model-api"}).options.management_api.allow_model_api);
}

TEST_F(ConfigTest, TheFileIsFoundInEveryWay) {
  const std::string one = Write("one.properties", "batch_size=11\n");
  const std::string two = Write("two.properties", "batch_size=12\n");
  EXPECT_EQ(BatchSize(Parse({"--ts-config", one})), 11);
  EXPECT_EQ(BatchSize(Parse({}, {{"TS_CONFIG_FILE", one}})), 11);
  EXPECT_EQ(BatchSize(Parse({}, {{"TS_CONFIG_FILE", one}, {"FLAMBEAU_CONFIG_FILE", two}})), 12);
  EXPECT_EQ(BatchSize(Parse({"--config", one}, {{"TS_CONFIG_FILE", two}})), 11);
}

TEST_F(ConfigTest, AFileInTheWorkingFolderIsReadAndNamed) {
  const std::string file = Write("config.properties", "batch_size=13\n");
  const ParsedConfig config = Parse({});
  EXPECT_EQ(BatchSize(config), 13);
  EXPECT_THAT(config.notes, Contains(HasSubstr(file)));
}

TEST_F(ConfigTest, AMissingFileIsAnError) {
  const std::string path = (folder_ / "none.properties").string();
  EXPECT_THAT(Parse({"--config", path}).errors,
              ElementsAre(AllOf(HasSubstr("--config"), HasSubstr(path), HasSubstr("does not exist"))));
  EXPECT_THAT(Parse({}, {{"TS_CONFIG_FILE", folder_.string()}}).errors,
              ElementsAre(AllOf(HasSubstr("TS_CONFIG_FILE"), HasSubstr("cannot be read"))));
}

TEST_F(ConfigTest, EnvironmentVariablesAreSubstitutedInTheFile) {
  const std::string file =
      Write("c.properties", "inference_address=http://$$HOST$$:$$WEB_PORT$$\nlog_file=a$$b\n");
  const ParsedConfig config = Parse({"--config", file}, {{"HOST", "127.0.0.1"}, {"WEB_PORT", "9090"}});
  EXPECT_THAT(config.errors, IsEmpty());
  EXPECT_EQ(config.options.inference, (ListenAddress{"127.0.0.1", 9090}));
  EXPECT_EQ(config.options.log.file, "a$$b");  // a single $$ is just text
  EXPECT_THAT(
      Parse({"--config", file}, {{"HOST", "127.0.0.1"}}).errors,
      ElementsAre(AllOf(HasSubstr(file + ":1"), HasSubstr("inference_address"), HasSubstr("WEB_PORT"))));
}

TEST_F(ConfigTest, AnEmptyValueInFileOrEnvironmentIsNotSet) {
  const std::string file = Write("c.properties", "batch_size=\nmodel_store=\n");
  const ParsedConfig config = Parse({"--config", file}, {{"FLAMBEAU_GRACE", ""}});
  EXPECT_THAT(config.errors, IsEmpty());
  EXPECT_EQ(BatchSize(config), 1);
  EXPECT_EQ(config.options.grace, std::chrono::seconds(10));
  EXPECT_THAT(Parse({"--batch-size="}).errors, SizeIs(1));  // on the command line it is a mistake
}

TEST_F(ConfigTest, PortMovesTheInferenceListenerUnlessItsFlagIsGiven) {
  const Environment cloud = {{"PORT", "8088"}, {"TS_INFERENCE_ADDRESS", "http://127.0.0.1:1"}};
  EXPECT_EQ(Parse({}, cloud).options.inference, (ListenAddress{"0.0.0.0", 8088}));
  EXPECT_EQ(Parse({"--inference-address", "http://127.0.0.1:2"}, cloud).options.inference,
            (ListenAddress{"127.0.0.1", 2}));
  EXPECT_THAT(Parse({}, {{"PORT", "web"}}).errors, ElementsAre(AllOf(HasSubstr("PORT"), HasSubstr("web"))));
}

TEST_F(ConfigTest, AllErrorsAreReportedTogetherWithSourceKeyValueAndWhatIsAllowed) {
  const std::string file = Write("c.properties", "# first\njob_queue_size=0\nx=\\uZZ\n");
  const ParsedConfig config =
      Parse({"--config", file, "--log-format", "xml", "--model-store", "/no/such/folder"},
            {{"TS_MAX_REQUEST_SIZE", "9g"}});
  EXPECT_THAT(config.errors, SizeIs(5));
  EXPECT_THAT(config.errors, Contains(AllOf(HasSubstr(file + ":2"), HasSubstr("`job_queue_size` = '0'"),
                                            HasSubstr("from 1 to 1000000"))));
  EXPECT_THAT(config.errors, Contains(HasSubstr(file + ":3")));
  EXPECT_THAT(config.errors,
              Contains(AllOf(HasSubstr("--log-format"), HasSubstr("'xml'"), HasSubstr("text|json"))));
  EXPECT_THAT(config.errors, Contains(AllOf(HasSubstr("--model-store"), HasSubstr("/no/such/folder"))));
  EXPECT_THAT(config.errors, Contains(AllOf(HasSubstr("TS_MAX_REQUEST_SIZE"), HasSubstr("'9g'"))));
  EXPECT_FALSE(config.usage_error);
}

TEST_F(ConfigTest, AnUnknownFlagIsAUsageErrorWithTheNearestOne) {
  const ParsedConfig config = Parse({"--bach-size", "--grace=1"});
  EXPECT_THAT(config.errors,
              ElementsAre(AllOf(HasSubstr("--bach-size"), HasSubstr("did you mean `--batch-size`"))));
  EXPECT_TRUE(config.usage_error);
  EXPECT_TRUE(Parse({"stray"}).usage_error);
  EXPECT_TRUE(Parse({""}).usage_error);
  EXPECT_TRUE(Parse({"--batch-size"}).usage_error);
  EXPECT_TRUE(Parse({"--batch-size", "--grace", "1"}).usage_error);
}

TEST_F(ConfigTest, AnUnknownKeyOfTheFileStopsNoServerAndIsNamedWithTheNearestOne) {
  const std::string file = Write("c.properties", "job_que_size=5\nmy_plugin_key=x\n");
  const ParsedConfig config = Parse({"--config", file});
  EXPECT_THAT(config.errors, IsEmpty());
  EXPECT_THAT(config.warnings, IsEmpty());
  EXPECT_THAT(config.unknown_keys,
              ElementsAre(AllOf(HasSubstr(file + ":1"), HasSubstr("did you mean `job_queue_size`")),
                          AllOf(HasSubstr(file + ":2"), HasSubstr("`my_plugin_key` is unknown"))));
}

TEST_F(ConfigTest, AKeyThatComesTwiceIsAWarningAndTheLastOneCounts) {
  const std::string file = Write("c.properties", "batch_size=2\nbatch_size=3\n");
  const ParsedConfig config = Parse({"--config", file});
  EXPECT_EQ(BatchSize(config), 3);
  EXPECT_THAT(config.warnings, ElementsAre(AllOf(HasSubstr(file + ":2"), HasSubstr("line 1 is ignored"))));
}

TEST_F(ConfigTest, KeysOfTorchServeThatAreNotUsedWarnOnce) {
  const std::string file =
      Write("c.properties",
            "install_py_dep_per_model=true\nenable_grpc_ssl=false\nasync_logging=true\nnumber_of_gpu=2\n");
  const ParsedConfig config = Parse({"--config", file, "--disable-token-auth", "--ncs"});
  EXPECT_THAT(config.errors, IsEmpty());
  // What asks for the way it is anyway warns of nothing.
  EXPECT_THAT(config.warnings,
              ::testing::UnorderedElementsAre(
                  AllOf(HasSubstr(file + ":1"), HasSubstr("`install_py_dep_per_model` is not supported")),
                  AllOf(HasSubstr(file + ":4"), HasSubstr("number_of_gpu"))));
}

TEST_F(ConfigTest, AMistypedVariableIsAWarningAndOnesOfOthersAreNot) {
  const ParsedConfig config = Parse({}, {{"FLAMBEAU_BACH_SIZE", "5"},
                                         {"FLAMBEAU_SERVICE_HOST", "10.0.0.1"},
                                         {"FLAMBEAU_PORT", "tcp://10.0.0.1:80"},
                                         {"FLAMBEAU_PORT_80_TCP_ADDR", "10.0.0.1"},
                                         {"FLAMBEAU_GRACE", "3"}});
  EXPECT_THAT(config.warnings,
              ElementsAre(AllOf(HasSubstr("FLAMBEAU_BACH_SIZE"), HasSubstr("FLAMBEAU_BATCH_SIZE"))));
}

TEST_F(ConfigTest, ModelsTakesSeveralWords) {
  const ParsedConfig config =
      Parse({"--models", "a.mar", "b=c.mar", "--model-store", folder_.string(), "--grace", "1"});
  EXPECT_THAT(config.errors, IsEmpty());
  EXPECT_EQ(config.options.load_models, "a.mar,b=c.mar");
  EXPECT_EQ(Parse({"--load-models", "all", "--model-store", folder_.string()}).options.load_models, "all");
}

TEST_F(ConfigTest, ModelsWithoutAStoreCannotBeLoaded) {
  EXPECT_THAT(Parse({"--models", "all"}).errors,
              ElementsAre(AllOf(HasSubstr("--models"), HasSubstr("model_store"))));
  EXPECT_THAT(Parse({"--models", "none"}).errors, IsEmpty());
}

TEST_F(ConfigTest, AModelStoreThatIsAFileIsRefused) {
  EXPECT_THAT(Parse({"--model-store", Write("file", "")}).errors, ElementsAre(HasSubstr("not a folder")));
}

TEST_F(ConfigTest, ListenersMayNotShareAPort) {
  EXPECT_THAT(
      Parse({"--management-address", "http://0.0.0.0:8080", "--insecure"}).errors,
      ElementsAre(AllOf(HasSubstr("--management-address"), HasSubstr("`inference_address` (default)"))));
  EXPECT_THAT(Parse({"--inference-address", "http://127.0.0.1:0", "--management-address",
                     "http://127.0.0.1:0", "--metrics-address", "http://127.0.0.1:0"})
                  .errors,
              IsEmpty());
  EXPECT_THAT(Parse({"--metrics-address", "http://127.0.0.1:8080", "--enable-metrics-api=false"}).errors,
              IsEmpty());
}

TEST_F(ConfigTest, ListenersMayHaveExactlyTheSameAddress) {
  const ParsedConfig config = Parse({"--management-address", "http://localhost:8080"});
  EXPECT_THAT(config.errors, IsEmpty());
  EXPECT_TRUE(config.options.management_listener);
  EXPECT_THAT(
      Parse({"--management-address", "http://0.0.0.0:8085", "--inference-address", "http://0.0.0.0:8085"})
          .errors,
      ElementsAre(HasSubstr("token_file")));
}

TEST_F(ConfigTest, OnASinglePortManagementNeedsATokenOrTheWordInsecure) {
  const ParsedConfig config = Parse({"--single-port"}, {{"PORT", "8888"}});
  EXPECT_THAT(config.errors, IsEmpty());
  EXPECT_EQ(config.options.inference, (ListenAddress{"0.0.0.0", 8888}));
  EXPECT_EQ(config.options.metrics, config.options.inference);
  EXPECT_FALSE(config.options.management_listener);
  EXPECT_THAT(config.notes, Contains(HasSubstr("the management API is not served")));
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{"--insecure"}, std::vector<std::string>{"--token-file", "keys.json"}}) {
    std::vector<std::string> args = {"--single-port"};
    args.insert(args.end(), more.begin(), more.end());
    EXPECT_TRUE(Parse(args).options.management_listener) << more[0];
    EXPECT_EQ(Parse(args).options.management, (ListenAddress{"127.0.0.1", 8080}));
  }
}

TEST_F(ConfigTest, HttpsNeedsAKey) {
  EXPECT_THAT(Parse({"--inference-address", "https://127.0.0.1:8443"}).errors,
              ElementsAre(AllOf(HasSubstr("--inference-address"), HasSubstr("private_key_file"),
                                HasSubstr("keystore"), HasSubstr("openssl req"))));
  const std::string file = Write("some.pem", "");
  EXPECT_THAT(Parse({"--inference-address", "https://127.0.0.1", "--certificate-file", file}).errors,
              ElementsAre(HasSubstr("`private_key_file`")));
  EXPECT_THAT(Parse({"--inference-address", "https://127.0.0.1", "--keystore", "/no/such"}).errors,
              ElementsAre(HasSubstr("no such file")));
  const ParsedConfig config =
      Parse({"--inference-address", "https://127.0.0.1", "--management-address", "https://127.0.0.1",
             "--metrics-address", "https://127.0.0.1", "--keystore", file, "--keystore-pass", "do not tell",
             "--tls-min-version", "1.3"});
  EXPECT_THAT(config.errors, IsEmpty());
  EXPECT_EQ(config.options.inference.port, 443);
  EXPECT_EQ(config.options.management.port, 8444);
  EXPECT_EQ(config.options.metrics.port, 8445);
  EXPECT_TRUE(config.options.tls.only_tls_1_3);
  EXPECT_EQ(config.options.tls.keystore_pass, "do not tell");
  EXPECT_THAT(CheckReport(config), ::testing::Not(HasSubstr("do not tell")));
  EXPECT_THAT(Parse({"--keystore", "k.p12"}).warnings,
              ElementsAre(HasSubstr("no address begins with https")));
  EXPECT_THAT(Parse({"--client-ca-file", file}).errors,
              ElementsAre(HasSubstr("no address begins with https")));
  EXPECT_THAT(Parse({"--keystore-type", "JKS"}).errors, ElementsAre(HasSubstr("keytool")));
}

TEST_F(ConfigTest, ClientCertificatesProtectTheManagementApi) {
  const std::string file = Write("some.pem", "");
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--keystore", file, "--client-ca-file", file});
    return Parse(more);
  };
  EXPECT_THAT(with({"--management-address", "https://0.0.0.0"}).errors, IsEmpty());
  EXPECT_TRUE(with({"--management-address", "https://0.0.0.0"}).options.management_api.allow_model_api);
  EXPECT_THAT(with({"--management-address", "https://0.0.0.0", "--client-certificates", "inference"}).errors,
              ::testing::Contains(HasSubstr("token_file")));
  EXPECT_THAT(
      with({"--management-address", "https://0.0.0.0", "--client-certificates", "metrics,management"}).errors,
      ElementsAre(HasSubstr("`metrics_address` does not begin")));
  EXPECT_THAT(Parse({"--client-certificates", "others"}).errors,
              ElementsAre(HasSubstr("inference, management")));
  // Served at one place, they ask together.
  EXPECT_TRUE(
      with({"--single-port", "--inference-address", "https://0.0.0.0", "--client-certificates", "metrics"})
          .options.client_certificates.management);
}

TEST_F(ConfigTest, TheModelApiIsOnWhileManagementIsOnLoopback) {
  const auto allowed = [this](std::vector<std::string> args) {
    return Parse(args).options.management_api.allow_model_api;
  };
  EXPECT_TRUE(allowed({}));
  EXPECT_FALSE(allowed({"--enable-model-api=false"}));
  EXPECT_FALSE(allowed({"--management-address", "http://0.0.0.0:8081", "--insecure"}));
  EXPECT_TRUE(allowed({"--management-address", "http://0.0.0.0:8081", "--insecure", "--enable-model-api"}));
  EXPECT_TRUE(allowed({"--management-address", "http://0.0.0.0:8081", "--disable-token-auth", "false"}));
  EXPECT_THAT(Parse({"--management-address", "http://0.0.0.0:8081", "--insecure"}).notes,
              Contains(HasSubstr("enable_model_api=true")));
}

TEST_F(ConfigTest, ManagementForOthersNeedsATokenOrTheWordInsecure) {
  const std::vector<std::string> open = {"--management-address", "http://0.0.0.0:8081"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), open.begin(), open.end());
    return Parse(more);
  };
  EXPECT_THAT(with({}).errors, ElementsAre(AllOf(HasSubstr("--management-address"), HasSubstr("token_file"),
                                                 HasSubstr("insecure=true"))));
  EXPECT_THAT(with({"--disable-token-auth"}).errors, SizeIs(1));
  EXPECT_THAT(with({"--disable-token-auth", "false"}).errors, IsEmpty());
  EXPECT_THAT(with({"--token-file", "keys.json"}).errors, IsEmpty());
  const ParsedConfig insecure = with({"--insecure"});
  EXPECT_THAT(insecure.errors, IsEmpty());
  EXPECT_THAT(insecure.warnings, ElementsAre(HasSubstr("(insecure)")));
}

TEST_F(ConfigTest, TokensAreAskedForWhenAKeyIsConfigured) {
  const auto enabled = [this](std::vector<std::string> args, const Environment& environment = {}) {
    return Parse(args, environment).options.tokens.enabled;
  };
  EXPECT_FALSE(enabled({}));
  EXPECT_FALSE(enabled({"--dt"}));
  EXPECT_FALSE(enabled({"--dt", "--token-file", "keys.json"}));
  EXPECT_TRUE(enabled({"--token-file", "keys.json"}));
  EXPECT_TRUE(enabled({"--key-file", "keys.json"}));
  EXPECT_TRUE(enabled({}, {{"TS_DISABLE_TOKEN_AUTHORIZATION", "false"}}));
  EXPECT_EQ(Parse({}, {{"TS_TOKEN_EXPIRATION_TIME_MIN", "0.25"}}).options.tokens.lifetime,
            std::chrono::seconds(15));
  EXPECT_THAT(Parse({"--token-expiration-min", "0"}).errors, SizeIs(1));
}

TEST_F(ConfigTest, SnapshotsLieInTheModelStoreOrWhereTorchServeHasThem) {
  const auto folder = [this](std::vector<std::string> args, const Environment& environment = {}) {
    return Parse(args, environment).options.management_api.snapshot_folder;
  };
  const std::string store = folder_.string();
  EXPECT_EQ(folder({}), "");
  EXPECT_EQ(folder({"--model-store", store}), store + "/.snapshots");
  EXPECT_EQ(folder({"--model-store", store}, {{"LOG_LOCATION", "/logs"}}), "/logs/config");
  EXPECT_EQ(folder({"--model-store", store, "--snapshot-folder", "here"}), "here");
  EXPECT_EQ(folder({"--model-store", store, "--snapshot-folder", "here", "--ncs"}), "");
  EXPECT_EQ(folder({"--model-store", store, "--config-snapshots=false"}), "");
}

TEST_F(ConfigTest, FoldersOfFilesMustExist) {
  EXPECT_THAT(Parse({"--log-file", "/no/such/server.log", "--port-file", folder_.string()}).errors,
              ElementsAre(AllOf(HasSubstr("log_file"), HasSubstr("/no/such")), HasSubstr("port_file")));
}

TEST_F(ConfigTest, SizesMayHaveAUnit) {
  EXPECT_EQ(Parse({"--max-request-size", "2m"}).options.http.max_body_bytes, 2u << 20);
  EXPECT_EQ(Parse({"--max-request-size", "64K"}).options.http.max_body_bytes, 64u << 10);
  for (const char* text : {"0", "-1", "m", "1.5m", "1t", "99999999999999999999", "9223372036854775807g"}) {
    EXPECT_THAT(Parse({"--max-request-size", text}).errors, SizeIs(1)) << text;
  }
}

TEST_F(ConfigTest, MetricsModeChoosesTheNames) {
  EXPECT_FALSE(Parse({}).options.torchserve_metric_names);
  EXPECT_TRUE(Parse({"--metrics-mode", "PROMETHEUS"}).options.torchserve_metric_names);
  EXPECT_TRUE(Parse({"--metrics-mode", "legacy"}).options.torchserve_metric_names);
}

TEST_F(ConfigTest, ActionsAreRead) {
  using Action = ParsedConfig::Action;
  EXPECT_EQ(Parse({"--help"}).action, Action::kHelp);
  EXPECT_EQ(Parse({"-h"}).action, Action::kHelp);
  EXPECT_EQ(Parse({"--version"}).action, Action::kVersion);
  EXPECT_EQ(Parse({"--check-config", "--grace", "1"}).action, Action::kCheckConfig);
}

TEST_F(ConfigTest, TheReportShowsFindingsAndEveryValueWithItsSource) {
  const std::string file = Write("c.properties", "batch_size=2\nunheard_of=1\n");
  const std::string report = CheckReport(Parse({"--config", file, "--grace", "x"}));
  EXPECT_THAT(report, HasSubstr("error: --grace: `grace` = 'x'"));
  EXPECT_THAT(report, HasSubstr("error: " + file + ":2"));
  EXPECT_THAT(report, HasSubstr("not usable: 2 errors."));
  EXPECT_THAT(report, HasSubstr("= 2   (" + file + ":1)"));
  EXPECT_THAT(report, HasSubstr("= 100   (default)"));
  EXPECT_THAT(CheckReport(Parse({})), HasSubstr("The configuration is usable."));
}

TEST(ProcessEnvironmentTest, HoldsTheVariablesOfThisProcess) {
  ASSERT_EQ(setenv("FLAMBEAU_TEST_OF_ENVIRONMENT", "a=b", 1), 0);
  EXPECT_EQ(ProcessEnvironment()["FLAMBEAU_TEST_OF_ENVIRONMENT"], "a=b");
  unsetenv("FLAMBEAU_TEST_OF_ENVIRONMENT");
}

}  // namespace
}  // namespace serve
