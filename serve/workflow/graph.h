#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "serve/base/status.h"

namespace serve {

/// A node and what follows it, as the file of a workflow lists them.
using DagEntry = std::pair<std::string, std::vector<std::string>>;

/// A graph that can be run: one start, no cycle, so that every node is reached. Nodes are numbered in the
/// order in which the file names them.
struct Graph {
  std::vector<std::string> names;
  std::vector<std::vector<std::size_t>> next;      // of each node, in the order of the file
  std::vector<std::vector<std::size_t>> previous;  // of each node, ascending
  std::size_t start = 0;
  std::vector<std::size_t> order;   // every node after all those before it
  std::vector<std::size_t> leaves;  // without a successor, ascending

  [[nodiscard]] std::size_t size() const { return names.size(); }
};

/// Checks the graph and numbers it. `max_nodes`: more are refused before anything is worked out.
/// Errors: kInvalidWorkflow with TorchServe's texts (`Self loop exception`, `DAG should have only one start
/// node`, `loop exception`), each followed by the nodes that it is about.
Result<Graph> MakeGraph(const std::vector<DagEntry>& dag, std::size_t max_nodes);

/// `{pre=[m1, m2], m1=[agg]}`: how describe shows it; nodes that nothing follows have no entry.
std::string GraphText(const Graph& graph);

}  // namespace serve
