#include "handlers/text/labels.h"

#include <charconv>
#include <cstdint>
#include <set>
#include <system_error>

#include <fmt/format.h>
#include <simdjson.h>

#include "handlers/tensor/json_source.h"  // Excerpt

namespace serve {
namespace {

namespace dom = simdjson::dom;

constexpr std::uintmax_t kMaxFileBytes = 64U << 20;

Status NoLabel(std::string_view key) {
  return InvalidArgument(
      fmt::format("{}: \"{}\": expected a label, or a list that ends with it", kLabelsFile, Excerpt(key)));
}

/// A string, or the last element of a list.
Result<std::string> LabelOf(dom::element value, std::string_view key) {
  if (value.is_array()) {
    const dom::array list = value.get_array().value_unsafe();
    if (list.size() == 0 || list.at(list.size() - 1).get(value) != simdjson::SUCCESS) return NoLabel(key);
  }
  std::string_view label;
  if (value.get_string().get(label) != simdjson::SUCCESS || label.empty()) return NoLabel(key);
  return std::string(label);
}

Result<std::vector<std::string>> ReadList(dom::element value) {
  dom::array names;
  if (value.get_array().get(names) != simdjson::SUCCESS) {
    return InvalidArgument(fmt::format("{}: object_type_names: expected a list of labels", kLabelsFile));
  }
  std::vector<std::string> labels;
  for (const dom::element name : names) {
    Result<std::string> label = LabelOf(name, fmt::format("object_type_names[{}]", labels.size()));
    if (!label) return label.error();
    labels.push_back(*std::move(label));
  }
  return labels;
}

/// `gaps`: keys need not follow each other.
Result<std::vector<std::string>> ReadNumbered(dom::object object, bool gaps) {
  std::vector<std::string> labels(object.size());
  const std::size_t most = gaps ? kMaxLabels : labels.size();
  for (const dom::key_value_pair field : object) {
    std::size_t index = 0;
    const auto [end, error] = std::from_chars(field.key.data(), field.key.data() + field.key.size(), index);
    if (error != std::errc() || end != field.key.data() + field.key.size() || index >= most) {
      return InvalidArgument(fmt::format("{}: the keys must be the numbers from 0 to {}, found \"{}\"",
                                         kLabelsFile, most - 1, Excerpt(field.key)));
    }
    if (index >= labels.size()) labels.resize(index + 1);
    if (!labels[index].empty()) {
      return InvalidArgument(fmt::format("{}: the key \"{}\" comes twice", kLabelsFile, Excerpt(field.key)));
    }
    Result<std::string> label = LabelOf(field.value, field.key);
    if (!label) return label.error();
    labels[index] = *std::move(label);
  }
  return labels;
}

Status CheckLabels(const std::vector<std::string>& labels) {
  if (labels.size() < 2 || labels.size() > kMaxLabels) {
    return InvalidArgument(
        fmt::format("{}: a classifier has 2 to {} labels, found {}", kLabelsFile, kMaxLabels, labels.size()));
  }
  std::set<std::string_view> seen;
  for (const std::string& label : labels) {
    if (!seen.insert(label).second) {
      return InvalidArgument(fmt::format("{}: the label \"{}\" comes twice", kLabelsFile, Excerpt(label)));
    }
  }
  return {};
}

/// One UTF-8 character at `at`, which moves behind it; bytes that are none come out as U+FFFD.
std::uint32_t NextCharacter(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i]));
  };
  const std::uint32_t lead = byte(at++);
  const int more = lead < 0x80 ? 0 : lead >> 5 == 6 ? 1 : lead >> 4 == 14 ? 2 : lead >> 3 == 30 ? 3 : -1;
  if (more < 0) return 0xfffd;
  std::uint32_t character = more == 0 ? lead : lead & (0x3fU >> more);
  for (int i = 0; i < more; ++i) {
    if (at >= text.size() || (byte(at) & 0xc0U) != 0x80) return 0xfffd;
    character = character << 6 | (byte(at++) & 0x3fU);
  }
  return character;
}

Result<std::vector<std::string>> ReadAny(const std::filesystem::path& file, bool gaps) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  if (error)
    return Status{Code::kNotFound, fmt::format("cannot read {}: {}", file.string(), error.message())};
  if (size > kMaxFileBytes) {
    return InvalidArgument(fmt::format("{} has {} bytes, allowed are {}", kLabelsFile, size, kMaxFileBytes));
  }
  dom::parser parser;
  dom::element root;
  if (const auto broken = parser.load(file.string()).get(root)) {
    return InvalidArgument(fmt::format("{}: invalid JSON: {}", kLabelsFile, simdjson::error_message(broken)));
  }
  dom::object object;
  if (root.get_object().get(object) != simdjson::SUCCESS) {
    return InvalidArgument(fmt::format("{}: expected {{\"0\": \"label\", ...}}", kLabelsFile));
  }
  dom::element list;
  const bool is_list = object.at_key("object_type_names").get(list) == simdjson::SUCCESS;
  return is_list ? ReadList(list) : ReadNumbered(object, gaps);
}

}  // namespace

Result<std::vector<std::string>> ReadLabels(const std::filesystem::path& file) {
  Result<std::vector<std::string>> labels = ReadAny(file, false);
  if (!labels) return labels;
  if (Status status = CheckLabels(*labels); !status.ok()) return status;
  return labels;
}

Result<std::vector<std::string>> ReadClassNames(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return std::vector<std::string>();
  return ReadAny(file, true);
}

std::string QuoteAscii(std::string_view text) {
  std::string quoted = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const std::uint32_t c = NextCharacter(text, at);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += static_cast<char>(c);
    } else if (c >= 0x20 && c < 0x7f) {
      quoted += static_cast<char>(c);
    } else if (const std::size_t known = std::string_view("\b\f\n\r\t").find(static_cast<char>(c));
               c < 0x20 && known != std::string_view::npos) {
      quoted += '\\';
      quoted += "bfnrt"[known];
    } else if (c == 0x7f) {
      quoted += '\x7f';  // Python leaves it as it is
    } else if (c < 0x10000) {
      quoted += fmt::format("\\u{:04x}", c);
    } else {
      quoted +=
          fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
    }
  }
  return quoted + '"';
}

}  // namespace serve
