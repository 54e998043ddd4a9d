#include "handlers/infer/infer_reader.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "handlers/tensor/array_reader.h"
#include "handlers/tensor/json_source.h"

namespace serve {
namespace {

namespace sj = simdjson;
using sj::ondemand::json_type;

static_assert(Buffer::kPadding >= sj::SIMDJSON_PADDING, "simdjson reads that far behind a text");

/// A parser that has grown beyond this (for a large body) is not kept for the next request.
constexpr std::size_t kKeptCapacity = std::size_t{1} << 20;
constexpr std::string_view kBlanks = " \t\r\n";
constexpr std::string_view kForm =
    R"({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]})";

/// How many arrays open in a row where the reader stands.
int LeadingBrackets(std::string_view text) {
  int count = 0;
  for (const char c : text) {
    if (c == '[') {
      if (++count > kMaxNesting) break;
    } else if (kBlanks.find(c) == std::string_view::npos) {
      break;
    }
  }
  return count;
}

/// The elements of a shape; false: more than any text could hold.
bool Elements(const std::vector<std::int64_t>& shape, std::int64_t& elements) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  elements = 1;
  for (const std::int64_t dim : shape) {
    if (dim == 0) {
      elements = 0;
      return true;
    }
  }
  for (const std::int64_t dim : shape) {
    if (dim > kMost / elements) return false;
    elements *= dim;
  }
  return true;
}

/// Texts, each behind its length in four bytes.
Status SetRawTexts(std::string_view bytes, std::int64_t wanted, const std::string& place,
                   std::vector<std::string>& texts) {
  while (!bytes.empty()) {
    std::uint32_t length = 0;
    if (bytes.size() >= sizeof length) std::memcpy(&length, bytes.data(), sizeof length);
    if (bytes.size() < sizeof length || length > bytes.size() - sizeof length) {
      return BadInput(fmt::format(
          "{}: element {} of its bytes is cut off; each is a length of four bytes and as many bytes", place,
          texts.size()));
    }
    texts.emplace_back(bytes.substr(sizeof length, length));
    bytes.remove_prefix(sizeof length + length);
  }
  if (static_cast<std::int64_t>(texts.size()) == wanted) return {};
  return BadInput(
      fmt::format("{}: its bytes hold {} elements, the shape has {}", place, texts.size(), wanted));
}

/// Little-endian numbers. Their memory becomes the tensor's where it is aligned for them.
Status SetRaw(const InferBytes& raw, const std::string& place, InferTensor& tensor) {
  std::int64_t elements = 0;
  if (!Elements(tensor.shape, elements)) {
    return BadInput(fmt::format("{}: the shape {} has more elements than a request can hold", place,
                                ShapeText(tensor.shape)));
  }
  if (!tensor.datatype) return SetRawTexts(raw.bytes, elements, place, tensor.texts);
  const std::size_t unit = DTypeSize(*tensor.datatype);
  const std::size_t wanted = static_cast<std::size_t>(elements) * unit;
  if (raw.bytes.size() != wanted) {
    return BadInput(fmt::format("{}: {} {} takes {} bytes, it has {}", place, DatatypeName(tensor.datatype),
                                ShapeText(tensor.shape), wanted, raw.bytes.size()));
  }
  if (tensor.datatype == DType::kBool &&
      std::any_of(raw.bytes.begin(), raw.bytes.end(), [](char c) { return c != 0 && c != 1; })) {
    return BadInput(fmt::format("{}: a BOOL is the byte 0 or 1", place));
  }
  auto* start = raw.owner.get() + (raw.bytes.data() - reinterpret_cast<const char*>(raw.owner.get()));
  if (wanted > 0 && reinterpret_cast<std::uintptr_t>(start) % unit == 0) {
    tensor.numbers = {*tensor.datatype, tensor.shape, std::shared_ptr<std::byte>(raw.owner, start)};
  } else {
    tensor.numbers = Tensor::Empty(*tensor.datatype, tensor.shape);
    if (wanted > 0) std::memcpy(tensor.numbers.data.get(), start, wanted);
  }
  return {};
}

class InferReader {
 public:
  InferReader(const JsonSource& source, const InferBytes& raw) : source_(source), raw_(raw) {}

