#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "handlers/handler.h"

namespace serve {
namespace {

TEST(MakeHandlerTest, TensorIsTheDefaultAndHasTorchServesName) {
  for (const std::string_view name : {"", "tensor", "base_handler"}) {
    const auto handler = MakeHandler(name, {});
    ASSERT_TRUE(handler) << name;
    EXPECT_NE(*handler, nullptr);
  }
}

TEST(MakeHandlerTest, AnUnknownNameListsTheKnownOnes) {
  const auto handler = MakeHandler("dali_image_classifier", {});
  ASSERT_FALSE(handler);
  EXPECT_EQ(handler.error().code, Code::kInvalidArgument);
  EXPECT_EQ(
      handler.error().message,
      "unknown handler \"dali_image_classifier\"; known are tensor, image_classifier, image_segmenter, "
      "object_detector, text_classifier, text_embedding, text_generator and base_handler, which is tensor");
}

TEST(MakeHandlerTest, PythonCodeIsRefusedWithTheNamesThatCanBeUsed) {
  for (const std::string_view name : {"my_handler.py", "my_handler.py:handle", "service:handle"}) {
    const auto handler = MakeHandler(name, {});
    ASSERT_FALSE(handler) << name;
    EXPECT_NE(handler.error().message.find("is Python code, which does not run in this server"),
              std::string::npos);
    EXPECT_NE(handler.error().message.find("image_classifier"), std::string::npos);
  }
}

TEST(MakeHandlerTest, ADeclarationThatCannotWorkIsRefusedByName) {
  HandlerArtifacts artifacts;
  artifacts.inputs = {{"x", DType::kFloat32, {3}}, {"x", DType::kFloat32, {4}}};
  EXPECT_EQ(MakeHandler("tensor", artifacts).error().message, "input \"x\" is declared twice");
  artifacts.inputs = {{"x", DType::kFloat32, {3, -2}}};
  EXPECT_EQ(MakeHandler("tensor", artifacts).error().message,
            "input \"x\" declares a dimension of -2; use -1 for any size");
  artifacts.inputs = {{"", DType::kFloat32, {3}}};
  EXPECT_EQ(MakeHandler("tensor", artifacts).error().message, "the declared input 0 has no name");
  artifacts.inputs = {{"x", DType::kFloat32, std::vector<std::int64_t>(32, 1)}};
  EXPECT_EQ(MakeHandler("tensor", artifacts).error().message,
            "input \"x\" declares 32 dimensions, at most 31 can be served");
}

}  // namespace
}  // namespace serve
