#include "serve/workflow/graph.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include <fmt/format.h>

namespace serve {
namespace {

constexpr std::size_t kMostNamed = 10;  // nodes that one error names

Status Invalid(std::string message) { return {Code::kInvalidWorkflow, std::move(message)}; }

std::string Names(const Graph& graph, const std::vector<std::size_t>& nodes) {
  std::string text;
  for (std::size_t i = 0; i < std::min(nodes.size(), kMostNamed); ++i) {
    text += (i == 0 ? "" : ", ") + graph.names[nodes[i]];
  }
  if (nodes.size() > kMostNamed) text += fmt::format(" and {} more", nodes.size() - kMostNamed);
  return text;
}

/// Numbers the nodes and fills the edges of both directions.
Status Number(const std::vector<DagEntry>& dag, std::size_t max_nodes, Graph& graph) {
  std::unordered_map<std::string_view, std::size_t> numbers;
  const auto number = [&](const std::string& name) {
    const auto [place, added] = numbers.emplace(name, graph.size());
    if (added) graph.names.push_back(name);
    return place->second;
  };
  for (const auto& [name, next] : dag) {
    const std::size_t from = number(name);
    graph.next.resize(std::max(graph.next.size(), graph.size()));
    if (!graph.next[from].empty()) return Invalid(fmt::format("Not a valid DAG: node {} comes twice", name));
    for (const std::string& successor : next) {
      if (successor == name) {
        return Invalid(fmt::format("Self loop exception: node {} follows itself", name));
      }
      const std::size_t to = number(successor);
      if (graph.size() > max_nodes) {
        return Invalid(
            fmt::format("Not a valid DAG: it has more than {} nodes, which is the limit (max_workflow_nodes)",
                        max_nodes));
      }
      graph.next.resize(std::max(graph.next.size(), graph.size()));
      std::vector<std::size_t>& known = graph.next[from];
      if (std::find(known.begin(), known.end(), to) != known.end()) {
        return Invalid(fmt::format("Not a valid DAG: node {} names {} twice", name, successor));
      }
      known.push_back(to);
    }
  }
  if (graph.size() > max_nodes) {
    return Invalid(fmt::format(
        "Not a valid DAG: it has more than {} nodes, which is the limit (max_workflow_nodes)", max_nodes));
  }
  graph.previous.resize(graph.size());
  for (std::size_t from = 0; from < graph.size(); ++from) {
    for (const std::size_t to : graph.next[from]) graph.previous[to].push_back(from);
  }
  return {};
}

}  // namespace

Result<Graph> MakeGraph(const std::vector<DagEntry>& dag, std::size_t max_nodes) {
  if (dag.empty()) return Invalid("Not a valid DAG: it has no nodes");
  Graph graph;
  if (Status numbered = Number(dag, max_nodes, graph); !numbered.ok()) return numbered;
  std::vector<std::size_t> starts;
  for (std::size_t node = 0; node < graph.size(); ++node) {
    if (graph.previous[node].empty()) starts.push_back(node);
    if (graph.next[node].empty()) graph.leaves.push_back(node);
  }
  if (starts.size() != 1) {
    return Invalid(
        starts.empty()
            ? "DAG should have only one start node: each node follows another one, so there is a cycle"
            : fmt::format("DAG should have only one start node: nothing comes before {}",
                          Names(graph, starts)));
  }
  graph.start = starts.front();
  // Kahn: a node is taken when all before it are; those of a cycle never are.
  std::vector<std::size_t> missing(graph.size());
  for (std::size_t node = 0; node < graph.size(); ++node) missing[node] = graph.previous[node].size();
  graph.order.push_back(graph.start);
  for (std::size_t taken = 0; taken < graph.order.size(); ++taken) {
    for (const std::size_t next : graph.next[graph.order[taken]]) {
      if (--missing[next] == 0) graph.order.push_back(next);
    }
  }
  if (graph.order.size() < graph.size()) {
    std::vector<std::size_t> caught;
    for (std::size_t node = 0; node < graph.size(); ++node) {
      if (missing[node] > 0) caught.push_back(node);
    }
    return Invalid(fmt::format("loop exception: there is a cycle among {}", Names(graph, caught)));
  }
  return graph;
}

std::string GraphText(const Graph& graph) {
  std::string text = "{";
  for (std::size_t node = 0; node < graph.size(); ++node) {
    if (graph.next[node].empty()) continue;
    std::string successors;
    for (const std::size_t next : graph.next[node]) {
      successors += (successors.empty() ? "" : ", ") + graph.names[next];
    }
    text += fmt::format("{}{}=[{}]", text.size() == 1 ? "" : ", ", graph.names[node], successors);
  }
  return text + "}";
}

}  // namespace serve
