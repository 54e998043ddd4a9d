#pragma once

#include <cstddef>
#include <cstdint>
#include <istream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "serve/base/status.h"
#include "serve/base/tensor_spec.h"

namespace serve {

/// One input as a package was compiled for it, by dimension; what the compiler left open is missing.
struct CompiledInput {
  std::optional<DType> dtype;
  std::map<std::size_t, std::int64_t> sizes;    // fixed ones
  std::map<std::size_t, std::int64_t> strides;  // in elements
};

/// Reads them out of the generated C++ that lies in a package beside its library: it holds comparisons of the
/// inputs, which the package makes only in a process whose environment has AOTI_RUNTIME_CHECK_INPUTS=1. Empty
/// when there are none, for the form of that code is no interface. The bounds that stand there too are left
/// alone: the compiler narrows them to the side of its own choices (a convolution that saw 4 rows says at
/// most 15), and the code is right beyond them. Source: generate_input_output_runtime_checks in
/// torch/_inductor/codegen/cpp_wrapper_cpu.py of torch 2.13.
std::vector<CompiledInput> ReadCompiledInputs(std::istream& source);

/// Whether a declaration is one that the package can take. Nothing known: nothing refused.
/// Errors: kInvalidArgument that names the input, what was declared, and what the package was compiled for.
Status CheckDeclaration(const std::vector<CompiledInput>& compiled, const std::vector<TensorSpec>& declared,
                        const BatchRange& batch);

}  // namespace serve
