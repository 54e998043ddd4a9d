// Archives and modules that must not be served: the answer names the step and the file, nothing stays
// registered, and nothing is left on the disk.

#include <string>

#include "tests/model_store/archive/raw_zip.h"
#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

const std::string kInvalid = "InvalidModelException";

class BadArchiveTest : public SharedServer<BadArchiveTest> {
 public:
  static ServerProcess::Options Options() { return {}; }

 protected:
  void TearDown() override {
    EXPECT_THAT(ModelNames(server()), IsEmpty());
    EXPECT_THAT(server().Unpacked(), IsEmpty());
    EXPECT_EQ(server().Temporary().size(), 1) << "something was written beside the server's own folder";
    EXPECT_EQ(Get(server().inference(), "/ping").status, 200);
  }

  static void Write(const std::string& name, const std::string& bytes) {
    std::ofstream(server().store() / name, std::ios::binary) << bytes;
  }
  /// Registers what must fail in `step`.
  static HttpResponse Fail(const std::string& query, const std::string& step) {
    const HttpResponse response = Register(server(), query);
    EXPECT_TRUE(IsError(response, 400, kInvalid, " was not registered: " + step + " failed (")) << query;
    return response;
  }
  static std::string Archive(const std::string& name, const std::string& module = "double.pt") {
    CreateOptions options;
    options.model_name = name;
    options.inputs = {Spec("x:float32:[2]")};
    return Pack(server(), module, options).string();
  }
};

TEST_F(BadArchiveTest, ATruncatedArchive) {
  const std::string bytes = ReadAll(Archive("truncated"));
  for (const std::size_t size : {std::size_t{10}, bytes.size() / 2, bytes.size() - 1}) {
    Write("truncated.mar", bytes.substr(0, size));
    EXPECT_THAT(Fail("url=truncated.mar", "unpack").Text("message"), HasSubstr("damaged or incomplete"));
  }
}

TEST_F(BadArchiveTest, AnEmptyFileAndAFileThatIsNoZip) {
  Write("empty.mar", "");
  EXPECT_THAT(Fail("url=empty.mar", "unpack").Text("message"), HasSubstr("is empty"));
  Write("text.mar", "this is no archive");
  EXPECT_THAT(Fail("url=text.mar&model_name=named", "unpack").Text("message"),
              HasSubstr("is not a zip file"));
}

TEST_F(BadArchiveTest, AFlippedByteIsFoundAndItsFileNamed) {
  const std::string path = Archive("flipped", "mlp.pt");
  std::string bytes = ReadAll(path);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);  // far inside the weights
  Write("flipped.mar", bytes);
  EXPECT_THAT(Fail("url=flipped.mar", "unpack").Text("message"), HasSubstr("mlp.pt"));
}

