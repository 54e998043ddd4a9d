#include "handlers/image/image_input.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <simdjson.h>

#include "handlers/image/base64.h"
#include "handlers/image/picture.h"
#include "handlers/tensor/json_reader.h"
#include "handlers/tensor/json_source.h"  // BadInput, Excerpt

namespace serve {
namespace {

namespace dom = simdjson::dom;

static_assert(Buffer::kPadding >= simdjson::SIMDJSON_PADDING, "simdjson reads that far behind a text");

constexpr std::string_view kBlanks = " \t\r\n";
/// A parser that has grown beyond this (for a large body) is not kept for the next request.
constexpr std::size_t kKeptCapacity = std::size_t{1} << 20;
constexpr std::string_view kKeys[] = {"data", "body", "b64", "image"};

dom::parser& ThreadParser() {
  thread_local dom::parser parser;
  if (parser.capacity() > kKeptCapacity) parser = dom::parser();
  return parser;
}

/// The pictures of a request, as they are found.
class PictureList {
 public:
  explicit PictureList(const ImageLimits& limits) : limits_(limits) {}

  Status Add(std::shared_ptr<std::byte> bytes, std::size_t size, std::string_view place) {
    const std::string_view view(reinterpret_cast<const char*>(bytes.get()), size);
    const Result<PictureHeader> header = ReadPictureHeader(view);
    if (!header) return BadInput(fmt::format("{}: {}", place, header.error().message));
    // Sides of 31 bits make a product of 62: it cannot overflow.
    if (limits_.max_pixels > 0 && header->pixels() > limits_.max_pixels - pixels_) {
      return BadInput(fmt::format(
          "{}: the picture has {} x {} pixels{}, allowed are {} pixels in one request (max_image_pixels)",
          place, header->width, header->height, sample_.inputs.empty() ? "" : ", more with those before it",
          limits_.max_pixels));
    }
    if (limits_.max_pixels > 0) pixels_ += header->pixels();
    sample_.inputs.push_back(Tensor{DType::kUInt8, {static_cast<std::int64_t>(size)}, std::move(bytes)});
    sample_.rows = static_cast<std::int64_t>(sample_.inputs.size());
    return {};
  }

  Status AddBase64(std::string_view text, std::string_view place) {
    Result<DecodedBytes> bytes = DecodeBase64(text);
    if (!bytes) return BadInput(fmt::format("{}: {}", place, bytes.error().message));
    return Add(std::move(bytes->data), bytes->size, place);
  }

  Status AddJson(dom::element root) {
    dom::element instances;
    if (root.is_array()) {
      sample_.hint.single_row = false;
      return AddAll(root.get_array().value_unsafe(), "body");
    }
    if (root.is_object() && root.at_key("instances").get(instances) == simdjson::SUCCESS) {
      sample_.hint.single_row = false;
      sample_.hint.instances = true;
      dom::array list;
      if (instances.get_array().get(list) != simdjson::SUCCESS) {
        return BadInput("instances: expected an array of pictures in base64");
      }
      return AddAll(list, "instances");
    }
    return AddElement(root, "body");
  }

  Sample Take() && { return std::move(sample_); }

 private:
  Status AddAll(dom::array list, std::string_view place) {
    if (list.size() == 0) {
      return BadInput(fmt::format("{}: expected at least one picture, found an empty array", place));
    }
    if (list.size() > limits_.max_pictures) {
      return BadInput(fmt::format("{}: {} pictures, allowed are {} in one request", place, list.size(),
                                  limits_.max_pictures));
    }
    std::size_t index = 0;
    for (const dom::element element : list) {
      if (Status status = AddElement(element, fmt::format("{}[{}]", place, index++)); !status.ok())
        return status;
    }
    return {};
  }

  Status AddElement(dom::element value, std::string_view place) {
    std::string_view text;
    if (value.get_string().get(text) == simdjson::SUCCESS) return AddBase64(text, place);
    if (value.is_object()) {
      const dom::object object = value.get_object().value_unsafe();
      for (const std::string_view key : kKeys) {
        dom::element found;
        if (object.at_key(key).get(found) != simdjson::SUCCESS) continue;
        const std::string inner = fmt::format("{}.{}", place, key);
        // {"image_bytes": {"b64": "..."}} is TensorFlow's way to write it.
        if (found.is_object()) return AddElement(found, inner);
        if (found.get_string().get(text) == simdjson::SUCCESS) return AddBase64(text, inner);
        return BadInput(fmt::format("{}: expected a picture in base64", inner));
      }
    }
    return BadInput(fmt::format(
        "{}: expected a picture in base64, or an object with it under \"data\", or a list of numbers",
        place));
  }

