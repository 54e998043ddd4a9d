#include "trainer/data/idx.h"

#include <fstream>
#include <zlib.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "handlers/image/picture.h"
#include "tests/handlers/text/text_model.h"
#include "tests/trainer/idx_files.h"
#include "trainer/data/png.h"

namespace serve::trainer {
namespace {

using testing::HasSubstr;

class IdxTest : public testing::Test {
 protected:
  IdxTest() { WriteIdxSet(folder_.path(), "train", 6, 0); }
  std::string Error(std::size_t classes = 4) const {
    const auto read = ReadIdx(folder_.path(), "train", classes);
    return read ? "" : read.error().message;
  }
  const TestFolder folder_;
};

TEST_F(IdxTest, PicturesAndLabelsAreRead) {
  const auto read = ReadIdx(folder_.path(), "train", 4);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->count(), 6U);
  EXPECT_EQ(read->width, kSide);
  EXPECT_THAT(read->labels, testing::ElementsAre(0, 1, 2, 3, 0, 1));
  const auto second = QuarterPicture(1, 1);
  EXPECT_TRUE(std::equal(second.begin(), second.end(), read->pixels.begin() + kSide * kSide));
}

TEST_F(IdxTest, PackedFilesAreTheSameSet) {
  const std::string digest = ReadIdx(folder_.path(), "train", 4)->sha256;
  for (const char* name : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"}) {
    std::ifstream file(folder_.path() / name, std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(file)), {});
    gzFile packed = gzopen((folder_.path() / name).string().append(".gz").c_str(), "wb");
    gzwrite(packed, content.data(), static_cast<unsigned>(content.size()));
    gzclose(packed);
    std::filesystem::remove(folder_.path() / name);
  }
  const auto read = ReadIdx(folder_.path(), "train", 4);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->sha256, digest);

  std::filesystem::resize_file(folder_.path() / "train-images-idx3-ubyte.gz", 40);
  EXPECT_THAT(Error(), HasSubstr("train-images-idx3-ubyte.gz: the packed file is "));
}

TEST_F(IdxTest, FilesThatCannotBeUsedAreNamed) {
  EXPECT_THAT(Error(3), HasSubstr("there is a label 3, but --labels names 3 classes"));
  folder_.Write("train-labels-idx1-ubyte", BigEndian(0x0801) + BigEndian(2) + std::string(2, '\0'));
  EXPECT_THAT(Error(), HasSubstr("it has 2 labels for 6 pictures"));
  folder_.Write("train-labels-idx1-ubyte", BigEndian(0x0801) + BigEndian(6) + "abc");
  EXPECT_THAT(Error(), HasSubstr("it has 3 bytes of values, its head says 6"));
  folder_.Write("train-images-idx3-ubyte", BigEndian(0x0803) + std::string(12, '\xff'));
  EXPECT_THAT(Error(), HasSubstr("dimension 0 has a size of 4294967295"));
  folder_.Write("train-images-idx3-ubyte", "PNG");
  EXPECT_THAT(Error(), HasSubstr("it is no IDX file of bytes in 3 dimensions"));
  std::filesystem::remove(folder_.path() / "train-images-idx3-ubyte");
  EXPECT_THAT(Error(), HasSubstr("there is no file"));
  std::filesystem::create_symlink("train-images-idx3-ubyte", folder_.path() / "train-images-idx3-ubyte");
  EXPECT_THAT(Error(), HasSubstr("train-images-idx3-ubyte: Too many levels of symbolic links"));
}

TEST(GreyPngTest, TheHandlersReadWhatItWrites) {
  const auto pixels = QuarterPicture(2, 5);
  const std::string png = GreyPng(pixels.data(), kSide, kSide);
  const auto picture = DecodePicture(png, ReadPictureHeader(png).value());
  ASSERT_TRUE(picture) << picture.error().message;
  ASSERT_EQ(picture->rgb.size(), pixels.size() * 3);
  const auto* rgb = reinterpret_cast<const std::uint8_t*>(picture->rgb.data());
  for (std::size_t i = 0; i < pixels.size() * 3; ++i) ASSERT_EQ(rgb[i], pixels[i / 3]) << i;
}

}  // namespace
}  // namespace serve::trainer
