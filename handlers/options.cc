#include "handlers/options.h"

#include <charconv>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "handlers/tensor/json_source.h"  // Excerpt
#include "serve/base/log.h"

namespace serve {
namespace {

template <class T>
std::optional<T> ParseNumber(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

const std::string* OptionReader::Find(std::string_view key) {
  known_[key] = true;
  const auto found = options_.find(key);
  return found != options_.end() && status_.ok() ? &found->second : nullptr;
}

void OptionReader::Refuse(std::string_view key, std::string_view value, const std::string& allowed) {
  status_ = InvalidArgument(
      fmt::format("the handler option {} is \"{}\"; it must be {}", key, Excerpt(value), allowed));
}

void OptionReader::Read(std::string_view key, std::int64_t low, std::int64_t high, std::int64_t& value) {
  const std::string* text = Find(key);
  if (text == nullptr) return;
  const std::optional<std::int64_t> number = ParseNumber<std::int64_t>(*text);
  if (!number || *number < low || *number > high) {
    Refuse(key, *text, fmt::format("a whole number from {} to {}", low, high));
  } else {
    value = *number;
  }
}

void OptionReader::Read(std::string_view key, double low, double high, double& value) {
  const std::string* text = Find(key);
  if (text == nullptr) return;
  const std::optional<double> number = ParseNumber<double>(*text);
  if (!number || !(*number >= low && *number <= high)) {
    Refuse(key, *text, fmt::format("a number from {} to {}", low, high));
  } else {
    value = *number;
  }
}

void OptionReader::Read(std::string_view key, bool& value) {
  const std::string* text = Find(key);
  if (text == nullptr) return;
  if (*text == "true" || *text == "false") {
    value = *text == "true";
  } else {
    Refuse(key, *text, "true or false");
  }
}

void OptionReader::Read(std::string_view key, std::array<float, 3>& value) {
  const std::string* text = Find(key);
  if (text == nullptr) return;
  std::string_view rest = *text;
  std::array<float, 3> numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::size_t comma = i + 1 < numbers.size() ? rest.find(',') : rest.size();
    const std::optional<float> number =
        comma == std::string_view::npos ? std::nullopt : ParseNumber<float>(rest.substr(0, comma));
    if (!number || !std::isfinite(*number)) {
      return Refuse(key, *text, "three numbers with commas between them");
    }
    numbers[i] = *number;
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  value = numbers;
}

void OptionReader::Read(std::string_view key, std::vector<std::string>& value) {
  const std::string* text = Find(key);
  if (text == nullptr) return;
  value.clear();
  for (std::size_t at = 0; at <= text->size();) {
    const std::size_t end = std::min(text->find(',', at), text->size());
    value.push_back(text->substr(at, end - at));
    if (value.back().empty()) Refuse(key, *text, "names with commas between them");
    at = end + 1;
  }
}

Status OptionReader::Finish(std::string_view handler) const {
  if (!status_.ok()) return status_;
  for (const auto& [key, value] : options_) {
    if (known_.contains(key)) continue;
    std::string list;
    for (const auto& [name, unused] : known_) list += fmt::format("{}{}", list.empty() ? "" : ", ", name);
    LogWarning("the handler {} has no option {}; it has {}", handler, Excerpt(key),
               list.empty() ? "none" : list);
  }
  return {};
}

}  // namespace serve
