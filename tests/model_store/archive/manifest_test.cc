#include "model_store/archive/manifest.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string ErrorOf(std::string_view text) {
  const Result<Manifest> manifest = ParseManifest(text);
  EXPECT_FALSE(manifest) << text;
  if (manifest) return "";
  EXPECT_EQ(manifest.error().code, Code::kInvalidArgument);
  return manifest.error().message;
}

std::string WithOurs(std::string_view ours) {
  return R"({"model": {"modelName": "m"}, "flambeau": )" + std::string(ours) + "}";
}

TEST(ManifestTest, EverythingSurvivesARoundTrip) {
  Manifest manifest;
  manifest.created_on = "27/03/2025 10:11:12";
  manifest.runtime = "python3";
  manifest.archiver_version = "flambeau-1";
  manifest.model_name = "densenet161";
  manifest.model_version = "1.0";
  manifest.serialized_file = "model.pt";
  manifest.handler = "image_classifier";
  manifest.model_file = "model.py";
  manifest.requirements_file = "requirements.txt";
  manifest.config_file = "model-config.yaml";
  manifest.description = "zwölf";
  manifest.extensions = {{"a", 1}};
  manifest.files = {{"model.pt", {std::string(64, 'a'), 1ULL << 40}}, {"sub/x", {std::string(64, '0'), 0}}};
  manifest.inputs = {{"x", DType::kFloat32, {3, -1}}, {"scalar", DType::kInt64, {}}};
  manifest.outputs = {{"y", DType::kBool, {-1}}};
  manifest.batch = {1, 64};
  manifest.example_input = {"example.json", "application/json"};
  manifest.lineage = {{"seed", 7}, {"data", {{"sha256", "ff"}}}};
  const Result<Manifest> again = ParseManifest(ManifestText(manifest));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, manifest);
}

TEST(ManifestTest, ABatchThatIsNoRangeIsRefused) {
  for (const char* batch : {"8", "{}", R"({"min": 0, "max": 4})", R"({"min": 5, "max": 4})",
                            R"({"min": "1", "max": 4})", R"({"min": 1, "max": 100001})"}) {
    EXPECT_THAT(ErrorOf(WithOurs(R"({"batch": )" + std::string(batch) + "}")), HasSubstr("flambeau.batch"))
        << batch;
  }
}

TEST(ManifestTest, ATextOfTorchServeKeepsItsLayout) {
  const std::string text = R"({
  "createdOn": "27/03/2025 10:11:12",
  "runtime": "python",
  "model": {
    "modelName": "densenet161",
    "serializedFile": "model.pt",
    "handler": "image_classifier",
    "modelFile": "model.py",
    "modelVersion": "1.0",
    "requirementsFile": "requirements.txt",
    "configFile": "model-config.yaml"
  },
  "archiverVersion": "0.12.0"
})";
  const Result<Manifest> manifest = ParseManifest(text);
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(ManifestText(*manifest), text);
}

TEST(ManifestTest, WhatIsMissingGetsTorchServesDefaults) {
  const Result<Manifest> manifest = ParseManifest(R"({"model": {}})");
  ASSERT_TRUE(manifest);
  EXPECT_EQ(manifest->runtime, "python");
  EXPECT_EQ(manifest->model_version, "1.0");
  EXPECT_EQ(manifest->model_name, "");
  EXPECT_TRUE(manifest->files.empty());
}

TEST(ManifestTest, UnknownKeysAndNullsAreIgnored) {
  const Result<Manifest> manifest = ParseManifest(
      R"({"modelServerVersion": "1", "specificationVersion": [1],
          "model": {"modelName": "m", "modelFile": null, "envelope": {"a": 1}}, "flambeau": {"later": 1}})");
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->model_name, "m");
}

TEST(ManifestTest, ANumberIsAcceptedAsAVersion) {
  const Result<Manifest> manifest = ParseManifest(R"({"model": {"modelName": "m", "modelVersion": 2.5}})");
  ASSERT_TRUE(manifest);
  EXPECT_EQ(manifest->model_version, "2.5");
}

TEST(ManifestTest, AMissingModelIsNamed) {
  EXPECT_THAT(ErrorOf("{}"), AllOf(HasSubstr("\"model\""), HasSubstr("missing"), HasSubstr("an object")));
}

TEST(ManifestTest, AWrongTypeIsNamedWithWhatWasFound) {
  EXPECT_THAT(ErrorOf(R"({"model": {"modelName": 7}})"),
              AllOf(HasSubstr("\"model.modelName\""), HasSubstr("a string"), HasSubstr("found 7")));
  EXPECT_THAT(ErrorOf(R"({"model": ["x"]})"), AllOf(HasSubstr("\"model\""), HasSubstr("found an array")));
  EXPECT_THAT(ErrorOf("[1]"), HasSubstr("expected an object"));
}

