#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model_store/archive/archive.h"
#include "tests/model_store/archive/test_files.h"
#include "tests/tools/cli/tool_run.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class ArchiveCommandsTest : public testing::Test {
 protected:
  ArchiveCommandsTest() {
    folder_.Write("mlp.pt", "weights");
    folder_.Write("a.txt", "a");
    folder_.Write("b.txt", "b");
    folder_.Write("c.json", "{}");
  }
  [[nodiscard]] std::string At(const char* name) const { return (folder_ / name).string(); }
  [[nodiscard]] std::vector<std::string> CreateArgs(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> args = {"archive",           "create",     "--model-name",  "mlp",
                                     "--version",         "1.0",        "--handler",     "tensor",
                                     "--serialized-file", At("mlp.pt"), "--export-path", At("store")};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  TemporaryFolder folder_;
};

TEST_F(ArchiveCommandsTest, CreateInspectVerifyExtract) {
  const ToolRun created = Tool(CreateArgs({"--input", "x:float32:[3,-1]", "--input", "ids:int64:[]",
                                           "--output", "y:float32:[2]", "--batch", "1..64", "--extra-files",
                                           At("a.txt") + "," + At("b.txt"), "--example", At("c.json")}));
  ASSERT_EQ(created.code, kToolDone) << created.err;
  const std::string path = At("store/mlp.mar");
  const Result<FileDigest> digest = DigestFile(path);
  ASSERT_TRUE(digest);
  EXPECT_THAT(created.out,
              AllOf(HasSubstr(path), HasSubstr(std::to_string(digest->size)), HasSubstr(digest->sha256)));

  const ToolRun inspected = Tool({"archive", "inspect", path});
  EXPECT_EQ(inspected.code, kToolDone);
  EXPECT_THAT(inspected.out,
              AllOf(HasSubstr("mlp"), HasSubstr("x:float32:[3, -1]"), HasSubstr("ids:int64:[]"),
                    HasSubstr("c.json (application/json)"), HasSubstr("a.txt")));
  const ToolRun json = Tool({"archive", "inspect", "--json", path});
  const auto manifest = nlohmann::json::parse(json.out);
  EXPECT_EQ(manifest["model"]["modelName"], "mlp");
  EXPECT_EQ(manifest["flambeau"]["inputs"].size(), 2U);
  EXPECT_EQ(manifest["flambeau"]["batch"], (nlohmann::json{{"min", 1}, {"max", 64}}));

  const ToolRun verified = Tool({"archive", "verify", path});
  EXPECT_EQ(verified.code, kToolDone) << verified.err;
  EXPECT_THAT(verified.out, StartsWith("ok: 4 files"));

  const ToolRun extracted = Tool({"archive", "extract", path, "--to", At("open")});
  EXPECT_EQ(extracted.code, kToolDone) << extracted.err;
  EXPECT_EQ(ReadAll(folder_ / "open/mlp.pt"), "weights");
  EXPECT_EQ(Tool({"archive", "verify", At("open")}).code, kToolDone);
  EXPECT_EQ(Tool({"archive", "extract", path, "--to", At("open")}).code, kToolFailed);
  EXPECT_THAT(NamesIn(folder_.path()),
              testing::ElementsAre("a.txt", "b.txt", "c.json", "mlp.pt", "open", "store"));
}

