#include "serve/api/start_models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_store/archive/test_files.h"

namespace serve {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(StartModelsTest, NothingIsNothing) {
  for (const char* text : {"", " ", "none", "NONE", "standalone", ","})
    EXPECT_THAT(ParseLoadModels(text, ""), IsEmpty()) << text;
}

TEST(StartModelsTest, ItemsMayHaveNamesAndBlanksAround) {
  EXPECT_THAT(ParseLoadModels(" a.mar , b = c.mar,", ""),
              ElementsAre(StartItem{"", "a.mar"}, StartItem{"b", "c.mar"}));
}

TEST(StartModelsTest, TheQueryOfAUrlIsNoName) {
  EXPECT_THAT(ParseLoadModels("https://h/a.mar?token=1, n=https://h/b.mar?x=y", ""),
              ElementsAre(StartItem{"", "https://h/a.mar?token=1"}, StartItem{"n", "https://h/b.mar?x=y"}));
}

TEST(StartModelsTest, AllIsEveryArchiveOfTheStoreInOrder) {
  const TemporaryFolder store;
  for (const char* name : {"b.mar", "a.tar.gz", "c.pt", "e.pt2", "f.tgz", ".hidden.mar", ".hidden.pt2",
                           "notes.txt", "d.mar.partial.7"})
    store.Write(name, "");
  store.Write("folder/MAR-INF/MANIFEST.json", "{}");
  store.Write("other/readme", "");
  EXPECT_THAT(ParseLoadModels("ALL", store.path().string()),
              ElementsAre(StartItem{"", "a.tar.gz"}, StartItem{"", "b.mar"}, StartItem{"", "c.pt"},
                          StartItem{"", "e.pt2"}, StartItem{"", "f.tgz"}, StartItem{"", "folder"}));
  EXPECT_THAT(ParseLoadModels("all", "/no/such/folder"), IsEmpty());
}

}  // namespace
}  // namespace serve
