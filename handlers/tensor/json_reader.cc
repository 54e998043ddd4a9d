#include "handlers/tensor/json_reader.h"

#include <algorithm>

#include <fmt/format.h>

#include "handlers/tensor/array_reader.h"
#include "handlers/tensor/json_source.h"
#include "handlers/tensor/plain_numbers.h"

namespace serve {
namespace {

namespace sj = simdjson;
using sj::ondemand::json_type;

static_assert(Buffer::kPadding >= sj::SIMDJSON_PADDING, "simdjson reads that far behind a text");

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr std::string_view kBlanks = " \t\r\n";
/// A parser that has grown beyond this (for a large body) is not kept for the next request.
constexpr std::size_t kKeptCapacity = std::size_t{1} << 20;

std::string_view WithoutMark(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  return text;
}

/// One parse: the root and what names its parts; numbers are ArrayReader's.
class JsonReader {
 public:
  JsonReader(const JsonSource& source, const std::vector<TensorSpec>& specs)
      : source_(source), specs_(specs) {
    readers_.reserve(std::max<std::size_t>(specs.size(), 1));
    if (specs.empty()) readers_.emplace_back(nullptr, source);
    for (const TensorSpec& spec : specs) readers_.emplace_back(&spec, source);
    seen_.resize(readers_.size());
  }

  Result<Sample> Read();

 private:
  Status ReadRoot();
  Status ReadObject();
  Status ReadInstances(sj::ondemand::value value);
  Status ReadInstanceObject(sj::ondemand::object object, std::int64_t instance);
  Result<ArrayReader*> ReaderFor(std::string_view key, std::string_view place);
  /// The declared name of its input; empty when none is declared.
  [[nodiscard]] std::string_view NameOf(const ArrayReader& reader) const {
    if (specs_.empty()) return {};
    return specs_[static_cast<std::size_t>(&reader - readers_.data())].name;
  }
  Status CheckAllSeen(std::string_view place) const;
  Status CheckSameRows() const;
  [[nodiscard]] std::string Names() const;

