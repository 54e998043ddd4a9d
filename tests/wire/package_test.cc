// .pt2 packages on the wire: right numbers, batches, padding, declarations, packages that do not fit, and
// nothing left on the disk. make_packages.py made them.

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kMlpInput = "input=x:float32:%5B16%5D";
constexpr const char* kMlp = "input=x:float32:%5B16%5D&batch=1..16";

fs::path PackageFile(const std::string& name) { return fs::path(WIRE_PACKAGES) / name; }

/// What the models answer in Python.
json Expected(const std::string& model) {
  std::ifstream file(PackageFile("expected.json"));
  return json::parse(file).at(model);
}

/// Largest difference of two nested arrays of numbers; infinite when their forms differ.
double Distance(const json& left, const json& right) {
  if (left.is_number() && right.is_number()) return std::abs(left.get<double>() - right.get<double>());
  if (!left.is_array() || !right.is_array() || left.size() != right.size()) return INFINITY;
  double most = 0;
  for (std::size_t i = 0; i < left.size(); ++i) most = std::max(most, Distance(left[i], right[i]));
  return most;
}

class PackageTest : public SharedServer<PackageTest> {
 public:
  static ServerProcess::Options Options() { return {{"double.pt"}, {}, {}}; }

 protected:
  /// Whatever a test did, the server goes on and nothing lies about.
  void TearDown() override {
    EXPECT_TRUE(IsJson(PostJson(server().inference(), "/predictions/double", "[1]"), "[2.0]"));
    EXPECT_THAT(server().Unpacked(), IsEmpty());
  }

  static void AddPackage(const std::string& file) {
    fs::copy_file(PackageFile(file), server().store() / file, fs::copy_options::overwrite_existing);
  }
  static void Serve(const std::string& file, const std::string& name, const std::string& query) {
    AddPackage(file);
    const HttpResponse response =
        Register(server(), "url=" + file + "&model_name=" + name + "&initial_workers=1&" + query);
    ASSERT_EQ(response.status, 200) << response.body;
  }
  static HttpResponse Predict(const std::string& name, const json& body) {
    return PostJson(server().inference(), "/predictions/" + name, body.dump());
  }
};

TEST_F(PackageTest, AnswersWhatTheModelAnswersInPython) {
  const json expected = Expected("mlp");
  Serve("mlp.pt2", "mlp", kMlp);
  EXPECT_EQ(DescribeOne(server(), "mlp").at("runtime"), "aotinductor");
  for (const std::size_t rows : {1, 2, 3, 7, 16}) {  // one is a size that torch.export likes to single out
    json inputs = json::array();
    json answers = json::array();
    for (std::size_t i = 0; i < rows; ++i) {
      inputs.push_back(expected["x"][i]);
      answers.push_back(expected["answers"][i]);
    }
    const HttpResponse response = Predict("mlp", inputs);
    ASSERT_EQ(response.status, 200) << response.body;
    EXPECT_LT(Distance(response.Json(), answers), 1e-5) << rows << " rows: " << response.body;
  }
}

TEST_F(PackageTest, TwoInputsAndADictionaryOfOutputsKeepTheirNamesAndTypes) {
  const json expected = Expected("pair");
  Serve("pair.pt2", "pair", "input=x:float32:%5B3%5D&input=ids:int64:%5B2%5D&batch=1..4");
  const HttpResponse response = Predict("pair", {{"x", expected["x"]}, {"ids", expected["ids"]}});
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_LT(Distance(response.Json().at("mixed"), expected["mixed"]), 1e-5) << response.body;
  EXPECT_EQ(response.Json().at("doubled"), expected["doubled"]);
}

