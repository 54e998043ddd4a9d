#include "tools/cli/metrics_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace serve {
namespace {

bool ReadNumber(std::string_view text, double& value) {
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text == "Inf") {
    value = std::numeric_limits<double>::infinity();
    return true;
  }
  return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc();
}

/// `a="b",c="d"}`: reads to behind the brace; false when it is none of that.
bool ReadLabels(std::string_view& line, MetricsText::Labels& labels) {
  while (!line.empty() && line.front() != '}') {
    const std::size_t equals = line.find("=\"");
    if (equals == std::string_view::npos) return false;
    std::string& value = labels[std::string(line.substr(0, equals))];
    line.remove_prefix(equals + 2);
    for (bool escaped = false; !line.empty() && (escaped || line.front() != '"'); line.remove_prefix(1)) {
      const char c = line.front();
      escaped = !escaped && c == '\\';
      if (!escaped) value += c;
    }
    if (line.empty()) return false;
    line.remove_prefix(1);
    if (line.starts_with(',')) line.remove_prefix(1);
  }
  if (line.empty()) return false;
  line.remove_prefix(1);
  return true;
}

bool HasAll(const MetricsText::Labels& labels, const MetricsText::Labels& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& label) {
    const auto found = labels.find(label.first);
    return found != labels.end() && found->second == label.second;
  });
}

}  // namespace

MetricsText::MetricsText(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    const std::size_t name_end = line.find_first_of("{ ");
    if (name_end == std::string_view::npos) continue;
    const std::string name(line.substr(0, name_end));
    Sample sample;
    const bool labelled = line[name_end] == '{';
    line.remove_prefix(name_end + (labelled ? 1 : 0));
    if (labelled && !ReadLabels(line, sample.labels)) continue;
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (ReadNumber(line.substr(0, line.find(' ')), sample.value)) samples_[name].push_back(std::move(sample));
  }
}

double MetricsText::Sum(std::string_view name, const Labels& labels) const {
  double sum = 0;
  if (const auto found = samples_.find(name); found != samples_.end()) {
    for (const Sample& sample : found->second) {
      if (HasAll(sample.labels, labels)) sum += sample.value;
    }
  }
  return sum;
}

std::map<double, double> MetricsText::Buckets(const std::string& name, const Labels& labels) const {
  std::map<double, double> buckets;
  const auto found = samples_.find(name + "_bucket");
  if (found == samples_.end()) return buckets;
  for (const Sample& sample : found->second) {
    double bound = 0;
    const auto le = sample.labels.find("le");
    if (le != sample.labels.end() && HasAll(sample.labels, labels) && ReadNumber(le->second, bound))
      buckets[bound] += sample.value;
  }
  return buckets;
}

double QuantileBetween(const std::map<double, double>& before, const std::map<double, double>& after,
                       double quantile) {
  const auto came = [&before](const auto& bucket) {
    const auto old = before.find(bucket.first);
    return std::max(0.0, bucket.second - (old == before.end() ? 0 : old->second));
  };
  if (after.empty()) return std::nan("");
  const double all = came(*after.rbegin());
  if (all <= 0) return std::nan("");
  const double rank = quantile * all;
  double lower = 0;
  double below = 0;
  for (const auto& bucket : after) {
    const double until = came(bucket);
    if (until >= rank && until > below) {
      if (std::isinf(bucket.first)) return lower;
      return lower + (bucket.first - lower) * (rank - below) / (until - below);
    }
    lower = std::isinf(bucket.first) ? lower : bucket.first;
    below = until;
  }
  return lower;
}

}  // namespace serve
