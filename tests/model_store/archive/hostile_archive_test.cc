#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model_store/archive/archive.h"
#include "tests/model_store/archive/raw_zip.h"
#include "tests/model_store/archive/test_files.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const RawEntry kManifest{"MAR-INF/MANIFEST.json", R"({"model": {"modelName": "m"}})"};

/// Every test unpacks to outer/inner: what leaves that folder by `..` is seen in outer.
class HostileArchiveTest : public testing::Test {
 protected:
  std::string Refused(const fs::path& file, const UnpackLimits& limits = {}) {
    const Result<UnpackedArchive> opened = OpenArchive(file, folder_ / "outer/inner", limits);
    EXPECT_FALSE(opened) << file;
    EXPECT_THAT(NamesIn(folder_ / "outer"), AnyOf(IsEmpty(), ElementsAre("inner")));
    EXPECT_THAT(NamesIn(folder_ / "outer/inner"), IsEmpty());
    if (opened) return "";
    EXPECT_EQ(opened.error().code, Code::kInvalidArgument);
    return opened.error().message;
  }
  std::string RefusedZip(const std::vector<RawEntry>& entries, const UnpackLimits& limits = {}) {
    return Refused(folder_.Write("x.mar", RawZip(entries)), limits);
  }

  using Describe = std::function<void(struct archive_entry*)>;
  /// A .tar.gz of one entry per function; a regular file has the content "data".
  fs::path Tar(const std::vector<Describe>& entries) {
    const fs::path file = folder_ / "x.tar.gz";
    struct archive* writer = archive_write_new();
    archive_write_add_filter_gzip(writer);
    archive_write_set_format_pax_restricted(writer);
    EXPECT_EQ(archive_write_open_filename(writer, file.c_str()), ARCHIVE_OK);
    for (const Describe& describe : entries) {
      struct archive_entry* entry = archive_entry_new();
      archive_entry_set_filetype(entry, AE_IFREG);
      archive_entry_set_perm(entry, 0644);
      describe(entry);
      const bool has_data =
          archive_entry_filetype(entry) == AE_IFREG && archive_entry_hardlink(entry) == nullptr;
      archive_entry_set_size(entry, has_data ? 4 : 0);
      EXPECT_EQ(archive_write_header(writer, entry), ARCHIVE_OK) << archive_error_string(writer);
      if (has_data) archive_write_data(writer, "data", 4);
      archive_entry_free(entry);
    }
    archive_write_close(writer);
    archive_write_free(writer);
    return file;
  }

  TemporaryFolder folder_;
};

TEST_F(HostileArchiveTest, TheHonestZipOfTheseTestsOpens) {
  const fs::path file = folder_.Write("x.mar", RawZip({{"a.txt", "a"}, {"sub/", "", 040755}, kManifest}));
  const Result<UnpackedArchive> opened = OpenArchive(file, folder_ / "outer/inner");
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(ReadAll(opened->folder / "a.txt"), "a");
  EXPECT_TRUE(fs::is_directory(opened->folder / "sub"));
}

TEST_F(HostileArchiveTest, NamesThatLeaveTheFolderAreRefused) {
  for (const char* name : {"../x", "../../x", "a/../../x", "a/../a", "..", "a/..", "/flambeau-absolute",
                           "//x", "..\\x", "a\\..\\..\\x", "C:\\x", "C:x", "./x", "a//x", "a\nb"}) {
    EXPECT_THAT(RefusedZip({kManifest, {name, "x"}}), HasSubstr("the path \"")) << name;
  }
  EXPECT_FALSE(fs::exists("/flambeau-absolute"));
}

TEST_F(HostileArchiveTest, AFolderThatLeavesIsRefused) {
  EXPECT_THAT(RefusedZip({kManifest, {"../out/", "", 040755}}), HasSubstr("leaves the archive"));
}

