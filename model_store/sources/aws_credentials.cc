#include "model_store/sources/aws_credentials.h"

#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model_store/http_client/http_client.h"

namespace serve {
namespace {

using Section = std::map<std::string, std::string, std::less<>>;
using Json = nlohmann::json;

std::string Trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1));
}

std::string FileFrom(const char* variable, std::string_view in_home) {
  if (std::string file = EnvironmentValue(variable); !file.empty()) return file;
  return fmt::format("{}/{}", EnvironmentValue("HOME"), in_home);
}

std::string Profile() {
  const std::string profile = EnvironmentValue("AWS_PROFILE");
  return profile.empty() ? "default" : profile;
}

/// The section `name` of an INI file; nullopt when it is not there.
std::optional<Section> ReadSection(const std::string& file, std::string_view name) {
  std::ifstream stream(file);
  std::optional<Section> section;
  bool inside = false;
  for (std::string line; std::getline(stream, line);) {
    line = Trim(line);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line.front() == '[' && line.back() == ']') {
      inside = Trim(std::string_view(line).substr(1, line.size() - 2)) == name;
      if (inside) section.emplace();
    } else if (const std::size_t equals = line.find('='); inside && equals != std::string::npos) {
      (*section)[Trim(line.substr(0, equals))] = Trim(line.substr(equals + 1));
    }
  }
  return section;
}

std::string Text(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

/// What the container's endpoint and the metadata service answer with.
std::optional<AwsCredentials> FromJson(const std::string& body, std::string from) {
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  AwsCredentials found{Text(json, "AccessKeyId"), Text(json, "SecretAccessKey"), Text(json, "Token"),
                       std::move(from)};
  if (found.access_key.empty() || found.secret_key.empty()) return std::nullopt;
  return found;
}

/// One way to find credentials: nullopt and a word why not.
using Found = std::optional<AwsCredentials>;

Found FromEnvironment(std::string& why) {
  AwsCredentials found{EnvironmentValue("AWS_ACCESS_KEY_ID"), EnvironmentValue("AWS_SECRET_ACCESS_KEY"),
                       EnvironmentValue("AWS_SESSION_TOKEN"), "the environment"};
  if (!found.access_key.empty() && !found.secret_key.empty()) return found;
  why = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: not set";
  return std::nullopt;
}

Found FromProfile(std::string& why) {
  const std::string file = FileFrom("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
  const std::string profile = Profile();
  const std::optional<Section> section = ReadSection(file, profile);
  const auto value = [&](std::string_view key) {
    const auto at = section->find(key);
    return at == section->end() ? std::string{} : at->second;
  };
  if (!section) {
    why = fmt::format("{}: no profile [{}]", file, profile);
    return std::nullopt;
  }
  AwsCredentials found{value("aws_access_key_id"), value("aws_secret_access_key"), value("aws_session_token"),
                       fmt::format("profile [{}] of {}", profile, file)};
  if (!found.access_key.empty() && !found.secret_key.empty()) return found;
  why = fmt::format("{}: profile [{}] has no aws_access_key_id and aws_secret_access_key", file, profile);
  return std::nullopt;
}

/// Amazon's own programs send the container's token to these places only.
bool MayAskContainer(const std::string& url) {
  if (url.starts_with("https://")) return true;
  for (const std::string_view host :
       {"127.0.0.1", "localhost", "169.254.170.2", "169.254.170.23", "[::1]", "[fd00:ec2::23]"}) {
    const std::string prefix = fmt::format("http://{}", host);
    if (url.starts_with(prefix) &&
        (url.size() == prefix.size() || url[prefix.size()] == ':' || url[prefix.size()] == '/')) {
      return true;
    }
  }
  return false;
}

Found FromContainer(std::string& why) {
  std::string url = EnvironmentValue("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  const std::string relative = EnvironmentValue("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  if (!relative.empty()) url = "http://169.254.170.2" + relative;
  if (url.empty()) {
    why = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: not set";
    return std::nullopt;
  }
  if (!MayAskContainer(url)) {
    why = "AWS_CONTAINER_CREDENTIALS_FULL_URI: neither https nor an address of the machine itself";
    return std::nullopt;
  }
  std::string token = EnvironmentValue("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  if (const std::string file = EnvironmentValue("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); !file.empty()) {
    std::ifstream stream(file);
    std::getline(stream, token);
  }
  HttpCall call;
  call.url = url;
  call.connect_timeout = call.timeout = std::chrono::seconds(2);
  call.use_proxy = false;
  if (!token.empty()) call.headers.emplace_back("Authorization", token);
  const Result<HttpAnswer> answer = CallHttp(call);
  if (answer && answer->status == 200) {
    if (Found found = FromJson(answer->body, "the container's endpoint")) return found;
  }
  why = fmt::format("the container's endpoint: {}",
                    answer ? fmt::format("status {}", answer->status) : answer.error().message);
  return std::nullopt;
}

Found FromMetadata(std::string& why) {
  if (EnvironmentValue("AWS_EC2_METADATA_DISABLED") == "true") {
    why = "the machine's metadata service: AWS_EC2_METADATA_DISABLED";
    return std::nullopt;
  }
  std::string base = EnvironmentValue("AWS_EC2_METADATA_SERVICE_ENDPOINT");
  if (base.empty()) base = "http://169.254.169.254";
  while (base.ends_with('/')) base.pop_back();
  why = "the machine's metadata service: no answer";
  const auto ask = [&base](const char* method, const std::string& path, HttpHeaders headers) {
    HttpCall call;
    call.method = method;
    call.url = base + path;
    call.headers = std::move(headers);
    call.connect_timeout = call.timeout = std::chrono::seconds(1);
    call.use_proxy = false;
    call.max_response_bytes = 64U << 10;
    const Result<HttpAnswer> answer = CallHttp(call);
    return answer && answer->status == 200 ? answer->body : std::string{};
  };
  const std::string token =
      ask("PUT", "/latest/api/token", {{"X-aws-ec2-metadata-token-ttl-seconds", "21600"}});
  if (token.empty()) return std::nullopt;
  const HttpHeaders headers = {{"X-aws-ec2-metadata-token", Trim(token)}};
  const std::string path = "/latest/meta-data/iam/security-credentials/";
  const std::string roles = ask("GET", path, headers);
  const std::string role = Trim(roles.substr(0, roles.find('\n')));
  why = "the machine's metadata service: the machine has no role";
  if (role.empty()) return std::nullopt;
  return FromJson(ask("GET", path + UrlEncode(role), headers), fmt::format("the machine's role {}", role));
}

}  // namespace

std::string EnvironmentValue(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Result<AwsCredentials> FindAwsCredentials() {
  std::string looked;
  for (const auto way : {FromEnvironment, FromProfile, FromContainer, FromMetadata}) {
    std::string why;
    if (Found found = way(why)) return *std::move(found);
    looked += (looked.empty() ? "" : "; ") + why;
  }
  return Status{Code::kNotFound, fmt::format("there are no credentials; looked at: {}", looked)};
}

std::string FindAwsRegion() {
  for (const char* variable : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    if (std::string region = EnvironmentValue(variable); !region.empty()) return region;
  }
  const std::string profile = Profile();
  const auto section = ReadSection(FileFrom("AWS_CONFIG_FILE", ".aws/config"),
                                   profile == "default" ? profile : "profile " + profile);
  if (section && section->contains("region")) return section->at("region");
  return "us-east-1";
}

}  // namespace serve
