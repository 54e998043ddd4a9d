#include "trainer/publish/package.h"

#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "handlers/handler.h"
#include "tests/handlers/text/text_model.h"
#include "trainer/publish/registration.h"

namespace serve::trainer {
namespace {

TEST(PackageTest, TheArchiveHoldsWhatTheHandlerNeeds) {
  const TestFolder folder;
  auto work = WorkFolder::Make();
  ASSERT_TRUE(work) << work.error().message;
  const auto vocabulary = Vocabulary::Parse(kSmallVocabulary, "v.tsv");
  const Package package{"news",
                        "2.1",
                        folder.Write("model.pt", "not looked at"),
                        {"World", "Sports"},
                        "a \xff text",
                        {{"accuracy", 0.5}},
                        {{"seed", 1}}};
  const auto created = PackModel(package, *vocabulary, *work, folder.path() / "out", false);
  ASSERT_TRUE(created) << created.error().message;
  EXPECT_EQ(created->path, folder.path() / "out" / "news.mar");

  auto opened = OpenArchive(created->path, folder.path() / "open");
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(VerifyArchive(*opened));
  EXPECT_EQ(opened->manifest.handler, "text_classifier");
  EXPECT_EQ(opened->manifest.model_version, "2.1");
  EXPECT_TRUE(opened->manifest.inputs.empty());
  EXPECT_EQ(SpecText(opened->manifest.outputs.at(0)), "probabilities:float32:[2]");
  EXPECT_EQ(opened->manifest.lineage["seed"], 1);
  EXPECT_EQ(opened->manifest.example_input.content_type, "application/json");
  const auto handler = MakeHandler(opened->manifest.handler,
                                   {opened->folder, opened->manifest.inputs, opened->manifest.outputs});
  EXPECT_TRUE(handler) << handler.error().message;

  const auto again = PackModel(package, *vocabulary, *work, folder.path() / "out", false);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kConflict);
}

TEST(RegistrationTest, TheCommandForLaterNamesArchiveAndServer) {
  EXPECT_EQ(RegisterCommand({"http://host:9", "news", "1.0", "store/news.mar"}),
            "flambeau models register news.mar --management http://host:9");
}

TEST(RegistrationTest, AServerThatIsNotThereIsAnError) {
  // Port 1 of loopback: nobody listens there.
  EXPECT_FALSE(RegisterModel({"http://127.0.0.1:1", "news", "1.0", "store/news.mar"}));
}

}  // namespace
}  // namespace serve::trainer
