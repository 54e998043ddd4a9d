#include "serve/workflow/workflow_table.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace serve {
namespace {

WorkflowHandle Named(const std::string& name) {
  auto workflow = std::make_shared<Workflow>();
  workflow->name = name;
  return workflow;
}

TEST(WorkflowTableTest, ListsByNameAndRefusesTheSameNameTwice) {
  WorkflowTable table;
  EXPECT_TRUE(table.Add(Named("b")).ok());
  EXPECT_TRUE(table.Add(Named("a")).ok());
  EXPECT_EQ(table.Add(Named("a")).code, Code::kConflict);
  ASSERT_EQ(table.List().size(), 2U);
  EXPECT_EQ(table.List()[0]->name, "a");
  EXPECT_EQ((*table.Find("b"))->name, "b");
  EXPECT_EQ(table.Find("c").error().message, "Workflow not found: c");
  EXPECT_EQ(table.Find("c").error().code, Code::kWorkflowNotFound);
}

TEST(WorkflowTableTest, WhatIsRemovedIsHeldByNobodyElse) {
  WorkflowTable table;
  ASSERT_TRUE(table.Add(Named("a")).ok());
  const Result<WorkflowHandle> removed = table.Remove("a");
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->use_count(), 1);
  EXPECT_FALSE(table.Remove("a"));
}

TEST(WorkflowTableTest, ReadersAndWritersDoNotDisturbEachOther) {
  WorkflowTable table;
  ASSERT_TRUE(table.Add(Named("stays")).ok());
  std::atomic<bool> stop{false};
  std::atomic<int> missing{0};
  std::vector<std::jthread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      while (!stop) missing += table.Find("stays") ? 0 : 1;
    });
  }
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(table.Add(Named("comes")).ok());
    ASSERT_TRUE(table.Remove("comes"));
  }
  stop = true;
  readers.clear();
  EXPECT_EQ(missing, 0);
}

}  // namespace
}  // namespace serve
