#include "serve/workflow/workflow_table.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace serve {
namespace {

/// Where `name` stands, or would stand.
template <class Table>
auto PlaceOf(Table& table, std::string_view name) {
  return std::lower_bound(
      table.begin(), table.end(), name,
      [](const WorkflowHandle& workflow, std::string_view wanted) { return workflow->name < wanted; });
}

Status NotFound(std::string_view name) {
  return {Code::kWorkflowNotFound, fmt::format("Workflow not found: {}", name)};
}

}  // namespace

WorkflowTable::WorkflowTable() { Publish(std::make_shared<const Table>()); }

std::shared_ptr<const WorkflowTable::Table> WorkflowTable::Snapshot() const {
  const Cell& cell = cells_[MetricShard()];
  const std::lock_guard lock(cell.mutex);
  return cell.table;
}

void WorkflowTable::Publish(const std::shared_ptr<const Table>& table) {
  for (Cell& cell : cells_) {
    std::shared_ptr<const Table> old;  // dies outside the lock
    const std::lock_guard lock(cell.mutex);
    old = std::exchange(cell.table, table);
  }
}

Result<WorkflowHandle> WorkflowTable::Find(std::string_view name) const {
  const std::shared_ptr<const Table> table = Snapshot();
  const auto place = PlaceOf(*table, name);
  if (place == table->end() || (*place)->name != name) return NotFound(name);
  return *place;
}

std::vector<WorkflowHandle> WorkflowTable::List() const { return *Snapshot(); }

Status WorkflowTable::Add(WorkflowHandle workflow) {
  const std::lock_guard lock(change_mutex_);
  auto table = std::make_shared<Table>(*Snapshot());
  const auto place = PlaceOf(*table, workflow->name);
  if (place != table->end() && (*place)->name == workflow->name) return AlreadyRegistered(workflow->name);
  table->insert(place, std::move(workflow));
  Publish(std::move(table));
  return {};
}

Result<WorkflowHandle> WorkflowTable::Remove(std::string_view name) {
  const std::lock_guard lock(change_mutex_);
  auto table = std::make_shared<Table>(*Snapshot());
  const auto place = PlaceOf(*table, name);
  if (place == table->end() || (*place)->name != name) return NotFound(name);
  WorkflowHandle removed = std::move(*place);
  table->erase(place);
  Publish(std::move(table));
  return removed;
}

Status WorkflowTable::AlreadyRegistered(std::string_view name) {
  return {Code::kConflict, fmt::format("Workflow {} is already registered.", name)};
}

}  // namespace serve
