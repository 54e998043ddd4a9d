// KServe v1 and v2 on the wire.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/serve/http/inference_server.h"

namespace serve {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class KServeTest : public ::testing::Test {
 protected:
  RawClient::Reply V1(const std::string& model, const std::string& body) const {
    return server_.Infer(Post("/v1/models/" + model + ":predict", body));
  }
  RawClient::Reply V2(const std::string& model, const std::string& body,
                      const std::string& fields = "") const {
    return server_.Infer(Post("/v2/models/" + model + "/infer", body, fields));
  }
  json GetJson(const std::string& path) const { return json::parse(server_.Infer(Get(path)).body); }

  InferenceServer server_;
};

std::string OneTensor(const std::string& members) { return R"({"inputs": [{)" + members + "}]}"; }

// --- v1

TEST_F(KServeTest, V1InstancesAreRowsOfTheTensorHandler) {
  const auto reply = V1("double", R"({"instances": [[1, 2], [3, 4]]})");
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(reply.HeadHas("content-type: application/json\r\n"));
  EXPECT_EQ(reply.body, R"({"predictions":[[2.0,4.0],[6.0,8.0]]})");
  EXPECT_EQ(json::parse(V1("pair", R"({"instances": [{"a": [1], "b": 2}, {"b": 4, "a": [3]}]})").body),
            json::parse(R"({"predictions": [{"sum": [1.0], "b": 2}, {"sum": [3.0], "b": 4}]})"));
}

TEST_F(KServeTest, V1InstancesOfATextModelAreTexts) {
  const json answer = json::parse(V1("news", R"({"instances": ["the goal", {"text": "unknown"}]})").body);
  ASSERT_EQ(answer["predictions"].size(), 2u);
  EXPECT_EQ(answer["predictions"][0]["Sports"], 0.75);
  EXPECT_EQ(answer["predictions"][1]["World"], 0.75);
}

TEST_F(KServeTest, V1BodiesAreJsonWhateverTheirTypeSays) {
  const std::string body = R"({"instances": [[1, 2]]})";
  for (const char* type : {"application/x-www-form-urlencoded", "application/octet-stream", "text/plain"}) {
    EXPECT_EQ(
        server_
            .Infer(Post("/v1/models/double:predict", body,
                        "Content-Type: " + std::string(type) + "\r\nAccept: application/octet-stream\r\n"))
            .body,
        R"({"predictions":[[2.0,4.0]]})")
        << type;
  }
}

TEST_F(KServeTest, V1WithoutInstancesIs400WithAnErrorMember) {
  for (const char* body : {"[[1, 2]]", R"({"x": [[1, 2]]})", ""}) {
    const auto reply = V1("double", body);
    EXPECT_EQ(reply.status, 400) << body;
    const json error = json::parse(reply.body);
    EXPECT_EQ(error["error"], error["message"]) << body;
    EXPECT_EQ(error["type"], "BadRequestException") << body;
  }
  EXPECT_THAT(V1("double", "[[1, 2]]").body, HasSubstr("instances"));
  EXPECT_THAT(V1("double", R"({"instances": [[1, 2], [3, "x"]]})").body, HasSubstr("instances[1][1]"));
  EXPECT_EQ(V1("other", R"({"instances": [[1, 2]]})").status, 404);
}

TEST_F(KServeTest, V1TellsModelsAndWhetherTheyAreReady) {
  EXPECT_EQ(GetJson("/v1/models"), json::parse(R"({"models": ["any", "double", "news", "pair"]})"));
  EXPECT_EQ(GetJson("/v1/models/double"), json::parse(R"({"name": "double", "ready": true})"));
  EXPECT_EQ(json::parse(server_.Manage(Get("/v1/models/double")).body),
            json::parse(R"({"name": "double", "ready": true})"));
  server_.models.Find("double", "").value()->Scale(0, 0, true);
  EXPECT_EQ(GetJson("/v1/models/double"), json::parse(R"({"name": "double", "ready": false})"));
  EXPECT_EQ(server_.Infer(Get("/v1/models/other")).status, 404);
  EXPECT_EQ(server_.Manage(Get("/v1/models/other")).status, 404);
  EXPECT_EQ(server_.Manage(Post("/v1/models/double", "")).status, 405);
}

// --- v2

TEST_F(KServeTest, V2InferTakesFlatAndNestedDataInAnyOrderOfMembers) {
  const json want = json::parse(
      R"({"model_name": "double", "model_version": "1.0", "id": "42", "outputs":
          [{"name": "output0", "datatype": "FP32", "shape": [2, 2], "data": [2.0, 4.0, 6.0, 9.0]}]})");
  for (
      const char* body :
      {R"({"id": "42", "inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4.5]}]})",
       R"({"inputs": [{"data": [[1, 2], [3, 4.5]], "datatype": "FP32", "shape": [2, 2], "name": "x"}], "id": "42"})",
       R"({"inputs": [{"name": "x", "data": [[[1], [2]], [[3], [4.5]]], "shape": [2, 2], "datatype": "FP32",
            "parameters": {"a": [1, {"data": "b"}]}}], "id": "42", "model_name": "?", "parameters": {"priority": 1}})"}) {
    const auto reply = V2("double", body);
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(json::parse(reply.body), want) << body;
  }
}

