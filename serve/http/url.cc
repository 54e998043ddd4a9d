#include "serve/http/url.h"

#include "serve/http/http_message.h"

namespace serve {
namespace {

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<std::size_t> PercentDecode(char* text, std::size_t size, bool plus_is_blank) {
  std::size_t out = 0;
  for (std::size_t i = 0; i < size; ++i) {
    char c = text[i];
    if (c == '%') {
      if (size - i < 3) return std::nullopt;
      const int high = HexValue(text[i + 1]);
      const int low = HexValue(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_blank) {
      c = ' ';
    }
    text[out++] = c;
  }
  return out;
}

Result<QueryParameters> QueryParameters::Parse(std::string_view query) {
  QueryParameters parameters;
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view item = query.substr(0, end);
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    if (item.empty()) continue;
    const std::size_t equals = item.find('=');
    std::string name(item.substr(0, equals));
    std::string value(equals == std::string_view::npos ? std::string_view() : item.substr(equals + 1));
    for (std::string* text : {&name, &value}) {
      const auto length = PercentDecode(text->data(), text->size(), true);
      if (!length) {
        return InvalidArgument("the query parameter `" + std::string(item.substr(0, equals)) +
                               "` has a broken escape: % must be followed by two hex digits");
      }
      text->resize(*length);
    }
    parameters.Add(std::move(name), std::move(value));
  }
  return parameters;
}

const std::string* QueryParameters::Find(std::string_view name) const {
  for (auto item = items_.rbegin(); item != items_.rend(); ++item) {
    if (item->first == name) return &item->second;
  }
  return nullptr;
}

std::vector<std::string> QueryParameters::All(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : items_) {
    if (key == name) values.push_back(value);
  }
  return values;
}

}  // namespace serve
