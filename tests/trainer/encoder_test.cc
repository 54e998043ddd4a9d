#include <sstream>

#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/jit/api/module.h>

#include "handlers/handler.h"
#include "model_store/archive/archive.h"
#include "serve/runtime/torchscript/torchscript_runtime.h"
#include "tests/handlers/tensor/requests.h"
#include "tests/handlers/text/text_model.h"
#include "trainer/encoder_news.h"

namespace serve::trainer {
namespace {

using testing::HasSubstr;

/// Pieces are single letters, the encoder a table of random vectors: it answers one for each token.
class EncoderNewsTest : public testing::Test {
 protected:
  EncoderNewsTest() {
    std::string pieces = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n";
    for (char letter = 'a'; letter <= 'z'; ++letter)
      pieces += std::string(1, letter) + "\n##" + letter + "\n";
    folder_.Write("vocab.txt", pieces);
    at::manual_seed(7);
    torch::jit::Module module("TinyEncoder");
    module.register_parameter("table", at::randn({56, 16}), false);
    module.define(
        "def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:\n"
        "    return torch.embedding(self.table, input_ids)\n");
    module.save((folder_.path() / "tiny.pt").string());
    options_.data = std::filesystem::path(FLAMBEAU_SOURCE_DIR) / "trainer/sample/news.csv";
    options_.encoder = folder_.path() / "tiny.pt";
    options_.encoder_threads = 1;
    options_.out = folder_.path() / "store";
    options_.json = true;
  }
  int Run() {
    out_.str("");
    err_.str("");
    return RunEncoderNews(options_, {out_, err_, false});
  }

  const TestFolder folder_;
  NewsOptions options_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(EncoderNewsTest, TheArchiveHoldsEncoderAndHeadInOneModule) {
  ASSERT_EQ(Run(), kDone) << err_.str();
  const auto summary = nlohmann::json::parse(out_.str());
  EXPECT_GT(summary["metrics"]["accuracy"].get<double>(), 0.3);  // letters alone; chance is 0.25
  EXPECT_EQ(summary["lineage"]["encoder"]["file"], "tiny.pt");

  const auto archive = OpenArchive(options_.out / "news_classification.mar", folder_.path() / "open");
  ASSERT_TRUE(archive) << archive.error().message;
  const Manifest& manifest = archive->manifest;
  const auto handler =
      MakeHandler(manifest.handler, {archive->folder, manifest.inputs, manifest.outputs, {}});
  ASSERT_TRUE(handler) << handler.error().message;
  const auto runtime = TorchScriptFactory().Load(archive->serialized_file, {});
  ASSERT_TRUE(runtime) << runtime.error().message;
  const auto sample = (*handler)->Prepare(RawRequest("the team won the final", "text/plain"));
  ASSERT_TRUE(sample) << sample.error().message;
  const auto run = (*runtime)->Run((*handler)->Collate({&*sample}).value());
  ASSERT_TRUE(run) << run.error().message;
  const auto response = (*handler)->Render({run->tensors, run->names}, sample->hint);
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(nlohmann::json::parse(response->body).size(), 4U);

  options_.force = true;
  ASSERT_EQ(Run(), kDone) << err_.str();
  EXPECT_EQ(nlohmann::json::parse(out_.str())["lineage"]["weights_sha256"],
            summary["lineage"]["weights_sha256"]);
}

TEST_F(EncoderNewsTest, WhatIsMissingIsNamed) {
  options_.vocabulary = folder_.path() / "store";
  EXPECT_EQ(Run(), kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("name its folder in --vocabulary"));
  options_.vocabulary.clear();
  folder_.Write("tiny.pt", "no module");
  EXPECT_EQ(Run(), kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("tiny.pt cannot be used as an encoder"));
}

}  // namespace
}  // namespace serve::trainer