TEST_F(KServeTest, V2AnswersThatVersion) {
  const std::string body = OneTensor(R"("name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2])");
  EXPECT_EQ(server_.Infer(Post("/v2/models/double/versions/1.0/infer", body)).status, 200);
  EXPECT_EQ(server_.Infer(Post("/v2/models/double/versions/7/infer", body)).status, 404);
  EXPECT_EQ(V2("other", body).status, 404);
}

TEST_F(KServeTest, V2KeepsIntegersThatADoubleCannotHold) {
  const json answer = json::parse(
      V2("any",
         OneTensor(R"("name": "q", "shape": [1, 1], "datatype": "INT64", "data": [2305843009213693953])"))
          .body);
  EXPECT_EQ(answer["outputs"][0]["data"][0], 4611686018427387906);
  EXPECT_EQ(answer["outputs"][0]["datatype"], "INT64");
}

TEST_F(KServeTest, V2InputsAreFoundByNameAndOutputsChosenByName) {
  const std::string inputs =
      R"("inputs": [{"name": "b", "shape": [2], "datatype": "INT64", "data": [7, 8]},
                    {"name": "a", "shape": [2, 1], "datatype": "FP32", "data": [1, 2]}])";
  json answer = json::parse(V2("pair", "{" + inputs + "}").body);
  ASSERT_EQ(answer["outputs"].size(), 2u);
  EXPECT_EQ(answer["outputs"][0]["name"], "sum");
  EXPECT_EQ(answer["outputs"][0]["data"], json::parse("[1.0, 2.0]"));
  EXPECT_EQ(answer["outputs"][1]["data"], json::parse("[7, 8]"));
  EXPECT_FALSE(answer.contains("id"));
  answer = json::parse(V2("pair", "{" + inputs + R"(, "outputs": [{"name": "b"}]})").body);
  ASSERT_EQ(answer["outputs"].size(), 1u);
  EXPECT_EQ(answer["outputs"][0]["name"], "b");
  EXPECT_THAT(V2("pair", "{" + inputs + R"(, "outputs": [{"name": "c"}]})").body,
              HasSubstr("outputs: unknown name \\\"c\\\"; the outputs are sum, b"));
}

TEST_F(KServeTest, V2BytesAreTextsOfATextModel) {
  const auto reply =
      V2("news",
         OneTensor(R"("name": "text", "shape": [2], "datatype": "BYTES", "data": ["a goal", "caf\u00e9"])"));
  const json answer = json::parse(reply.body);
  ASSERT_EQ(answer["outputs"].size(), 3u) << reply.body;
  EXPECT_EQ(
      answer["outputs"][0],
      json::parse(R"({"name": "label", "datatype": "BYTES", "shape": [2], "data": ["Sports", "World"]})"));
  EXPECT_EQ(answer["outputs"][1],
            json::parse(R"({"name": "class_id", "datatype": "INT64", "shape": [2], "data": [1, 0]})"));
  EXPECT_EQ(answer["outputs"][2]["shape"], json::parse("[2, 2]"));
  EXPECT_EQ(answer["outputs"][2]["data"], json::parse("[0.25, 0.75, 0.75, 0.25]"));
  EXPECT_THAT(
      V2("news", OneTensor(R"("name": "text", "shape": [1], "datatype": "BYTES", "data": [" "])")).body,
      HasSubstr("inputs[0].data[0]: the text is empty"));
}

