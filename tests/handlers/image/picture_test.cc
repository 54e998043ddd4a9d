#include "handlers/image/picture.h"

#include <png.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/handlers/image/pictures.h"

namespace serve {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

Result<Picture> Decode(std::string_view bytes) {
  const auto header = ReadPictureHeader(bytes);
  if (!header) return header.error();
  return DecodePicture(bytes, *header);
}

std::vector<int> Pixels(std::string_view bytes) {
  const auto picture = Decode(bytes);
  if (!picture) throw std::runtime_error(picture.error().message);
  std::vector<int> values;
  for (const char c : picture->rgb.view()) values.push_back(static_cast<unsigned char>(c));
  return values;
}

TEST(PngTest, EveryKindBecomesRgb) {
  EXPECT_THAT(Pixels(MakePng(2, 1, {PNG_COLOR_TYPE_RGB}, {1, 2, 3, 4, 5, 6})), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(Pixels(MakePng(2, 1, {PNG_COLOR_TYPE_GRAY}, {7, 200})), ElementsAre(7, 7, 7, 200, 200, 200));
  EXPECT_THAT(Pixels(MakePng(2, 1, {PNG_COLOR_TYPE_GRAY, 1}, {0x40})), ElementsAre(0, 0, 0, 255, 255, 255));
  EXPECT_THAT(Pixels(MakePng(1, 1, {PNG_COLOR_TYPE_GRAY, 16}, {0x12, 0xff})), Each(0x12));
  EXPECT_THAT(Pixels(MakePng(1, 1, {PNG_COLOR_TYPE_RGB, 16}, {1, 255, 2, 0, 3, 128})), ElementsAre(1, 2, 3));
  EXPECT_THAT(Pixels(MakePng(1, 1, {PNG_COLOR_TYPE_RGBA}, {9, 8, 7, 0})), ElementsAre(9, 8, 7));
  EXPECT_THAT(Pixels(MakePng(1, 1, {PNG_COLOR_TYPE_GRAY_ALPHA}, {9, 128})), ElementsAre(9, 9, 9));
  const std::vector<std::uint8_t> palette = {10, 20, 30, 40, 50, 60};
  EXPECT_THAT(Pixels(MakePng(2, 1, {PNG_COLOR_TYPE_PALETTE, 8, false, palette, {}}, {1, 0})),
              ElementsAre(40, 50, 60, 10, 20, 30));
  EXPECT_THAT(Pixels(MakePng(2, 1, {PNG_COLOR_TYPE_PALETTE, 4, false, palette, {0, 128}}, {0x10})),
              ElementsAre(40, 50, 60, 10, 20, 30));
}

TEST(PngTest, AnInterlacedPictureIsThePlainOne) {
  std::vector<std::uint8_t> pixels(9 * 7 * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i);
  EXPECT_THAT(Pixels(MakePng(9, 7, {PNG_COLOR_TYPE_RGB, 8, true, {}, {}}, pixels)), ElementsAreArray(pixels));
}

TEST(JpegTest, EveryKindBecomesRgb) {
  EXPECT_THAT(Pixels(MakeJpeg(3, 2, {90})), Each(90));
  const auto rgb = Pixels(MakeJpeg(1, 1, {200, 100, 50}));
  EXPECT_NEAR(rgb[0], 200, 2);
  EXPECT_NEAR(rgb[1], 100, 2);
  EXPECT_NEAR(rgb[2], 50, 2);
  EXPECT_EQ(Pixels(MakeJpeg(1, 1, {200, 100, 50}, true)), rgb);
  // Inverted: 255 is no ink at all.
  EXPECT_THAT(Pixels(MakeJpeg(1, 1, {255, 255, 255, 255})), ElementsAre(255, 255, 255));
  EXPECT_THAT(Pixels(MakeJpeg(1, 1, {255, 0, 255, 255})), ElementsAre(255, 0, 255));
  EXPECT_THAT(Pixels(MakeJpeg(1, 1, {255, 255, 255, 0})), ElementsAre(0, 0, 0));
}

TEST(WebpTest, BecomesRgbWithoutItsAlpha) {
  EXPECT_THAT(Pixels(MakeWebp(2, 1, {1, 2, 3, 250, 251, 252})), ElementsAre(1, 2, 3, 250, 251, 252));
  EXPECT_THAT(Pixels(MakeWebp(1, 1, {60, 70, 80, 100}, true)), ElementsAre(60, 70, 80));
}

TEST(PictureHeaderTest, SaysFormatAndSize) {
  const auto png = ReadPictureHeader(MakePng(5, 3, {PNG_COLOR_TYPE_GRAY}, std::vector<std::uint8_t>(15)));
  EXPECT_EQ(png->format, PictureFormat::kPng);
  EXPECT_THAT((std::vector{png->width, png->height}), ElementsAre(5, 3));
  const auto jpeg = ReadPictureHeader(MakeJpeg(300, 7, {1, 2, 3}, true));
  EXPECT_EQ(jpeg->format, PictureFormat::kJpeg);
  EXPECT_THAT((std::vector{jpeg->width, jpeg->height}), ElementsAre(300, 7));
  const auto webp = ReadPictureHeader(MakeWebp(4, 6, std::vector<std::uint8_t>(72)));
  EXPECT_EQ(webp->format, PictureFormat::kWebp);
  EXPECT_THAT((std::vector{webp->width, webp->height}), ElementsAre(4, 6));
}

TEST(PictureHeaderTest, AnotherFormatIsNamed) {
  EXPECT_THAT(ReadPictureHeader("GIF89a..............").error().message,
              HasSubstr("a GIF picture cannot be read: send JPEG, PNG or WebP"));
  EXPECT_THAT(ReadPictureHeader("hello").error().message, HasSubstr("send JPEG, PNG or WebP"));
  EXPECT_FALSE(ReadPictureHeader(""));
}

TEST(PictureTest, APictureThatIsCutAnywhereIsAnErrorAndNoCrash) {
  std::vector<std::uint8_t> noise(16 * 16 * 3);
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<std::uint8_t>(i * i * 7 >> 3);
  for (const std::string& whole : {MakePng(16, 16, {PNG_COLOR_TYPE_RGB}, noise), MakeJpeg(16, 16, {1, 2, 3}),
                                   MakeJpeg(16, 16, {1, 2, 3}, true), MakeWebp(16, 16, noise)}) {
    ASSERT_TRUE(Decode(whole));
    for (std::size_t size = 0; size + 12 < whole.size(); ++size) {
      const std::string cut = whole.substr(0, size);  // memory of its own, so that a sanitizer sees its end
      const auto picture = Decode(cut);
      ASSERT_FALSE(picture) << size << " of " << whole.size();
      EXPECT_EQ(picture.error().code, Code::kInvalidArgument);
    }
  }
}

TEST(PictureTest, DamageAnywhereIsNoCrash) {
  std::vector<std::uint8_t> noise(16 * 16 * 3);
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<std::uint8_t>(i * i * 7 >> 3);
  for (const std::string& whole :
       {MakePng(16, 16, {PNG_COLOR_TYPE_RGB}, noise), MakeJpeg(16, 16, {1, 2, 3}), MakeWebp(16, 16, noise)}) {
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (const char value : {'\x00', '\x7f', '\xff'}) {
        std::string damaged = whole;
        damaged[at] = value;
        const auto header = ReadPictureHeader(damaged);
        if (header && header->pixels() < 1'000'000) (void)DecodePicture(damaged, *header);
      }
    }
  }
}

TEST(PictureTest, ASizeThatTheDecoderDoesNotFindIsRefused) {
  const std::string png = MakePng(2, 2, {PNG_COLOR_TYPE_GRAY}, {1, 2, 3, 4});
  const auto picture = DecodePicture(png, {PictureFormat::kPng, 2, 1});
  ASSERT_FALSE(picture);
  EXPECT_THAT(picture.error().message, HasSubstr("it has two sizes"));
  EXPECT_FALSE(DecodePicture(MakeJpeg(2, 2, {1}), {PictureFormat::kJpeg, 2, 1}));
  EXPECT_FALSE(DecodePicture(MakeWebp(1, 1, {1, 2, 3}), {PictureFormat::kWebp, 2, 1}));
}

}  // namespace
}  // namespace serve