  const JsonSource& source_;
  const std::vector<TensorSpec>& specs_;
  std::vector<ArrayReader> readers_;
  std::vector<bool> seen_;  // which inputs the current object named
  bool instances_ = false;
};

Result<Sample> JsonReader::Read() {
  if (Status status = ReadRoot(); !status.ok()) return status;
  if (source_.Offset() != source_.text.size()) {
    return BadInput(fmt::format("invalid JSON at byte {}: text follows the value", source_.Offset()));
  }
  Sample sample;
  sample.rows = readers_.front().rows();
  sample.hint.instances = instances_;
  sample.hint.single_row = !instances_ && readers_.front().single_row();
  sample.inputs.reserve(readers_.size());
  for (ArrayReader& reader : readers_) sample.inputs.push_back(std::move(reader).Finish());
  return sample;
}

Status JsonReader::ReadRoot() {
  json_type type = json_type::null;
  const bool is_value = source_.document.type().get(type) == sj::SUCCESS;
  if (is_value && type == json_type::object) return ReadObject();
  if (readers_.size() > 1) {
    return source_.Unexpected(
        source_.Offset(), "body",
        fmt::format("an object with the inputs {}, or {{\"instances\": [...]}} with a list of such objects",
                    Names()));
  }
  if (!is_value || type != json_type::array) {
    const std::size_t start = source_.Offset();
    const std::size_t rest = source_.text.find_first_not_of(kBlanks, start + source_.TokenAt(start).size());
    if (is_value && type != json_type::string && rest != std::string_view::npos) {
      return BadInput(fmt::format("invalid JSON at byte {}: text follows the value", rest));
    }
  }
  return readers_.front().ReadRows(source_.document);
}

Status JsonReader::ReadObject() {
  sj::ondemand::object object;
  if (const auto error = source_.document.get_object().get(object)) return source_.Broken(error);
  for (auto element : object) {
    std::string_view key;
    if (const auto error = element.unescaped_key().get(key)) return source_.Broken(error);
    sj::ondemand::value value;
    if (const auto error = element.value().get(value)) return source_.Broken(error);
    if (instances_) {
      return BadInput(
          fmt::format("body: \"{}\" next to \"instances\"; send \"instances\" alone", Excerpt(key)));
    }
    if (key == "instances" && std::find(seen_.begin(), seen_.end(), true) == seen_.end()) {
      instances_ = true;
      if (Status status = ReadInstances(value); !status.ok()) return status;
      continue;
    }
    const Result<ArrayReader*> reader = ReaderFor(key, "body");
    if (!reader) return reader.error();
    const ArrayPlace place{-1, NameOf(**reader)};
    if (Status status = (*reader)->ReadRows(value, place); !status.ok()) return status;
  }
  if (instances_) return {};
  if (Status status = CheckAllSeen("body"); !status.ok()) return status;
  return CheckSameRows();
}

Status JsonReader::ReadInstances(sj::ondemand::value value) {
  sj::ondemand::array rows;
  if (value.get_array().get(rows) != sj::SUCCESS) {
    return source_.Unexpected(source_.Offset(), "instances", "an array of rows");
  }
  std::int64_t index = 0;
  for (auto element : rows) {
    sj::ondemand::value row;
    if (const auto error = std::move(element).get(row)) return source_.Broken(error);
    json_type type = json_type::null;
    const bool is_object = row.type().get(type) == sj::SUCCESS && type == json_type::object;
    Status status;
    if (is_object) {
      sj::ondemand::object object;
      if (const auto error = row.get_object().get(object)) return source_.Broken(error);
      status = ReadInstanceObject(object, index);
    } else if (readers_.size() > 1) {
      status = source_.Unexpected(source_.Offset(), fmt::format("instances[{}]", index),
                                  fmt::format("an object with the inputs {}", Names()));
    } else {
      status = readers_.front().ReadRow(row, ArrayPlace{index, {}});
    }
    if (!status.ok()) return status;
    ++index;
  }
  if (index == 0) return BadInput("instances: expected at least one row, found an empty array");
  return {};
}

Status JsonReader::ReadInstanceObject(sj::ondemand::object object, std::int64_t instance) {
  seen_.assign(seen_.size(), false);
  const auto place = [&] { return fmt::format("instances[{}]", instance); };
  for (auto element : object) {
    std::string_view key;
    if (const auto error = element.unescaped_key().get(key)) return source_.Broken(error);
    sj::ondemand::value value;
    if (const auto error = element.value().get(value)) return source_.Broken(error);
    const Result<ArrayReader*> reader = ReaderFor(key, place());
    if (!reader) return reader.error();
    const ArrayPlace inside{instance, NameOf(**reader)};
    if (Status status = (*reader)->ReadRow(value, inside); !status.ok()) return status;
  }
  return CheckAllSeen(place());
}

/// The reader of the input that `key` names, marked as seen.
Result<ArrayReader*> JsonReader::ReaderFor(std::string_view key, std::string_view place) {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (specs_[i].name != key) continue;
    if (seen_[i]) return BadInput(fmt::format("{}: input \"{}\" comes twice", place, Excerpt(key)));
    seen_[i] = true;
    return &readers_[i];
  }
  // What TorchServe's clients call the only input, mlflow-torchserve among them.
  if (readers_.size() == 1 && (key == "data" || key == "body")) {
    if (seen_[0]) return BadInput(fmt::format("{}: the input comes twice", place));
    seen_[0] = true;
    return &readers_[0];
  }
  if (specs_.empty()) {
    return BadInput(fmt::format(
        "{}: unknown name \"{}\"; the model declares no inputs: send a nested array of numbers or "
        "{{\"instances\": [...]}}",
        place, Excerpt(key)));
  }
  return BadInput(fmt::format("{}: unknown name \"{}\"; the inputs are {}", place, Excerpt(key), Names()));
}

Status JsonReader::CheckAllSeen(std::string_view place) const {
  for (std::size_t i = 0; i < seen_.size(); ++i) {
    if (seen_[i]) continue;
    if (specs_.empty()) {
      return BadInput(fmt::format("{}: expected a nested array of numbers, found an empty object", place));
    }
    return BadInput(fmt::format("{}: input \"{}\" is missing; the inputs are {}", place,
                                Excerpt(specs_[i].name), Names()));
  }
  return {};
}

Status JsonReader::CheckSameRows() const {
  for (std::size_t i = 1; i < readers_.size(); ++i) {
    if (readers_[i].rows() != readers_[0].rows() || readers_[i].single_row() != readers_[0].single_row()) {
      const auto count = [](const ArrayReader& reader) {
        return reader.single_row() ? std::string("one row, not in a list")
                                   : fmt::format("a list of {} rows", reader.rows());
      };
      return BadInput(fmt::format("body: input \"{}\" brings {}, input \"{}\" {}; all must bring the same",
                                  Excerpt(specs_[0].name), count(readers_[0]), Excerpt(specs_[i].name),
                                  count(readers_[i])));
    }
  }
  return {};
}

std::string JsonReader::Names() const {
  std::string names;
  for (const TensorSpec& spec : specs_) {
    if (!names.empty()) names += ", ";
    names += Excerpt(spec.name);
  }
  return names;
}

}  // namespace

Result<Sample> ReadJsonSample(std::string_view text, const std::vector<TensorSpec>& specs) {
  text = WithoutMark(text);
  if (text.find_first_not_of(kBlanks) == std::string_view::npos) {
    return BadInput("the body is empty; send a nested array of numbers or {\"instances\": [...]}");
  }
  if (specs.size() == 1) {
    if (std::optional<Sample> sample = ReadPlainNumbers(text, specs.front())) return *std::move(sample);
  }
  thread_local sj::ondemand::parser parser;
  Result<Sample> sample = [&]() -> Result<Sample> {
    sj::ondemand::document document;
    const sj::padded_string_view padded(text.data(), text.size(), text.size() + sj::SIMDJSON_PADDING);
    if (const auto error = parser.iterate(padded).get(document)) {
      return BadInput(fmt::format("invalid JSON: {}", sj::error_message(error)));
    }
    const JsonSource source{text, document};
    return JsonReader(source, specs).Read();
  }();
  if (parser.capacity() > kKeptCapacity) parser = sj::ondemand::parser();
  return sample;
}

bool LooksLikeText(std::string_view body) {
  const std::string_view start = WithoutMark(body).substr(0, 32);
  return std::all_of(start.begin(), start.end(), [](char c) {
    return (c >= 0x20 && c < 0x7f) || kBlanks.find(c) != std::string_view::npos;
  });
}

}  // namespace serve