TEST_F(KServeTest, V2BadRequestsAreToldWhatIsWrong) {
  const struct {
    const char* members;
    const char* says;
  } cases[] = {
      {R"("name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3])",
       "[2, 2] has 4 elements, found 3"},
      {R"("name": "y", "shape": [1, 2], "datatype": "FP32", "data": [1, 2])", "the inputs are x"},
      {R"("name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2])",
       "expected the datatype FP32, got FP64"},
      {R"("name": "x", "shape": [1, 2], "datatype": "UINT64", "data": [1, 2])", "`UINT64` is not served"},
      {R"("name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3])",
       "expected the shape [-1, 2]"},
      {R"("name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2])", "expected the shape [-1, 2]"},
      {R"("name": "x", "shape": [], "datatype": "FP32", "data": [1])", "inputs[0].shape: expected the batch"},
      {R"("name": "x", "shape": [-1, 2], "datatype": "FP32", "data": [1, 2])", "-1 is no size"},
      {R"("name": "x", "shape": [1.5, 2], "datatype": "FP32", "data": [1, 2])", "inputs[0].shape[0]"},
      {R"("name": "x", "shape": [0, 2], "datatype": "FP32", "data": [])", "has no rows"},
      {R"("name": "x", "shape": [4294967296, 4294967296], "datatype": "FP32", "data": [1])", "more elements"},
      {R"("name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, "2"])", "data[1]: expected a number"},
      {R"("name": "x", "shape": [1, 2], "datatype": "FP32", "data": [[1], [2, 3]])", "ragged"},
      {R"("name": "x", "shape": [1, 2], "datatype": "FP32", "data": 1)", "inputs[0].data: expected an array"},
      {R"("name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1e39, 1])", "out of range"},
      {R"("name": "x", "shape": [1, 2], "datatype": "FP32")", "\\\"data\\\" is missing"},
      {R"("shape": [1, 2], "datatype": "FP32", "data": [1, 2])", "\\\"name\\\" is missing"},
      {R"("name": "x", "datatype": "FP32", "data": [1, 2])", "\\\"shape\\\" is missing"},
      {R"("name": "x", "name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2])", "comes twice"},
  };
  for (const auto& one : cases) {
    const auto reply = V2("double", OneTensor(one.members));
    EXPECT_EQ(reply.status, 400) << one.members;
    EXPECT_THAT(reply.body, HasSubstr(one.says)) << one.members;
    const json error = json::parse(reply.body);
    EXPECT_EQ(error["error"], error["message"]) << one.members;
  }
  for (const char* body :
       {"", " ", "[]", "{}", "1", "{\"inputs\": []}", "{\"inputs\": {}}", "{\"inputs\": [1]}",
        "{\"inputs\": [{}]}", "{\"inputs\": [", "{\"id\": 7, \"inputs\": []}"}) {
    EXPECT_EQ(V2("double", body).status, 400) << body;
  }
  const std::string deep(100'000, '[');
  EXPECT_EQ(
      V2("double", OneTensor(R"("name": "x", "shape": [1, 2], "datatype": "FP32", "data": )" + deep)).status,
      400);
  const std::string good = R"({"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]})";
  EXPECT_THAT(V2("double", R"({"inputs": [)" + good + "," + good + "]}").body, HasSubstr("comes twice"));
  EXPECT_THAT(V2("double", R"({"inputs": [)" + good + "]} x").body, HasSubstr("invalid JSON"));
}

TEST_F(KServeTest, V2TakesAndGivesBinaryTensors) {
  const std::string head =
      R"({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}],
          "parameters": {"binary_data_output": true}})";
  const std::string numbers("\x00\x00\x80\x3f\x00\x00\x00\x40", 8);  // 1 and 2
  const auto field = [](std::size_t size) {
    return "Inference-Header-Content-Length: " + std::to_string(size) + "\r\n";
  };
  const auto reply = V2("double", head + numbers, field(head.size()));
  ASSERT_EQ(reply.status, 200) << reply.body;
  const std::size_t at = reply.head.find("inference-header-content-length: ");
  ASSERT_NE(at, std::string::npos) << reply.head;
  const std::string size = std::to_string(std::stoul(reply.head.substr(at + 33)));
  ASSERT_EQ(reply.body.size(), std::stoul(size) + 8);
  const json answer = json::parse(reply.body.substr(0, std::stoul(size)));
  EXPECT_EQ(answer["outputs"][0]["parameters"]["binary_data_size"], 8);
  EXPECT_EQ(reply.body.substr(std::stoul(size)), std::string("\x00\x00\x00\x40\x00\x00\x80\x40", 8));  // 2, 4

  EXPECT_EQ(V2("double", numbers, field(0)).status, 200);
  EXPECT_THAT(V2("double", numbers + "1", field(0)).body, HasSubstr("takes 8 bytes, it has 9"));
  EXPECT_THAT(V2("double", head + numbers, field(head.size() + 9)).body, HasSubstr("how much of the body"));
  EXPECT_THAT(V2("double", head + numbers, "Inference-Header-Content-Length: x\r\n").body,
              HasSubstr("how much of the body"));
  EXPECT_THAT(V2("double", head + numbers + "more", field(head.size())).body,
              HasSubstr("has 12 bytes behind"));
  EXPECT_THAT(V2("double", head + numbers.substr(1), field(head.size())).body, HasSubstr("7 bytes are left"));
}

