#include "trainer/tracking/charts.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace serve::trainer {
namespace {

constexpr std::size_t kMaxClasses = 50;
constexpr const char* kColours[] = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b"};

std::string Escape(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string Begin(double width, double height) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" font-family=\"sans-serif\" font-size=\"13\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      width, height);
}

std::string Text(double x, double y, const char* anchor, const std::string& text, const char* more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" {}>{}</text>\n", x, y, anchor, more,
                     Escape(text));
}

/// Smallest and largest value of some curves, a little apart.
struct Range {
  double least = std::numeric_limits<double>::infinity();
  double most = -std::numeric_limits<double>::infinity();

  void Add(double value) {
    if (!std::isfinite(value)) return;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  void Widen() {
    if (!(least <= most)) least = 0, most = 1;
    const double pad = most > least ? (most - least) * 0.05 : std::max(std::fabs(most) * 0.05, 0.5);
    least -= pad;
    most += pad;
  }
  [[nodiscard]] double Share(double value) const { return (value - least) / (most - least); }
};

/// The drawing area of CurvesSvg.
constexpr double kLeft = 70, kTop = 50, kWidth = 560, kHeight = 300;

std::string Axis(const Range& range, bool on_left) {
  std::string svg;
  for (int i = 0; i <= 4; ++i) {
    const double y = kTop + kHeight * (1 - i / 4.0);
    const double value = range.least + (range.most - range.least) * i / 4;
    svg += Text(on_left ? kLeft - 8 : kLeft + kWidth + 8, y + 4, on_left ? "end" : "start",
                fmt::format("{:.4g}", value));
    if (on_left) {
      svg += fmt::format("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#ddd\"/>\n",
                         kLeft, kLeft + kWidth, y, y);
    }
  }
  return svg;
}

}  // namespace

std::string ConfusionSvg(const std::vector<std::string>& labels,
                         const std::vector<std::vector<std::size_t>>& counts) {
  if (labels.empty() || labels.size() > kMaxClasses || counts.size() != labels.size()) return {};
  std::size_t longest = 4;
  for (const std::string& label : labels) longest = std::max(longest, label.size());
  const double cell = 64;
  const double left = 60 + 8.0 * static_cast<double>(longest);
  const double top = 80;
  const double side = cell * static_cast<double>(labels.size());
  std::string svg = Begin(left + side + 30, top + side + 30);
  svg += Text(left + side / 2, 26, "middle", "Predicted class", "font-size=\"15\"");
  svg += fmt::format(
      "<text x=\"20\" y=\"{:.1f}\" text-anchor=\"middle\" font-size=\"15\" transform=\"rotate(-90 20 "
      "{:.1f})\">True class</text>\n",
      top + side / 2, top + side / 2);
  for (std::size_t row = 0; row < labels.size(); ++row) {
    if (counts[row].size() != labels.size()) return {};
    std::size_t sum = 0;
    for (const std::size_t count : counts[row]) sum += count;
    const double y = top + cell * static_cast<double>(row);
    svg += Text(left - 10, y + cell / 2 + 5, "end", labels[row]);
    const double centre = left + cell * (static_cast<double>(row) + 0.5);
    svg += Text(centre, top - 12, "middle", labels[row]);
    for (std::size_t column = 0; column < labels.size(); ++column) {
      const double share = sum == 0 ? 0 : static_cast<double>(counts[row][column]) / static_cast<double>(sum);
      const double x = left + cell * static_cast<double>(column);
      const auto shade = static_cast<int>(std::lround(255 - share * 200));
      svg += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.0f}\" height=\"{:.0f}\" fill=\"rgb({},{},255)\" "
          "stroke=\"white\"/>\n",
          x, y, cell, cell, shade, shade);
      svg += Text(x + cell / 2, y + cell / 2, "middle", std::to_string(counts[row][column]),
                  share > 0.6 ? "fill=\"white\"" : "");
      svg += Text(x + cell / 2, y + cell / 2 + 17, "middle", fmt::format("{:.1f} %", share * 100),
                  share > 0.6 ? "fill=\"white\" font-size=\"11\"" : "fill=\"#555\" font-size=\"11\"");
    }
  }
  return svg + "</svg>\n";
}

std::string CurvesSvg(const std::string& title, const std::string& x_name, const std::vector<Curve>& left,
                      const std::vector<Curve>& right) {
  Range x;
  Range sides[2];
  const std::vector<Curve>* curves[2] = {&left, &right};
  for (int side = 0; side < 2; ++side) {
    for (const Curve& curve : *curves[side]) {
      for (const auto& [at, value] : curve.points) {
        x.Add(at);
        sides[side].Add(value);
      }
    }
    sides[side].Widen();
  }
  if (!(x.least < x.most)) x.Widen();
  std::string svg = Begin(kLeft + kWidth + 80, kTop + kHeight + 60);
  svg += Text(kLeft, 20, "start", title, "font-size=\"15\"");
  if (!left.empty()) svg += Axis(sides[0], true);
  if (!right.empty()) svg += Axis(sides[1], false);
  for (int i = 0; i <= 4; ++i) {
    const double value = x.least + (x.most - x.least) * i / 4;
    svg += Text(kLeft + kWidth * i / 4.0, kTop + kHeight + 20, "middle", fmt::format("{:.3g}", value));
  }
  svg += Text(kLeft + kWidth / 2, kTop + kHeight + 44, "middle", x_name);
  std::size_t colour = 0;
  double legend = kLeft;
  for (int side = 0; side < 2; ++side) {
    for (const Curve& curve : *curves[side]) {
      const char* stroke = kColours[colour++ % std::size(kColours)];
      std::string points;
      for (const auto& [at, value] : curve.points) {
        if (!std::isfinite(value)) continue;
        points += fmt::format("{:.1f},{:.1f} ", kLeft + kWidth * x.Share(at),
                              kTop + kHeight * (1 - sides[side].Share(value)));
      }
      svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n", points,
                         stroke);
      const std::string name = curve.name + (side == 1 ? " (right)" : "");
      svg += Text(legend, 40, "start", name, fmt::format("fill=\"{}\"", stroke).c_str());
      legend += 7.5 * static_cast<double>(name.size()) + 16;
    }
  }
  return svg + "</svg>\n";
}

}  // namespace serve::trainer
