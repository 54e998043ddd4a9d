#include "model_store/archive/archive.h"

#include <cstdlib>
#include <string>
#include <sys/stat.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_store/archive/test_files.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// A small model and what goes with it.
class ArchiveTest : public testing::Test {
 protected:
  ArchiveTest() {
    setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
    options_.model_name = "news";
    options_.version = "1.0";
    options_.serialized_file = folder_.Write("in/model.pt", "weights " + std::string(5000, 'w'));
    options_.handler = "text_classifier";
    folder_.Write("in/extra/vocab.txt", std::string(3000, 'v'));
    folder_.Write("in/extra/deep/labels.json", "[\"a\"]");
    folder_.Write("in/notes für alle.md", "notes");
    options_.extra_files = {folder_ / "in/extra", folder_ / "in/notes für alle.md"};
    options_.example_input = folder_.Write("in/example.json", "{\"text\": \"hello\"}");
    options_.inputs = {{"ids", DType::kInt64, {-1}}};
    options_.outputs = {{"scores", DType::kFloat32, {4}}};
    options_.lineage = {{"seed", 1}};
    options_.export_path = folder_ / "out";
  }
  ~ArchiveTest() override { unsetenv("SOURCE_DATE_EPOCH"); }

  CreatedArchive Create() {
    Result<CreatedArchive> created = CreateArchive(options_);
    EXPECT_TRUE(created) << created.error().message;
    return created ? *created : CreatedArchive{};
  }
  UnpackedArchive Open(const fs::path& path, const UnpackLimits& limits = {}) {
    Result<UnpackedArchive> opened = OpenArchive(path, folder_ / "unpacked", limits);
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? *opened : UnpackedArchive{};
  }
  std::string OpenError(const fs::path& path, const UnpackLimits& limits = {}) {
    const Result<UnpackedArchive> opened = OpenArchive(path, folder_ / "unpacked", limits);
    EXPECT_FALSE(opened) << path;
    EXPECT_THAT(NamesIn(folder_ / "unpacked"), IsEmpty());
    return opened ? "" : opened.error().message;
  }

  TemporaryFolder folder_;
  CreateOptions options_;
};

class FormatTest : public ArchiveTest, public testing::WithParamInterface<ArchiveFormat> {};

TEST_P(FormatTest, WhatIsPackedComesBackAndVerifies) {
  options_.format = GetParam();
  const CreatedArchive created = Create();
  UnpackedArchive opened = Open(created.path);
  EXPECT_TRUE(opened.has_manifest);
  EXPECT_FALSE(opened.bare_file);
  EXPECT_EQ(opened.temporary, GetParam() != ArchiveFormat::kNoArchive);
  EXPECT_EQ(opened.manifest.model_name, "news");
  EXPECT_EQ(opened.manifest.created_on, "14/11/2023 22:13:20");
  EXPECT_EQ(opened.manifest.handler, "text_classifier");
  EXPECT_EQ(opened.manifest.inputs, options_.inputs);
  EXPECT_EQ(opened.manifest.outputs, options_.outputs);
  EXPECT_EQ(opened.manifest.example_input, (ExampleInput{"example.json", "application/json"}));
  EXPECT_EQ(opened.manifest.lineage, options_.lineage);
  EXPECT_EQ(opened.serialized_file, opened.folder / "model.pt");
  EXPECT_EQ(ReadAll(opened.serialized_file), ReadAll(options_.serialized_file));
  EXPECT_EQ(ReadAll(opened.folder / "deep/labels.json"), "[\"a\"]");
  EXPECT_THAT(NamesIn(opened.folder),
              ElementsAre("MAR-INF", "deep", "example.json", "model.pt", "notes für alle.md", "vocab.txt"));
  const Result<VerifyReport> report = VerifyArchive(opened);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_TRUE(report->has_digests);
  EXPECT_EQ(report->files, 5U);
  EXPECT_THAT(NamesIn(folder_ / "out"), ElementsAre(created.path.filename().string()));  // no .partial left
  RemoveUnpacked(opened);
  EXPECT_THAT(NamesIn(folder_ / "unpacked"), IsEmpty());
}

