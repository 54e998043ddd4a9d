#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/status.h"
#include "serve/workflow/functions.h"
#include "serve/workflow/graph.h"

namespace serve {

/// What `models:` says of all models, and of one that says nothing else.
struct NodeSettings {
  int min_workers = 1;
  int max_workers = 1;
  int batch_size = 1;
  std::chrono::milliseconds max_batch_delay{0};
  int retry_attempts = 1;                     // further tries after an error inside the model
  std::chrono::milliseconds timeout{10'000};  // of one try, waiting included
};

struct NodeSpec {
  NodeFunction function = NodeFunction::kNone;
  std::string url;  // of a model
  NodeSettings settings;
};

/// The YAML file of a workflow, checked.
struct Specification {
  NodeSettings defaults;
  Graph graph;
  std::vector<NodeSpec> nodes;  // by the numbers of the graph
};

struct SpecificationLimits {
  std::size_t max_nodes = 64;
  std::size_t max_bytes = 256 * 1024;  // of the file
};

/// Reads the file of a workflow:
///
///   models:                      numbers for all of them, which each may override:
///     min-workers: 1             max-workers, batch-size, max-batch-delay (ms), retry-attempts, timeout-ms
///     m1: {url: m1.mar}          url: what a register call would name
///   functions:
///     both: merge                node → pass, merge or best_label; see functions.h
///   dag:
///     m1: [both]                 node → the nodes that follow
///
/// Errors: kInvalidWorkflow for a graph that cannot be run (see graph.h); kInvalidArgument for everything
/// else, naming the node, the key and what is allowed. Anchors and aliases are refused: nothing needs them.
/// Source: TorchServe's workflow specification; `functions` is ours, where TorchServe takes Python functions.
Result<Specification> ParseSpecification(std::string_view yaml, const SpecificationLimits& limits = {});

/// How long a request that names no deadline may take: the timeouts along the longest way through the graph.
std::chrono::milliseconds DefaultTimeout(const Specification& specification);

}  // namespace serve
