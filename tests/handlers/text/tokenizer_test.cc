#include "handlers/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using testing::ElementsAre;

TEST(TokenizerTest, WordsAreLoweredRunsOfLettersAndDigits) {
  std::string lowered;
  EXPECT_THAT(Tokenize(R"(Delta Pilots #39; &lt;b&gt;U.S.&lt;/b&gt; \$3.5 x_y café don't)", lowered),
              ElementsAre("delta", "pilots", "39", "lt", "b", "gt", "u", "s", "lt", "b", "gt", "3", "5", "x",
                          "y", "caf", "don", "t"));
}

TEST(TokenizerTest, BytesOutsideAsciiAndNulSeparate) {
  std::string lowered;
  EXPECT_THAT(Tokenize(std::string_view("a\0b\xff\x80Z", 6), lowered), ElementsAre("a", "b", "z"));
}

TEST(TokenizerTest, TextWithoutWordsGivesNone) {
  std::string lowered;
  EXPECT_TRUE(Tokenize("", lowered).empty());
  EXPECT_TRUE(Tokenize(" .,;\xc3\xa9", lowered).empty());
}

TEST(TokenizerTest, ATokenIsWhatTokenizeCanAnswer) {
  EXPECT_TRUE(IsToken("b2b"));
  for (const std::string_view no : {"", "Upper", "two words", "caf\xc3\xa9", "x_y"})
    EXPECT_FALSE(IsToken(no)) << no;
  EXPECT_FALSE(IsToken(std::string_view("a\0", 2)));
}

}  // namespace
}  // namespace serve
