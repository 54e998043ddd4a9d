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

WorkflowTable::WorkflowTable() { table_.Publish(std::make_shared<const Table>()); }

Result<WorkflowHandle> WorkflowTable::Find(std::string_view name) const {
  const std::shared_ptr<const Table> table = table_.Get();
  const auto place = PlaceOf(*table, name);
  if (place == table->end() || (*place)->name != name) return NotFound(name);
  return *place;
}

std::vector<WorkflowHandle> WorkflowTable::List() const { return *table_.Get(); }

Status WorkflowTable::Add(WorkflowHandle workflow) {
  const std::lock_guard lock(change_mutex_);
  auto table = std::make_shared<Table>(*table_.Get());
  const auto place = PlaceOf(*table, workflow->name);
  if (place != table->end() && (*place)->name == workflow->name) return AlreadyRegistered(workflow->name);
  table->insert(place, std::move(workflow));
  table_.Publish(std::move(table));
  return {};
}

Result<WorkflowHandle> WorkflowTable::Remove(std::string_view name) {
  const std::lock_guard lock(change_mutex_);
  auto table = std::make_shared<Table>(*table_.Get());
  const auto place = PlaceOf(*table, name);
  if (place == table->end() || (*place)->name != name) return NotFound(name);
  WorkflowHandle removed = std::move(*place);
  table->erase(place);
  table_.Publish(std::move(table));
  return removed;
}

Status WorkflowTable::AlreadyRegistered(std::string_view name) {
  return {Code::kConflict, fmt::format("Workflow {} is already registered.", name)};
}

}  // namespace serve