TEST_P(FormatTest, EqualInputGivesEqualBytesInEveryTimeZone) {
  if (GetParam() == ArchiveFormat::kNoArchive) GTEST_SKIP() << "a folder has no bytes of its own";
  options_.format = GetParam();
  const CreatedArchive first = Create();
  const std::string bytes = ReadAll(first.path);
  EXPECT_EQ(first.size, bytes.size());
  EXPECT_EQ(first.sha256, Sha256OfBytes(bytes));
  const char* zone = getenv("TZ");
  const std::string before = zone == nullptr ? "" : zone;
  setenv("TZ", "America/Los_Angeles", 1);
  tzset();
  options_.export_path = folder_ / "again";
  std::reverse(options_.extra_files.begin(), options_.extra_files.end());
  fs::last_write_time(options_.serialized_file, fs::file_time_type::clock::now() - std::chrono::hours(1000));
  EXPECT_EQ(ReadAll(Create().path), bytes);
  zone == nullptr ? unsetenv("TZ") : setenv("TZ", before.c_str(), 1);
  tzset();
}

TEST_P(FormatTest, AnExistingOutputIsKeptUnlessForced) {
  options_.format = GetParam();
  const CreatedArchive created = Create();
  options_.version = "2.0";
  const Result<CreatedArchive> refused = CreateArchive(options_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kConflict);
  EXPECT_EQ(refused.error().message,
            created.path.string() +
                " already exists.\nPlease specify --force/-f option to overwrite the model archive "
                "output file.\nSee -h/--help for more details.");
  EXPECT_EQ(Open(created.path).manifest.model_version, "1.0");
  options_.force = true;
  Create();
  EXPECT_EQ(Open(created.path).manifest.model_version, "2.0");
  EXPECT_THAT(NamesIn(folder_ / "out"), ElementsAre(created.path.filename().string()));
}

std::string FormatName(const testing::TestParamInfo<ArchiveFormat>& tested) {
  static constexpr const char* kNames[] = {"Default", "ZipStore", "NoArchive", "Tgz"};
  return kNames[static_cast<std::size_t>(tested.param)];
}
INSTANTIATE_TEST_SUITE_P(Formats, FormatTest,
                         testing::Values(ArchiveFormat::kDefault, ArchiveFormat::kZipStore,
                                         ArchiveFormat::kNoArchive, ArchiveFormat::kTgz),
                         FormatName);

/// Bytes that do not shrink.
std::string Noise(std::size_t size) {
  std::string noise(size, ' ');
  std::uint32_t state = 1;
  for (char& c : noise) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return noise;
}

TEST_F(ArchiveTest, WhatShrinksIsDeflatedUnlessAskedToStore) {
  const std::string bytes = ReadAll(Create().path);
  EXPECT_EQ(bytes.find(std::string(5000, 'w')), std::string::npos);
  EXPECT_EQ(bytes.find(std::string(3000, 'v')), std::string::npos);
  options_.format = ArchiveFormat::kZipStore;
  options_.force = true;
  EXPECT_NE(ReadAll(Create().path).find(std::string(3000, 'v')), std::string::npos);
}

TEST_F(ArchiveTest, WeightsAreStoredSinceTheyHardlyShrink) {
  const std::string weights = std::string(1 << 17, 'c') + Noise(3 << 20);  // code comes first
  folder_.Write("in/model.pt", weights);
  const std::string bytes = ReadAll(Create().path);
  EXPECT_NE(bytes.find(weights), std::string::npos);
  EXPECT_EQ(bytes.find(std::string(3000, 'v')), std::string::npos);  // each file for itself
  UnpackedArchive opened = Open(folder_ / "out/news.mar");
  EXPECT_EQ(ReadAll(opened.serialized_file), weights);
  EXPECT_TRUE(VerifyArchive(opened));
}

TEST_F(ArchiveTest, FilesOfWhichOnlyAPartShrinksComeBack) {
  const std::string late = Noise(1 << 20) + std::string(2 << 20, 'z');
  const std::string early = std::string(1 << 20, 'z') + Noise(2 << 20) + "end";
  folder_.Write("in/model.pt", late);
  folder_.Write("in/extra/vocab.txt", early);
  const CreatedArchive created = Create();
  EXPECT_LT(created.size, 3'200'000U) << "by its beginning alone, the first would be stored";
  UnpackedArchive opened = Open(created.path);
  EXPECT_EQ(ReadAll(opened.serialized_file), late);
  EXPECT_EQ(ReadAll(opened.folder / "vocab.txt"), early);
  EXPECT_TRUE(VerifyArchive(opened));
}

