#include "serve/workflow/graph.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::string ErrorOf(const std::vector<DagEntry>& dag, std::size_t max_nodes = 64) {
  const Result<Graph> graph = MakeGraph(dag, max_nodes);
  if (graph) return "";
  EXPECT_EQ(graph.error().code, Code::kInvalidWorkflow);
  return graph.error().message;
}

TEST(GraphTest, ADiamondHasOneStartOneLeafAndAnOrder) {
  const Result<Graph> graph = MakeGraph({{"pre", {"a", "b"}}, {"a", {"both"}}, {"b", {"both"}}}, 64);
  ASSERT_TRUE(graph) << graph.error().message;
  EXPECT_THAT(graph->names, ElementsAre("pre", "a", "b", "both"));
  EXPECT_EQ(graph->start, 0U);
  EXPECT_THAT(graph->leaves, ElementsAre(3));
  EXPECT_THAT(graph->order, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(graph->previous[3], ElementsAre(1, 2));
  EXPECT_EQ(GraphText(*graph), "{pre=[a, b], a=[both], b=[both]}");
}

TEST(GraphTest, TheOrderOfTheFileDoesNotMatter) {
  const Result<Graph> graph = MakeGraph({{"b", {"c"}}, {"a", {"b", "d"}}, {"d", {"c"}}}, 64);
  ASSERT_TRUE(graph) << graph.error().message;
  EXPECT_EQ(graph->names[graph->start], "a");
  std::vector<std::string> order;
  for (const std::size_t node : graph->order) order.push_back(graph->names[node]);
  EXPECT_THAT(order, ElementsAre("a", "b", "d", "c"));
}

TEST(GraphTest, OneNodeIsAGraph) {
  const Result<Graph> graph = MakeGraph({{"m1", {}}}, 64);
  ASSERT_TRUE(graph);
  EXPECT_THAT(graph->leaves, ElementsAre(0));
  EXPECT_EQ(GraphText(*graph), "{}");
}

TEST(GraphTest, WhatCannotBeRunIsRefusedWithTheNodes) {
  EXPECT_THAT(ErrorOf({{"a", {"a"}}}), StartsWith("Self loop exception: node a"));
  EXPECT_THAT(ErrorOf({{"a", {"c"}}, {"b", {"c"}}}),
              StartsWith("DAG should have only one start node: nothing comes before a, b"));
  EXPECT_THAT(ErrorOf({{"a", {"b"}}, {"b", {"a"}}}), StartsWith("DAG should have only one start node"));
  EXPECT_THAT(ErrorOf({{"a", {"b"}}, {"b", {"c"}}, {"c", {"b"}}}), StartsWith("loop exception"));
  EXPECT_THAT(ErrorOf({{"a", {"b"}}, {"b", {"c"}}, {"c", {"b"}}}), HasSubstr("b, c"));
  EXPECT_THAT(ErrorOf({{"a", {"b", "b"}}}), StartsWith("Not a valid DAG"));
  EXPECT_THAT(ErrorOf({}), StartsWith("Not a valid DAG"));
}

TEST(GraphTest, MoreNodesThanAllowedAreRefused) {
  std::vector<std::string> many;
  for (int i = 0; i < 10'000; ++i) many.push_back("n" + std::to_string(i));
  EXPECT_THAT(ErrorOf({{"start", many}}), HasSubstr("more than 64 nodes"));
  std::vector<DagEntry> chain;
  for (int i = 0; i < 10'000; ++i) chain.push_back({many[static_cast<std::size_t>(i)], {}});
  EXPECT_THAT(ErrorOf(chain), HasSubstr("more than 64 nodes"));
}

TEST(GraphTest, ALongChainIsNoProblem) {
  std::vector<DagEntry> chain;
  for (int i = 0; i + 1 < 10'000; ++i)
    chain.push_back({"n" + std::to_string(i), {"n" + std::to_string(i + 1)}});
  const Result<Graph> graph = MakeGraph(chain, 10'000);
  ASSERT_TRUE(graph);
  EXPECT_EQ(graph->order.back(), 9'999U);
}

}  // namespace
}  // namespace serve