  const ImageLimits& limits_;
  std::int64_t pixels_ = 0;
  Sample sample_;
};

/// Looks at the first tokens of a JSON text, no further than it must.
class TensorSniffer {
 public:
  explicit TensorSniffer(std::string_view text) : rest_(text) {}

  /// Whether the text brings tensors, not pictures in base64: its first array holds arrays or numbers. Of an
  /// object the first key decides, for the reader of tensors takes no other. What is broken counts as
  /// pictures: their reader says what is wrong.
  bool BringsTensor() {
    const char first = Next();
    if (first == '[') return ElementIsTensor();
    if (first != '{') return false;
    const std::string_view key = Key();
    if (key == "instances") return Next() == '[' && ElementIsTensor();
    return IsPictureKey(key) && Next() == '[';
  }

 private:
  static bool IsPictureKey(std::string_view key) {
    return std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys);
  }

  bool ElementIsTensor() {
    const char first = Next();
    if (first == '{') return IsPictureKey(Key()) && Next() == '[';
    return first == '[' || first == '-' || (first >= '0' && first <= '9');
  }

  /// The next character that is no blank; 0 at the end.
  char Next() {
    const std::size_t at = rest_.find_first_not_of(kBlanks);
    if (at == std::string_view::npos) return '\0';
    const char c = rest_[at];
    rest_.remove_prefix(at + 1);
    return c;
  }

  /// The key that follows, with its colon; empty when none does.
  std::string_view Key() {
    if (Next() != '"') return {};
    const std::size_t end = rest_.find('"');
    if (end == std::string_view::npos) return {};
    const std::string_view key = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return Next() == ':' ? key : std::string_view();
  }

  std::string_view rest_;
};

bool IsJson(const RequestPart& part) {
  if (part.content_type.starts_with("application/json") ||
      part.content_type.find("+json") != std::string_view::npos) {
    return true;
  }
  const std::size_t first = part.value.find_first_not_of(kBlanks);
  return first != std::string_view::npos &&
         (part.value[first] == '[' || part.value[first] == '{' || part.value[first] == '"');
}

/// `text` has the parser's padding behind it.
Result<Sample> ReadJson(std::string_view text, const ImageLimits& limits, const TensorSpec& tensor) {
  if (TensorSniffer(text).BringsTensor()) {
    return ReadJsonSample(text, {tensor});
  }
  dom::element root;
  if (const auto error = ThreadParser().parse(text.data(), text.size(), false).get(root)) {
    return BadInput(fmt::format("invalid JSON: {}", simdjson::error_message(error)));
  }
  PictureList pictures(limits);
  if (Status status = pictures.AddJson(root); !status.ok()) return status;
  return std::move(pictures).Take();
}

}  // namespace

Result<Sample> ReadImages(Request request, const ImageLimits& limits, const TensorSpec& tensor) {
  const RequestPart* found = request.Input();
  if (found == nullptr || found->value.empty()) {
    return BadInput(
        "the request brings no picture: send it as the body (curl -T picture.jpg), or as a form field or "
        "part "
        "named data");
  }
  const RequestPart part = *found;
  PictureList pictures(limits);
  if (!LooksLikePicture(part.value)) {
    if (IsJson(part)) {
      if (request.body_is_part) return ReadJson(part.value, limits, tensor);
      const Buffer padded(part.value);  // what follows a part of a form is not the parser's padding
      return ReadJson(padded.view(), limits, tensor);
    }
    if (!part.content_type.starts_with("image/") && LooksLikeBase64(part.value)) {
      if (Status status = pictures.AddBase64(part.value, part.name); !status.ok()) return status;
      return std::move(pictures).Take();
    }
  }
  const std::size_t size = part.value.size();
  const std::ptrdiff_t offset = part.value.data() - request.body.data();
  const std::string place(part.name);
  std::shared_ptr<std::byte> bytes;
  if (offset >= 0 && static_cast<std::size_t>(offset) + size <= request.body.size()) {
    const std::shared_ptr<std::byte> body = std::move(request.body).Release();
    bytes = std::shared_ptr<std::byte>(body, body.get() + offset);
  } else {  // a form's field was decoded to another place
    Buffer copy(part.value);
    bytes = std::move(copy).Release();
  }
  if (Status status = pictures.Add(std::move(bytes), size, place); !status.ok()) return status;
  return std::move(pictures).Take();
}

}  // namespace serve
