#include "handlers/text/generate_request.h"

#include <string_view>

#include <fmt/format.h>
#include <simdjson.h>

#include "handlers/tensor/json_source.h"  // BadInput

namespace serve {
namespace {

namespace dom = simdjson::dom;

constexpr std::size_t kKeptCapacity = std::size_t{1} << 20;

dom::parser& ThreadParser() {
  thread_local dom::parser parser;
  if (parser.capacity() > kKeptCapacity) parser = dom::parser();
  return parser;
}

bool IsJson(const Request& request, const RequestPart& part) {
  const std::string_view type = part.content_type.substr(0, part.content_type.find(';'));
  if (type.ends_with("/json") || type.ends_with("+json")) return true;
  if (!request.body_is_part || !type.empty()) return false;
  const std::size_t first = part.value.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && part.value[first] == '{';
}

/// Reads one member after the other; the first that cannot be used is kept as the error.
class Members {
 public:
  explicit Members(dom::object object) : object_(object) {}

  void Read(std::string_view key, std::int64_t low, std::int64_t high, std::int64_t& value) {
    dom::element found;
    if (!Find(key, found)) return;
    std::int64_t read = 0;
    if (found.get(read) != simdjson::SUCCESS || read < low || read > high) {
      status_ = BadInput(fmt::format("{}: expected a whole number from {} to {}", key, low, high));
      return;
    }
    value = read;
  }
  void Read(std::string_view key, double low, double high, double& value) {
    dom::element found;
    if (!Find(key, found)) return;
    double read = 0;
    if (found.get(read) != simdjson::SUCCESS || !(read >= low && read <= high)) {
      status_ = BadInput(fmt::format("{}: expected a number from {} to {}", key, low, high));
      return;
    }
    value = read;
  }
  void Read(std::string_view key, bool& value) {
    dom::element found;
    if (Find(key, found) && found.get(value) != simdjson::SUCCESS) {
      status_ = BadInput(fmt::format("{}: expected true or false", key));
    }
  }
  void Read(std::string_view key, std::string& value) {
    dom::element found;
    std::string_view read;
    if (!Find(key, found)) return;
    if (found.get(read) != simdjson::SUCCESS) {
      status_ = BadInput(fmt::format("{}: expected a text", key));
    } else {
      value = read;
    }
  }
  void Read(std::string_view key, std::vector<std::int64_t>& value) {
    dom::element found;
    if (!Find(key, found)) return;
    dom::array array;
    if (found.get(array) != simdjson::SUCCESS || array.size() == 0) {
      status_ = BadInput(fmt::format("{}: expected a list of token ids, at least one", key));
      return;
    }
    for (const dom::element element : array) {
      std::int64_t id = 0;
      if (element.get(id) != simdjson::SUCCESS || id < 0) {
        status_ =
            BadInput(fmt::format("{}[{}]: expected a token id, a whole number from 0", key, value.size()));
        return;
      }
      value.push_back(id);
    }
  }
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  bool Find(std::string_view key, dom::element& found) const {
    return status_.ok() && object_[key].get(found) == simdjson::SUCCESS && !found.is_null();
  }

  dom::object object_;
  Status status_;
};

Status ReadObject(dom::object object, std::int64_t most_new_tokens, GenerateRequest& generate) {
  Members members(object);
  for (const std::string_view key : {"data", "text", "prompt"}) members.Read(key, generate.prompt);
  members.Read("input_ids", generate.input_ids);
  GenerateOptions& options = generate.options;
  members.Read("max_new_tokens", 1, most_new_tokens, options.max_new_tokens);
  members.Read("temperature", 0.0, 100.0, options.choice.temperature);
  members.Read("top_k", 0, std::int64_t{1} << 31, options.choice.top_k);
  members.Read("eos_id", -1, std::int64_t{1} << 31, options.eos_id);
  std::int64_t seed = -1;
  members.Read("seed", 0, INT64_MAX, seed);
  if (seed >= 0) options.seed = static_cast<std::uint64_t>(seed);
  members.Read("stream", options.stream);
  return members.status();
}

}  // namespace

Result<GenerateRequest> ReadGenerateRequest(const Request& request, const GenerateOptions& defaults,
                                            std::int64_t most_new_tokens) {
  GenerateRequest generate;
  generate.options = defaults;
  const RequestPart* part = request.Input();
  if (part == nullptr || part->value.empty()) {
    return BadInput(
        "the request brings no prompt: send {\"prompt\": \"...\"} or {\"input_ids\": [...]} as "
        "application/json, or the prompt as text/plain");
  }
  if (!IsJson(request, *part)) {
    generate.prompt = part->value;
    return generate;
  }
  dom::element root;
  if (const auto error =
          ThreadParser().parse(part->value.data(), part->value.size(), !request.body_is_part).get(root)) {
    return BadInput(fmt::format("invalid JSON: {}", simdjson::error_message(error)));
  }
  dom::object object;
  if (root.get(object) != simdjson::SUCCESS) {
    return BadInput("expected an object: {\"prompt\": \"...\"} or {\"input_ids\": [...]}");
  }
  dom::array instances;
  if (object["instances"].get(instances) == simdjson::SUCCESS) {
    if (instances.size() != 1 || instances.at(0).get(object) != simdjson::SUCCESS) {
      return BadInput(
          "instances: expected one object with a prompt or input_ids; send others in requests of "
          "their own, they share batches");
    }
    generate.instances = true;
  }
  if (Status status = ReadObject(object, most_new_tokens, generate); !status.ok()) return status;
  if (generate.prompt.empty() && generate.input_ids.empty()) {
    return BadInput("expected a member prompt (a text) or input_ids (token ids)");
  }
  return generate;
}

}  // namespace serve
