// What an operator asks a real server and its machine.

#include <string>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;

class OperatorsTest : public SharedServer<OperatorsTest> {
 public:
  static ServerProcess::Options Options() { return {{"triple.pt"}, {}, {}}; }

 protected:
  static std::string Url(int port) { return "http://127.0.0.1:" + std::to_string(port); }
  static Environment Addresses() {
    return {{"FLAMBEAU_MANAGEMENT_URL", Url(server().management())},
            {"FLAMBEAU_INFERENCE_URL", Url(server().inference())},
            {"FLAMBEAU_METRICS_URL", Url(server().metrics())}};
  }
  static Ran Tool(const std::vector<std::string>& args) { return RunProgram(args, Addresses()); }
};

TEST_F(OperatorsTest, PingSaysReadyOfTheServerAndOfOneModel) {
  EXPECT_EQ(Tool({"ping"}).out, "ready\n");
  EXPECT_EQ(Tool({"ping", Url(server().inference()) + "/v2/models/triple/ready"}).code, 0);
  EXPECT_EQ(Tool({"ping", Url(server().inference()) + "/v2/models/nobody/ready"}).code, 1);
}

TEST_F(OperatorsTest, StatusCountsWhatIsAsked) {
  for (int i = 0; i < 7; ++i)
    EXPECT_EQ(PostJson(server().inference(), "/predictions/triple", "[1]").status, 200);
  const Ran text = Tool({"status", "--once"});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, AllOf(ContainsRegex("flambeau [0-9.]+  ready  up "),
                              ContainsRegex("triple:1.0\\* +100 +[01]/1")));
  const auto json = nlohmann::json::parse(Tool({"status", "--once", "--json"}).out);
  const auto& model = json["models"][0];
  EXPECT_EQ(model["model"], "triple");
  EXPECT_GT(model["p99Ms"].get<double>(), 0);
  EXPECT_GE(model["batchRows"].get<double>(), 1);
}

TEST_F(OperatorsTest, StatusShowsTheLastProblems) {
  EXPECT_EQ(Register(server(), "url=triple.pt&model_name=wrong&input=x:float32:[2]&number_of_wings=2").status,
            200);
  const nlohmann::json status = Get(server().management(), "/status").Json();
  EXPECT_EQ(status["ready"], true);
  ASSERT_FALSE(status["problems"].empty());
  EXPECT_THAT(status["problems"][0]["message"].get<std::string>(), HasSubstr("number_of_wings"));
  EXPECT_THAT(Tool({"status", "--once"}).out, AllOf(HasSubstr("LAST PROBLEMS"), HasSubstr("warning")));
}

TEST_F(OperatorsTest, TheDoctorLoadsLibtorchAndSeesWhoHasThePort) {
  const Ran looked = Tool({"doctor", "--inference-address", Url(server().inference()), "--management-address",
                           "http://127.0.0.1:0", "--metrics-address", "http://127.0.0.1:0", "--model-store",
                           server().store().string(), "--models", "all"});
  EXPECT_EQ(looked.code, 1) << "the port is taken";
  EXPECT_THAT(looked.out,
              AllOf(ContainsRegex("ok    libtorch      libtorch 2[.0-9]+, kernels for "),
                    ContainsRegex("FAIL  address       inference .* is taken by flambeau \\(process"),
                    HasSubstr("ok    archive       triple.pt")));
}

TEST_F(OperatorsTest, CompletionAndManualPagesComeFromTheProgramItself) {
  EXPECT_THAT(Tool({"completion", "bash"}).out, HasSubstr("complete -o filenames -F _flambeau flambeau"));
  EXPECT_THAT(Tool({"man", "serve"}).out, HasSubstr(".TH FLAMBEAU\\-SERVE 1"));
}

TEST_F(OperatorsTest, BashOffersTheModelsOfTheServer) {
  const std::filesystem::path program = ProgramPath();
  const Ran offered =
      RunOther("bash",
               {"-c", "PATH='" + program.parent_path().string() + "':$PATH\nsource <('" + program.string() +
                          "' completion bash)\nexport FLAMBEAU_MANAGEMENT_URL=" + Url(server().management()) +
                          "\nCOMP_WORDS=(flambeau models describe tri)\nCOMP_CWORD=3\n"
                          "_flambeau\necho \"${COMPREPLY[*]}\"\n"},
               "");
  EXPECT_EQ(offered.out, "triple\n") << offered.err;
}

}  // namespace

TEST(StoppedServerTest, StatusAndPingAreOneWhenNobodyAnswers) {
  EXPECT_EQ(RunProgram({"status", "--once", "--management", "http://127.0.0.1:1"}).code, 1);
  EXPECT_EQ(RunProgram({"ping", "http://127.0.0.1:1"}).code, 1);
}

TEST(BrokenStartTest, StatusIsThreeAndSaysWhichModelIsMissing) {
  ServerProcess::Options options;
  options.flags = {"--models", "missing.mar"};
  options.wait_for_models = false;
  ServerProcess server(options);
  const std::string management = "http://127.0.0.1:" + std::to_string(server.management());
  Ran shown;
  EXPECT_TRUE(WaitUntil([&] {
    shown = RunProgram({"status", "--once", "--management", management, "--metrics",
                        "http://127.0.0.1:" + std::to_string(server.metrics())});
    return shown.out.find("LAST PROBLEMS") != std::string::npos;
  }));
  EXPECT_EQ(shown.code, 3);
  EXPECT_THAT(shown.out, AllOf(HasSubstr("NOT READY"), HasSubstr("missing.mar")));
  const Ran ping = RunProgram({"ping", "http://127.0.0.1:" + std::to_string(server.inference())});
  EXPECT_EQ(ping.code, 1);
  EXPECT_THAT(ping.err, HasSubstr("not ready: "));
  EXPECT_EQ(RunProgram({"ping", "--live", "http://127.0.0.1:" + std::to_string(server.inference())}).code, 0);
}

}  // namespace serve::wire
