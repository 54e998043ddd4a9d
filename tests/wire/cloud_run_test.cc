// What a container platform asks of the program: the port, probes, the way it ends, its log lines and traces.

#include <algorithm>
#include <atomic>
#include <set>
#include <signal.h>
#include <sstream>
#include <string>
#include <vector>

#include "tests/model_store/http_client/fake_server.h"
#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

const std::string kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
const std::string kCaller = "00f067aa0ba902b7";
const std::string kTraceparent = "00-" + kTrace + "-" + kCaller + "-01";

/// Takes spans. The first `refusals` calls are answered 503.
class Collector {
 public:
  explicit Collector(int refusals = 0)
      : refusals_(refusals), server_([this](const FakeServer::Request&) {
          if (refusals_-- <= 0) return FakeServer::Json(200, "{}");
          FakeServer::Response busy = FakeServer::Json(503, "{}");
          busy.set("Retry-After", "0");
          return busy;
        }) {}
  [[nodiscard]] std::string url() const { return server_.url(); }
  [[nodiscard]] std::vector<FakeServer::Request> requests() const { return server_.requests(); }
  /// Of every call that was made, also of those that were refused.
  [[nodiscard]] std::vector<json> Spans() const {
    std::vector<json> spans;
    for (const FakeServer::Request& request : server_.requests()) {
      const json body = json::parse(request.body());
      for (const json& span : body["resourceSpans"][0]["scopeSpans"][0]["spans"]) spans.push_back(span);
    }
    return spans;
  }

 private:
  std::atomic<int> refusals_;
  FakeServer server_;
};

std::string Attribute(const json& span, const std::string& key) {
  for (const json& attribute : span.value("attributes", json::array())) {
    if (attribute["key"] == key) return attribute["value"].begin().value();
  }
  return "";
}

/// The JSON lines of an output; every line but TorchServe's must be one.
std::vector<json> Lines(const std::string& text) {
  std::vector<json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(json::parse(line, nullptr, false));
    EXPECT_TRUE(lines.back().is_object()) << line;
    EXPECT_TRUE(lines.back().contains("severity") && lines.back().contains("time")) << line;
  }
  return lines;
}

ServerProcess::Options OnCloudRun(std::vector<std::string> models, Environment more = {}) {
  ServerProcess::Options options{std::move(models), {}, std::move(more)};
  options.environment.insert(
      {{"K_SERVICE", "news"}, {"K_REVISION", "news-0001"}, {"K_CONFIGURATION", "news"}});
  return options;
}