TEST_F(ArchiveCommandsTest, TorchModelArchiversShortFlagsAndFormatsWork) {
  folder_.Write("model.py", "x = 1");
  folder_.Write("requirements.txt", "numpy");
  folder_.Write("config.yaml", "minWorkers: 1");
  const ToolRun run = Tool({"archive",
                            "create",
                            "--model-name=m",
                            "-v",
                            "2.0",
                            "--serialized-file",
                            At("mlp.pt"),
                            "--model-file",
                            At("model.py"),
                            "--handler",
                            "image_classifier",
                            "--extra-files",
                            At("*.txt"),
                            "--runtime",
                            "python3",
                            "--export-path",
                            At("out"),
                            "--archive-format",
                            "tgz",
                            "-f",
                            "-r",
                            At("requirements.txt"),
                            "-c",
                            At("config.yaml")});
  ASSERT_EQ(run.code, kToolDone) << run.err;
  const auto manifest = nlohmann::json::parse(Tool({"archive", "inspect", "--json", At("out/m.tar.gz")}).out);
  EXPECT_EQ(manifest["runtime"], "python3");
  EXPECT_EQ(manifest["model"]["handler"], "image_classifier");
  EXPECT_EQ(manifest["model"]["modelFile"], "model.py");
  EXPECT_EQ(manifest["model"]["requirementsFile"], "requirements.txt");
  EXPECT_EQ(manifest["model"]["configFile"], "config.yaml");
  EXPECT_TRUE(manifest["flambeau"]["files"].contains("a.txt"));
  EXPECT_TRUE(manifest["flambeau"]["files"].contains("b.txt"));
}

TEST_F(ArchiveCommandsTest, UsageErrorsExitWithTwo) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{"archive"},
                                               {"archive", "create"},
                                               {"archive", "create", "--model-name", "x"},
                                               {"archive", "inspect"},
                                               {"archive", "paint"},
                                               {"archive", "extract", "x.mar"},
                                               CreateArgs({"--archive-format", "rar"}),
                                               CreateArgs({"--no-such-flag"}),
                                               CreateArgs({"--runtime", "java"})}) {
    const ToolRun run = Tool(args);
    EXPECT_EQ(run.code, kToolUsage) << testing::PrintToString(args);
    EXPECT_THAT(run.out, IsEmpty());
    EXPECT_THAT(run.err, testing::Not(IsEmpty()));
  }
}

TEST_F(ArchiveCommandsTest, FailuresExitWithOneAndOneClearLine) {
  const auto expect = [](const std::vector<std::string>& args, const std::string& text) {
    const ToolRun run = Tool(args);
    EXPECT_EQ(run.code, kToolFailed) << run.err;
    EXPECT_THAT(run.out, IsEmpty());
    EXPECT_THAT(run.err, AllOf(StartsWith("error: "), HasSubstr(text)));
  };
  expect({"archive", "inspect", At("gone.mar")}, "gone.mar: no such file");
  expect(CreateArgs({"--input", "x:float33:[1]"}), "--input x:float33:[1]");
  expect(CreateArgs({"--extra-files", At("*.bin")}), "no file matches");
  expect(CreateArgs({"--lineage", At("a.txt")}), "not valid JSON");
  expect(CreateArgs({"--example", At("gone.json")}), "gone.json");
  ASSERT_EQ(Tool(CreateArgs()).code, kToolDone);
  expect(CreateArgs(), "already exists.\nPlease specify --force/-f option");
}

TEST_F(ArchiveCommandsTest, VerifyNamesTheFileThatWasChanged) {
  ASSERT_EQ(Tool(CreateArgs({"--archive-format", "no-archive"})).code, kToolDone);
  folder_.Write("store/mlp/mlp.pt", "weighty");
  const ToolRun run = Tool({"archive", "verify", At("store/mlp")});
  EXPECT_EQ(run.code, kToolFailed);
  EXPECT_THAT(run.err, HasSubstr("mlp.pt has the sha256"));
  EXPECT_EQ(Tool({"archive", "verify", At("mlp.pt")}).code, kToolDone);
  EXPECT_THAT(Tool({"archive", "verify", At("mlp.pt")}).out, HasSubstr("nothing to verify"));
}

TEST_F(ArchiveCommandsTest, EveryCommandHasHelpWithAnExample) {
  for (const char* command : {"create", "inspect", "verify", "extract"}) {
    const ToolRun run = Tool({"archive", command, "--help"});
    EXPECT_EQ(run.code, kToolDone);
    EXPECT_THAT(run.out, HasSubstr(std::string("flambeau archive ") + command));
  }
}

}  // namespace
}  // namespace serve
