#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace serve {

/// One `key=value` of a properties file.
struct Property {
  std::string key;
  std::string value;
  int line = 0;  // where it begins, from 1
};

struct PropertyError {
  int line = 0;
  std::string message;
};

struct Properties {
  std::vector<Property> entries;  // in the order of the file, repeated keys included
  std::vector<PropertyError> errors;
};

/// No file of settings is larger.
constexpr std::uint64_t kMostPropertiesBytes = 1U << 20;

/// Reads the syntax of java.util.Properties, which TorchServe's config.properties has: `key=value`,
/// `key:value` or `key value`; comments after `#` or `!`; a backslash at the end of a line continues it; \t
/// \n \r \f \uXXXX and a backslash before any other character. Two differences: the text is UTF-8, and blanks
/// at the end of a value are not part of it.
Properties ParseProperties(std::string_view text);

}  // namespace serve
