#include "tests/wire/wire_test.h"

#include <algorithm>
#include <utility>

namespace serve::wire {

testing::AssertionResult IsError(const HttpResponse& response, int status, std::string_view type,
                                 std::string_view text) {
  const auto wrong = [&](const std::string& what) {
    return testing::AssertionFailure() << what << ": " << response.status << " " << response.body;
  };
  const nlohmann::json json = response.Json();
  if (response.status != status) return wrong("the status is not " + std::to_string(status));
  if (response.Header("content-type") != "application/json") return wrong("the type of the body is not JSON");
  if (!json.is_object() || json.value("code", 0) != status)
    return wrong("the body is no error with this code");
  if (response.Text("type") != type) return wrong("the type is not " + std::string(type));
  if (response.Text("message").find(text) == std::string::npos) {
    return wrong("the message does not say `" + std::string(text) + "`");
  }
  return testing::AssertionSuccess();
}

testing::AssertionResult IsStatus(const HttpResponse& response, int status, std::string_view text) {
  if (response.status == status && response.Text("status") == text) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "not " << status << " `" << text << "` but " << response.status << " "
                                     << response.body;
}

testing::AssertionResult IsJson(const HttpResponse& response, std::string_view json) {
  if (response.status == 200 && response.Json() == nlohmann::json::parse(json))
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << "not " << json << " but " << response.status << " " << response.body;
}

HttpResponse Register(const ServerProcess& server, const std::string& query) {
  return Request(server.management(), "POST", "/models?" + query);
}

void MustRegister(const ServerProcess& server, const std::string& file, const std::string& name,
                  const std::string& more) {
  server.AddModel(file);
  const HttpResponse response = Register(server, "url=" + file + "&model_name=" + name +
                                                     "&initial_workers=1" + (more.empty() ? "" : "&" + more));
  ASSERT_EQ(response.status, 200) << response.body;
}

std::vector<std::string> ModelNames(const ServerProcess& server) {
  std::vector<std::string> names;
  const nlohmann::json json = Get(server.management(), "/models?limit=100").Json();
  for (const nlohmann::json& model : json.at("models")) names.push_back(model.at("modelName"));
  return names;
}

nlohmann::json DescribeOne(const ServerProcess& server, const std::string& name) {
  const HttpResponse response = Get(server.management(), "/models/" + name);
  const nlohmann::json json = response.Json();
  if (response.status != 200 || !json.is_array() || json.size() != 1) {
    throw std::runtime_error("no description of one version: " + response.body);
  }
  return json[0];
}

std::filesystem::path Pack(const ServerProcess& server, const std::string& serialized,
                           CreateOptions options) {
  if (!serialized.empty()) options.serialized_file = ModelFile(serialized);
  options.export_path = server.store();
  if (options.version.empty()) options.version = "1.0";
  if (options.handler.empty()) options.handler = "tensor";
  const Result<CreatedArchive> created = CreateArchive(options);
  if (!created) throw std::runtime_error("cannot pack: " + created.error().message);
  return created->path;
}

TensorSpec Spec(const std::string& text) {
  const Result<TensorSpec> spec = ParseTensorSpec(text);
  if (!spec) throw std::runtime_error(spec.error().message);
  return *spec;
}

std::string Numbers(std::size_t count, const std::string& value) {
  std::string json = "[";
  for (std::size_t i = 0; i < count; ++i) json += (i == 0 ? "" : ",") + value;
  return json + "]";
}

Pending::Pending(int port, std::string_view target, std::string_view json, const Headers& headers)
    : connection_(port) {
  Headers all = headers;
  all.emplace_back("Content-Type", "application/json");
  connection_.Send(RequestText("POST", target, all, json));
}

}  // namespace serve::wire