  Result<InferRequest> Read() {
    if (Status status = ReadRoot(); !status.ok()) return status;
    if (source_.Offset() != source_.text.size()) {
      return BadInput(fmt::format("invalid JSON at byte {}: text follows the value", source_.Offset()));
    }
    if (raw_used_ != raw_.bytes.size()) {
      return BadInput(
          fmt::format("the body has {} bytes behind its JSON, the inputs' binary_data_size make {}",
                      raw_.bytes.size(), raw_used_));
    }
    return std::move(request_);
  }

 private:
  Status ReadRoot() {
    sj::ondemand::object root;
    json_type type = json_type::null;
    if (source_.document.type().get(type) != sj::SUCCESS || type != json_type::object) {
      return source_.Unexpected(source_.Offset(), "body", fmt::format("an object: {}", kForm));
    }
    if (const auto error = source_.document.get_object().get(root)) return source_.Broken(error);
    bool has_inputs = false;
    for (auto element : root) {
      sj::ondemand::raw_json_string key;
      if (const auto error = element.key().get(key)) return source_.Broken(error);
      sj::ondemand::value value;
      if (const auto error = element.value().get(value)) return source_.Broken(error);
      Status status;
      if (key == "id") {
        status = ReadText(value, "id", request_.ask.id);
      } else if (key == "inputs") {
        if (has_inputs) return BadInput("body: \"inputs\" comes twice");
        has_inputs = true;
        status = ReadInputs(value);
      } else if (key == "outputs") {
        status = ReadOutputs(value);
      } else if (key == "parameters") {
        status = ReadParameters(value);
      }
      if (!status.ok()) return status;
    }
    if (!has_inputs) return BadInput(fmt::format("body: \"inputs\" is missing; send {}", kForm));
    return {};
  }

  /// Calls `read(key, value)` for each member; what it does not know it leaves unread.
  template <class Function>
  Status ReadMembers(sj::ondemand::value value, std::string_view place, const Function& read) {
    sj::ondemand::object object;
    if (value.is_null().value_unsafe()) return {};
    if (value.get_object().get(object) != sj::SUCCESS) {
      return source_.Unexpected(source_.Offset(), place, "an object");
    }
    for (auto member : object) {
      sj::ondemand::raw_json_string key;
      if (const auto error = member.key().get(key)) return source_.Broken(error);
      sj::ondemand::value inner;
      if (const auto error = member.value().get(inner)) return source_.Broken(error);
      if (Status status = read(key, inner); !status.ok()) return status;
    }
    return {};
  }

  Status ReadFlag(sj::ondemand::value value, std::string_view place, bool& flag) {
    const std::size_t start = source_.Offset();
    if (value.get_bool().get(flag) != sj::SUCCESS) return source_.Unexpected(start, place, "true or false");
    return {};
  }

  Status ReadParameters(sj::ondemand::value value) {
    const auto sequence = [this]() -> SequenceAsk& {
      if (!request_.sequence) request_.sequence.emplace();
      return *request_.sequence;
    };
    return ReadMembers(value, "parameters", [&](auto key, sj::ondemand::value inner) -> Status {
      if (key == "binary_data_output")
        return ReadFlag(inner, "parameters.binary_data_output", request_.ask.binary);
      if (key == "sequence_start") return ReadFlag(inner, "parameters.sequence_start", sequence().start);
      if (key == "sequence_end") return ReadFlag(inner, "parameters.sequence_end", sequence().end);
      if (!(key == "sequence_id")) return Status();
      json_type type = json_type::null;
      std::uint64_t number = 0;
      if (inner.type().get(type) == sj::SUCCESS && type == json_type::number &&
          inner.get_uint64().get(number) == sj::SUCCESS) {
        if (number != 0) sequence().id = fmt::to_string(number);  // Triton's clients send 0 for none
        return Status();
      }
      Status status = ReadText(inner, "parameters.sequence_id", sequence().id);
      if (status.ok() && !IsSequenceId(sequence().id))
        return BadInput(fmt::format("parameters.sequence_id: {}", kSequenceIdForm));
      return status;
    });
  }

  Status ReadText(sj::ondemand::value value, std::string_view place, std::string& text) {
    const std::size_t start = source_.Offset();
    std::string_view view;
    if (value.get_string().get(view) != sj::SUCCESS) return source_.Unexpected(start, place, "a string");
    text = view;
    return {};
  }