TEST_F(PackageTest, BatchesOfMixedSizesUnderLoadAnswerEveryRequestWithItsOwnRows) {
  const json expected = Expected("mlp");
  AddPackage("mlp.pt2");
  ASSERT_EQ(Register(server(), std::string("url=mlp.pt2&model_name=busy&initial_workers=2&batch_size=16&"
                                           "max_batch_delay=5&") +
                                   kMlp)
                .status,
            200);
  std::atomic<int> wrong{0};
  std::vector<std::thread> clients;
  for (std::size_t client = 0; client < 8; ++client) {
    clients.emplace_back([&, client] {
      WireConnection connection(server().inference());
      for (std::size_t i = 0; i < 40; ++i) {
        const std::size_t first = (client * 5 + i) % 14;
        const std::size_t rows = 1 + (client + i) % 3;
        json inputs = json::array();
        json answers = json::array();
        for (std::size_t row = first; row < std::min<std::size_t>(first + rows, 16); ++row) {
          inputs.push_back(expected["x"][row]);
          answers.push_back(expected["answers"][row]);
        }
        const HttpResponse response = connection.Request(
            "POST", "/predictions/busy", {{"Content-Type", "application/json"}}, inputs.dump());
        if (response.status != 200 || Distance(response.Json(), answers) > 1e-5) ++wrong;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  const std::vector<std::string> label = {"model_name=\"busy\""};
  EXPECT_LT(server().Metric("flambeau_batch_size_count", label), 320) << "no two requests met in a batch";
}

TEST_F(PackageTest, AFixedBatchIsFilledUpAndTheAddedRowsAreCutOff) {
  const json expected = Expected("mlp");  // the same weights
  Serve("fixed.pt2", "fixed", std::string(kMlpInput) + "&batch=4&batch_size=8");
  EXPECT_EQ(DescribeOne(server(), "fixed").at("batchSize"), 4);
  EXPECT_THAT(server().Log(), HasSubstr("model fixed version 1.0: batch_size 8 is lowered to 4"));
  for (const std::size_t rows : {1, 2, 3, 4}) {
    json inputs = json::array();
    json answers = json::array();
    for (std::size_t i = 0; i < rows; ++i) {
      inputs.push_back(expected["x"][rows + i]);
      answers.push_back(expected["answers"][rows + i]);
    }
    const HttpResponse response = Predict("fixed", inputs);
    ASSERT_EQ(response.status, 200) << response.body;
    EXPECT_LT(Distance(response.Json(), answers), 1e-5) << rows << " rows: " << response.body;
  }
  EXPECT_TRUE(IsError(Predict("fixed", json::array({expected["x"][0], expected["x"][1], expected["x"][2],
                                                    expected["x"][3], expected["x"][4]})),
                      400, "BadRequestException",
                      "the request has 5 rows, the model takes 1 to 4 in one call"));
}

TEST_F(PackageTest, InputsThatAreNotAsDeclaredNeverReachThePackage) {
  Serve("mlp.pt2", "strict", kMlp);
  Serve("pair.pt2", "strict_pair", "input=x:float32:%5B3%5D&input=ids:int64:%5B2%5D&batch=1..4");
  const json row = Expected("mlp")["x"][0];
  json rows = json::array();
  for (int i = 0; i < 17; ++i) rows.push_back(row);
  EXPECT_TRUE(
      IsError(Predict("strict", rows), 400, "BadRequestException", "17 rows, the model takes 1 to 16"));
  json three = json::array({json::array({row})});
  for (const json& body :
       {json::array({1, 2, 3}), json(7), json::array({three}), json::object({{"y", row}})}) {
    EXPECT_EQ(Predict("strict", body).status, 400) << body;
  }
  const std::string bytes(16 * 4 + 1, '\0');
  EXPECT_EQ(Request(server().inference(), "POST", "/predictions/strict",
                    {{"Content-Type", "application/octet-stream"}}, bytes)
                .status,
            400);
  for (const json& body :
       {json{{"x", {1, 2, 3}}, {"ids", {1.5, 2}}}, json{{"x", {1, 2, 3}}},
        json{{"x", {1, 2, 3}}, {"ids", {1, 2, 3}}}, json{{"x", {{1, 2, 3}, {1, 2, 3}}}, {"ids", {{1, 2}}}}}) {
    EXPECT_EQ(Predict("strict_pair", body).status, 400) << body;
  }
}

TEST_F(PackageTest, APackageWithoutADeclarationIsToldWhatToPass) {
  AddPackage("mlp.pt2");
  EXPECT_TRUE(IsError(Register(server(), "url=mlp.pt2&model_name=m"), 400, "InvalidModelException",
                      "inputs and batch sizes are not declared"));
  EXPECT_TRUE(IsError(Register(server(), std::string("url=mlp.pt2&model_name=m&") + kMlpInput), 400,
                      "InvalidModelException", "the batch sizes are not declared"));
  EXPECT_TRUE(IsError(Register(server(), "url=mlp.pt2&model_name=m&batch=1..16"), 400,
                      "InvalidModelException", "input=name:dtype:[shape without the batch]"));
  for (const std::string batch : {"0", "5..2", "a..b", "1..", "..8", "1..2..3", "-1..4", "1..1000000"}) {
    EXPECT_TRUE(
        IsError(Register(server(), std::string("url=mlp.pt2&model_name=m&batch=") + batch + "&" + kMlpInput),
                400, "BadRequestException", "Parameter batch"))
        << batch;
  }
}

TEST_F(PackageTest, ADeclarationThatThePackageWasNotCompiledForIsRefused) {
  for (const std::string file : {"mlp.pt2", "fixed.pt2", "pair.pt2"}) AddPackage(file);
  const auto refuses = [](const std::string& query, const std::string& text) {
    return IsError(Register(server(), "model_name=m&" + query), 400, "InvalidModelException", text);
  };
  EXPECT_TRUE(refuses("url=pair.pt2&input=x:float32:%5B3%5D&batch=1..4",
                      "1 inputs are declared, but the package was compiled for 2"));
  EXPECT_TRUE(refuses("url=pair.pt2&input=x:float32:%5B3%5D&input=ids:int32:%5B2%5D&batch=1..4",
                      "declared ids:int32:[2], but the package was compiled for int64"));
  EXPECT_TRUE(refuses("url=mlp.pt2&input=x:float32:%5B15%5D&batch=1..16", "the size 16 in place 1"));
  EXPECT_TRUE(refuses("url=mlp.pt2&input=x:float32:%5B-1%5D&batch=1..16", "the size 16 in place 1"));
  EXPECT_TRUE(refuses("url=mlp.pt2&input=x:float32:%5B4,4%5D&batch=1..16", "1 dimensions behind the batch"));
  EXPECT_TRUE(
      refuses(std::string("url=fixed.pt2&batch=1..4&") + kMlpInput, "exactly 4 rows of x; declare batch 4"));
}

struct Unfit {
  const char* file;
  const char* text;
};
class UnfitPackageTest : public PackageTest, public testing::WithParamInterface<Unfit> {};

TEST_P(UnfitPackageTest, IsRefusedWithTheReason) {
  AddPackage(GetParam().file);
  const HttpResponse response =
      Register(server(), std::string("url=") + GetParam().file + "&model_name=unfit&" + kMlp);
  EXPECT_TRUE(IsError(response, 400, "InvalidModelException", GetParam().text));
  EXPECT_THAT(ModelNames(server()), Not(testing::Contains("unfit")));
}

INSTANTIATE_TEST_SUITE_P(
    All, UnfitPackageTest,
    testing::Values(Unfit{"cuda.pt2", "compiled for the device cuda, this server runs models on the CPU"},
                    Unfit{"machine.pt2", "compiled for linux on s390x, this machine is linux on"},
                    Unfit{"isa.pt2", "lacks avx9000"},
                    Unfit{"sources.pt2", "one compiled library (.so), it holds 0"},
                    Unfit{"no_elf.pt2", "library cannot be loaded: file too short"},
                    Unfit{"symbol.pt2", "compiled with another version of torch"},
                    Unfit{"cut.pt2", "damaged"}, Unfit{"flipped.pt2", "damaged"},
                    Unfit{"empty.pt2", "the file is empty"}, Unfit{"text.pt2", "the file is no zip"},
                    Unfit{"foreign.pt2", "is a zip, but not a .pt2 package"},
                    Unfit{"exported.pt2", "an exported program (torch.export.save) that was not compiled"},
                    Unfit{"weights.pt2", "a state_dict or a pickled module"},
                    Unfit{"weightless.pt2", "weights of its model; compile it again"},
                    Unfit{"strided.pt2", "another order in memory"},
                    Unfit{"renamed.pt", "is a .pt2 package, not TorchScript: give it the ending .pt2"}),
    [](const auto& unfit) {
      const std::string file = unfit.param.file;
      return file.substr(0, file.find('.'));
    });

TEST_F(PackageTest, TorchScriptUnderTheEndingPt2IsToldApart) {
  fs::copy_file(ModelFile("double.pt"), server().store() / "script.pt2",
                fs::copy_options::overwrite_existing);
  EXPECT_TRUE(IsError(Register(server(), std::string("url=script.pt2&model_name=m&") + kMlp), 400,
                      "InvalidModelException", "the file is TorchScript, not a .pt2 package"));
}

TEST(PackageStartTest, AllOfAStoreTriesItsPackagesTooAndSaysWhatOneLacks) {
  const TemporaryFolder store;
  fs::copy_file(PackageFile("mlp.pt2"), store / "mlp.pt2");
  fs::copy_file(ModelFile("double.pt"), store / "double.pt");
  ServerProcess server({{}, {"--model-store", store.path().string(), "--models", "all"}, {}});
  EXPECT_THAT(ModelNames(server), testing::ElementsAre("double"));
  EXPECT_THAT(server.Log(), HasSubstr("Failed to load model: mlp.pt2"));
  EXPECT_THAT(server.Log(), HasSubstr("flambeau archive create --serialized-file"));
}

TEST_F(PackageTest, AnArchiveBringsItsOwnDeclaration) {
  const Ran packed =
      RunProgram({"archive", "create", "--model-name", "packed", "--version", "2.0", "--serialized-file",
                  PackageFile("mlp.pt2"), "--input", "x:float32:[16]", "--output", "y:float32:[4]", "--batch",
                  "1..16", "--export-path", server().store()});
  ASSERT_EQ(packed.code, 0) << packed.err;
  const HttpResponse response = Register(server(), "url=packed.mar&initial_workers=1&batch_size=32");
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(DescribeOne(server(), "packed").at("batchSize"), 16);
  EXPECT_EQ(Predict("packed", Expected("mlp")["x"]).status, 200);
  // The archive itself stays unpacked while it is served, as any other.
  EXPECT_EQ(Request(server().management(), "DELETE", "/models/packed").status, 200);
}

TEST_F(PackageTest, UnregisteringUnderLoadAnswersEveryRequestAndLeavesNothing) {
  const json row = Expected("mlp")["x"][0];
  const json answer = Expected("mlp")["answers"][0];
  AddPackage("mlp.pt2");
  const std::string query =
      std::string("url=mlp.pt2&model_name=brief&initial_workers=2&batch_size=8&max_batch_delay=1&") + kMlp;
  std::atomic<bool> stop{false};
  std::atomic<int> served{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> clients;
  for (int client = 0; client < 4; ++client) {
    clients.emplace_back([&] {
      WireConnection connection(server().inference());
      while (!stop) {
        const HttpResponse response = connection.Request("POST", "/predictions/brief",
                                                         {{"Content-Type", "application/json"}}, row.dump());
        const bool right = response.status == 200 && Distance(response.Json(), answer) < 1e-5;
        if (right) ++served;
        if (!right && response.status != 404 && response.status != 503) ++wrong;
      }
    });
  }
  for (int round = 0; round < 5; ++round) {
    ASSERT_EQ(Register(server(), query).status, 200);
    const int before = served;
    EXPECT_TRUE(WaitUntil([&] { return served > before + 20; }));
    EXPECT_EQ(Request(server().management(), "DELETE", "/models/brief").status, 200);
  }
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace serve::wire