TEST_F(HostileArchiveTest, ALinkIsRefusedBeforeAnythingIsWrittenThroughIt) {
  const fs::path target = folder_ / "target";
  fs::create_directory(target);
  EXPECT_THAT(RefusedZip({kManifest, {"link", target.string(), 0120777}, {"link/evil", "x"}}),
              AllOf(HasSubstr("\"link\""), HasSubstr("is a link")));
  EXPECT_THAT(NamesIn(target), IsEmpty());
}

TEST_F(HostileArchiveTest, LinksAndDevicesInATarAreRefused) {
  const auto named = [](const char* name, const std::function<void(struct archive_entry*)>& more = {}) {
    return [name, more](struct archive_entry* entry) {
      archive_entry_set_pathname(entry, name);
      if (more) more(entry);
    };
  };
  EXPECT_THAT(Refused(Tar({named("m/link",
                                 [](auto* entry) {
                                   archive_entry_set_filetype(entry, AE_IFLNK);
                                   archive_entry_set_symlink(entry, "/etc");
                                 })})),
              HasSubstr("is a link"));
  EXPECT_THAT(Refused(Tar({named("m/a"),
                           named("m/b", [](auto* entry) { archive_entry_set_hardlink(entry, "m/a"); })})),
              HasSubstr("is a link"));
  for (const unsigned type : {AE_IFCHR, AE_IFBLK, AE_IFIFO}) {
    EXPECT_THAT(
        Refused(Tar({named("m/device", [type](auto* entry) { archive_entry_set_filetype(entry, type); })})),
        HasSubstr("is a device"));
  }
  EXPECT_THAT(Refused(Tar({named("m/../../x")})), HasSubstr("leaves the archive"));
  EXPECT_THAT(Refused(Tar({named("../x")})), HasSubstr("leaves the archive"));
  EXPECT_THAT(Refused(Tar({named("/abs/x")})), HasSubstr("absolute"));
  EXPECT_THAT(Refused(Tar({named("lonely")})), HasSubstr("top folder"));
  EXPECT_THAT(Refused(Tar({named("m/a"), named("other/a")})), HasSubstr("comes twice"));
}

TEST_F(HostileArchiveTest, ANameThatComesTwiceIsRefused) {
  EXPECT_THAT(RefusedZip({kManifest, {"a", "1"}, {"a", "2"}}), HasSubstr("\"a\" comes twice"));
  EXPECT_THAT(RefusedZip({{"a", "1"}, {"a/b", "2"}, kManifest}), HasSubstr("a file and a folder"));
  EXPECT_THAT(RefusedZip({{"a/b", "1"}, {"a", "2"}, kManifest}), HasSubstr("a file and a folder"));
  EXPECT_THAT(RefusedZip({kManifest, kManifest}), HasSubstr("comes twice"));
}

TEST_F(HostileArchiveTest, ANameWithNulIsRefused) {
  EXPECT_THAT(RefusedZip({kManifest, {std::string("a.txt\0.so", 9), "x"}}), HasSubstr("NUL"));
}

TEST_F(HostileArchiveTest, ANameThatIsNotUtf8OrTooLongIsRefused) {
  RefusedZip({kManifest, {std::string(300, 'n'), "x"}});
  std::string deep;
  for (int i = 0; i < 20; ++i) deep += "d/";
  EXPECT_THAT(RefusedZip({kManifest, {deep + "x", "x"}}), HasSubstr("deeper than 16"));
}

TEST_F(HostileArchiveTest, TooManyEntriesAreRefused) {
  std::vector<RawEntry> entries = {kManifest};
  for (int i = 0; i < 100; ++i) entries.push_back({"f" + std::to_string(i), "x"});
  UnpackLimits limits;
  limits.max_entries = 100;
  EXPECT_THAT(RefusedZip(entries, limits), AllOf(HasSubstr("101 entries"), HasSubstr("100")));
}