TEST_F(ArchiveTest, SizesStandInFrontOfEachEntry) {
  // TorchServe reads a .mar as a stream, and a stream that stores an entry must say its size first.
  folder_.Write("in/model.pt", Noise(3 << 20));
  const std::string bytes = ReadAll(Create().path);
  std::size_t entries = 0;
  std::size_t at = 0;
  for (; bytes.compare(at, 4, "PK\x03\x04") == 0; ++entries) {
    const auto number = [&](std::size_t where, std::size_t count) {
      std::size_t value = 0;
      for (std::size_t i = count; i-- > 0;)
        value = value << 8 | static_cast<unsigned char>(bytes[at + where + i]);
      return value;
    };
    EXPECT_EQ(number(6, 2) & 8, 0U) << "sizes follow the data";
    at += 30 + number(26, 2) + number(28, 2) + number(18, 4);
  }
  EXPECT_EQ(entries, 6U);
  EXPECT_EQ(bytes.compare(at, 4, "PK\x01\x02"), 0) << "the directory follows the last entry";
}

TEST_F(ArchiveTest, ADamagedStoredEntryIsRefusedAndNamed) {
  folder_.Write("in/model.pt", Noise(3 << 20));
  std::string bytes = ReadAll(Create().path);
  const std::size_t at = bytes.find(Noise(64));
  ASSERT_NE(at, std::string::npos);
  bytes[at + (2 << 20)] ^= 1;
  EXPECT_THAT(OpenError(folder_.Write("bad.mar", bytes)),
              AllOf(HasSubstr("bad.mar"), HasSubstr("\"model.pt\""), HasSubstr("damaged")));
}