  Status ReadInputs(sj::ondemand::value value) {
    sj::ondemand::array array;
    if (value.get_array().get(array) != sj::SUCCESS) {
      return source_.Unexpected(source_.Offset(), "inputs", "an array of tensors");
    }
    for (auto element : array) {
      sj::ondemand::value item;
      if (const auto error = std::move(element).get(item)) return source_.Broken(error);
      const std::size_t index = request_.inputs.size();
      if (index == kMaxInferInputs) {
        return BadInput(fmt::format("inputs: more than {} tensors", kMaxInferInputs));
      }
      Result<InferTensor> tensor = ReadInput(item, fmt::format("inputs[{}]", index));
      if (!tensor) return tensor.error();
      request_.inputs.push_back(std::move(*tensor));
    }
    if (request_.inputs.empty())
      return BadInput("inputs: expected at least one tensor, found an empty array");
    return {};
  }

  Status ReadOutputs(sj::ondemand::value value) {
    sj::ondemand::array array;
    if (value.get_array().get(array) != sj::SUCCESS) {
      return source_.Unexpected(source_.Offset(), "outputs", "an array of {\"name\": ...}");
    }
    for (auto element : array) {
      sj::ondemand::value item;
      if (const auto error = std::move(element).get(item)) return source_.Broken(error);
      const std::string place = fmt::format("outputs[{}]", request_.ask.outputs.size());
      if (request_.ask.outputs.size() == kMaxInferInputs) {
        return BadInput(fmt::format("outputs: more than {} tensors", kMaxInferInputs));
      }
      sj::ondemand::object object;
      if (item.get_object().get(object) != sj::SUCCESS) {
        return source_.Unexpected(source_.Offset(), place, "an object with a name");
      }
      InferOutputAsk output;
      bool named = false;
      const auto read_parameter = [&](auto key, sj::ondemand::value inner) -> Status {
        if (!(key == "binary_data")) return Status();
        bool binary = false;
        Status status = ReadFlag(inner, place + ".parameters.binary_data", binary);
        output.binary = binary;
        return status;
      };
      for (auto member : object) {
        sj::ondemand::raw_json_string key;
        if (const auto error = member.key().get(key)) return source_.Broken(error);
        sj::ondemand::value inner;
        if (const auto error = member.value().get(inner)) return source_.Broken(error);
        Status status;
        if (!named && key == "name") {
          named = true;
          status = ReadText(inner, place + ".name", output.name);
        } else if (key == "parameters") {
          status = ReadMembers(inner, place + ".parameters", read_parameter);
        }
        if (!status.ok()) return status;
      }
      if (!named) return BadInput(fmt::format("{}: \"name\" is missing", place));
      request_.ask.outputs.push_back(std::move(output));
    }
    return {};
  }

