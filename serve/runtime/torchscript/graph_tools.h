#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/custom_operator.h>

// What the passes over a frozen graph ask of it.
namespace serve {

/// The node's operator, without the `_` of a change in place.
inline std::string KindOf(const torch::jit::Node* node) {
  std::string kind = node->kind().toQualString();
  if (kind.ends_with('_')) kind.pop_back();
  return kind;
}

/// The only node that uses `value`, if it stands in the same block.
inline torch::jit::Node* OnlyUser(const torch::jit::Value* value) {
  if (value->uses().size() != 1) return nullptr;
  torch::jit::Node* user = value->uses()[0].user;
  return user->owningBlock() == value->node()->owningBlock() ? user : nullptr;
}

inline bool Mutates(const torch::jit::Node* node) {
  return !node->blocks().empty() || (node->maybeSchema() != nullptr && node->schema().is_mutable());
}

/// Whether anything from behind `first` until before `last` may change a tensor in place: then `first` cannot
/// be moved there.
inline bool ChangesBetween(torch::jit::Node* first, torch::jit::Node* last) {
  for (torch::jit::Node* node = first->next(); node != last; node = node->next()) {
    if (node->kind() == torch::jit::prim::Return || Mutates(node)) return true;
  }
  return false;
}

template <class T>
std::optional<T> Constant(const torch::jit::Value* value) {
  const std::optional<c10::IValue> constant = torch::jit::toIValue(value);
  if (!constant) return std::nullopt;
  if constexpr (std::is_same_v<T, at::Tensor>) {
    if (!constant->isTensor()) return std::nullopt;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!constant->isBool()) return std::nullopt;
  } else if constexpr (std::is_same_v<T, std::vector<std::int64_t>>) {
    if (!constant->isIntList()) return std::nullopt;
  } else {
    if (!constant->isInt()) return std::nullopt;
  }
  return constant->to<T>();
}

/// Makes an operator of ours known; once for each. By its symbol alone, without a schema: operators with one
/// are made once for all nodes of a graph.
inline torch::jit::RegisterOperators OwnOperator(const char* kind, torch::jit::OperationCreator make) {
  return torch::jit::RegisterOperators(
      {torch::jit::Operator(c10::Symbol::fromQualString(kind), make, c10::AliasAnalysisKind::PURE_FUNCTION)});
}

}  // namespace serve
