// How the program starts, and how it says why it does not.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::HasSubstr;
using testing::Not;

/// A listening socket on a port that the kernel chose.
class TakenPort {
 public:
  TakenPort() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (bind(socket_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(socket_, 1) != 0) {
      throw std::runtime_error("no port is free");
    }
    getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~TakenPort() { close(socket_); }
  TakenPort(const TakenPort&) = delete;
  TakenPort& operator=(const TakenPort&) = delete;
  [[nodiscard]] std::string port() const { return std::to_string(port_); }

 private:
  const int socket_;
  int port_ = 0;
};

const std::vector<std::string> kAnyPorts = {"--inference-address",  "http://127.0.0.1:0",
                                            "--management-address", "http://127.0.0.1:0",
                                            "--metrics-address",    "http://127.0.0.1:0"};

/// Runs `flambeau serve` with what must keep it from starting.
Ran Serve(std::vector<std::string> flags, const Environment& environment = {}) {
  flags.insert(flags.begin(), "serve");
  return RunProgram(flags, environment);
}

TEST(StartTest, APortInUseNamesTheAddressAndTheFlag) {
  const TakenPort taken;
  std::vector<std::string> flags = kAnyPorts;
  flags[3] = "http://127.0.0.1:" + taken.port();
  const Ran ran = Serve(flags);
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("cannot listen on http://127.0.0.1:" + taken.port() + ": address in use"));
  EXPECT_THAT(ran.err, HasSubstr("--management-address"));
  EXPECT_THAT(ran.out, Not(HasSubstr("Model server started.")));
}

TEST(StartTest, AnAddressThatThisMachineDoesNotHaveIsNamed) {
  std::vector<std::string> flags = kAnyPorts;
  flags[1] = "http://192.0.2.1:0";
  const Ran ran = Serve(flags);
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("http://192.0.2.1:0"));
  EXPECT_THAT(ran.err, HasSubstr("--inference-address"));
}

TEST(StartTest, AnUnknownFlagIsWrongUsage) {
  const Ran ran = Serve({"--model-stor", "x"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("--model-stor is no flag"));
  EXPECT_THAT(ran.err, HasSubstr("--model-store"));
}

TEST(StartTest, AnImpossibleValueNamesItsSourceAndWhatIsPossible) {
  const Ran flag = Serve({"--batch-size", "zero"});
  EXPECT_EQ(flag.code, 1);
  EXPECT_THAT(flag.err, HasSubstr("--batch-size: `batch_size` = 'zero' is not possible"));
  EXPECT_THAT(flag.err, HasSubstr("a whole number from 1 to 100000"));

  const Ran variable = Serve({}, {{"FLAMBEAU_GRACE", "-1"}});
  EXPECT_EQ(variable.code, 1);
  EXPECT_THAT(variable.err, HasSubstr("FLAMBEAU_GRACE"));

  const TemporaryFolder folder;
  const std::string file = folder.Write("config.properties", "\ninference_address=ftp://x\n").string();
  const Ran property = Serve({"--config", file});
  EXPECT_EQ(property.code, 1);
  EXPECT_THAT(property.err, HasSubstr(file + ":2: `inference_address` = 'ftp://x'"));
}

TEST(StartTest, AMissingModelStoreOrConfigurationFileIsNamed) {
  const Ran store = Serve({"--model-store", "/nowhere/store"});
  EXPECT_EQ(store.code, 1);
  EXPECT_THAT(store.err, HasSubstr("'/nowhere/store': there is no such folder"));
  const Ran config = Serve({"--config", "/nowhere/config.properties"});
  EXPECT_EQ(config.code, 1);
  EXPECT_THAT(config.err, HasSubstr("'/nowhere/config.properties' does not exist"));
  const Ran models = Serve({"--models", "all"});
  EXPECT_EQ(models.code, 1);
  EXPECT_THAT(models.err, HasSubstr("model_store"));
}

TEST(StartTest, CheckConfigShowsEveryValueAndWhereItComesFrom) {
  const TemporaryFolder folder;
  const std::string file =
      folder.Write("config.properties", "batch_size=2\njob_queue_size=7\ngrace=5\n").string();
  const Ran ran = Serve({"--check-config", "--config", file, "--batch-size", "8"},
                        {{"FLAMBEAU_BATCH_SIZE", "4"}, {"TS_JOB_QUEUE_SIZE", "9"}});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("The configuration is usable."));
  EXPECT_THAT(ran.out, testing::ContainsRegex("batch_size += 8 +\\(--batch-size"));
  EXPECT_THAT(ran.out, testing::ContainsRegex("job_queue_size += 9 +\\(TS_JOB_QUEUE_SIZE"));
  EXPECT_THAT(ran.out, testing::ContainsRegex("grace += 5 +\\(.*config.properties:3"));
}