  /// The members in their order, but `data` last: its meaning depends on the others.
  Result<InferTensor> ReadInput(sj::ondemand::value value, const std::string& place) {
    sj::ondemand::object object;
    if (value.get_object().get(object) != sj::SUCCESS) {
      return source_.Unexpected(source_.Offset(), place, "an object with name, shape, datatype and data");
    }
    InferTensor tensor;
    std::string datatype;
    bool has_name = false;
    bool has_shape = false;
    bool has_datatype = false;
    bool has_data = false;
    std::optional<std::int64_t> raw_size;
    const auto read_parameter = [&](auto key, sj::ondemand::value inner) -> Status {
      if (!(key == "binary_data_size")) return Status();
      const std::size_t start = source_.Offset();
      std::int64_t size = 0;
      if (inner.get_int64().get(size) != sj::SUCCESS || size < 0) {
        return source_.Unexpected(start, place + ".parameters.binary_data_size", "a number of bytes");
      }
      raw_size = size;
      return Status();
    };
    for (auto member : object) {
      sj::ondemand::raw_json_string key;
      if (const auto error = member.key().get(key)) return source_.Broken(error);
      sj::ondemand::value inner;
      if (const auto error = member.value().get(inner)) return source_.Broken(error);
      Status status;
      // Strings are read once only: the parser keeps each of them.
      if (key == "name") {
        if (has_name) return BadInput(fmt::format("{}: \"name\" comes twice", place));
        has_name = true;
        status = ReadText(inner, place + ".name", tensor.name);
      } else if (key == "datatype") {
        if (has_datatype) return BadInput(fmt::format("{}: \"datatype\" comes twice", place));
        has_datatype = true;
        status = ReadText(inner, place + ".datatype", datatype);
      } else if (key == "shape") {
        if (has_shape) return BadInput(fmt::format("{}: \"shape\" comes twice", place));
        has_shape = true;
        status = ReadShape(inner, place + ".shape", tensor.shape);
      } else if (key == "data") {
        if (has_data) return BadInput(fmt::format("{}: \"data\" comes twice", place));
        has_data = true;
      } else if (key == "parameters") {
        status = ReadMembers(inner, place + ".parameters", read_parameter);
      }
      if (!status.ok()) return status;
    }
    if (raw_size && has_data) {
      return BadInput(fmt::format("{}: it has both \"data\" and \"binary_data_size\"; send one", place));
    }
    for (const auto& [has, name] :
         {std::pair(has_name, "name"), std::pair(has_shape, "shape"), std::pair(has_datatype, "datatype"),
          std::pair(has_data || raw_size, "data")}) {
      if (has) continue;
      return BadInput(
          fmt::format("{}: \"{}\" is missing; a tensor has name, shape, datatype and data", place, name));
    }
    if (!ParseDatatype(datatype, tensor.datatype)) {
      std::string known;
      for (const auto& row : kDatatypes) known += fmt::format("{}{}", known.empty() ? "" : ", ", row.first);
      return BadInput(
          fmt::format("{}.datatype: `{}` is not served; known are {}", place, Excerpt(datatype), known));
    }
    if (raw_size) {
      if (Status status = TakeRaw(*raw_size, place, tensor); !status.ok()) return status;
      return tensor;
    }
    sj::ondemand::value data;
    if (const auto error = object.reset().error()) return source_.Broken(error);
    if (const auto error = object.find_field_unordered("data").get(data)) return source_.Broken(error);
    if (Status status = ReadData(data, place + ".data", tensor); !status.ok()) return status;
    return tensor;
  }

  /// The next `size` bytes behind the JSON are the tensor's.
  Status TakeRaw(std::int64_t size, const std::string& place, InferTensor& tensor) {
    const std::string_view left = raw_.bytes.substr(raw_used_);
    if (static_cast<std::uint64_t>(size) > left.size()) {
      return BadInput(fmt::format("{}: binary_data_size is {}, {} bytes are left behind the JSON", place,
                                  size, left.size()));
    }
    const std::string_view bytes = left.substr(0, static_cast<std::size_t>(size));
    raw_used_ += bytes.size();
    return SetRaw({bytes, raw_.owner}, place, tensor);
  }

  Status ReadShape(sj::ondemand::value value, const std::string& place, std::vector<std::int64_t>& shape) {
    sj::ondemand::array array;
    if (value.get_array().get(array) != sj::SUCCESS) {
      return source_.Unexpected(source_.Offset(), place, "an array of integers");
    }
    for (auto element : array) {
      const std::size_t start = source_.Offset();
      std::int64_t dim = 0;
      if (element.get_int64().get(dim) != sj::SUCCESS) {
        return source_.Unexpected(start, fmt::format("{}[{}]", place, shape.size()), "an integer");
      }
      if (dim < 0) {
        return BadInput(fmt::format("{}[{}]: {} is no size; it must be 0 or more", place, shape.size(), dim));
      }
      if (shape.size() == static_cast<std::size_t>(kMaxNesting)) {
        return BadInput(fmt::format("{}: more than {} dimensions", place, kMaxNesting));
      }
      shape.push_back(dim);
    }
    if (shape.empty())
      return BadInput(fmt::format("{}: expected the batch as the first dimension, found []", place));
    return {};
  }

