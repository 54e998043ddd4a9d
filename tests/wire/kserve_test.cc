// The program itself with KServe's protocols, packed bodies and cross-origin settings; every form of a
// request is tested in tests/serve/http.

#include <string>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

class KServeWireTest : public SharedServer<KServeWireTest> {
 public:
  static ServerProcess::Options Options() {
    return {{"double.pt"},
            {"--batch-size", "4", "--cors-allowed-origin", "*", "--gzip-response-min-size", "200"},
            {}};
  }
};

TEST_F(KServeWireTest, AModelWithADeclarationAnswersBothProtocols) {
  MustRegister(server(), "double.pt", "two", "input=x:float32:[2]");
  EXPECT_TRUE(
      IsJson(PostJson(server().inference(), "/v1/models/two:predict", "{\"instances\": [[1, 2], [3, 4]]}"),
             "{\"predictions\": [[2.0, 4.0], [6.0, 8.0]]}"));
  EXPECT_TRUE(
      IsJson(PostJson(server().inference(), "/v2/models/two/infer",
                      "{\"inputs\": [{\"name\": \"x\", \"shape\": [1, 2], \"datatype\": \"FP32\", \"data\": "
                      "[1, 2]}]}"),
             "{\"model_name\": \"two\", \"model_version\": \"1.0\", \"outputs\": [{\"name\": \"output0\", "
             "\"datatype\": \"FP32\", \"shape\": [1, 2], \"data\": [2.0, 4.0]}]}"));
  EXPECT_TRUE(IsJson(
      Get(server().inference(), "/v2/models/two"),
      "{\"name\": \"two\", \"versions\": [\"1.0\"], \"platform\": \"pytorch_torchscript\", \"inputs\": "
      "[{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [-1, 2]}], \"outputs\": []}"));
  EXPECT_TRUE(IsJson(Get(server().management(), "/v1/models/two"), "{\"name\": \"two\", \"ready\": true}"));
}

TEST_F(KServeWireTest, TheModelOfTheStartIsInvokedWithoutAName) {
  EXPECT_TRUE(IsJson(PostJson(server().inference(), "/invocations", "[1, 2]"), "[2.0, 4.0]"));
}

TEST_F(KServeWireTest, TheSettingsOfAnswersReachEveryListener) {
  for (const int port : {server().inference(), server().management(), server().metrics()}) {
    const HttpResponse document =
        Request(port, "GET", "/api-description", {{"Accept-Encoding", "gzip"}, {"Origin", "http://a"}});
    EXPECT_EQ(document.status, 200);
    EXPECT_EQ(document.Header("access-control-allow-origin"), "*");
    EXPECT_EQ(document.Header("content-encoding"), "gzip");
    EXPECT_EQ(document.body.substr(0, 2), "\x1f\x8b");
  }
}

}  // namespace
}  // namespace serve::wire
