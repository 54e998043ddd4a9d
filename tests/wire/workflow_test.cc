// Workflows: registered, asked, described and removed; what a client sees when a part of one fails.

#include <string>
#include <thread>
#include <vector>

#include "model_store/archive/workflow_archive.h"
#include "tests/model_store/archive/raw_zip.h"
#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kParallel = R"(
models:
  max-workers: 2
  double: {url: double.pt, batch-size: 4}
  triple: {url: triple.pt}
functions: {start: pass, both: merge}
dag:
  start: [double, triple]
  double: [both]
  triple: [both]
)";

class WorkflowTest : public SharedServer<WorkflowTest> {
 public:
  static ServerProcess::Options Options() {
    return {{"double.pt", "triple.pt", "slow.pt", "throws.pt", "mlp.pt"}, {"--max-workflow-nodes", "20"}, {}};
  }

 protected:
  /// A folder of the store is a workflow too.
  static void Write(const std::string& name, const std::string& yaml) {
    const auto folder = server().store() / name;
    std::filesystem::create_directories(folder / "WAR-INF");
    std::ofstream(folder / "spec.yaml") << yaml;
    std::ofstream(folder / "WAR-INF" / "MANIFEST.json")
        << R"({"workflow": {"workflowName": ")" << name << R"(", "specFile": "spec.yaml"}})";
  }
  static HttpResponse RegisterWorkflow(const std::string& query) {
    return Request(server().management(), "POST", "/workflows?" + query);
  }
  static void MustRegister(const std::string& name, const std::string& yaml) {
    Write(name, yaml);
    ASSERT_TRUE(IsStatus(RegisterWorkflow("url=" + name), 200,
                         "Workflow " + name + " has been registered and scaled successfully."));
  }
  static HttpResponse Predict(const std::string& name, const std::string& json, const Headers& headers = {}) {
    return PostJson(server().inference(), "/wfpredict/" + name, json, headers);
  }
  static HttpResponse Remove(const std::string& name) {
    return Request(server().management(), "DELETE", "/workflows/" + name);
  }
};

TEST_F(WorkflowTest, OneModelAfterTheOther) {
  MustRegister("chain", "models: {a: {url: double.pt}, b: {url: triple.pt, batch-size: 8}}\ndag: {a: [b]}");
  const HttpResponse response = Predict("chain", "[1, 2]");
  EXPECT_TRUE(IsJson(response, "[6.0, 12.0]"));
  EXPECT_EQ(response.Header("content-type"), "application/json");
  EXPECT_TRUE(IsJson(Predict("chain", "{\"instances\": [[1], [2]]}"), "{\"predictions\": [[6.0], [12.0]]}"));
  EXPECT_THAT(ModelNames(server()), Contains("chain__a"));
  EXPECT_EQ(DescribeOne(server(), "chain__b")["batchSize"], 8);
  EXPECT_TRUE(IsJson(PostJson(server().inference(), "/predictions/chain__b", "[1]"), "[3.0]"));
  EXPECT_GE(server().Metric("flambeau_workflow_requests_total", {"workflow=\"chain\"", "code=\"2xx\""}), 2);
  EXPECT_GE(server().Metric("flambeau_workflow_duration_seconds_count", {"workflow=\"chain\""}), 2);

  EXPECT_TRUE(IsError(Request(server().management(), "DELETE", "/models/chain__a"), 409,
                      "ConflictStatusException", "DELETE /workflows/chain"));
  EXPECT_TRUE(IsStatus(Remove("chain"), 200, "Workflow \"chain\" unregistered"));
  EXPECT_THAT(ModelNames(server()), Not(Contains("chain__a")));
  EXPECT_TRUE(
      IsError(Predict("chain", "[1]"), 404, "WorkflowNotFoundException", "Workflow not found: chain"));
  EXPECT_THAT(Get(server().metrics(), "/metrics").body, Not(HasSubstr("workflow=\"chain\"")));
  MustRegister("chain", "models: {a: {url: double.pt}}\ndag: {a: }");
  EXPECT_TRUE(IsJson(Predict("chain", "[1]"), "[2.0]"));
}

TEST_F(WorkflowTest, TwoModelsSideBySideAreMerged) {
  MustRegister("parallel", kParallel);
  EXPECT_TRUE(IsJson(Predict("parallel", "[1, 2]"), R"({"double": [2.0, 4.0], "triple": [3.0, 6.0]})"));
  const nlohmann::json description = Get(server().management(), "/workflows/parallel").Json();
  ASSERT_EQ(description.size(), 1U);
  EXPECT_EQ(description[0]["workflowName"], "parallel");
  EXPECT_EQ(description[0]["workflowUrl"], "parallel");
  EXPECT_EQ(description[0]["minWorkers"], 1);
  EXPECT_EQ(description[0]["maxWorkers"], 2);
  EXPECT_EQ(description[0]["batchSize"], 1);
  EXPECT_EQ(description[0]["workflowDag"], "{start=[double, triple], double=[both], triple=[both]}");
  EXPECT_EQ(description[0]["nodes"][1]["modelName"], "parallel__double");
  EXPECT_EQ(description[0]["nodes"][1]["batchSize"], 4);
  EXPECT_EQ(description[0]["nodes"][3]["function"], "merge");
}