TEST_F(ArchiveTest, UnpackedFilesAreForTheOwnerAlone) {
  const UnpackedArchive opened = Open(Create().path);
  struct stat status {};
  ASSERT_EQ(stat(opened.folder.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700U);
  ASSERT_EQ(stat(opened.serialized_file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(ArchiveTest, VerifyNamesEveryFileThatDiffers) {
  options_.format = ArchiveFormat::kNoArchive;
  const UnpackedArchive opened = Open(Create().path);
  std::string vocabulary = ReadAll(opened.folder / "vocab.txt");
  vocabulary[1500] ^= 1;
  std::ofstream(opened.folder / "vocab.txt", std::ios::binary) << vocabulary;
  std::ofstream(opened.folder / "example.json", std::ios::app) << " ";
  fs::remove(opened.folder / "deep/labels.json");
  std::ofstream(opened.folder / "deep/smuggled.so") << "x";
  const Result<VerifyReport> report = VerifyArchive(opened);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Code::kInvalidArgument);
  EXPECT_THAT(
      report.error().message,
      AllOf(HasSubstr("vocab.txt has the sha256"), HasSubstr("example.json has 18 bytes instead of 17"),
            HasSubstr("deep/labels.json is missing"), HasSubstr("deep/smuggled.so is not listed"),
            Not(HasSubstr("model.pt"))));
}

TEST_F(ArchiveTest, AFlippedBitAnywhereIsNoticedOrHarmless) {
  options_.serialized_file = folder_.Write("in/model.pt", "tiny weights");
  options_.extra_files = {folder_.Write("in/words.txt", "aaaa bbbb aaaa bbbb aaaa bbbb")};
  const CreatedArchive created = Create();
  const std::string good = ReadAll(created.path);
  std::size_t noticed = 0;
  std::size_t flips = 0;
  for (std::size_t at = 0; at < good.size(); at += 5) {  // every byte takes ten seconds and finds no more
    std::string bad = good;
    bad[at] ^= static_cast<char>(1 << (++flips % 8));
    const fs::path file = folder_.Write("bad.mar", bad);
    Result<UnpackedArchive> opened = OpenArchive(file, folder_ / "unpacked");
    const bool accepted = opened && VerifyArchive(*opened);
    if (accepted) {  // a byte that carries nothing, such as a date
      EXPECT_EQ(ReadAll(opened->folder / "model.pt"), "tiny weights") << at;
      EXPECT_EQ(ReadAll(opened->folder / "words.txt"), "aaaa bbbb aaaa bbbb aaaa bbbb") << at;
      EXPECT_EQ(opened->manifest.model_name, "news") << at;
    } else {
      ++noticed;
    }
    if (opened) RemoveUnpacked(*opened);
  }
  EXPECT_GT(noticed, flips / 2);
  EXPECT_THAT(NamesIn(folder_ / "unpacked"), IsEmpty());
}

TEST_F(ArchiveTest, AnArchiveCutAnywhereIsRefused) {
  for (const ArchiveFormat format :
       {ArchiveFormat::kDefault, ArchiveFormat::kZipStore, ArchiveFormat::kTgz}) {
    options_.format = format;
    options_.force = true;
    const CreatedArchive created = Create();
    const std::string good = ReadAll(created.path);
    const std::string name = format == ArchiveFormat::kTgz ? "cut.tar.gz" : "cut.mar";
    const std::size_t step = good.size() / 80 + 1;
    for (std::size_t size = 0; size < good.size(); size += size + 60 < good.size() ? step : 1) {
      // The last bytes of a gzip file are its checksum; the tar file in it is complete before.
      if (format == ArchiveFormat::kTgz && size + 60 >= good.size()) break;
      const std::string error = OpenError(folder_.Write(name, good.substr(0, size)));
      EXPECT_THAT(error, HasSubstr(name)) << size;
    }
  }
}

TEST_F(ArchiveTest, AnArchiveCutAfterAnInnerZipIsNotTakenForThatZip) {
  // A .pt file is a zip itself; stored, its own end record stands at the end of the cut archive.
  options_.format = ArchiveFormat::kZipStore;
  options_.export_path = folder_ / "inner";
  const CreatedArchive inner = Create();
  options_.serialized_file = folder_.Write("in/inner.pt", ReadAll(inner.path));
  options_.extra_files.clear();
  options_.example_input.clear();
  options_.export_path = folder_ / "out";
  const std::string outer = ReadAll(Create().path);
  const std::string inner_bytes = ReadAll(inner.path);
  const std::size_t at = outer.find(inner_bytes);
  ASSERT_NE(at, std::string::npos);
  UnpackLimits limits;
  limits.allow_missing_manifest = true;
  EXPECT_THAT(OpenError(folder_.Write("cut.mar", outer.substr(0, at + inner_bytes.size())), limits),
              HasSubstr("damaged or incomplete"));
}

TEST_F(ArchiveTest, AFolderIsUsedInPlaceAndASingleFolderInItIsEntered) {
  options_.format = ArchiveFormat::kNoArchive;
  options_.export_path = folder_ / "out/wrapped";
  const CreatedArchive created = Create();
  UnpackedArchive opened = Open(folder_ / "out/wrapped");
  EXPECT_EQ(opened.folder, created.path);
  EXPECT_FALSE(opened.temporary);
  RemoveUnpacked(opened);
  EXPECT_TRUE(fs::exists(created.path / "model.pt"));
}

TEST_F(ArchiveTest, ABareModuleFileIsAModelWithoutManifest) {
  const fs::path file = folder_.Write("store/mlp.PT", "weights");
  const UnpackedArchive opened = Open(file);
  EXPECT_TRUE(opened.bare_file);
  EXPECT_FALSE(opened.has_manifest);
  EXPECT_FALSE(opened.temporary);
  EXPECT_EQ(opened.serialized_file, file);
  EXPECT_EQ(opened.manifest.serialized_file, "mlp.PT");
  EXPECT_EQ(opened.manifest.model_version, "1.0");
  const Result<VerifyReport> report = VerifyArchive(opened);
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->has_digests);
}

TEST_F(ArchiveTest, AMissingManifestIsRefusedUnlessAllowed) {
  folder_.Write("plain/model.pt", "weights");
  folder_.Write("plain/other.txt", "x");
  EXPECT_THAT(OpenError(folder_ / "plain"), HasSubstr("MAR-INF/MANIFEST.json is missing"));
  UnpackLimits limits;
  limits.allow_missing_manifest = true;
  UnpackedArchive opened = Open(folder_ / "plain", limits);
  EXPECT_FALSE(opened.has_manifest);
  EXPECT_EQ(opened.serialized_file, folder_ / "plain/model.pt");
  folder_.Write("plain/second.pt", "weights");
  opened = Open(folder_ / "plain", limits);
  EXPECT_EQ(opened.serialized_file, "");
}

TEST_F(ArchiveTest, AManifestThatNamesAMissingFileIsRefused) {
  folder_.Write("plain/MAR-INF/MANIFEST.json",
                R"({"model": {"modelName": "m", "serializedFile": "gone.pt"}})");
  EXPECT_THAT(OpenError(folder_ / "plain"), AllOf(HasSubstr("serialized file"), HasSubstr("gone.pt")));
}

TEST_F(ArchiveTest, OtherFilesAreNoModels) {
  EXPECT_THAT(OpenError(folder_ / "gone.mar"), HasSubstr("no such file"));
  EXPECT_THAT(OpenError(folder_.Write("model.onnx", "x")), HasSubstr(".mar, .tar.gz"));
  EXPECT_THAT(OpenError(folder_.Write("text.mar", "hello there")), HasSubstr("not a zip file"));
  EXPECT_THAT(OpenError(folder_.Write("empty.mar", "")), HasSubstr("empty"));
  EXPECT_THAT(OpenError(folder_.Write("text.tgz", "hello there")), HasSubstr("damaged or incomplete"));
  ASSERT_EQ(mkfifo((folder_ / "pipe.mar").c_str(), 0600), 0);
  EXPECT_THAT(OpenError(folder_ / "pipe.mar"), HasSubstr("neither a file nor a folder"));
}

TEST_F(ArchiveTest, TheManifestIsTheLastEntry) {
  const std::string bytes = ReadAll(Create().path);
  const std::size_t manifest = bytes.rfind("MAR-INF/MANIFEST.json");
  EXPECT_EQ(bytes.find("PK\x01\x02", manifest), std::string::npos);
}

TEST_F(ArchiveTest, CreateRefusesWhatCannotBeServed) {
  const auto error = [this] {
    const Result<CreatedArchive> created = CreateArchive(options_);
    EXPECT_FALSE(created);
    EXPECT_FALSE(fs::exists(folder_ / "out/news.mar"));
    return created ? "" : created.error().message;
  };
  const CreateOptions good = options_;
  options_.model_name = "a b";
  EXPECT_THAT(error(), HasSubstr("Model name contains special characters."));
  options_ = good;
  options_.version = "";
  EXPECT_THAT(error(), HasSubstr("version"));
  options_ = good;
  options_.serialized_file = folder_ / "gone.pt";
  EXPECT_THAT(error(), EndsWith("gone.pt: no such file"));
  options_ = good;
  options_.extra_files.push_back(folder_.Write("in/second/vocab.txt", "other"));
  EXPECT_THAT(error(), AllOf(HasSubstr("extra/vocab.txt"), HasSubstr("second/vocab.txt")));
  options_ = good;
  folder_.Write("in/repacked/MAR-INF/MANIFEST.json", "{}");
  options_.extra_files = {folder_ / "in/repacked"};
  EXPECT_THAT(error(), HasSubstr("MAR-INF"));
  options_ = good;
  options_.lineage = 3;
  EXPECT_THAT(error(), HasSubstr("lineage"));
  options_ = good;
  options_.lineage = {{"log", std::string(2 << 20, 'x')}};
  EXPECT_THAT(error(), HasSubstr("shorten the lineage"));
  EXPECT_THAT(NamesIn(folder_ / "out"), IsEmpty());
}

TEST_F(ArchiveTest, AHandlerFileIsPackedAndABuiltInNameIsNot) {
  options_.extra_files.clear();
  options_.handler = folder_.Write("in/my_handler.py", "x = 1");
  options_.format = ArchiveFormat::kNoArchive;
  UnpackedArchive opened = Open(Create().path);
  EXPECT_EQ(opened.manifest.handler, "my_handler.py");
  EXPECT_TRUE(opened.manifest.files.contains("my_handler.py"));
  options_.handler = (folder_ / "in/my_handler").string() + ":handle";
  options_.force = true;
  opened = Open(Create().path);
  EXPECT_EQ(opened.manifest.handler, "my_handler:handle");
  EXPECT_TRUE(opened.manifest.files.contains("my_handler.py"));
  options_.handler = folder_ / "in/gone.py";
  EXPECT_FALSE(CreateArchive(options_));
}

TEST_F(ArchiveTest, ThePackedFormatNeedsATopFolder) {
  options_.format = ArchiveFormat::kTgz;
  const CreatedArchive created = Create();
  EXPECT_EQ(created.path.filename(), "news.tar.gz");
  fs::rename(created.path, folder_ / "out/renamed.tgz");
  EXPECT_EQ(Open(folder_ / "out/renamed.tgz").manifest.model_name, "news");
}

TEST(ContentTypeTest, TheNameTells) {
  EXPECT_EQ(ContentTypeOf("a/b.JSON"), "application/json");
  EXPECT_EQ(ContentTypeOf("b.txt"), "text/plain");
  EXPECT_EQ(ContentTypeOf("b.jpeg"), "image/jpeg");
  EXPECT_EQ(ContentTypeOf("b"), "application/octet-stream");
}

}  // namespace
}  // namespace serve