TEST(StartTest, CheckConfigSaysEverythingThatIsWrong) {
  const Ran ran = Serve({"--check-config", "--batch-size", "0", "--model-store", "/nowhere"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, HasSubstr("not usable: 2 errors"));
  EXPECT_THAT(ran.out, HasSubstr("batch_size"));
  EXPECT_THAT(ran.out, HasSubstr("/nowhere"));
}

TEST(StartTest, CheckConfigRefusesKeysThatNobodyKnowsAndAServerIgnoresThem) {
  const TemporaryFolder folder;
  const std::string file =
      folder.Write("config.properties", "grace=5\nbatch_sise=2\n\nthis_is_mine=1\nnumber_of_gpu=1\n")
          .string();
  const Ran ran = Serve({"--check-config", "--config", file});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, HasSubstr("error: " + file +
                                 ":2: the key `batch_sise` is unknown; did you mean "
                                 "`batch_size`?"));
  EXPECT_THAT(ran.out, HasSubstr("error: " + file + ":4: the key `this_is_mine` is unknown\n"));
  EXPECT_THAT(ran.out, HasSubstr("would start and ignore 2 unknown keys"));
  EXPECT_THAT(ran.out, HasSubstr("warning: " + file + ":5: `number_of_gpu`"));

  ServerProcess server({{}, {"--config", file}, {}});
  EXPECT_THAT(server.Log(),
              HasSubstr(":2: the key `batch_sise` is unknown; did you mean `batch_size`?; it is "
                        "ignored"));
  EXPECT_EQ(server.Stop(), 0) << server.Log();

  // TorchServe's own keys are no reason to refuse a file.
  const std::string known = folder.Write("known.properties", "number_of_gpu=1\nvmargs=-Xmx1g\n").string();
  EXPECT_EQ(Serve({"--check-config", "--config", known}).code, 0);
}

TEST(StartTest, HelpListsTheSettingsWithTheirDefaults) {
  const Ran ran = Serve({"--help"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, HasSubstr("--inference-address URL   [default: http://127.0.0.1:8080]"));
  EXPECT_THAT(ran.out, HasSubstr("FLAMBEAU_JOB_QUEUE_SIZE"));
  EXPECT_EQ(Serve({"--version"}).code, 0);
}

TEST(StartTest, AServerThatShallEndWhenAModelCannotBeLoadedDoesAndSaysWhy) {
  const TemporaryFolder store;
  std::filesystem::copy_file(ModelFile("double.pt"), store / "double.pt");
  store.Write("broken.mar", "this is no archive");
  std::vector<std::string> flags = kAnyPorts;
  flags.insert(flags.end(),
               {"--model-store", store.path().string(), "--models", "all", "--exit-on-load-failure", "true"});
  const Ran ran = Serve(flags);
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("Failed to load model: broken.mar"));
  EXPECT_THAT(ran.err, HasSubstr("exit_on_load_failure"));
  EXPECT_THAT(ran.out, Not(HasSubstr("Model server started.")));
}

