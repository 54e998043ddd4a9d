#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace serve {

/// What no parser knows: written by hand for the manual page of one command.
struct ManSection {
  std::string_view command;  // first word; empty: the program's own page
  std::string_view title;    // `FILES`
  std::string_view term;     // what it is about
  std::string_view text;
};

std::vector<ManSection> ManSections(std::string_view command, std::string_view title);

}  // namespace serve