TEST(ManifestTest, TextThatIsNoJsonTellsWhere) {
  EXPECT_THAT(ErrorOf("{\"model\": {\n \"modelName\" }"),
              AllOf(HasSubstr("not valid JSON"), HasSubstr("line 2")));
  EXPECT_THAT(ErrorOf(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(ErrorOf("{\"model\": {\"description\": \"\xff\"}}"), HasSubstr("not valid JSON"));
}

TEST(ManifestTest, DeepNestingAndGreatSizeAreRefused) {
  const std::string deep =
      R"({"model": {}, "x": )" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  EXPECT_THAT(ErrorOf(deep), AllOf(HasSubstr("nested 100001 deep"), HasSubstr("64")));
  EXPECT_THAT(ErrorOf(std::string(100'000, '[')), HasSubstr("nested"));
  const std::string brackets_in_text =
      R"({"model": {"description": ")" + std::string(1000, '[') + R"(\"["}})";
  EXPECT_TRUE(ParseManifest(brackets_in_text));
  EXPECT_THAT(ErrorOf(R"({"model": {"description": ")" + std::string(1 << 20, 'x') + R"("}})"),
              HasSubstr("allowed are 1048576"));
}

TEST(ManifestTest, AFileNameThatLeavesTheArchiveIsRefused) {
  for (const char* name : {"../model.pt", "/etc/passwd", "a/../../b", "a\\\\b", "a//b", "./a"}) {
    EXPECT_THAT(ErrorOf(R"({"model": {"serializedFile": ")" + std::string(name) + "\"}}"),
                HasSubstr("\"model.serializedFile\""));
  }
  EXPECT_THAT(ErrorOf(WithOurs(R"({"example_input": {"file": "../x"}})")),
              HasSubstr("flambeau.example_input.file"));
}

TEST(ManifestTest, NamesAndVersionsFollowTheRules) {
  EXPECT_TRUE(CheckModelName("resnet-18_v1.5").ok());
  for (const char* name : {"", "-a", ".a", "a b", "a/b", "ä", "a\n", ".."}) {
    EXPECT_FALSE(CheckModelName(name).ok()) << name;
  }
  EXPECT_FALSE(CheckModelName(std::string(256, 'a')).ok());
  EXPECT_TRUE(CheckModelVersion("2024-05-01 beta+3").ok());
  for (const char* version : {"", "1/2", "1\\2", "1\t", ".", "..", "é"}) {
    EXPECT_FALSE(CheckModelVersion(version).ok()) << version;
  }
  EXPECT_FALSE(CheckModelVersion(std::string(65, '1')).ok());
  EXPECT_THAT(ErrorOf(R"({"model": {"modelName": "a b"}})"),
              AllOf(HasSubstr("\"model.modelName\""), HasSubstr("^[A-Za-z0-9][A-Za-z0-9_\\-.]*$")));
  EXPECT_THAT(ErrorOf(R"({"model": {"modelVersion": "1/2"}})"), HasSubstr("\"model.modelVersion\""));
}

TEST(ManifestTest, EveryMistakeInOurPartNamesItsKey) {
  EXPECT_THAT(ErrorOf(WithOurs("3")), HasSubstr("\"flambeau\""));
  EXPECT_THAT(ErrorOf(WithOurs(R"({"format": 2})")), HasSubstr("\"flambeau.format\""));
  EXPECT_THAT(ErrorOf(WithOurs(R"({"files": []})")), HasSubstr("\"flambeau.files\""));
  EXPECT_THAT(ErrorOf(WithOurs(R"({"files": {"../a": {}}})")), HasSubstr("flambeau.files"));
  EXPECT_THAT(ErrorOf(WithOurs(R"({"files": {"a": {"sha256": "abc", "size": 1}}})")), HasSubstr(".sha256"));
  EXPECT_THAT(
      ErrorOf(WithOurs(R"({"files": {"a": {"sha256": ")" + std::string(64, 'a') + R"(", "size": -1}}})")),
      HasSubstr(".size"));
  EXPECT_THAT(ErrorOf(WithOurs(R"({"inputs": [{"name": "x", "dtype": "float31", "shape": []}]})")),
              AllOf(HasSubstr("flambeau.inputs[0].dtype"), HasSubstr("float31")));
  EXPECT_THAT(ErrorOf(WithOurs(R"({"inputs": [{"name": "x", "dtype": "int64", "shape": [-2]}]})")),
              HasSubstr("flambeau.inputs[0].shape"));
  EXPECT_THAT(ErrorOf(WithOurs(R"({"outputs": [{"dtype": "int64", "shape": []}]})")),
              HasSubstr("flambeau.outputs[0].name"));
  EXPECT_THAT(ErrorOf(WithOurs(R"({"example_input": {}})")), HasSubstr("flambeau.example_input.file"));
  EXPECT_THAT(ErrorOf(WithOurs(R"({"lineage": 1})")), HasSubstr("flambeau.lineage"));
}

TEST(ManifestTest, PathsInsideAnArchiveAreChecked) {
  for (const char* path : {"a", "a/b.pt", "..a", "a..", "ü/x"})
    EXPECT_TRUE(CheckEntryPath(path).ok()) << path;
  for (const char* path :
       {"", "/a", "a/", "a//b", ".", "./a", "a/.", "..", "a/..", "a/../a", "a\\b", "C:x", "a\nb"}) {
    EXPECT_FALSE(CheckEntryPath(path).ok()) << path;
  }
  EXPECT_FALSE(CheckEntryPath(std::string("a\0b", 3)).ok());
  EXPECT_TRUE(CheckEntryPath(std::string(255, 'a')).ok());
  EXPECT_FALSE(CheckEntryPath(std::string(256, 'a')).ok());
  EXPECT_TRUE(CheckEntryPath("a/b/c", 3).ok());
  EXPECT_FALSE(CheckEntryPath("a/b/c/d", 3).ok());
}

TEST(Sha256Test, KnownDigests) {
  EXPECT_EQ(Sha256OfBytes(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256OfBytes("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace serve
