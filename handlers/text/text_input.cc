#include "handlers/text/text_input.h"

#include <algorithm>
#include <string>

#include <fmt/format.h>
#include <simdjson.h>

#include "handlers/tensor/json_source.h"  // BadInput, Excerpt

namespace serve {
namespace {

namespace dom = simdjson::dom;

static_assert(Buffer::kPadding >= simdjson::SIMDJSON_PADDING, "simdjson reads that far behind a text");

constexpr std::string_view kBlanks = " \t\r\n\f\v";
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
/// A parser that has grown beyond this (for a large body) is not kept for the next request.
constexpr std::size_t kKeptCapacity = std::size_t{1} << 20;

std::string MediaType(std::string_view header) {
  std::string type(header.substr(0, header.find_first_of(",; \t")));
  std::transform(type.begin(), type.end(), type.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return type;
}

std::string_view KindOf(dom::element value) {
  switch (value.type()) {
    case dom::element_type::ARRAY:
      return "an array";
    case dom::element_type::OBJECT:
      return "an object";
    case dom::element_type::STRING:
      return "a string";
    case dom::element_type::BOOL:
      return "a boolean";
    case dom::element_type::NULL_VALUE:
      return "null";
    default:
      return "a number";
  }
}

/// The parser of this thread. The last text's strings live in it.
dom::parser& ThreadParser() {
  thread_local dom::parser parser;
  if (parser.capacity() > kKeptCapacity) parser = dom::parser();
  return parser;
}

class JsonTexts {
 public:
  explicit JsonTexts(const TextLimits& limits) : limits_(limits) {}

  Result<TextInput> Read(dom::element root) {
    Status status;
    dom::element instances;
    if (root.is_array()) {
      input_.hint.single_row = false;
      status = AddAll(root.get_array().value_unsafe(), "body");
    } else if (root.is_object() && root.at_key("instances").get(instances) == simdjson::SUCCESS) {
      input_.hint.single_row = false;
      input_.hint.instances = true;
      dom::array list;
      if (instances.get_array().get(list) != simdjson::SUCCESS) {
        return BadInput(fmt::format("instances: expected an array of texts, found {}", KindOf(instances)));
      }
      status = AddAll(list, "instances");
    } else {
      status = Add(root, "body");
    }
    if (!status.ok()) return status;
    return std::move(input_);
  }

  Status AddText(std::string_view text, std::string_view place) {
    if (text.size() > limits_.max_text_bytes) {
      return BadInput(fmt::format("{}: the text has {} bytes, allowed are {}", place, text.size(),
                                  limits_.max_text_bytes));
    }
    if (text.find_first_not_of(kBlanks) == std::string_view::npos) {
      return BadInput(fmt::format("{}: the text is empty; send the text to classify", place));
    }
    input_.texts.push_back(text);
    return {};
  }

  TextInput Take() && { return std::move(input_); }

 private:
  Status AddAll(dom::array list, std::string_view place) {
    const std::size_t count = list.size();  // exact below 2^24, far above any limit that makes sense
    if (count == 0)
      return BadInput(fmt::format("{}: expected at least one text, found an empty array", place));
    if (count > limits_.max_texts) {
      return BadInput(
          fmt::format("{}: {} texts, allowed are {} in one request", place, count, limits_.max_texts));
    }
    std::size_t index = 0;
    for (const dom::element element : list) {
      if (Status status = Add(element, fmt::format("{}[{}]", place, index++)); !status.ok()) return status;
    }
    return {};
  }

  Status Add(dom::element value, std::string_view place) {
    std::string_view text;
    if (value.get_string().get(text) == simdjson::SUCCESS) return AddText(text, place);
    if (!value.is_object()) {
      return BadInput(
          fmt::format("{}: expected a text or {{\"text\": \"...\"}}, found {}", place, KindOf(value)));
    }
    const dom::object object = value.get_object().value_unsafe();
    for (const std::string_view key : {"text", "data"}) {
      dom::element found;
      if (object.at_key(key).get(found) != simdjson::SUCCESS) continue;
      const std::string inner = fmt::format("{}.{}", place, key);
      if (found.get_string().get(text) == simdjson::SUCCESS) return AddText(text, inner);
      return BadInput(fmt::format("{}: expected a text, found {}", inner, KindOf(found)));
    }
    std::string keys;
    for (const dom::key_value_pair field : object) {
      keys += fmt::format("{}\"{}\"", keys.empty() ? "" : ", ", Excerpt(field.key));
      if (keys.size() > kMaxErrorText) break;
    }
    return BadInput(fmt::format("{}: expected an object with the key \"text\" or \"data\", found {}", place,
                                keys.empty() ? "an empty object" : "the keys " + keys));
  }

  const TextLimits& limits_;
  TextInput input_;
};

bool IsJson(const Request& request, const RequestPart& part, std::string_view type) {
  if (type == "application/json" || type.ends_with("+json")) return true;
  if (!type.empty() || !request.body_is_part) return false;
  std::string_view value = part.value;
  if (value.starts_with(kByteOrderMark)) value.remove_prefix(kByteOrderMark.size());
  const std::size_t first = value.find_first_not_of(kBlanks);
  return first != std::string_view::npos &&
         std::string_view("{[\"").find(value[first]) != std::string_view::npos;
}

/// Types that certainly hold no text.
bool IsMedia(std::string_view type) {
  return type.starts_with("image/") || type.starts_with("audio/") || type.starts_with("video/");
}

}  // namespace

Result<TextInput> ReadTexts(const Request& request, const TextLimits& limits) {
  const RequestPart* part = request.Input();
  if (part == nullptr) {
    return BadInput(
        "the request brings no text: send it as the body with Content-Type: text/plain, as {\"text\": "
        "\"...\"} with "
        "Content-Type: application/json, or as a form field named data");
  }
  if (part->value.empty())
    return BadInput("the body is empty; send the text to classify or {\"text\": \"...\"}");
  const std::string type = MediaType(part->content_type);
  if (IsMedia(type)) {
    return BadInput(fmt::format("{} holds no text; send text/plain or application/json", Excerpt(type)));
  }
  JsonTexts texts(limits);
  if (!IsJson(request, *part, type)) {
    if (Status status = texts.AddText(part->value, part->name); !status.ok()) return status;
    return std::move(texts).Take();
  }
  std::string_view json = part->value;
  if (json.starts_with(kByteOrderMark)) json.remove_prefix(kByteOrderMark.size());
  dom::element root;
  // Only behind the whole body lies the padding that the parser may read; a part of a form is copied.
  if (const auto error = ThreadParser().parse(json.data(), json.size(), !request.body_is_part).get(root)) {
    return BadInput(fmt::format(
        "invalid JSON: {}{}", simdjson::error_message(error),
        type.empty() ? " (plain text that begins like JSON needs Content-Type: text/plain)" : ""));
  }
  return texts.Read(root);
}

Result<TextInput> CheckTexts(const std::vector<std::string>& texts, std::string_view place,
                             const TextLimits& limits) {
  if (texts.size() > limits.max_texts) {
    return BadInput(
        fmt::format("{}: {} texts, allowed are {} in one request", place, texts.size(), limits.max_texts));
  }
  JsonTexts checked(limits);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (Status status = checked.AddText(texts[i], fmt::format("{}[{}]", place, i)); !status.ok())
      return status;
  }
  TextInput input = std::move(checked).Take();
  input.hint.single_row = false;
  return input;
}

}  // namespace serve