TEST_F(BadArchiveTest, AFileThatIsNotTheOneThatWasPackedIsNamedByTheChecksumStep) {
  CreateOptions options;
  options.model_name = "exchanged";
  options.format = ArchiveFormat::kNoArchive;
  const std::filesystem::path folder = Pack(server(), "double.pt", options);
  const std::string manifest = ReadAll(folder / kManifestPath);
  // The zip's own checksums are right; only the manifest knows better.
  Write("exchanged.mar",
        RawZip({{"double.pt", ReadAll(ModelFile("triple.pt"))}, {std::string(kManifestPath), manifest}}));
  EXPECT_THAT(Fail("url=exchanged.mar", "verify checksums").Text("message"), HasSubstr("double.pt has"));

  std::filesystem::copy_file(ModelFile("triple.pt"), folder / "double.pt",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(Fail("url=exchanged", "verify checksums").Text("message"), HasSubstr("double.pt has"));
}

TEST_F(BadArchiveTest, AFileThatTheManifestDoesNotListIsNamed) {
  CreateOptions options;
  options.model_name = "added";
  options.format = ArchiveFormat::kNoArchive;
  const std::filesystem::path folder = Pack(server(), "double.pt", options);
  Write("added.mar", RawZip({{"double.pt", ReadAll(ModelFile("double.pt"))},
                             {"more.txt", "hello"},
                             {std::string(kManifestPath), ReadAll(folder / kManifestPath)}}));
  EXPECT_THAT(Fail("url=added.mar", "verify checksums").Text("message"), HasSubstr("more.txt is not listed"));
}

TEST_F(BadArchiveTest, AnEntryThatLeavesTheFolder) {
  const RawEntry manifest{std::string(kManifestPath), R"({"model": {"modelName": "evil"}})"};
  const std::string absolute = (server().store() / "evil.txt").string();
  for (const std::string& name :
       {std::string("../evil.txt"), std::string("a/../../evil.txt"), absolute, std::string("..\\evil.txt")}) {
    Write("evil.mar", RawZip({manifest, {name, "evil"}}));
    EXPECT_THAT(Fail("url=evil.mar", "unpack").Text("message"), HasSubstr("evil.txt"));
  }
  EXPECT_FALSE(std::filesystem::exists(absolute));
}

TEST_F(BadArchiveTest, AnEntryThatIsALink) {
  Write("link.mar", RawZip({{std::string(kManifestPath), R"({"model": {"modelName": "link"}})"},
                            {"passwords", "/etc/passwd", 0120777}}));
  EXPECT_THAT(Fail("url=link.mar", "unpack").Text("message"), HasSubstr("\"passwords\" is a link"));
}

TEST_F(BadArchiveTest, AnArchiveWithoutAManifest) {
  Write("bare.mar", RawZip({{"double.pt", ReadAll(ModelFile("double.pt"))}}));
  EXPECT_THAT(Fail("url=bare.mar", "unpack").Text("message"), HasSubstr("MAR-INF/MANIFEST.json is missing"));
}

TEST_F(BadArchiveTest, AManifestThatIsNoJsonOrNamesWhatIsNotThere) {
  Write("manifest.mar", RawZip({{std::string(kManifestPath), "{\"model\": "}}));
  EXPECT_THAT(Fail("url=manifest.mar", "unpack").Text("message"), HasSubstr("MANIFEST.json"));
  Write("manifest.mar", RawZip({{std::string(kManifestPath),
                                 R"({"model": {"modelName": "m", "serializedFile": "gone.pt"}})"}}));
  EXPECT_THAT(Fail("url=manifest.mar", "unpack").Text("message"), HasSubstr("gone.pt"));
  Write("manifest.mar", RawZip({{std::string(kManifestPath), R"({"model": {"modelName": "a/b"}})"}}));
  EXPECT_THAT(Fail("url=manifest.mar", "unpack").Text("message"), HasSubstr("modelName"));
}

TEST_F(BadArchiveTest, APtFileThatIsNoTorchScript) {
  Write("garbage.pt", "this is no module");
  EXPECT_THAT(Fail("url=garbage.pt", "load").Text("message"), HasSubstr("(garbage.pt)"));
  Write("nothing.pt", "");
  Fail("url=nothing.pt", "load");
  Write("zip.pt", RawZip({{"a.txt", "hello"}}));
  Fail("url=zip.pt", "load");
  const std::string module = ReadAll(ModelFile("mlp.pt"));
  Write("half.pt", module.substr(0, module.size() / 2));
  Fail("url=half.pt", "load");
}

TEST_F(BadArchiveTest, AStateDictSaysWhatToDoInstead) {
  server().AddModel("state_dict.pt");
  EXPECT_THAT(Fail("url=state_dict.pt", "load").Text("message"), HasSubstr("torch.jit.script(model).save("));
  Write("pickle.pt", std::string("\x80\x02}q\x00.", 6));
  EXPECT_THAT(Fail("url=pickle.pt", "load").Text("message"), HasSubstr("torch.jit.script(model).save("));
}

TEST_F(BadArchiveTest, AShapeThatTheModelCannotUseNamesBothShapes) {
  server().AddModel("mlp.pt");
  const std::string message = Fail("url=mlp.pt&input=x:float32:[32]", "check").Text("message");
  EXPECT_THAT(message, HasSubstr("1x32"));
  EXPECT_THAT(message, HasSubstr("64x256"));
}

TEST_F(BadArchiveTest, AnOutputThatIsNotTheDeclaredOne) {
  CreateOptions options;
  options.model_name = "declared";
  options.inputs = {Spec("x:float32:[64]")};
  options.outputs = {Spec("label:float32:[5]")};
  Pack(server(), "mlp.pt", options);
  const std::string message = Fail("url=declared.mar", "check").Text("message");
  EXPECT_THAT(message, HasSubstr("label:float32:[5]"));
  EXPECT_THAT(message, HasSubstr("[1, 4]"));

  options.outputs = {Spec("a:float32:[4]"), Spec("b:float32:[4]")};
  options.force = true;
  Pack(server(), "mlp.pt", options);
  EXPECT_THAT(Fail("url=declared.mar", "check").Text("message"), HasSubstr("declares 2 outputs"));
}

TEST_F(BadArchiveTest, AModelThatAnswersTheWrongRowsOrNoTensorOrThrows) {
  for (const std::string name : {"rows.pt", "text.pt"}) server().AddModel(name);
  EXPECT_THAT(Fail("url=rows.pt&input=x:float32:[2]", "check").Text("message"),
              HasSubstr("3 rows for a batch of 1"));
  EXPECT_THAT(Fail("url=text.pt&input=x:float32:[2]", "check").Text("message"), HasSubstr("str"));

  const TemporaryFolder folder;
  CreateOptions options;
  options.model_name = "throwing";
  options.example_input = folder.Write("example.json", "[2000]");
  Pack(server(), "throws.pt", options);
  const std::string message = Fail("url=throwing.mar", "check").Text("message");
  EXPECT_THAT(message, HasSubstr("example.json"));
  EXPECT_THAT(message, HasSubstr("the sum of a row is above 1000"));
}

TEST_F(BadArchiveTest, AnExampleThatItsOwnModelCannotRead) {
  const TemporaryFolder folder;
  CreateOptions options;
  options.model_name = "example";
  options.inputs = {Spec("x:float32:[2]")};
  options.example_input = folder.Write("example.json", "[1, 2, 3]");
  Pack(server(), "double.pt", options);
  EXPECT_THAT(Fail("url=example.mar", "check").Text("message"), HasSubstr("expected shape [2], got [3]"));
}

TEST_F(BadArchiveTest, AnUnknownHandlerAndAWrongDeclaration) {
  server().AddModel("double.pt");
  EXPECT_THAT(Fail("url=double.pt&handler=magic", "make handler").Text("message"), HasSubstr("magic"));
  EXPECT_TRUE(IsError(Register(server(), "url=double.pt&input=x:float99:[2]"), 400, "BadRequestException",
                      "float99"));
}

TEST_F(BadArchiveTest, WhatIsNotInTheModelStore) {
  EXPECT_TRUE(IsError(Register(server(), "url=nope.mar"), 404, "ModelNotFoundException",
                      "Model not found at: nope.mar"));
  EXPECT_TRUE(IsError(Register(server(), "url="), 404, "ModelNotFoundException", "empty url"));
  EXPECT_TRUE(IsError(Register(server(), "url=..%2Fports"), 404, "ModelNotFoundException",
                      "Relative path is not allowed in url: ../ports"));
  EXPECT_TRUE(IsError(Register(server(), "url=http://127.0.0.1:1/a.mar"), 404, "ModelNotFoundException",
                      "does not match any allowed URL(s)"));
}

}  // namespace
}  // namespace serve::wire
