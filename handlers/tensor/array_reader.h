#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "handlers/tensor/json_source.h"
#include "serve/base/buffer.h"
#include "serve/base/tensor_spec.h"
#include "serve/request/tensor.h"

namespace serve {

/// Where an array stands in the body, for error texts: `body`, `x`, `instances[2]`, `instances[2].x`.
struct ArrayPlace {
  std::int64_t instance = -1;  // a row of "instances" when not negative
  std::string_view name;       // the key that named the input, if any

  [[nodiscard]] std::string Text() const;
};

/// Reads nested JSON arrays into the memory of one tensor: numbers are stored in the declared type as they
/// are met, sizes are found on the way and checked against the declaration.
///
/// Memory:  allocated once when the declared shape is static and one row comes, else grown by doubling; never
/// more
///          than the text can hold numbers (two bytes each), whatever the declaration says.
/// Errors:  kInvalidArgument with the place; after one, the reader is of no more use.
/// Threads: one.
class ArrayReader {
 public:
  /// `spec` nullptr: float32 of any shape. Both are borrowed.
  ArrayReader(const TensorSpec* spec, const JsonSource& source);

  /// One row (nested as deep as declared) or several (one deeper). Call once.
  Status ReadRows(simdjson::ondemand::document& document);
  Status ReadRows(simdjson::ondemand::value value, const ArrayPlace& place);
  /// One more row.
  Status ReadRow(simdjson::ondemand::value value, const ArrayPlace& place);

  [[nodiscard]] std::int64_t rows() const { return rows_; }
  [[nodiscard]] bool single_row() const { return !several_; }
  /// [rows, ...]
  Tensor Finish() &&;

 private:
  template <class Value>
  Status ReadEither(Value& value, const ArrayPlace& place);
  void SetRank(int rank);
  /// `dim` counts the dimensions of a row; -1 is the array of rows.
  Status Walk(simdjson::ondemand::array array, int dim);
  Status WalkNumbers(simdjson::ondemand::array& array, int dim, std::int64_t& count);
  template <DType kType>
  Status WalkNumbersAs(simdjson::ondemand::array& array, int dim, std::int64_t& count);
  template <class Value>
  Status PutOne(Value& value, std::size_t start);
  template <DType kType, class Value>
  bool TryPut(Value& value);
  [[nodiscard]] std::int64_t CountLimit(int dim) const;
  Status CheckCount(int dim, std::int64_t count);
  void Grow();

  [[nodiscard]] int Level(int dim) const { return dim + (several_ ? 1 : 0); }  // how many indices lead there
  [[nodiscard]] std::string PathText(int levels) const;
  [[nodiscard]] std::string InputText() const;
  [[nodiscard]] std::string ExpectedNumber() const;
  [[nodiscard]] Status WrongNumber(std::size_t start, int levels) const;

  const TensorSpec* const spec_;
  const JsonSource& source_;
  const DType dtype_;
  const std::size_t element_bytes_;
  const std::size_t max_elements_;  // what the text can hold
  int rank_ = -1;                   // of one row; -1: not known yet
  std::vector<std::int64_t> dims_;  // of one row; -1: not known yet
  bool several_ = false;            // the outermost array holds rows
  std::int64_t rows_ = 0;
  ArrayPlace place_;
  std::int64_t at_[kMaxNesting + 1] = {};  // indices of the element that is being read
  Buffer buffer_;
  std::byte* next_ = nullptr;
  std::byte* end_ = nullptr;
};

}  // namespace serve
