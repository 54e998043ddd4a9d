#include "tools/archiver/model_archiver.h"

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/model_store/archive/test_files.h"
#include "tests/tools/cli/tool_run.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class ModelArchiverTest : public testing::Test {
 protected:
  ModelArchiverTest() {
    folder_.Write("model.pt", "weights");
    folder_.Write("my_handler.py", "def handle(data, context): return data\n");
    folder_.Write("model.py", "class Model: pass\n");
    folder_.Write("requirements.txt", "numpy\n");
    folder_.Write("model-config.yaml", "batchSize: 4\n");
    folder_.Write("a.txt", "a");
    folder_.Write("b.txt", "b");
    folder_.Write("more/c.txt", "c");
  }
  [[nodiscard]] std::string At(const std::string& name) const { return (folder_ / name).string(); }

  /// With a name, a version, an export path and these words.
  [[nodiscard]] ToolRun Run(const std::vector<std::string>& more) const {
    std::vector<std::string> args = {"--model-name", "net", "--version", "1.0", "--export-path", At("store")};
    args.insert(args.end(), more.begin(), more.end());
    std::ostringstream out;
    std::ostringstream err;
    const int code = RunModelArchiver(args, out, err);
    return {code, out.str(), err.str()};
  }
  [[nodiscard]] nlohmann::ordered_json Manifest(const std::string& archive) const {
    return nlohmann::ordered_json::parse(Tool({"archive", "inspect", "--json", archive}).out);
  }

  TemporaryFolder folder_;
};

TEST_F(ModelArchiverTest, EachFormatHasItsPlace) {
  const std::vector<std::pair<std::string, std::string>> formats = {
      {"default", "net.mar"}, {"zip-store", "net.mar"}, {"tgz", "net.tar.gz"}, {"no-archive", "net"}};
  for (const auto& [format, name] : formats) {
    const ToolRun ran = Run({"--handler", "image_classifier", "--serialized-file", At("model.pt"),
                             "--archive-format", format, "--force"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(ran.out + ran.err, "") << format;
    ASSERT_TRUE(fs::exists(At("store/" + name))) << format;
    EXPECT_EQ(Manifest(At("store/" + name))["model"]["handler"], "image_classifier") << format;
  }
  EXPECT_TRUE(fs::is_directory(At("store/net")));
  EXPECT_TRUE(fs::exists(At("store/net/MAR-INF/MANIFEST.json")));
}

TEST_F(ModelArchiverTest, TheManifestHasTorchServesKeysInItsOrder) {
  const ToolRun ran =
      Run({"--handler", At("my_handler.py"), "--serialized-file", At("model.pt"), "--model-file",
           At("model.py"), "-r", At("requirements.txt"), "-c", At("model-config.yaml")});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const nlohmann::ordered_json manifest = Manifest(At("store/net.mar"));
  std::vector<std::string> keys;
  for (const auto& [key, value] : manifest.items()) keys.push_back(key);
  EXPECT_THAT(keys, ElementsAre("createdOn", "runtime", "model", "archiverVersion", "flambeau"));
  nlohmann::ordered_json want;
  want["modelName"] = "net";
  want["serializedFile"] = "model.pt";
  want["handler"] = "my_handler.py";
  want["modelFile"] = "model.py";
  want["modelVersion"] = "1.0";
  want["requirementsFile"] = "requirements.txt";
  want["configFile"] = "model-config.yaml";
  EXPECT_EQ(manifest["model"].dump(), want.dump());
  EXPECT_EQ(manifest["runtime"], "python");
  EXPECT_THAT(manifest["createdOn"].get<std::string>(),
              testing::MatchesRegex("[0-9]{2}/[0-9]{2}/[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}"));
}

TEST_F(ModelArchiverTest, ExtraFilesAreAListWithWildcardsAndFolders) {
  const ToolRun ran =
      Run({"--handler", "base_handler", "--serialized-file", At("model.pt"), "--archive-format", "no-archive",
           "--extra-files", At("*.txt") + "," + At("more")});
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(NamesIn(At("store/net")),
              ElementsAre("MAR-INF", "a.txt", "b.txt", "c.txt", "model.pt", "requirements.txt"));
  const ToolRun none = Run({"--handler", "base_handler", "--extra-files", At("*.nothing"), "-f"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, AllOf(StartsWith("ERROR - "), HasSubstr("no file matches")));
}

TEST_F(ModelArchiverTest, PythonIsPackedAndWarnedOf) {
  for (const std::string& handler : {At("my_handler.py"), At("my_handler"), At("my_handler") + ":handle"}) {
    const ToolRun ran = Run(
        {"--handler", handler, "--serialized-file", At("model.pt"), "--archive-format", "no-archive", "-f"});
    EXPECT_EQ(ran.code, 0) << handler << ran.err;
    EXPECT_THAT(ran.err, HasSubstr("WARNING - the handler " + handler + " is Python code")) << handler;
    EXPECT_THAT(NamesIn(At("store/net")), ElementsAre("MAR-INF", "model.pt", "my_handler.py")) << handler;
  }
  EXPECT_THAT(Run({"--handler", "tensor", "--model-file", At("model.py"), "-f"}).err,
              AllOf(HasSubstr("makes an eager model"), HasSubstr("without --serialized-file")));
}

TEST_F(ModelArchiverTest, WhatIsWrongIsOneAndWrongUsageIsTwo) {
  const ToolRun missing = Run({"--handler", "tensor", "--serialized-file", At("nope.pt")});
  EXPECT_EQ(missing.code, 1);
  EXPECT_EQ(missing.err, "ERROR - " + At("nope.pt") + ": no such file\n");
  EXPECT_FALSE(fs::exists(At("store/net.mar")));
  EXPECT_EQ(Run({}).code, 2);
  EXPECT_EQ(Run({"--handler", "tensor", "--runtime", "java"}).code, 2);
  EXPECT_EQ(Run({"--handler", "tensor", "--archive-format", "rar"}).code, 2);
  EXPECT_THAT(Run({"--handler", "tensor", "--nothing"}).err, StartsWith("usage: torch-model-archiver"));
  EXPECT_EQ(Run({"--help"}).code, 0);
}

}  // namespace
}  // namespace serve
