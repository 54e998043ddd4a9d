#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/runtime/torchscript/error_text.h"

namespace serve {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ShortTorchErrorTest, AnInterpreterErrorKeepsTheReasonAndTheLineOfTheModel) {
  const std::string text = ShortTorchError(
      "The following operation failed in the TorchScript interpreter.\n"
      "Traceback of TorchScript, serialized code (most recent call last):\n"
      "  File \"code/__torch__/net.py\", line 12, in forward\n"
      "    h = torch.linear(x, self.weight)\n"
      "        ~~~~~~~~~~~~ <--- HERE\n"
      "    return h\n"
      "RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x63 and 64x256)\n");
  EXPECT_EQ(
      text,
      "mat1 and mat2 shapes cannot be multiplied (1x63 and 64x256), in `h = torch.linear(x, self.weight)`");
}

TEST(ShortTorchErrorTest, APlainErrorLosesItsBacktrace) {
  const std::string text = ShortTorchError(
      "PytorchStreamReader failed reading zip archive: failed finding central directory\n"
      "Exception raised from valid at caffe2/serialize/inline_container.cc:206 (most recent call first):\n"
      "frame #0: c10::Error::Error(...) + 0x57\n");
  EXPECT_EQ(text, "PytorchStreamReader failed reading zip archive: failed finding central directory");
}

TEST(ShortTorchErrorTest, NothingGivesSomething) { EXPECT_EQ(ShortTorchError(""), "unknown error"); }

TEST(ShortTorchErrorTest, ALongTextIsCut) {
  EXPECT_LE(ShortTorchError(std::string(10'000, 'x')).size(), 600U);
}

}  // namespace
}  // namespace serve
