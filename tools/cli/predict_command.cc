#include <cstdint>
#include <fstream>
#include <istream>
#include <iterator>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "model_store/archive/archive.h"
#include "tools/cli/server_commands.h"

namespace serve {
namespace {

struct PredictArguments {
  std::string name;
  std::string version;
  std::optional<std::string> data;
  std::optional<std::string> json;
  std::optional<std::string> file;
  std::string content_type;
  std::optional<std::int64_t> timeout_ms;
  std::string priority;
};

struct Body {
  std::string bytes;
  std::string content_type;
};

/// What standard input holds, told by its first bytes.
std::string GuessContentType(const std::string& bytes) {
  const std::size_t first = bytes.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "text/plain";
  if (bytes[first] == '{' || bytes[first] == '[') return "application/json";
  return bytes.find('\0') == std::string::npos ? "text/plain" : "application/octet-stream";
}

Result<Body> ReadBody(const PredictArguments& typed, std::istream& in) {
  if (typed.data) return Body{*typed.data, "text/plain"};
  if (typed.json) return Body{*typed.json, "application/json"};
  if (*typed.file == "-") {
    Body body;
    body.bytes.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    body.content_type = GuessContentType(body.bytes);
    return body;
  }
  std::ifstream stream(*typed.file, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (!stream.is_open() || stream.bad())
    return Status{Code::kNotFound, fmt::format("cannot read {}", *typed.file)};
  return Body{std::move(bytes), ContentTypeOf(*typed.file)};
}

int RunPredict(const PredictArguments& typed, const ApiClient& client) {
  const Result<ModelName> name = ParseModelName(typed.name, typed.version);
  if (!name) return client.Fail(name.error());
  Result<Body> body = ReadBody(typed, client.in());
  if (!body) return client.Fail(body.error());
  HttpHeaders headers = {
      {"Content-Type", typed.content_type.empty() ? body->content_type : typed.content_type}};
  std::chrono::milliseconds timeout{0};
  if (typed.timeout_ms) {
    headers.emplace_back("X-Request-Timeout-Ms", std::to_string(*typed.timeout_ms));
    timeout =
        std::chrono::milliseconds(*typed.timeout_ms) + std::chrono::seconds(5);  // the server answers first
  }
  if (!typed.priority.empty()) headers.emplace_back("X-Request-Priority", typed.priority);
  const Result<HttpAnswer> answer = client.Inference(ApiPath({"predictions", name->model, name->version}),
                                                     std::move(body->bytes), std::move(headers), timeout);
  if (const int code = client.Check(answer); code != kToolDone) return code;
  client.PrintBody(*answer);
  return kToolDone;
}

}  // namespace

void AddPredictCommand(CLI::App& app, const ApiClient& client, int& exit_code) {
  CLI::App* predict = app.add_subcommand("predict", "Send one request to a model and print its answer");
  auto typed = std::make_shared<PredictArguments>();
  predict->add_option("model", typed->name, "MODEL or MODEL:VERSION")->required();
  predict->add_option("--version", typed->version, "The version, instead of MODEL:VERSION");
  CLI::Option_group* input = predict->add_option_group("Input");
  input->add_option("--data", typed->data, "The request as text (text/plain)");
  input->add_option("--json", typed->json, "The request as JSON (application/json)");
  input->add_option("--file", typed->file, "A file; its name tells the content type. -: standard input");
  input->require_option(1);
  predict->add_option("--content-type", typed->content_type,
                      "Content type of the request, instead of the guess");
  predict->add_option("--timeout-ms", typed->timeout_ms, "Deadline that the server keeps")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{86'400'000}));
  predict->add_option("--priority", typed->priority, "high, normal or low")
      ->check(CLI::IsMember({"high", "normal", "low"}));
  predict->footer(
      "Examples:\n  flambeau predict news --data 'Stocks fall as oil prices rise'\n"
      "  flambeau predict mlp:1.0 --json '[1, 2, 3]'\n  cat request.json | flambeau predict mlp --file -");
  predict->callback([typed, &client, &exit_code] { exit_code = RunPredict(*typed, client); });
}

}  // namespace serve