TEST(StartTest, OneBadArchiveDoesNotKeepTheOthersFromBeingServed) {
  const TemporaryFolder store;
  std::filesystem::copy_file(ModelFile("double.pt"), store / "double.pt");
  store.Write("broken.mar", "this is no archive");
  store.Write("notes.txt", "no model either");
  ServerProcess server({{}, {"--model-store", store.path().string(), "--models", "all"}, {}});
  EXPECT_THAT(ModelNames(server), testing::ElementsAre("double"));
  EXPECT_TRUE(IsJson(PostJson(server.inference(), "/predictions/double", "[1]"), "[2.0]"));
  EXPECT_EQ(DescribeOne(server, "double")["loadedAtStartup"], true);
  const HttpResponse ping = Get(server.inference(), "/ping");
  EXPECT_EQ(ping.status, 503);
  EXPECT_EQ(ping.Text("status"), "Unhealthy");
  EXPECT_THAT(ping.Text("reason"), HasSubstr("broken.mar"));
  EXPECT_EQ(server.Metric("flambeau_model_load_failures_total"), 1);
  EXPECT_THAT(server.Log(), HasSubstr("Failed to load model: broken.mar"));
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

TEST(StartTest, ModelsMayBeNamedInTheList) {
  ServerProcess server({{"double.pt", "named=triple.pt"}, {}, {}});
  EXPECT_THAT(ModelNames(server), testing::ElementsAre("double", "named"));
  EXPECT_TRUE(IsJson(PostJson(server.inference(), "/predictions/named", "[1]"), "[3.0]"));
  EXPECT_EQ(Get(server.inference(), "/ping").status, 200);
}

TEST(StartTest, ThePortOfTheEnvironmentMovesTheInferenceListener) {
  std::string port = TakenPort().port();  // free again, and nobody is given it so soon
  ServerProcess::Options options;
  options.flags = {kAnyPorts.begin() + 2, kAnyPorts.end()};
  options.environment = {{"PORT", port}};
  options.pass_addresses = false;
  const ServerProcess server(options);
  EXPECT_EQ(std::to_string(server.inference()), port);
  EXPECT_EQ(Get(server.inference(), "/ping").status, 200);
  EXPECT_THAT(server.Log(), HasSubstr("http://0.0.0.0:" + port));
}

TEST(StartTest, AManagementAddressThatOthersReachRegistersNothingUnlessToldTo) {
  ServerProcess::Options options;
  options.pass_addresses = false;
  options.flags = kAnyPorts;
  options.flags[3] = "http://0.0.0.0:0";
  const Ran refused = Serve(options.flags);
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("`management_address` = 'http://0.0.0.0:0': others than this machine"));

  options.flags.emplace_back("--insecure");
  const ServerProcess closed(options);
  closed.AddModel("double.pt");
  EXPECT_TRUE(IsError(Register(closed, "url=double.pt"), 405, "MethodNotAllowedException",
                      "Requested method is not allowed, please refer to API document."));
  EXPECT_EQ(Request(closed.management(), "DELETE", "/models/double").status, 405);
  EXPECT_EQ(Get(closed.management(), "/models").status, 200);

  options.flags.insert(options.flags.end(), {"--enable-model-api", "true"});
  const ServerProcess open(options);
  open.AddModel("double.pt");
  EXPECT_EQ(Register(open, "url=double.pt").status, 200);
}

TEST(StartTest, WithoutMetricsThereIsNoMetricsListener) {
  ServerProcess server({{}, {"--enable-metrics-api", "false"}, {}});
  EXPECT_EQ(server.metrics(), 0);
  EXPECT_EQ(Get(server.inference(), "/ping").status, 200);
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

TEST(StartTest, LogsAreJsonLinesWhenAsked) {
  ServerProcess server({{"double.pt"}, {"--log-format", "json"}, {}});
  EXPECT_EQ(PostJson(server.inference(), "/predictions/double", "[1]", {{"X-Request-Id", "wire-1"}}).status,
            200);
  EXPECT_EQ(server.Stop(), 0);
  std::istringstream lines(server.process().Out());
  bool seen = false;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_TRUE(nlohmann::json::parse(line, nullptr, false).is_object()) << line;
    seen = seen || line.find("wire-1") != std::string::npos;
  }
  EXPECT_TRUE(seen) << server.Log();
}

}  // namespace
}  // namespace serve::wire
