#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace serve {

/// One reading of a server's /metrics (Prometheus' text format 0.0.4). Lines that are none are skipped.
class MetricsText {
 public:
  using Labels = std::map<std::string, std::string, std::less<>>;
  struct Sample {
    Labels labels;
    double value = 0;
  };

  MetricsText() = default;
  explicit MetricsText(std::string_view text);

  [[nodiscard]] bool empty() const { return samples_.empty(); }
  /// The sum of the samples of that name that have all these labels; 0 when there are none.
  [[nodiscard]] double Sum(std::string_view name, const Labels& labels = {}) const;
  /// The cumulative buckets `name`_bucket of a histogram by upper bound, summed likewise.
  [[nodiscard]] std::map<double, double> Buckets(const std::string& name, const Labels& labels) const;

 private:
  std::map<std::string, std::vector<Sample>, std::less<>> samples_;
};

/// The value below which a part `quantile` (0 to 1) of the observations lies that came between the two
/// readings, by proportion within a bucket; NaN when none came. Above the last bound it is the last bound.
double QuantileBetween(const std::map<double, double>& before, const std::map<double, double>& after,
                       double quantile);

}  // namespace serve
