#include "handlers/text/token_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace serve {

std::int64_t ChooseToken(const float* scores, std::size_t count, const TokenChoice& choice,
                         std::mt19937_64& random) {
  const auto usable = [](float score) { return !std::isnan(score) && score != HUGE_VALF; };
  if (count == 0 || !std::all_of(scores, scores + count, usable)) return -1;
  const auto best = static_cast<std::size_t>(std::max_element(scores, scores + count) - scores);
  const double highest = scores[best];
  if (highest == -std::numeric_limits<double>::infinity()) return -1;
  if (choice.temperature <= 0) return static_cast<std::int64_t>(best);

  std::vector<std::size_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), std::size_t{0});
  if (choice.top_k > 0 && static_cast<std::size_t>(choice.top_k) < count) {
    const auto better = [scores](std::size_t a, std::size_t b) {
      return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
    };
    const auto end = tokens.begin() + choice.top_k;
    std::nth_element(tokens.begin(), end, tokens.end(), better);
    tokens.erase(end, tokens.end());
    std::sort(tokens.begin(), tokens.end());
  }
  std::vector<double> sums;
  sums.reserve(tokens.size());
  double sum = 0;
  for (const std::size_t token : tokens) {
    sum += std::exp((scores[token] - highest) / choice.temperature);
    sums.push_back(sum);
  }
  // 53 random bits: std::uniform_real_distribution need not give the same everywhere.
  const double point = static_cast<double>(random() >> 11) * 0x1.0p-53 * sum;
  const auto found = std::upper_bound(sums.begin(), sums.end(), point) - sums.begin();
  const auto at = std::min(static_cast<std::size_t>(found), tokens.size() - 1);
  return static_cast<std::int64_t>(tokens[at]);
}

}  // namespace serve