TEST_F(WorkflowTest, AMergeFeedsAModelOfSeveralInputs) {
  CreateOptions options;
  options.model_name = "two_inputs";
  options.inputs = {Spec("x:float32:[-1]"), Spec("mask:float32:[-1]")};
  Pack(server(), "states.pt", options);
  MustRegister("join",
               "models: {x: {url: double.pt}, mask: {url: triple.pt}, last: {url: two_inputs.mar}}\n"
               "functions: {start: pass, both: merge}\n"
               "dag: {start: [x, mask], x: [both], mask: [both], both: [last]}");
  EXPECT_TRUE(IsJson(Predict("join", "[1, 2]"), "[[2.0, 4.0], [4.0, 16.0]]"));
}

TEST_F(WorkflowTest, SeveralLeavesMakeAnObject) {
  MustRegister("leaves",
               "models: {a: {url: double.pt}, b: {url: triple.pt}, c: {url: triple.pt}}\ndag: {a: [b, c]}");
  EXPECT_TRUE(IsJson(Predict("leaves", "[1]"), R"({"b": [6.0], "c": [6.0]})"));
}

TEST_F(WorkflowTest, AnArchiveThatTheToolMade) {
  TemporaryFolder folder;
  const std::string spec = folder.Write("spec.yaml", kParallel);
  const Ran packed = RunProgram({"workflow-archive", "--workflow-name", "packed", "--spec-file", spec,
                                 "--export-path", server().store().string()});
  ASSERT_EQ(packed.code, 0) << packed.err;
  EXPECT_TRUE(IsStatus(Request(server().management(), "POST", "/workflows",
                               {{"Content-Type", "application/json"}}, R"({"url": "packed.war"})"),
                       200, "Workflow packed has been registered and scaled successfully."));
  EXPECT_TRUE(IsStatus(
      Request(server().management(), "POST", "/workflows",
              {{"Content-Type", "application/x-www-form-urlencoded"}}, "url=packed.war&workflow_name=other"),
      200, "Workflow other has been registered and scaled successfully."));
  EXPECT_TRUE(IsJson(Predict("other", "[1]"), R"({"double": [2.0], "triple": [3.0]})"));
  EXPECT_TRUE(IsError(RegisterWorkflow("url=packed.war"), 409, "ConflictStatusException",
                      "Workflow packed is already registered."));
  const std::string address = "http://127.0.0.1:" + std::to_string(server().management());
  const Ran list = RunProgram({"--management", address, "workflows", "list"});
  EXPECT_THAT(list.out, HasSubstr("packed  "));
  const Ran described = RunProgram({"--management", address, "workflows", "describe", "packed"});
  EXPECT_THAT(described.out, HasSubstr("packed__double"));
  EXPECT_EQ(RunProgram({"--management", address, "workflows", "remove", "packed"}).code, 0);
  EXPECT_EQ(RunProgram({"--management", address, "workflows", "describe", "packed"}).code, 1);
  for (const std::string& name : server().Unpacked()) EXPECT_THAT(name, Not(HasSubstr("workflow-")));
}