TEST_F(HostileArchiveTest, AnEndRecordThatHidesEntriesIsRefused) {
  std::string zip = RawZip({kManifest, {"a", "x"}, {"b", "x"}});
  zip[zip.size() - 12] = 1;  // the number of entries, on this disk and in all
  zip[zip.size() - 14] = 1;
  EXPECT_THAT(Refused(folder_.Write("x.mar", zip)), HasSubstr("damaged"));
}

TEST_F(HostileArchiveTest, BytesInFrontOfTheZipAreRefused) {
  EXPECT_THAT(Refused(folder_.Write("x.mar", "#!/bin/sh\n" + RawZip({kManifest}))),
              HasSubstr("not a zip file"));
  EXPECT_THAT(Refused(folder_.Write("x.mar", RawZip({{"a", "x"}}) + RawZip({kManifest}))),
              HasSubstr("damaged"));
}

TEST_F(HostileArchiveTest, TooManyBytesAreRefusedBeforeTheyAreWritten) {
  UnpackLimits limits;
  limits.max_bytes = 1000;
  EXPECT_THAT(RefusedZip({kManifest, {"a", std::string(600, 'a')}, {"b", std::string(600, 'b')}}, limits),
              AllOf(HasSubstr("more than 1000 bytes"), HasSubstr("\"b\"")));
}

TEST_F(HostileArchiveTest, ABombIsRefusedByItsRatio) {
  TemporaryFolder source;
  CreateOptions options;
  options.model_name = "bomb";
  options.version = "1";
  options.extra_files = {source.Write("zeros.bin", std::string(8 << 20, '\0'))};
  for (const ArchiveFormat format : {ArchiveFormat::kDefault, ArchiveFormat::kTgz}) {
    options.format = format;
    options.export_path = source.path();
    const Result<CreatedArchive> bomb = CreateArchive(options);
    ASSERT_TRUE(bomb) << bomb.error().message;
    UnpackLimits limits;
    limits.ratio_free_bytes = 1 << 20;
    limits.max_ratio = 100;
    EXPECT_THAT(Refused(bomb->path, limits), AllOf(HasSubstr("100 times its size"), HasSubstr("zeros.bin")));
    limits.ratio_free_bytes = 16 << 20;
    EXPECT_TRUE(OpenArchive(bomb->path, folder_ / "ok", limits));
  }
}

TEST_F(HostileArchiveTest, ASizeThatLiesIsRefused) {
  for (const std::uint32_t size : {0U, 3U, 4000U, 0xfffffff0U}) {
    const std::string error = RefusedZip({kManifest, {"a", std::string(100, 'a'), 0100644, size}});
    EXPECT_THAT(error, AnyOf(HasSubstr("damaged"), HasSubstr("more than"))) << size;
  }
}

TEST_F(HostileArchiveTest, AWrongChecksumIsRefusedAndNamesTheEntry) {
  std::string zip = RawZip({kManifest, {"data.bin", "0123456789"}});
  zip[zip.find("0123456789") + 4] = 'x';
  EXPECT_THAT(Refused(folder_.Write("x.mar", zip)), AllOf(HasSubstr("data.bin"), HasSubstr("damaged")));
}

TEST_F(HostileArchiveTest, AHostileManifestIsRefused) {
  EXPECT_THAT(RefusedZip({{"MAR-INF/MANIFEST.json", R"({"model": {"serializedFile": "../../etc/passwd"}})"}}),
              HasSubstr("leaves the archive"));
  EXPECT_THAT(RefusedZip({{"MAR-INF/MANIFEST.json", std::string(2 << 20, ' ')}}), HasSubstr("allowed are"));
  EXPECT_THAT(RefusedZip({{"MAR-INF/MANIFEST.json/x", "{}"}}), HasSubstr("is missing"));
}

TEST_F(HostileArchiveTest, AnEmptyZipIsRefused) { EXPECT_THAT(RefusedZip({}), HasSubstr("x.mar")); }

}  // namespace
}  // namespace serve
