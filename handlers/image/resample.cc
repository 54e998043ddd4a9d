#include "handlers/image/resample.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace serve {
namespace {

/// 32 bits less 8 of the value and 2 of head room for the sum.
constexpr int kWeightBits = 32 - 8 - 2;
constexpr std::int32_t kHalf = 1 << (kWeightBits - 1);

/// For each output pixel the run of source pixels that it is made of, and their weights.
struct Taps {
  struct Run {
    std::int64_t first;
    std::int64_t count;
  };
  std::vector<Run> runs;
  std::vector<std::int32_t> weights;  // `stride` for each run
  std::size_t stride = 0;

  [[nodiscard]] const std::int32_t* Of(std::size_t i) const { return weights.data() + i * stride; }
};

Taps MakeTaps(std::int64_t source, const ResizedSpan& span) {
  const double scale = static_cast<double>(source) / static_cast<double>(span.size);
  const double support = std::max(scale, 1.0);  // of the triangle, in source pixels
  Taps taps;
  taps.stride = static_cast<std::size_t>(std::ceil(support)) * 2 + 1;
  taps.runs.reserve(static_cast<std::size_t>(span.count));
  taps.weights.assign(static_cast<std::size_t>(span.count) * taps.stride, 0);
  std::vector<double> exact(taps.stride);
  for (std::int64_t i = 0; i < span.count; ++i) {
    const double center = (static_cast<double>(span.first + i) + 0.5) * scale;
    const auto first = std::max<std::int64_t>(static_cast<std::int64_t>(center - support + 0.5), 0);
    const auto last = std::min(static_cast<std::int64_t>(center + support + 0.5), source);
    double sum = 0;
    for (std::int64_t x = first; x < last; ++x) {
      const double distance = std::fabs((static_cast<double>(x) - center + 0.5) / support);
      const double weight = distance < 1 ? 1 - distance : 0;
      exact[static_cast<std::size_t>(x - first)] = weight;
      sum += weight;
    }
    std::int32_t* weights = taps.weights.data() + static_cast<std::size_t>(i) * taps.stride;
    for (std::int64_t x = first; x < last; ++x) {
      const double weight = exact[static_cast<std::size_t>(x - first)] / sum;
      weights[x - first] = static_cast<std::int32_t>(std::lround(weight * (1 << kWeightBits)));
    }
    taps.runs.push_back({first, last - first});
  }
  return taps;
}

std::uint8_t Round(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
}

void ResampleRow(const std::uint8_t* from, const Taps& taps, std::uint8_t* to) {
  for (std::size_t i = 0; i < taps.runs.size(); ++i, to += 3) {
    const std::uint8_t* pixel = from + taps.runs[i].first * 3;
    const std::int32_t* weights = taps.Of(i);
    std::int32_t r = kHalf;
    std::int32_t g = kHalf;
    std::int32_t b = kHalf;
    for (std::int64_t k = 0; k < taps.runs[i].count; ++k, pixel += 3) {
      r += pixel[0] * weights[k];
      g += pixel[1] * weights[k];
      b += pixel[2] * weights[k];
    }
    to[0] = Round(r);
    to[1] = Round(g);
    to[2] = Round(b);
  }
}

}  // namespace

std::vector<std::uint8_t> Resample(const Picture& picture, const ResizedSpan& columns,
                                   const ResizedSpan& rows) {
  const Taps across = MakeTaps(picture.width, columns);
  const Taps down = MakeTaps(picture.height, rows);
  const std::int64_t first = down.runs.front().first;
  const std::int64_t end = down.runs.back().first + down.runs.back().count;
  const auto row_bytes = static_cast<std::size_t>(columns.count) * 3;
  const auto* source = reinterpret_cast<const std::uint8_t*>(picture.rgb.data());

  std::vector<std::uint8_t> narrowed(static_cast<std::size_t>(end - first) * row_bytes);
  for (std::int64_t y = first; y < end; ++y) {
    ResampleRow(source + y * picture.width * 3, across,
                narrowed.data() + static_cast<std::size_t>(y - first) * row_bytes);
  }

  std::vector<std::uint8_t> result(static_cast<std::size_t>(rows.count) * row_bytes);
  std::vector<std::int32_t> sums(row_bytes);
  for (std::size_t i = 0; i < down.runs.size(); ++i) {
    std::fill(sums.begin(), sums.end(), kHalf);
    const std::uint8_t* from =
        narrowed.data() + static_cast<std::size_t>(down.runs[i].first - first) * row_bytes;
    for (std::int64_t k = 0; k < down.runs[i].count; ++k, from += row_bytes) {
      const std::int32_t weight = down.Of(i)[k];
      for (std::size_t x = 0; x < row_bytes; ++x) sums[x] += from[x] * weight;
    }
    std::transform(sums.begin(), sums.end(), result.begin() + static_cast<std::ptrdiff_t>(i * row_bytes),
                   Round);
  }
  return result;
}

}  // namespace serve
