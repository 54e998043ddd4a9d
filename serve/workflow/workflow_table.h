#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/published.h"
#include "serve/base/status.h"
#include "serve/telemetry/metrics.h"
#include "serve/workflow/specification.h"

namespace serve {

/// One registered workflow; nothing of it changes.
struct Workflow {
  std::string name;
  std::string url;     // as given at registration
  std::string source;  // file or folder of the workflow store
  Specification specification;
  std::chrono::milliseconds default_timeout{0};  // of a request that names no deadline
  std::shared_ptr<WorkflowMetrics> metrics;

  /// What the node's model is registered as: `w__m1`.
  [[nodiscard]] std::string ModelOf(std::size_t node) const {
    return name + "__" + specification.graph.names[node];
  }
};

/// A counted lease: each running request holds one.
using WorkflowHandle = std::shared_ptr<const Workflow>;

/// The registered workflows.
///
/// Threads: every method from any thread; Find takes no lock that other threads take.
class WorkflowTable {
 public:
  WorkflowTable();

  /// Errors: kWorkflowNotFound.
  [[nodiscard]] Result<WorkflowHandle> Find(std::string_view name) const;
  [[nodiscard]] std::vector<WorkflowHandle> List() const;  // sorted by name
  /// Errors: kConflict.
  Status Add(WorkflowHandle workflow);
  Result<WorkflowHandle> Remove(std::string_view name);

  static Status AlreadyRegistered(std::string_view name);

 private:
  using Table = std::vector<WorkflowHandle>;  // sorted by name
  Published<Table> table_;
  std::mutex change_mutex_;  // one change at a time
};

}  // namespace serve