  Status ReadData(sj::ondemand::value value, const std::string& place, InferTensor& tensor) {
    std::int64_t wanted = 0;
    if (!Elements(tensor.shape, wanted)) {
      return BadInput(fmt::format("{}: the shape {} has more elements than a request can hold", place,
                                  ShapeText(tensor.shape)));
    }
    const std::size_t start = source_.Offset();
    const int depth = LeadingBrackets(source_.text.substr(start));
    if (depth == 0) return source_.Unexpected(start, place, "an array");
    if (depth > kMaxNesting) {
      return BadInput(fmt::format("{}: arrays are nested deeper than {}", place, kMaxNesting));
    }
    std::int64_t found = 0;
    if (!tensor.datatype) {
      sj::ondemand::array array;
      if (const auto error = value.get_array().get(array)) return source_.Broken(error);
      if (Status status = ReadTexts(array, place, 1, tensor.texts); !status.ok()) return status;
      found = static_cast<std::int64_t>(tensor.texts.size());
    } else if (wanted == 0) {
      tensor.numbers = Tensor::Empty(*tensor.datatype, tensor.shape);
      const std::size_t first = source_.text.find_first_not_of("[] \t\r\n", start);
      found =
          first == std::string_view::npos || source_.text[first] == ',' || source_.text[first] == '}' ? 0 : 1;
      if (found > 0)
        return BadInput(fmt::format("{}: the shape {} has no elements, but there are some", place,
                                    ShapeText(tensor.shape)));
    } else {
      // Rows of whatever shape the nesting gives; what counts is how many numbers there are.
      const TensorSpec nested{tensor.name, *tensor.datatype,
                              std::vector<std::int64_t>(static_cast<std::size_t>(depth - 1), -1)};
      ArrayReader reader(&nested, source_);
      if (Status status = reader.ReadRows(value, ArrayPlace{-1, place}); !status.ok()) return status;
      tensor.numbers = std::move(reader).Finish();
      found = tensor.numbers.elements();
      tensor.numbers.shape = tensor.shape;
    }
    if (found == wanted) return {};
    return BadInput(fmt::format("{}: the shape {} has {} elements, found {}", place, ShapeText(tensor.shape),
                                wanted, found));
  }

  Status ReadTexts(sj::ondemand::array array, const std::string& place, int depth,
                   std::vector<std::string>& texts) {
    if (depth > kMaxNesting) {
      return BadInput(fmt::format("{}: arrays are nested deeper than {}", place, kMaxNesting));
    }
    for (auto element : array) {
      sj::ondemand::value item;
      if (const auto error = std::move(element).get(item)) return source_.Broken(error);
      json_type type = json_type::null;
      sj::ondemand::array inner;
      if (item.type().get(type) == sj::SUCCESS && type == json_type::array) {
        if (const auto error = item.get_array().get(inner)) return source_.Broken(error);
        if (Status status = ReadTexts(inner, place, depth + 1, texts); !status.ok()) return status;
        continue;
      }
      std::string text;
      const std::string here = fmt::format("{}[{}]", place, texts.size());
      if (Status status = ReadText(item, here, text); !status.ok()) return status;
      texts.push_back(std::move(text));
    }
    return {};
  }

  const JsonSource& source_;
  const InferBytes& raw_;
  std::size_t raw_used_ = 0;
  InferRequest request_;
};

std::string Names(const std::vector<InferSpec>& specs) {
  std::string names;
  for (const InferSpec& spec : specs) {
    if (!names.empty()) names += ", ";
    names += Excerpt(spec.name);
  }
  return names;
}

bool Fits(const std::vector<std::int64_t>& declared, const std::vector<std::int64_t>& shape) {
  return declared.size() == shape.size() &&
         std::equal(declared.begin(), declared.end(), shape.begin(),
                    [](std::int64_t wanted, std::int64_t got) { return wanted < 0 || wanted == got; });
}

Status CheckAgainst(const InferSpec& spec, const InferTensor& tensor) {
  if (tensor.datatype != spec.datatype) {
    return BadInput(fmt::format("input \"{}\": expected the datatype {}, got {}", Excerpt(spec.name),
                                DatatypeName(spec.datatype), DatatypeName(tensor.datatype)));
  }
  if (!Fits(spec.shape, tensor.shape)) {
    return BadInput(fmt::format("input \"{}\": expected the shape {} (-1: any size), got {}",
                                Excerpt(spec.name), ShapeText(spec.shape), ShapeText(tensor.shape)));
  }
  return {};
}

}  // namespace

