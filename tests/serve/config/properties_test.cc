#include "serve/config/properties.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// The only entry of a text that is right.
Property Only(std::string_view text) {
  const Properties properties = ParseProperties(text);
  EXPECT_THAT(properties.errors, IsEmpty());
  EXPECT_THAT(properties.entries, SizeIs(1)) << text;
  return properties.entries.empty() ? Property{} : properties.entries[0];
}

TEST(PropertiesTest, KeyAndValueAreSeparatedByEqualsColonOrBlank) {
  for (const char* text :
       {"key=value", "key:value", "key value", "  key = value", "key\t:\tvalue", "key  value\r\n"}) {
    EXPECT_EQ(Only(text).key, "key") << text;
    EXPECT_EQ(Only(text).value, "value") << text;
  }
}

TEST(PropertiesTest, OnlyTheFirstSeparatorCounts) {
  EXPECT_EQ(Only("inference_address=http://127.0.0.1:8080").value, "http://127.0.0.1:8080");
  EXPECT_EQ(Only("load_models=a=a.mar").value, "a=a.mar");
  EXPECT_EQ(Only("address=http\\://0.0.0.0\\:80").value, "http://0.0.0.0:80");  // as snapshots are written
}

TEST(PropertiesTest, AnEscapedSeparatorBelongsToTheKey) { EXPECT_EQ(Only("a\\=b\\ c=d").key, "a=b c"); }

TEST(PropertiesTest, AValueMayBeEmpty) {
  EXPECT_EQ(Only("key=").value, "");
  EXPECT_EQ(Only("key").value, "");
}

TEST(PropertiesTest, CommentsAndEmptyLinesAreSkippedAndCounted) {
  const Properties properties = ParseProperties("# one\n! two\n\n   # three\nkey=value # not a comment\n");
  ASSERT_THAT(properties.entries, SizeIs(1));
  EXPECT_EQ(properties.entries[0].line, 5);
  EXPECT_EQ(properties.entries[0].value, "value # not a comment");
}

TEST(PropertiesTest, ABackslashContinuesTheLineWithoutItsLeadingBlanks) {
  const Properties properties = ParseProperties("models={\\\n   \"a\": 1,\\\r\n   \"b\": 2}\nnext=1");
  ASSERT_THAT(properties.entries, SizeIs(2));
  EXPECT_EQ(properties.entries[0].value, "{\"a\": 1,\"b\": 2}");
  EXPECT_EQ(properties.entries[1].line, 4);
}

TEST(PropertiesTest, AContinuedCommentIsNotContinued) {
  EXPECT_EQ(Only("# comment \\\nkey=value").key, "key");
}

TEST(PropertiesTest, TwoBackslashesAtTheEndAreOneBackslash) {
  const Properties properties = ParseProperties("path=C:\\\\\nnext=1");
  ASSERT_THAT(properties.entries, SizeIs(2));
  EXPECT_EQ(properties.entries[0].value, "C:\\");
}

TEST(PropertiesTest, AContinuationAtTheEndOfTheFileIsNothing) {
  EXPECT_EQ(Only("key=value\\").value, "value");
}

TEST(PropertiesTest, EscapesAreReplaced) {
  EXPECT_EQ(Only("key=a\\tb\\nc\\qd").value, "a\tb\ncqd");
  EXPECT_EQ(Only("key=\\u00e4\\u20AC").value, "\xC3\xA4\xE2\x82\xAC");
  EXPECT_EQ(Only("key=\\ud83d\\ude00").value, "\xF0\x9F\x98\x80");  // a surrogate pair
}

TEST(PropertiesTest, BlanksAtTheEndAndAByteOrderMarkAreNotPartOfIt) {
  EXPECT_EQ(Only("\xEF\xBB\xBFkey=true  \t").key, "key");
  EXPECT_EQ(Only("\xEF\xBB\xBFkey=true  \t").value, "true");
}

TEST(PropertiesTest, ErrorsNameTheLineAndTheRestIsRead) {
  const Properties properties = ParseProperties("a=1\nb=\\u12\nc=\\ud800\n=x\nd=C:\\users\ne=2\n");
  EXPECT_THAT(properties.entries, SizeIs(2));
  ASSERT_THAT(properties.errors, SizeIs(4));
  EXPECT_EQ(properties.errors[0].line, 2);
  EXPECT_THAT(properties.errors[0].message, HasSubstr("hexadecimal"));
  EXPECT_EQ(properties.errors[1].line, 3);
  EXPECT_THAT(properties.errors[1].message, HasSubstr("surrogate"));
  EXPECT_EQ(properties.errors[2].line, 4);
  EXPECT_THAT(properties.errors[2].message, HasSubstr("no key"));
  EXPECT_EQ(properties.errors[3].line, 5);
}

}  // namespace
}  // namespace serve