TEST_F(WorkflowTest, PagesOfTheList) {
  for (const char* name : {"page1", "page2", "page3"}) {
    MustRegister(name, "models: {a: {url: double.pt}}\ndag: {a: []}");
  }
  std::vector<std::string> names;
  std::string token = "0";
  for (int pages = 0; pages < 100 && !token.empty(); ++pages) {
    const nlohmann::json page =
        Get(server().management(), "/workflows?limit=2&next_page_token=" + token).Json();
    for (const auto& workflow : page["workflows"]) names.push_back(workflow["workflowName"]);
    token = page.value("nextPageToken", "");
  }
  EXPECT_THAT(names, Contains("page1"));
  EXPECT_THAT(names, Contains("page3"));
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

TEST_F(WorkflowTest, ErrorsNameTheNodeAndKeepTheirStatus) {
  MustRegister("errors", "models: {a: {url: double.pt}, b: {url: throws.pt}}\ndag: {a: [b]}");
  EXPECT_TRUE(IsError(Predict("errors", "nonsense"), 400, "BadRequestException", "Error executing a: "));
  const HttpResponse failed = Predict("errors", "[1000]");  // 2000 after the first model
  EXPECT_TRUE(IsError(failed, 503, "InternalServerException", "Error executing b: "));
  EXPECT_THAT(failed.Text("message"), HasSubstr("above 1000"));
  // A row of two numbers fits the first model only.
  MustRegister("misfit", "models: {a: {url: double.pt}, b: {url: mlp.pt}}\ndag: {a: [b]}");
  EXPECT_GE(Predict("misfit", "[1, 2]").status, 500);
  EXPECT_TRUE(IsJson(Predict("errors", "[1]"), "[4.0]"));
}

TEST_F(WorkflowTest, ADeadlineCoversTheWhole) {
  MustRegister("slow", "models: {a: {url: slow.pt}, b: {url: slow.pt}}\ndag: {a: [b]}");
  EXPECT_TRUE(IsJson(Predict("slow", "[1]"), "[1.0]"));
  const HttpResponse late = Predict("slow", "[200]", {{"X-Request-Timeout-Ms", "250"}});
  EXPECT_EQ(late.status, 504) << late.body;
  const HttpResponse refused = Predict("slow", "[1]", {{"X-Request-Timeout-Ms", "soon"}});
  EXPECT_TRUE(IsError(refused, 400, "BadRequestException", "X-Request-Timeout-Ms"));
}

TEST_F(WorkflowTest, AClientThatLeavesCancelsWhatHasNotStarted) {
  MustRegister("left", "models: {a: {url: slow.pt}, b: {url: double.pt}}\ndag: {a: [b]}");
  // Once seen to be slow, it leaves the thread that has to notice that the client is gone.
  EXPECT_TRUE(IsJson(Predict("left", "[200]"), "[400.0]"));
  {
    Pending pending(server().inference(), "/wfpredict/left", "[1500]");
    ASSERT_TRUE(WaitUntil(
        [] { return server().Metric("flambeau_in_flight_requests", {"model_name=\"left__a\""}) > 0; }));
    pending.Abandon();
  }
  EXPECT_TRUE(WaitUntil([] {
    return server().Metric("flambeau_workflow_requests_total", {"workflow=\"left\"", "4xx"}) == 1;
  }));
  EXPECT_EQ(server().Metric("ts_inference_requests_total", {"model_name=\"left__b\""}), 1) << "the first";
}

TEST_F(WorkflowTest, RequestsOfSeveralClientsShareTheModels) {
  MustRegister("busy", kParallel);
  std::vector<std::thread> clients;
  std::vector<int> wrong(4, 0);
  for (int client = 0; client < 4; ++client) {
    clients.emplace_back([&, client] {
      try {
        WireConnection connection(server().inference());
        for (int i = 0; i < 50; ++i) {
          const int n = client * 100 + i;
          const HttpResponse response =
              connection.Request("POST", "/wfpredict/busy", {{"Content-Type", "application/json"}},
                                 "[" + std::to_string(n) + "]");
          if (!IsJson(response, "{\"double\": [" + std::to_string(2 * n) + "], \"triple\": [" +
                                    std::to_string(3 * n) + "]}")) {
            ++wrong[client];
          }
        }
      } catch (const std::exception&) {
        ++wrong[client];
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST_F(WorkflowTest, RemovingWaitsForTheRequestsThatRun) {
  MustRegister("drained", "models: {a: {url: slow.pt}, b: {url: double.pt}}\ndag: {a: [b]}");
  Pending pending(server().inference(), "/wfpredict/drained", "[300]");
  ASSERT_TRUE(WaitUntil(
      [] { return server().Metric("flambeau_in_flight_requests", {"model_name=\"drained__a\""}) > 0; }));
  EXPECT_TRUE(IsStatus(Remove("drained"), 200, "Workflow \"drained\" unregistered"));
  EXPECT_TRUE(IsJson(pending.Answer(), "[600.0]"));
}

TEST_F(WorkflowTest, AllModelsOrNone) {
  Write("partly",
        "models: {a: {url: double.pt}, b: {url: none.mar}, c: {url: also.mar}}\n"
        "dag: {a: [b], b: [c]}");
  const HttpResponse response = RegisterWorkflow("url=partly");
  EXPECT_TRUE(IsError(response, 500, "WorkflowException",
                      "Workflow partly has failed to register. Failures: [Workflow Node partly__b failed to "
                      "register. Details: Model not found at: none.mar"));
  EXPECT_THAT(response.Text("message"), HasSubstr(", Workflow Node partly__c failed"));
  EXPECT_THAT(ModelNames(server()), Not(Contains("partly__a")));
  EXPECT_EQ(Get(server().management(), "/workflows/partly").status, 404);
}

TEST_F(WorkflowTest, WhatCannotBeRegisteredSaysWhy) {
  const auto refused = [](const std::string& yaml, int status, const std::string& type,
                          const std::string& text) {
    Write("refused", yaml);
    EXPECT_TRUE(IsError(RegisterWorkflow("url=refused"), status, type, text)) << yaml;
  };
  const std::string models = "models: {a: {url: double.pt}, b: {url: double.pt}}\n";
  refused(models + "dag: {a: [a]}", 400, "InvalidDAGException", "Self loop exception");
  refused(models + "dag: {a: [b], b: [a]}", 400, "InvalidDAGException",
          "DAG should have only one start node");
  refused(models + "dag: {a: [], b: []}", 400, "InvalidDAGException", "DAG should have only one start node");
  refused(models + "dag: {a: [b], b: [post]}", 400, "BadRequestException", "post");
  std::string many = "models:\n";
  std::string dag = "dag:\n";
  for (int i = 0; i < 21; ++i) {
    many += "  n" + std::to_string(i) + ": {url: double.pt}\n";
    dag += "  n" + std::to_string(i) + ": [n" + std::to_string(i + 1) + "]\n";
  }
  refused(many + dag, 400, "BadRequestException", "max_workflow_nodes");
  refused(std::string(300'000, '#'), 400, "BadRequestException", "allowed are 262144");
  refused("a: &a [x]\nb: *a", 400, "BadRequestException", "anchors and aliases");

  EXPECT_TRUE(IsError(RegisterWorkflow(""), 400, "BadRequestException", "Parameter url is required."));
  EXPECT_TRUE(IsError(RegisterWorkflow("url="), 404, "WorkflowNotFoundException", "Workflow not found at: "));
  EXPECT_TRUE(IsError(RegisterWorkflow("url=sub/x.war"), 404, "WorkflowNotFoundException",
                      "Workflow not found in workflow store: x.war"));
  EXPECT_TRUE(
      IsError(RegisterWorkflow("url=http://x/y.war"), 404, "WorkflowNotFoundException", "allowed URL"));
  EXPECT_TRUE(IsError(RegisterWorkflow("url=double.pt"), 400, "BadRequestException", "a workflow is a .war"));
  EXPECT_TRUE(IsError(RegisterWorkflow("url=refused&workflow_name=a/b"), 400, "BadRequestException",
                      "a workflow's name"));
  EXPECT_EQ(Request(server().management(), "PUT", "/workflows/x").status, 405);
  EXPECT_EQ(Request(server().inference(), "GET", "/wfpredict/x").status, 405);
}

TEST_F(WorkflowTest, HostileArchivesLeaveNothingBehind) {
  const auto zip = [](const std::string& name, const std::vector<RawEntry>& entries) {
    std::ofstream(server().store() / name, std::ios::binary) << RawZip(entries);
  };
  const std::string manifest = R"({"workflow": {"workflowName": "evil", "specFile": "s.yaml"}})";
  const auto before = server().Unpacked();
  zip("slip.war", {{"WAR-INF/MANIFEST.json", manifest}, {"../../evil", "x"}});
  zip("link.war", {{"WAR-INF/MANIFEST.json", manifest}, {"s.yaml", "/etc/passwd", 0120777}});
  zip("out.war",
      {{"WAR-INF/MANIFEST.json", R"({"workflow": {"workflowName": "e", "specFile": "../../etc/passwd"}})"}});
  zip("none.war", {{"WAR-INF/MANIFEST.json", manifest}});
  zip("empty.war", {{"s.yaml", "x"}});
  std::ofstream(server().store() / "text.war") << "no zip";
  for (const char* name : {"slip", "link", "out", "none", "empty", "text"}) {
    const HttpResponse response = RegisterWorkflow("url=" + std::string(name) + ".war");
    EXPECT_EQ(response.status, 400) << name << response.body;
    EXPECT_EQ(response.Text("type"), "BadRequestException") << name;
  }
  EXPECT_EQ(server().Unpacked(), before);
  EXPECT_FALSE(std::filesystem::exists(server().store().parent_path() / "evil"));
}

TEST(WorkflowApiOffTest, RegisteringNeedsTheModelApi) {
  ServerProcess server({{"double.pt"}, {"--enable-model-api", "false"}, {}});
  EXPECT_EQ(Request(server.management(), "POST", "/workflows?url=x.war").status, 405);
  EXPECT_EQ(Request(server.management(), "DELETE", "/workflows/x").status, 405);
  EXPECT_EQ(Get(server.management(), "/workflows").status, 200);
  EXPECT_EQ(server.Stop(), 0);
}

}  // namespace
}  // namespace serve::wire