Result<InferRequest> ReadInferRequest(std::string_view text, const InferBytes& raw) {
  if (text.find_first_not_of(kBlanks) == std::string_view::npos) {
    return BadInput(fmt::format("the body is empty; send {}", kForm));
  }
  thread_local sj::ondemand::parser parser;
  Result<InferRequest> request = [&]() -> Result<InferRequest> {
    sj::ondemand::document document;
    const sj::padded_string_view padded(text.data(), text.size(), text.size() + sj::SIMDJSON_PADDING);
    if (const auto error = parser.iterate(padded).get(document)) {
      return BadInput(fmt::format("invalid JSON: {}", sj::error_message(error)));
    }
    const JsonSource source{text, document};
    return InferReader(source, raw).Read();
  }();
  if (parser.capacity() > kKeptCapacity) parser = sj::ondemand::parser();
  return request;
}

Result<InferRequest> ReadRawRequest(const std::vector<InferSpec>& declared, const InferBytes& raw) {
  if (declared.size() != 1 || std::count(declared[0].shape.begin() + 1, declared[0].shape.end(), -1) > 1) {
    return BadInput(
        "a body of nothing but a tensor's bytes (Inference-Header-Content-Length: 0) needs a model with one "
        "declared input, of which one dimension besides the batch may be of any size; send JSON before them");
  }
  InferTensor tensor;
  tensor.name = declared[0].name;
  tensor.datatype = declared[0].datatype;
  tensor.shape = declared[0].shape;
  tensor.shape[0] = 1;
  InferRequest request;
  request.ask.binary = true;
  if (!tensor.datatype) {
    tensor.texts.emplace_back(raw.bytes);
  } else {
    std::size_t unit = DTypeSize(*tensor.datatype);
    for (const std::int64_t dim : tensor.shape) unit *= dim < 0 ? 1 : static_cast<std::size_t>(dim);
    for (std::int64_t& dim : tensor.shape) {
      if (dim < 0) dim = static_cast<std::int64_t>(raw.bytes.size() / std::max<std::size_t>(unit, 1));
    }
    if (Status status = SetRaw(raw, fmt::format("input \"{}\"", tensor.name), tensor); !status.ok())
      return status;
  }
  request.inputs.push_back(std::move(tensor));
  return request;
}

Status CheckInferInputs(const std::vector<InferSpec>& declared, std::vector<InferTensor>& inputs) {
  if (!declared.empty()) {
    std::vector<InferTensor> ordered(declared.size());
    std::vector<bool> seen(declared.size());
    for (InferTensor& tensor : inputs) {
      const auto found = std::find_if(declared.begin(), declared.end(),
                                      [&](const InferSpec& spec) { return spec.name == tensor.name; });
      if (found == declared.end()) {
        return BadInput(fmt::format("inputs: unknown name \"{}\"; the inputs are {}", Excerpt(tensor.name),
                                    Names(declared)));
      }
      const auto place = static_cast<std::size_t>(found - declared.begin());
      if (seen[place]) return BadInput(fmt::format("inputs: \"{}\" comes twice", Excerpt(tensor.name)));
      seen[place] = true;
      if (Status status = CheckAgainst(*found, tensor); !status.ok()) return status;
      ordered[place] = std::move(tensor);
    }
    for (std::size_t i = 0; i < declared.size(); ++i) {
      if (seen[i]) continue;
      return BadInput(fmt::format("inputs: \"{}\" is missing; the inputs are {}", Excerpt(declared[i].name),
                                  Names(declared)));
    }
    inputs = std::move(ordered);
  }
  for (const InferTensor& tensor : inputs) {
    if (tensor.shape.front() == 0) {
      return BadInput(fmt::format("input \"{}\": the shape {} has no rows", Excerpt(tensor.name),
                                  ShapeText(tensor.shape)));
    }
    if (tensor.shape.front() != inputs.front().shape.front()) {
      return BadInput(fmt::format("input \"{}\" brings {} rows, input \"{}\" {}; all must bring the same",
                                  Excerpt(inputs.front().name), inputs.front().shape.front(),
                                  Excerpt(tensor.name), tensor.shape.front()));
    }
  }
  return {};
}

Status CheckInferOutputs(const std::vector<InferSpec>& declared, const std::vector<InferOutputAsk>& asked) {
  if (declared.empty()) return {};
  for (const auto& [name, binary] : asked) {
    const bool known = std::any_of(declared.begin(), declared.end(),
                                   [&, &name = name](const InferSpec& spec) { return spec.name == name; });
    if (!known) {
      return BadInput(
          fmt::format("outputs: unknown name \"{}\"; the outputs are {}", Excerpt(name), Names(declared)));
    }
  }
  return {};
}

}  // namespace serve
