#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace serve::trainer {

/// A table of true classes (rows) against predicted ones, darker where there are more; of at most 50 classes,
/// else empty. Self-contained SVG.
std::string ConfusionSvg(const std::vector<std::string>& labels,
                         const std::vector<std::vector<std::size_t>>& counts);

struct Curve {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending; values that are not finite are left out
};

/// Lines over one x axis, each with its own colour and, as their units differ, those of `left` on the left
/// axis and those of `right` on the right one. Self-contained SVG.
std::string CurvesSvg(const std::string& title, const std::string& x_name, const std::vector<Curve>& left,
                      const std::vector<Curve>& right);

}  // namespace serve::trainer
