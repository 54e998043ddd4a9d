#include "serve/base/trace_context.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace serve {
namespace {

const std::string kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
const std::string kSpan = "00f067aa0ba902b7";

TEST(TraceContextTest, ATraceparentGivesTraceCallerAndFlag) {
  const struct {
    std::string field;
    bool sampled;
  } good[] = {
      {"00-" + kTrace + "-" + kSpan + "-01", true},
      {"00-" + kTrace + "-" + kSpan + "-00", false},
      {"00-" + kTrace + "-" + kSpan + "-02", false},  // random trace id
      {"00-" + kTrace + "-" + kSpan + "-03", true},
      {"00-" + kTrace + "-" + kSpan + "-ff", true},  // bits that nobody knows yet
      {"01-" + kTrace + "-" + kSpan + "-01", true},  // a later version
      {"cc-" + kTrace + "-" + kSpan + "-01-what-comes-later", true},
      {"fe-" + kTrace + "-" + kSpan + "-00-", false},
  };
  for (const auto& [field, sampled] : good) {
    const auto context = ParseTraceparent(field);
    ASSERT_TRUE(context) << field;
    EXPECT_EQ(context->trace(), kTrace) << field;
    EXPECT_EQ(context->parent(), kSpan) << field;
    EXPECT_EQ(context->sampled, sampled) << field;
    EXPECT_FALSE(context->recorded);
  }
}

TEST(TraceContextTest, AnythingElseIsNoTraceparent) {
  const std::string valid = "00-" + kTrace + "-" + kSpan + "-01";
  std::string upper = valid;
  upper[3] = 'A';
  const std::string bad[] = {
      "",
      "00",
      valid.substr(0, valid.size() - 1),
      valid + "0",
      valid + "-more",  // version 00 ends here
      " " + valid,
      upper,
      "ff" + valid.substr(2),
      "0g" + valid.substr(2),
      "FE" + valid.substr(2),
      "01" + valid.substr(2) + "x",
      "00-" + std::string(32, '0') + "-" + kSpan + "-01",
      "00-" + kTrace + "-" + std::string(16, '0') + "-01",
      "00-" + std::string(32, 'g') + "-" + kSpan + "-01",
      "00-" + kTrace + "-" + kSpan + "-0x",
      "00_" + valid.substr(3),
      "00-" + kTrace + "_" + kSpan + "-01",
      "00-" + kTrace + "-" + kSpan + "_01",
      "00-" + kSpan + "-" + kTrace + "-01",
  };
  for (const std::string& field : bad) EXPECT_FALSE(ParseTraceparent(field)) << field;
}

TEST(TraceContextTest, CloudTracesSpanIsADecimalNumber) {
  const struct {
    std::string field;
    std::string parent;
    bool sampled;
  } good[] = {
      {kTrace + "/67667974448284343;o=1", kSpan, true},
      {kTrace + "/67667974448284343;o=0", kSpan, false},
      {kTrace + "/67667974448284343", kSpan, false},
      {kTrace + ";o=1", "", true},
      {kTrace, "", false},
      {kTrace + "/0;o=1", "", true},
      {kTrace + "/18446744073709551615", "ffffffffffffffff", false},
      {"4BF92F3577B34DA6A3CE929D0E0E4736/1", "0000000000000001", false},
  };
  for (const auto& [field, parent, sampled] : good) {
    const auto context = ParseCloudTrace(field);
    ASSERT_TRUE(context) << field;
    EXPECT_EQ(context->trace(), kTrace) << field;
    EXPECT_EQ(context->parent(), parent) << field;
    EXPECT_EQ(context->sampled, sampled) << field;
  }
  for (const std::string& field :
       {std::string(), kTrace.substr(1), kTrace + "/", kTrace + "/x", kTrace + "/-1", kTrace + "0/1",
        kTrace + "/18446744073709551616", kTrace + "/1 ", std::string(32, '0') + "/1", ";o=1" + kTrace}) {
    EXPECT_FALSE(ParseCloudTrace(field)) << field;
  }
}

TEST(TraceContextTest, NewIdsAreHexAndDifferent) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    TraceContext context;
    MakeTraceId(context);
    MakeSpanId(context.span_id);
    EXPECT_TRUE(seen.emplace(context.trace()).second);
    EXPECT_TRUE(seen.emplace(context.span()).second);
    EXPECT_EQ(context.parent(), "");
    const std::string field =
        "00-" + std::string(context.trace()) + "-" + std::string(context.span()) + "-01";
    EXPECT_TRUE(ParseTraceparent(field)) << field;
  }
}

}  // namespace
}  // namespace serve