TEST_F(KServeTest, V2TellsWhatIsServed) {
  EXPECT_EQ(GetJson("/v2")["name"], "flambeau");
  EXPECT_EQ(GetJson("/v2/health/live"), json::parse(R"({"live": true})"));
  EXPECT_EQ(GetJson("/v2/health/ready"), json::parse(R"({"ready": true})"));
  EXPECT_EQ(GetJson("/v2/models"), json::parse(R"({"models": ["any", "double", "news", "pair"]})"));
  const json pair = json::parse(
      R"({"name": "pair", "versions": ["1.0"], "platform": "pytorch_torchscript",
          "inputs": [{"name": "a", "datatype": "FP32", "shape": [-1, 1]}, {"name": "b", "datatype": "INT64", "shape": [-1]}],
          "outputs": [{"name": "sum", "datatype": "FP32", "shape": [-1, 1]}, {"name": "b", "datatype": "INT64", "shape": [-1]}]})");
  EXPECT_EQ(GetJson("/v2/models/pair"), pair);
  EXPECT_EQ(GetJson("/v2/models/pair/versions/1.0"), pair);
  EXPECT_EQ(GetJson("/v2/models/any")["inputs"], json::array());
  EXPECT_EQ(GetJson("/v2/models/news")["inputs"],
            json::parse(R"([{"name": "text", "datatype": "BYTES", "shape": [-1]}])"));
  EXPECT_EQ(server_.Infer(Get("/v2/models/other")).status, 404);
  EXPECT_EQ(server_.Infer(Get("/v2/models/pair/versions/2")).status, 404);
}

TEST_F(KServeTest, V2ReadinessFollowsWorkersAndServer) {
  for (const char* path : {"/v2/models/double/ready", "/v2/models/double/versions/1.0/ready"}) {
    EXPECT_EQ(GetJson(path), json::parse(R"({"name": "double", "ready": true})")) << path;
  }
  EXPECT_EQ(server_.Infer(Get("/v2/models/other/ready")).status, 404);
  server_.models.Find("double", "").value()->Scale(0, 0, true);
  const auto reply = server_.Infer(Get("/v2/models/double/ready"));
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(json::parse(reply.body)["ready"], false);
  server_.models.SetDraining();
  EXPECT_EQ(server_.Infer(Get("/v2/health/ready")).status, 503);
  EXPECT_EQ(server_.Infer(Get("/v2/health/live")).status, 200);
}

// --- batches

TEST_F(KServeTest, RequestsOfAllProtocolsShareABatch) {
  server_.Hold();
  std::vector<RawClient> clients;
  const auto send = [&](const std::string& request) {
    clients.emplace_back(server_.inference->port());
    clients.back().Send(request);
  };
  send(Post("/predictions/double", "[1, 1]", "Content-Type: application/json\r\n"));
  server_.WaitForWorker();
  send(Post("/predictions/double", "[2, 2]", "Content-Type: application/json\r\n"));
  send(Post("/v1/models/double:predict", R"({"instances": [[3, 3], [4, 4]]})"));
  send(Post("/v2/models/double/infer",
            OneTensor(R"("name": "x", "shape": [1, 2], "datatype": "FP32", "data": [5, 5])")));
  ASSERT_TRUE(Eventually([&] { return server_.models.Find("double", "").value()->Read().pending >= 3; }));
  server_.Release();
  EXPECT_EQ(clients[0].Read().body, "[2.0,2.0]");
  EXPECT_EQ(clients[1].Read().body, "[4.0,4.0]");
  EXPECT_EQ(clients[2].Read().body, R"({"predictions":[[6.0,6.0],[8.0,8.0]]})");
  EXPECT_EQ(json::parse(clients[3].Read().body)["outputs"][0]["data"], json::parse("[10.0, 10.0]"));
  EXPECT_THAT(server_.Batches(), ElementsAre(1, 4));
}

}  // namespace
}  // namespace serve