TEST(TracesTest, ARequestAndItsStepsReachTheCollectorWithinTheCallersTrace) {
  const Collector collector(1);
  ServerProcess server(OnCloudRun({"double.pt"}, {{"OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()},
                                                  {"OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%3Db"},
                                                  {"OTEL_RESOURCE_ATTRIBUTES", "team=ml"}}));
  EXPECT_TRUE(IsJson(PostJson(server.inference(), "/predictions/double?secret=1", "[1]",
                              {{"TraceParent", kTraceparent}, {"tracestate", "a=b"}, {"Tracestate", "c=d"}}),
                     "[2.0]"));
  EXPECT_TRUE(WaitUntil([&] { return server.Metric("flambeau_spans_exported_total") == 5; })) << server.Log();
  EXPECT_EQ(server.Stop(), 0) << server.Log();

  const std::vector<FakeServer::Request> calls = collector.requests();
  ASSERT_EQ(calls.size(), 2u) << "a 503 is tried again";
  EXPECT_EQ(calls[0].target(), "/v1/traces");
  EXPECT_EQ(calls[1]["api-key"], "a=b");
  const json resource = json::parse(calls[1].body())["resourceSpans"][0]["resource"];
  EXPECT_EQ(Attribute(resource, "service.name"), "news");
  EXPECT_EQ(Attribute(resource, "faas.version"), "news-0001");
  EXPECT_EQ(Attribute(resource, "team"), "ml");

  const std::vector<json> all = collector.Spans();
  const std::vector<json> spans(all.begin() + 5, all.end());
  EXPECT_EQ(std::vector<json>(all.begin(), all.begin() + 1), std::vector<json>(1, spans[0]));
  const json& request = spans[0];
  EXPECT_EQ(request["name"], "POST /predictions/{model}");
  EXPECT_EQ(request["kind"], 2);
  EXPECT_EQ(request["traceId"], kTrace);
  EXPECT_EQ(request["parentSpanId"], kCaller);
  EXPECT_EQ(request["traceState"], "a=b,c=d");
  EXPECT_EQ(Attribute(request, "url.path"), "/predictions/double");
  EXPECT_EQ(Attribute(request, "http.response.status_code"), "200");
  EXPECT_EQ(Attribute(request, "flambeau.model"), "double");
  EXPECT_EQ(Attribute(request, "flambeau.version"), "1.0");
  EXPECT_EQ(Attribute(request, "server.address"), "localhost");
  const auto time = [](const json& span, const char* end) {
    return std::stoll(span[end].get<std::string>());
  };
  std::vector<std::string> names;
  std::set<std::string> ids = {request["spanId"]};
  long long before = time(request, "startTimeUnixNano");
  for (std::size_t i = 1; i < spans.size(); ++i) {
    const json& step = spans[i];
    names.push_back(step["name"]);
    EXPECT_EQ(step["traceId"], kTrace);
    EXPECT_EQ(step["parentSpanId"], request["spanId"]);
    EXPECT_TRUE(ids.insert(step["spanId"]).second);
    EXPECT_GE(time(step, "startTimeUnixNano"), before) << step;
    EXPECT_GE(time(step, "endTimeUnixNano"), time(step, "startTimeUnixNano")) << step;
    EXPECT_LE(time(step, "endTimeUnixNano"), time(request, "endTimeUnixNano")) << step;
    before = time(step, "endTimeUnixNano");
  }
  EXPECT_EQ(names, (std::vector<std::string>{"prepare", "queue", "batch", "render"}));
  EXPECT_EQ(Attribute(spans[3], "flambeau.batch.requests"), "1");
  EXPECT_THAT(json(spans).dump(), Not(HasSubstr("secret")));
}

TEST(TracesTest, TheCallersChoiceIsKeptTheRestIsSampledAndProbesAreNot) {
  const Collector collector;
  ServerProcess server({{"zeros.pt"},
                        {"--trace-endpoint", collector.url() + "/otlp", "--trace-sampler",
                         "parentbased_traceidratio", "--trace-ratio", "0"},
                        {}});
  const std::string path = "/predictions/zeros";
  const std::string unsampled = "00-" + kTrace + "-" + kCaller + "-00";
  PostJson(server.inference(), path, "[1]");
  PostJson(server.inference(), path, "[1]", {{"traceparent", unsampled}});
  PostJson(server.inference(), path, "[1]", {{"traceparent", kTraceparent}, {"Traceparent", kTraceparent}});
  Request(server.inference(), "GET", "/v2/health/ready", {{"traceparent", kTraceparent}});
  const HttpResponse failed = PostJson(server.inference(), path, "[1]",
                                       {{"X-Cloud-Trace-Context", kTrace + "/67667974448284343;o=1"}});
  EXPECT_GE(failed.status, 500);
  EXPECT_EQ(Request(server.inference(), "GET", "/nowhere", {{"traceparent", kTraceparent}}).status, 404);
  EXPECT_EQ(server.Stop(), 0) << server.Log();

  std::vector<json> requests;
  for (const json& span : collector.Spans()) {
    if (span["kind"] == 2) requests.push_back(span);
  }
  ASSERT_EQ(requests.size(), 2u);
  std::sort(requests.begin(), requests.end(), [](const json& left, const json& right) {
    return left["name"].get<std::string>().size() > right["name"].get<std::string>().size();
  });
  EXPECT_EQ(requests[0]["parentSpanId"], kCaller);
  EXPECT_EQ(requests[0]["status"]["code"], 2);
  EXPECT_EQ(requests[0]["status"]["message"], failed.Text("message"));
  EXPECT_EQ(Attribute(requests[0], "error.type"), std::to_string(failed.status));
  EXPECT_EQ(requests[1]["name"], "GET") << "a path of a client is no name";
  EXPECT_FALSE(requests[1].contains("status"));
  EXPECT_EQ(collector.requests()[0].target(), "/otlp");
}

TEST(TracesTest, AnAnswerInPartsIsOneBatchAndARequestThatIsGivenUpHasNoSteps) {
  const Collector collector;
  ServerProcess server(
      {{"slow.pt"}, {"--inline-limit-us", "0"}, {{"OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()}}});
  MustRegister(server, "counting.pt", "counting", "&handler=text_generator");
  WireConnection connection(server.inference());
  connection.Send(RequestText("POST", "/predictions/counting",
                              {{"Content-Type", "application/json"}, {"traceparent", kTraceparent}},
                              R"({"input_ids": [8], "max_new_tokens": 3})"));
  connection.ReadUntil("\r\n0\r\n\r\n");
  EXPECT_EQ(PostJson(server.inference(), "/predictions/slow", "[700]",
                     {{"traceparent", kTraceparent}, {"X-Request-Timeout-Ms", "100"}})
                .status,
            504);
  EXPECT_EQ(server.Stop(), 0) << server.Log();

  std::string streamed;
  std::string given_up;
  std::vector<json> batches;
  int steps = 0;
  for (const json& span : collector.Spans()) {
    if (span["kind"] == 2 && Attribute(span, "flambeau.model") == "counting") streamed = span["spanId"];
    if (span["kind"] == 2 && Attribute(span, "http.response.status_code") == "504") {
      given_up = span["spanId"];
      EXPECT_EQ(Attribute(span, "flambeau.model"), "slow");
      EXPECT_THAT(span["status"]["message"].get<std::string>(), HasSubstr("limit of 100 ms"));
    }
    if (span["name"] == "batch") batches.push_back(span);
  }
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0]["parentSpanId"], streamed);
  EXPECT_EQ(Attribute(batches[0], "flambeau.batches"), "3");
  for (const json& span : collector.Spans()) steps += span.value("parentSpanId", "") == given_up ? 1 : 0;
  EXPECT_EQ(steps, 0) << "its worker may still write the times";
}

TEST(TracesTest, ACollectorThatIsAwayCostsSpansAndNoRequest) {
  ServerProcess server({{"double.pt"}, {"--trace-endpoint", DeadUrl(), "--trace-interval-ms", "10"}, {}});
  for (int i = 0; i < 20; ++i)
    ASSERT_EQ(PostJson(server.inference(), "/predictions/double", "[1]").status, 200);
  EXPECT_EQ(server.Stop(), 0) << server.Log();
  EXPECT_THAT(server.Log(), HasSubstr("traces do not reach the collector"));
}

TEST(CloudRunTest, LinesAreWhatItsLogsUnderstand) {
  ServerProcess server(OnCloudRun({"double.pt", "zeros.pt"}, {{"GOOGLE_CLOUD_PROJECT", "lab"}}));
  const Headers headers = {{"traceparent", kTraceparent},
                           {"X-Forwarded-For", "6.6.6.6, 1.2.3.4"},
                           {"User-Agent", "wire \"test\""},
                           {"X-Request-Id", "wire-1"}};
  EXPECT_EQ(PostJson(server.inference(), "/predictions/double", "[1]", headers).status, 200);
  EXPECT_GE(PostJson(server.inference(), "/predictions/zeros", "[1]", headers).status, 500);
  EXPECT_THAT(Get(server.metrics(), "/metrics").body,
              HasSubstr("flambeau_instance_info{k_service=\"news\",k_revision=\"news-0001\","
                        "k_configuration=\"news\"} 1"));
  EXPECT_EQ(server.Stop(), 0) << server.Log();

  const json place = {{"k_service", "news"}, {"k_revision", "news-0001"}};
  std::vector<json> access;
  for (const json& line : Lines(server.process().Out())) {
    if (line.value("request_id", "") == "wire-1") access.push_back(line);
  }
  ASSERT_EQ(access.size(), 2u) << server.Log();
  const json& good = access[0]["severity"] == "INFO" ? access[0] : access[1];
  EXPECT_EQ(good["message"], "POST /predictions/double 200");
  const json& http = good["httpRequest"];
  EXPECT_EQ(http["requestMethod"], "POST");
  EXPECT_EQ(http["requestUrl"], "/predictions/double");
  EXPECT_EQ(http["status"], 200);
  EXPECT_EQ(http["userAgent"], "wire \"test\"");
  EXPECT_EQ(http["remoteIp"], "1.2.3.4");
  EXPECT_EQ(http["protocol"], "HTTP/1.1");
  EXPECT_THAT(http["latency"].get<std::string>(), testing::MatchesRegex("[0-9]+\\.[0-9]+s"));
  EXPECT_EQ(good["logging.googleapis.com/trace"], "projects/lab/traces/" + kTrace);
  EXPECT_EQ(good["logging.googleapis.com/spanId"], kCaller);
  EXPECT_EQ(good["logging.googleapis.com/trace_sampled"], true);
  json labels = place;
  labels.update({{"model", "double"}, {"version", "1.0"}});
  EXPECT_EQ(good["logging.googleapis.com/labels"], labels);

  int of_the_request = 0;
  for (const json& line : Lines(server.process().Err())) {
    EXPECT_EQ(line.value("logging.googleapis.com/labels", json()), place) << line;
    if (!line.contains("logging.googleapis.com/trace")) continue;
    ++of_the_request;
    EXPECT_EQ(line["logging.googleapis.com/trace"], "projects/lab/traces/" + kTrace);
    EXPECT_EQ(line["severity"], "WARNING");
  }
  EXPECT_EQ(of_the_request, 1) << "the model's failure, logged by its worker";
}

TEST(CloudRunTest, WithoutAProjectTheTraceHasAPlainNameAndNobodyIsTrusted) {
  ServerProcess server({{"double.pt"}, {"--log-format", "json"}, {}});
  EXPECT_EQ(PostJson(server.inference(), "/predictions/double", "[1]",
                     {{"traceparent", "00-" + kTrace}, {"X-Forwarded-For", "1.2.3.4"}, {"X-Request-Id", "w"}})
                .status,
            200);
  EXPECT_EQ(server.Stop(), 0);
  bool seen = false;
  for (const json& line : Lines(server.process().Out())) {
    if (line.value("request_id", "") != "w") continue;
    seen = true;
    EXPECT_EQ(line["httpRequest"]["remoteIp"], "127.0.0.1");
    EXPECT_THAT(line["trace_id"].get<std::string>(), testing::MatchesRegex("[0-9a-f]+"));
    EXPECT_NE(line["trace_id"], kTrace) << "the header was not valid: a new trace";
    EXPECT_FALSE(line.contains("logging.googleapis.com/spanId"));
  }
  EXPECT_TRUE(seen) << server.Log();
}

TEST(CloudRunTest, ProbesTellAStartFromALifeAndAModelThatComesFromOneThatDoesNot) {
  const TemporaryFolder folder;
  CreateOptions endless;
  endless.model_name = "endless";
  endless.version = "1.0";
  endless.handler = "tensor";
  endless.serialized_file = ModelFile("slow.pt");
  endless.example_input = folder.Write("example.json", "[300000]");
  endless.export_path = folder.path();
  ASSERT_TRUE(CreateArchive(endless).has_value());
  ServerProcess::Options options = OnCloudRun({});
  options.flags = {"--model-store", folder.path().string(), "--models", "all"};
  options.wait_for_models = false;
  ServerProcess server(options);
  EXPECT_EQ(Get(server.inference(), "/v2/health/live").status, 200);
  ASSERT_TRUE(WaitUntil([&] {
    const HttpResponse ready = Get(server.inference(), "/v2/health/ready");
    EXPECT_EQ(ready.status, 503);
    return ready.body.find("models are loading: endless.mar") != std::string::npos;
  }));
  const HttpResponse early = PostJson(server.inference(), "/predictions/endless", "[1]");
  EXPECT_EQ(early.status, 503);
  EXPECT_THAT(early.Text("message"), HasSubstr("still loading"));
  EXPECT_NE(early.Header("retry-after"), "");
  EXPECT_EQ(server.Stop(), 0) << server.Log();
  EXPECT_THAT(server.Log(), HasSubstr("finishing accepted requests within 8 s"));
}

TEST(CloudRunTest, WhatWasAcceptedIsFinishedAndItsSpanSentBeforeTheEnd) {
  const Collector collector;
  ServerProcess::Options options =
      OnCloudRun({"slow.pt"}, {{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.url() + "/t"}});
  options.flags = {"--trace-interval-ms", "3600000", "--inline-limit-us", "0"};
  ServerProcess server(options);
  Pending running(server.inference(), "/predictions/slow", "[300]", {{"traceparent", kTraceparent}});
  ASSERT_TRUE(WaitUntil([&] { return server.Metric("flambeau_workers", {"state=\"busy\""}) == 1; }));
  server.process().Signal(SIGTERM);
  EXPECT_TRUE(IsJson(running.Answer(), "[300.0]"));
  EXPECT_EQ(server.process().WaitForExit(), 0) << server.Log();
  const std::vector<json> spans = collector.Spans();
  ASSERT_EQ(spans.size(), 5u);
  EXPECT_EQ(spans[0]["traceId"], kTrace);
  EXPECT_THAT(server.process().Out(), HasSubstr("POST /predictions/slow 200"));
}

TEST(CloudRunTest, ABodyOf32MiBPassesWhenTheSettingSaysSoAndOneByteMoreIsExplained) {
  ServerProcess server({{"double.pt"}, {"--max-request-size", "32m"}, {}});
  std::string body = "[1";
  body.resize((32U << 20) - 1, ' ');
  body += ']';
  EXPECT_TRUE(IsJson(PostJson(server.inference(), "/predictions/double", body), "[2.0]"));
  body += ' ';
  EXPECT_TRUE(IsError(PostJson(server.inference(), "/predictions/double", body), 413,
                      "RequestEntityTooLargeException", "larger than the limit of 33554432 bytes"));
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

}  // namespace
}  // namespace serve::wire
