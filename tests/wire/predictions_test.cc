// Right requests in every form that a client may send them in.

#include <cmath>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

std::string Bytes(const std::vector<float>& numbers) {
  std::string bytes(numbers.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return bytes;
}

std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> numbers(bytes.size() / sizeof(float));
  std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(float));
  return numbers;
}

class PredictionsTest : public SharedServer<PredictionsTest> {
 public:
  static ServerProcess::Options Options() {
    return {{"double.pt", "tuple.pt", "dict.pt", "nan.pt"}, {"--batch-size", "4"}, {}};
  }

 protected:
  static HttpResponse Predict(const std::string& type, const std::string& body,
                              const std::string& model = "double", Headers headers = {}) {
    if (!type.empty()) headers.emplace_back("Content-Type", type);
    return Request(server().inference(), "POST", "/predictions/" + model, headers, body);
  }
};

TEST_F(PredictionsTest, JsonOfOneRow) {
  const HttpResponse response = Predict("application/json", "[1, -2.5, 1e2]");
  EXPECT_TRUE(IsJson(response, "[2.0, -5.0, 200.0]"));
  EXPECT_EQ(response.Header("content-type"), "application/json");
  EXPECT_FALSE(response.Header("x-request-id").empty());
}

TEST_F(PredictionsTest, JsonInstancesAreAnsweredAsPredictions) {
  EXPECT_TRUE(IsJson(Predict("application/json; charset=utf-8", "{\"instances\": [[1, 2], [3, 4]]}"),
                     "{\"predictions\": [[2.0, 4.0], [6.0, 8.0]]}"));
}

TEST_F(PredictionsTest, AUrlencodedFormBringsTheFieldData) {
  EXPECT_TRUE(
      IsJson(Predict("application/x-www-form-urlencoded", "data=%5B1%2C+2%5D&other=x"), "[2.0, 4.0]"));
}

TEST_F(PredictionsTest, WhatCurlSendsWithoutATypeIsReadAsJson) {
  EXPECT_TRUE(IsJson(Predict("application/x-www-form-urlencoded", "[1, 2]"), "[2.0, 4.0]"));
  EXPECT_TRUE(IsJson(Predict("", "[1, 2]"), "[2.0, 4.0]"));
}

TEST_F(PredictionsTest, AMultipartFormBringsThePartData) {
  const std::string body =
      "--xyz\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n"
      "--xyz\r\nContent-Disposition: form-data; name=\"data\"; filename=\"a.json\"\r\n"
      "Content-Type: application/json\r\n\r\n[1, 2]\r\n--xyz--\r\n";
  EXPECT_TRUE(IsJson(Predict("multipart/form-data; boundary=xyz", body), "[2.0, 4.0]"));
}

TEST_F(PredictionsTest, RawBytesAreTheDeclaredInput) {
  MustRegister(server(), "double.pt", "raw", "input=x:float32:[2]");
  EXPECT_TRUE(IsJson(Predict("application/octet-stream", Bytes({1, 2}), "raw"), "[2.0, 4.0]"));
  EXPECT_TRUE(
      IsJson(Predict("application/octet-stream", Bytes({1, 2, 3, 4}), "raw"), "[[2.0, 4.0], [6.0, 8.0]]"));
  EXPECT_TRUE(IsError(Predict("application/octet-stream", "12345", "raw"), 400, "BadRequestException",
                      "expected a multiple of 8 bytes, got 5"));
}

TEST_F(PredictionsTest, RawBytesAreTheAnswerWhenTheClientAcceptsThem) {
  MustRegister(server(), "double.pt", "raw_answer", "input=x:float32:[2]");
  const HttpResponse response = Predict("application/octet-stream", Bytes({1.25F, 2}), "raw_answer",
                                        {{"Accept", "application/octet-stream"}});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.Header("content-type"), "application/octet-stream");
  EXPECT_EQ(Floats(response.body), (std::vector<float>{2.5F, 4}));
  EXPECT_EQ(
      Floats(
          Predict("application/json", "[3, 4]", "raw_answer", {{"Accept", "application/octet-stream"}}).body),
      (std::vector<float>{6, 8}));
}

TEST_F(PredictionsTest, AnMlpAnswersTheSameAloneAndInABatch) {
  MustRegister(server(), "mlp.pt", "mlp", "input=x:float32:[64]&batch_size=8");
  const nlohmann::json one = Predict("application/json", Numbers(64, "0.5"), "mlp").Json();
  ASSERT_EQ(one.size(), 4);
  const std::string row = Numbers(64, "0.5");
  const nlohmann::json rows =
      Predict("application/json", "{\"instances\": [" + row + "," + Numbers(64, "0") + "," + row + "]}",
              "mlp")
          .Json()["predictions"];
  ASSERT_EQ(rows.size(), 3);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(rows[0][i].get<double>(), one[i].get<double>(), 1e-5);
    EXPECT_NEAR(rows[2][i].get<double>(), one[i].get<double>(), 1e-5);
  }
  EXPECT_NE(rows[0], rows[1]);
}

TEST_F(PredictionsTest, SeveralOutputsAreAllAnswered) {
  EXPECT_TRUE(IsJson(Predict("application/json", "[1, 2]", "dict"),
                     "{\"single\": [1.0, 2.0], \"double\": [2.0, 4.0]}"));
  EXPECT_TRUE(IsJson(Predict("application/json", "[1, 2]", "tuple"), "[[1.0, 2.0], [2.0, 4.0]]"));
  EXPECT_TRUE(IsError(Predict("application/json", "[1]", "tuple", {{"Accept", "application/octet-stream"}}),
                      400, "BadRequestException", "2 tensors"));
}

TEST_F(PredictionsTest, NaNOfAModelIsAnsweredAsNull) {
  const HttpResponse response = Predict("application/json", "[1, 2]", "nan");
  EXPECT_TRUE(IsJson(response, "[null, null]"));
}

TEST_F(PredictionsTest, RequestsOfDifferentShapesAtTheSameTimeEachGetTheirOwnAnswer) {
  std::vector<std::thread> clients;
  std::vector<int> wrong(4, 0);
  for (int client = 0; client < 4; ++client) {
    clients.emplace_back([&, client] {
      try {
        WireConnection connection(server().inference());
        for (int i = 0; i < 50; ++i) {
          const auto size = static_cast<std::size_t>(1 + (client + i) % 3);
          const HttpResponse response =
              connection.Request("POST", "/predictions/double", {{"Content-Type", "application/json"}},
                                 Numbers(size, std::to_string(client * 100 + i)));
          if (!IsJson(response, Numbers(size, std::to_string(2 * (client * 100 + i)) + ".0")))
            ++wrong[client];
        }
      } catch (const std::exception&) {
        ++wrong[client];
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace serve::wire
