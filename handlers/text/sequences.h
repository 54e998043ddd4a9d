#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "handlers/handler.h"
#include "handlers/text/subword_tokenizer.h"

namespace serve {

/// The bucket of so many tokens: 8, 16, 24, 32, 48, 64, 96, …, at most `most`.
std::int64_t LengthBucket(std::int64_t tokens, std::int64_t most);

/// Makes the inputs of a transformer: input_ids, attention_mask (1 for a token, 0 for padding) and, where the
/// archive declares it, token_type_ids (zeros), each [texts, length].
///
/// Length:  that of the longest text of the request, rounded up to a bucket (8, 16, 24, 32, 48, 64, 96, …),
/// at
///          most max_length. Requests of one bucket share a batch, and how long a text is padded depends on
///          its own request alone: its answer does not depend on its company. A declared size
///          (input_ids:int64:[128]) is the only bucket.
/// Order:   as the archive declares the inputs, else input_ids, attention_mask.
class Sequences {
 public:
  /// Refuses a declaration without input_ids and attention_mask, with other names or other types than int64
  /// and int32. `max_length`: of the option; 0: what is declared, else 512.
  static Result<Sequences> Make(std::unique_ptr<SubwordTokenizer> tokenizer,
                                const std::vector<TensorSpec>& inputs, std::int64_t max_length);

  /// inputs, rows and shape_key. Errors: std::bad_alloc.
  [[nodiscard]] Sample ToSample(const std::vector<std::string_view>& texts) const;
  /// Of a text of about as many tokens as a news item has.
  [[nodiscard]] Sample SyntheticSample() const;
  /// [texts, length], 1 or 0, of one of its samples.
  [[nodiscard]] const Tensor& Mask(const Sample& sample) const { return sample.inputs[mask_]; }

 private:
  enum class Kind : std::uint8_t { kIds, kMask, kTypes };
  struct Input {
    Kind kind;
    DType dtype;
  };
  [[nodiscard]] Sample Pack(const std::vector<std::vector<std::int64_t>>& rows) const;
  [[nodiscard]] std::int64_t Bucket(std::size_t longest) const;

  std::unique_ptr<SubwordTokenizer> tokenizer_;
  std::vector<Input> inputs_;
  std::size_t mask_ = 1;  // its place in inputs_
  std::int64_t max_length_ = 512;
  std::int64_t fixed_ = 0;  // the declared length; 0: any
};

}  // namespace serve
