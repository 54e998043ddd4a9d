#include "model_store/archive/workflow_archive.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/model_store/archive/raw_zip.h"
#include "tests/model_store/archive/test_files.h"

namespace serve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class WorkflowArchiveTest : public testing::Test {
 protected:
  WorkflowArchiveTest() {
    options_.workflow_name = "w";
    options_.spec_file = folder_.Write("spec.yaml", "models: {}\n");
    options_.export_path = folder_ / "out";
  }
  Result<WorkflowArchive> Read(const std::filesystem::path& path) const {
    Result<WorkflowArchive> read = ReadWorkflowArchive(path, folder_ / "unpacked", {}, 1000);
    EXPECT_THAT(NamesIn(folder_ / "unpacked"), IsEmpty());
    return read;
  }
  std::string ErrorOf(const std::vector<RawEntry>& entries) const {
    folder_.Write("raw.war", RawZip(entries));
    const Result<WorkflowArchive> read = Read(folder_ / "raw.war");
    return read ? "" : read.error().message;
  }

  TemporaryFolder folder_;
  CreateWorkflowOptions options_;
};

TEST_F(WorkflowArchiveTest, WhatIsPackedIsReadBack) {
  options_.handler = folder_.Write("handler.py", "pass\n");
  options_.extra_files = {folder_.Write("more/labels.json", "{}").parent_path()};
  const Result<CreatedArchive> created = CreateWorkflowArchive(options_);
  ASSERT_TRUE(created) << created.error().message;
  EXPECT_EQ(created->path, folder_ / "out/w.war");
  EXPECT_EQ(created->sha256.size(), 64U);
  EXPECT_THAT(NamesIn(folder_ / "out"), ElementsAre("w.war"));
  const Result<WorkflowArchive> read = Read(created->path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->manifest.workflow_name, "w");
  EXPECT_EQ(read->manifest.spec_file, "spec.yaml");
  EXPECT_EQ(read->manifest.handler, "handler.py");
  EXPECT_EQ(read->specification, "models: {}\n");
}

TEST_F(WorkflowArchiveTest, TheManifestHasTorchServesForm) {
  const std::string text = WorkflowManifestText({"27/03/2025 10:11:12", "0.1", "w", "s.yaml", "h.py"});
  EXPECT_EQ(
      text,
      "{\n  \"createdOn\": \"27/03/2025 10:11:12\",\n  \"workflow\": {\n    \"workflowName\": \"w\",\n"
      "    \"specFile\": \"s.yaml\",\n    \"handler\": \"h.py\"\n  },\n  \"archiverVersion\": \"0.1\"\n}");
  EXPECT_EQ(*ParseWorkflowManifest(text),
            (WorkflowManifest{"27/03/2025 10:11:12", "0.1", "w", "s.yaml", "h.py"}));
}

TEST_F(WorkflowArchiveTest, NothingIsReplacedUnasked) {
  ASSERT_TRUE(CreateWorkflowArchive(options_));
  EXPECT_EQ(CreateWorkflowArchive(options_).error().code, Code::kConflict);
  options_.force = true;
  EXPECT_TRUE(CreateWorkflowArchive(options_));
  options_.workflow_name = "a/b";
  EXPECT_FALSE(CreateWorkflowArchive(options_));
}

TEST_F(WorkflowArchiveTest, AFolderIsReadInPlace) {
  folder_.Write("w/WAR-INF/MANIFEST.json", R"({"workflow": {"specFile": "s.yaml"}})");
  folder_.Write("w/s.yaml", "dag");
  const Result<WorkflowArchive> read = Read(folder_ / "w");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->specification, "dag");
  EXPECT_EQ(read->manifest.workflow_name, "");
}

TEST_F(WorkflowArchiveTest, BadArchivesAreRefusedWithTheRule) {
  const RawEntry manifest{"WAR-INF/MANIFEST.json", R"({"workflow": {"specFile": "s.yaml"}})"};
  EXPECT_THAT(ErrorOf({manifest}), HasSubstr("s.yaml is missing"));
  EXPECT_THAT(ErrorOf({{"s.yaml", "x"}}), HasSubstr("WAR-INF/MANIFEST.json is missing"));
  EXPECT_THAT(ErrorOf({manifest, {"../s.yaml", "x"}}), HasSubstr("leaves the archive"));
  EXPECT_THAT(ErrorOf({manifest, {"s.yaml", "/etc/passwd", 0120777}}), HasSubstr("is a link"));
  EXPECT_THAT(ErrorOf({manifest, {"s.yaml", std::string(1001, 'x')}}), HasSubstr("allowed are 1000"));
  const auto with = [this](const std::string& text) { return ErrorOf({{"WAR-INF/MANIFEST.json", text}}); };
  EXPECT_THAT(with("{"), HasSubstr("WAR-INF/MANIFEST.json"));
  EXPECT_THAT(with("[]"), HasSubstr("must be an object with \"workflow\""));
  EXPECT_THAT(with(R"({"workflow": {}})"), HasSubstr("workflow.specFile\" is missing"));
  EXPECT_THAT(with(R"({"workflow": {"specFile": 7}})"), HasSubstr("must be a string"));
  EXPECT_THAT(with(R"({"workflow": {"specFile": "../s.yaml"}})"), HasSubstr("leaves the archive"));
  EXPECT_THAT(with(std::string(2'000'000, ' ')), HasSubstr("allowed are 1048576"));
  folder_.Write("text.war", "no zip");
  EXPECT_FALSE(Read(folder_ / "text.war"));
  folder_.Write("w.zip", "x");
  EXPECT_THAT(Read(folder_ / "w.zip").error().message, HasSubstr("a workflow is a .war file"));
  EXPECT_EQ(Read(folder_ / "none.war").error().code, Code::kNotFound);
}

TEST_F(WorkflowArchiveTest, ALinkInAFolderIsNotFollowed) {
  folder_.Write("w/WAR-INF/MANIFEST.json", R"({"workflow": {"specFile": "s.yaml"}})");
  std::filesystem::create_symlink("/etc/passwd", folder_ / "w/s.yaml");
  EXPECT_THAT(Read(folder_ / "w").error().message, HasSubstr("s.yaml is missing"));
}

}  // namespace
}  // namespace serve
