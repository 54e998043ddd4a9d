#include "serve/runtime/aoti/compiled_inputs.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

#include <fmt/format.h>

namespace serve {
namespace {

/// What stands between `begin` and `end`; nullopt when the line has not both.
std::optional<std::string> Between(std::string_view line, std::string_view begin, std::string_view end) {
  const std::size_t first = line.find(begin);
  if (first == std::string_view::npos) return std::nullopt;
  const std::size_t start = first + begin.size();
  const std::size_t last = line.find(end, start);
  if (last == std::string_view::npos) return std::nullopt;
  return std::string(line.substr(start, last - start));
}

/// One line of a function `check_input_<number>`.
void ReadCheck(const std::string& line, CompiledInput& input) {
  if (const auto dtype = Between(line, "_expected_dtype = aoti_torch_dtype_", "()"))
    input.dtype = ParseDType(*dtype);
  long long value = 0;
  std::size_t dim = 0;
  // `if (8 != arg4_1_size[1]) {` or `if (1 != arg4_1_stride[1]) {`
  if (std::sscanf(line.c_str(), " if (%lld != %*[A-Za-z0-9_][%zu])", &value, &dim) != 2) return;
  if (line.find("_size[") != std::string::npos) input.sizes[dim] = value;
  if (line.find("_stride[") != std::string::npos) input.strides[dim] = value;
}

/// Dimensions, the batch included; 0 when nothing tells.
std::size_t RankOf(const CompiledInput& input) {
  std::size_t rank = 0;
  for (const auto* dims : {&input.sizes, &input.strides}) {
    if (!dims->empty()) rank = std::max(rank, dims->rbegin()->first + 1);
  }
  return rank;
}

Status Contradiction(const TensorSpec& spec, const std::string& compiled) {
  return InvalidArgument(
      fmt::format("the input is declared {}, but the package was compiled for {}", SpecText(spec), compiled));
}

Status CheckBatch(const CompiledInput& input, const TensorSpec& spec, const BatchRange& batch) {
  const auto fixed = input.sizes.find(0);
  if (fixed != input.sizes.end() && batch != BatchRange{fixed->second, fixed->second}) {
    return InvalidArgument(fmt::format(
        "the batch is declared {}, but the package was compiled for exactly {} rows of {}; declare "
        "batch {}, or export the model with a dynamic dimension 0",
        BatchText(batch), fixed->second, spec.name, fixed->second));
  }
  return {};
}

Status CheckInput(const CompiledInput& input, const TensorSpec& spec) {
  if (input.dtype && *input.dtype != spec.dtype) {
    return Contradiction(spec, std::string(DTypeName(*input.dtype)));
  }
  const std::size_t rank = RankOf(input);
  if (rank > 0 && rank != spec.shape.size() + 1) {
    return Contradiction(spec, fmt::format("{} dimensions behind the batch", rank - 1));
  }
  for (const auto& [dim, size] : input.sizes) {
    if (dim > 0 && spec.shape[dim - 1] != size) {
      return Contradiction(spec, fmt::format("the size {} in place {} of the shape", size, dim));
    }
  }
  // Requests are dense and row-major, whatever the example of the export was.
  const auto last = input.strides.find(spec.shape.size());
  if (!spec.shape.empty() && spec.shape.back() > 1 && last != input.strides.end() && last->second != 1) {
    return Contradiction(
        spec,
        "another order in memory, such as channels-last; export the model with contiguous example "
        "inputs");
  }
  return {};
}

}  // namespace

std::vector<CompiledInput> ReadCompiledInputs(std::istream& source) {
  std::vector<CompiledInput> inputs;
  bool inside = false;
  for (std::string line; std::getline(source, line);) {
    if (line.find("static void check_input_") != std::string::npos) {
      inputs.emplace_back();
      inside = true;
    } else if (line.starts_with('}')) {
      inside = false;
    } else if (inside) {
      ReadCheck(line, inputs.back());
    }
  }
  return inputs;
}

Status CheckDeclaration(const std::vector<CompiledInput>& compiled, const std::vector<TensorSpec>& declared,
                        const BatchRange& batch) {
  if (compiled.empty()) return {};
  if (compiled.size() != declared.size()) {
    return InvalidArgument(fmt::format("{} inputs are declared, but the package was compiled for {}",
                                       declared.size(), compiled.size()));
  }
  for (std::size_t i = 0; i < compiled.size(); ++i) {
    if (Status input = CheckInput(compiled[i], declared[i]); !input.ok()) return input;
    if (Status rows = CheckBatch(compiled[i], declared[i], batch); !rows.ok()) return rows;
  }
  return {};
}

}  // namespace serve
