#include "handlers/text/sequences.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "handlers/tensor/tensor_handler.h"  // ShapeKey

namespace serve {
namespace {

constexpr std::int64_t kDefaultLength = 512;
constexpr std::int64_t kSyntheticTokens = 32;

void Put(Tensor& tensor, std::int64_t at, std::int64_t value) {
  if (tensor.dtype == DType::kInt64) {
    tensor.as<std::int64_t>()[at] = value;
  } else {
    tensor.as<std::int32_t>()[at] = static_cast<std::int32_t>(value);
  }
}

}  // namespace

std::int64_t LengthBucket(std::int64_t tokens, std::int64_t most) {
  std::int64_t power = 8;
  while (power < tokens) power *= 2;
  const std::int64_t between = power / 4 * 3;  // 24, 48, 96, …
  const std::int64_t bucket = power > 16 && tokens <= between ? between : power;
  return std::min(bucket, most);
}

Result<Sequences> Sequences::Make(std::unique_ptr<SubwordTokenizer> tokenizer,
                                  const std::vector<TensorSpec>& inputs, std::int64_t max_length) {
  Sequences sequences;
  sequences.tokenizer_ = std::move(tokenizer);
  if (inputs.empty()) sequences.inputs_ = {{Kind::kIds, DType::kInt64}, {Kind::kMask, DType::kInt64}};
  std::optional<std::size_t> mask;
  bool has_ids = inputs.empty();
  for (const TensorSpec& spec : inputs) {
    const bool usable =
        (spec.dtype == DType::kInt64 || spec.dtype == DType::kInt32) && spec.shape.size() == 1;
    if (!usable ||
        (spec.name != "input_ids" && spec.name != "attention_mask" && spec.name != "token_type_ids")) {
      return InvalidArgument(fmt::format(
          "the archive declares the input {}; a model with a vocabulary of pieces takes input_ids, "
          "attention_mask and perhaps token_type_ids, int64 or int32, of one dimension",
          SpecText(spec)));
    }
    if (spec.shape[0] > 0) {
      if (sequences.fixed_ != 0 && sequences.fixed_ != spec.shape[0]) {
        return InvalidArgument(
            fmt::format("the archive declares inputs of {} and of {} tokens; they must be of "
                        "one length",
                        sequences.fixed_, spec.shape[0]));
      }
      sequences.fixed_ = spec.shape[0];
    }
    if (spec.name == "input_ids") has_ids = true;
    if (spec.name == "attention_mask") mask = sequences.inputs_.size();
    sequences.inputs_.push_back({spec.name == "input_ids"        ? Kind::kIds
                                 : spec.name == "attention_mask" ? Kind::kMask
                                                                 : Kind::kTypes,
                                 spec.dtype});
  }
  if (!has_ids || (!inputs.empty() && !mask)) {
    return InvalidArgument(
        "the archive must declare the inputs input_ids and attention_mask: without the mask, padding would "
        "change the answers");
  }
  sequences.mask_ = mask.value_or(1);
  if (max_length == 0) max_length = sequences.fixed_ != 0 ? sequences.fixed_ : kDefaultLength;
  if (sequences.fixed_ != 0 && max_length > sequences.fixed_) {
    return InvalidArgument(
        fmt::format("the handler option max_length is {}, but the archive declares {} tokens", max_length,
                    sequences.fixed_));
  }
  sequences.max_length_ = max_length;
  return sequences;
}

Sample Sequences::ToSample(const std::vector<std::string_view>& texts) const {
  std::vector<std::vector<std::int64_t>> rows;
  rows.reserve(texts.size());
  for (const std::string_view text : texts) {
    rows.push_back(tokenizer_->Encode(text, static_cast<std::size_t>(max_length_)));
  }
  return Pack(rows);
}

Sample Sequences::SyntheticSample() const {
  std::vector<std::int64_t> row = tokenizer_->Encode("", static_cast<std::size_t>(max_length_));
  // Ids from all over the table, between the two ends.
  const std::int64_t count = std::min(kSyntheticTokens, max_length_);
  for (std::int64_t i = static_cast<std::int64_t>(row.size()); i < count; ++i) {
    row.insert(row.end() - 1, i * tokenizer_->size() / count);
  }
  return Pack({row});
}

Sample Sequences::Pack(const std::vector<std::vector<std::int64_t>>& rows) const {
  std::size_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  const std::int64_t length = Bucket(longest);
  Sample sample;
  sample.rows = static_cast<std::int64_t>(rows.size());
  for (const Input& input : inputs_) {
    Tensor tensor = Tensor::Empty(input.dtype, {sample.rows, length});
    std::int64_t at = 0;
    for (const auto& row : rows) {
      for (std::int64_t i = 0; i < length; ++i, ++at) {
        const bool present = i < static_cast<std::int64_t>(row.size());
        const std::int64_t id = present ? row[static_cast<std::size_t>(i)] : tokenizer_->padding();
        Put(tensor, at,
            input.kind == Kind::kIds    ? id
            : input.kind == Kind::kMask ? std::int64_t{present}
                                        : 0);
      }
    }
    sample.inputs.push_back(std::move(tensor));
  }
  sample.shape_key = ShapeKey(sample.inputs);
  return sample;
}

std::int64_t Sequences::Bucket(std::size_t longest) const {
  return fixed_ != 0 ? fixed_ : LengthBucket(static_cast<std::int64_t>(longest), max_length_);
}

}  // namespace serve
