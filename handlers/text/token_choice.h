#pragma once

#include <cstddef>
#include <cstdint>
#include <random>

namespace serve {

/// How the next token is taken from the scores of all.
struct TokenChoice {
  double temperature = 0;  // 0: the best one
  std::int64_t top_k = 0;  // only among the best so many; 0: all
};

/// The token taken from `count` scores (logits). -1: there is no finite score, or one is not a number.
/// The same scores and the same state of `random` give the same token.
std::int64_t ChooseToken(const float* scores, std::size_t count, const TokenChoice& choice,
                         std::mt19937_64& random);

}  // namespace serve
