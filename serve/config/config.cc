#include "serve/config/config.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <set>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "serve/base/files.h"
#include "serve/config/address.h"
#include "serve/config/properties.h"
#include "serve/config/settings.h"
#include "serve/config/tls_check.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

struct GivenValue {
  std::string value;
  std::string source;
};
/// The strongest value of each key so far; readers run from the strongest source to the weakest.
using GivenValues = std::map<std::string, GivenValue, std::less<>>;

std::string DidYouMean(std::string_view nearest) {
  return nearest.empty() ? "" : fmt::format("; did you mean `{}`?", nearest);
}

std::vector<std::string> KnownKeys() {
  std::vector<std::string> keys;
  for (const Setting& setting : Settings()) keys.push_back(setting.key);
  for (const UnusedSetting& setting : UnusedSettings()) keys.emplace_back(setting.key);
  return keys;
}

/// Flags that are not made of a key, or not of their own.
struct FlagAlias {
  std::string_view flag;
  std::string_view key;
};
constexpr FlagAlias kFlagAliases[] = {
    {"--models", "load_models"},
    {"--ts-config", "config"},
    {"--config", "config"},
    {"--dt", "disable_token_authorization"},
    {"--disable-token-auth", "disable_token_authorization"},
    {"--ppath", "plugins_path"},
};
/// Flags of TorchServe's launcher that ask for what is the case anyway.
constexpr std::string_view kIgnoredFlags[] = {"--start", "--foreground"};
constexpr std::string_view kActionFlags[] = {"--help", "--version", "--check-config"};

/// Reads one configuration; its steps run in the order in which they stand here.
class Reader {
 public:
  Reader(const Environment& environment, std::string working_folder)
      : environment_(environment), working_folder_(std::move(working_folder)) {}

  ParsedConfig Read(const std::vector<std::string>& args) {
    ReadFlags(args);
    ReadEnvironment();
    ReadFile();
    ReadCloudRun();
    WarnOfUnused();
    Apply();
    CheckTogether();
    return std::move(config_);
  }

 private:
  void ReadFlags(const std::vector<std::string>& args) {
    for (std::size_t i = 0; i < args.size(); ++i) {
      std::string flag = args[i];
      std::optional<std::string> value;
      if (const std::size_t equals = flag.find('='); equals != std::string::npos && flag[0] == '-') {
        value = flag.substr(equals + 1);
        flag.resize(equals);
      }
      if (ReadActionFlag(flag)) continue;
      if (std::count(std::begin(kIgnoredFlags), std::end(kIgnoredFlags), flag) > 0) {
        config_.notes.push_back(
            fmt::format("{} has no effect: the server starts and stays in the foreground", flag));
        continue;
      }
      if (flag == "--ncs" || flag == "--no-config-snapshots") {
        values_["config_snapshots"] = {"false", flag};
        continue;
      }
      const std::string key = KeyOfFlag(flag);
      if (key.empty()) {
        UsageError(
            flag[0] == '-'
                ? fmt::format("{} is no flag of `flambeau serve`{}", flag,
                              DidYouMean(Nearest(flag, KnownFlags())))
                : fmt::format("'{}' is not expected here: every setting is written --name value", args[i]));
        continue;
      }
      const Setting* setting = FindSetting(key);
      const bool boolean = setting != nullptr ? setting->is_boolean : IsUnusedBoolean(key);
      if (!value) value = NextValue(args, i, boolean);
      if (!value) {
        UsageError(fmt::format("{} needs a value ({})", flag, setting != nullptr ? setting->value : "TEXT"));
        continue;
      }
      if (key == "load_models") {  // TorchServe: --models a.mar b=c.mar
        while (i + 1 < args.size() && !args[i + 1].empty() && args[i + 1][0] != '-')
          *value += "," + args[++i];
      }
      values_[key] = {*value, flag};  // the last one counts
    }
  }

  bool ReadActionFlag(const std::string& flag) {
    using Action = ParsedConfig::Action;
    if (flag == "--help" || flag == "-h") {
      config_.action = Action::kHelp;
    } else if (flag == "--version" || flag == "-v") {
      config_.action = Action::kVersion;
    } else if (flag == "--check-config") {
      config_.action = Action::kCheckConfig;
    } else {
      return false;
    }
    return true;
  }

  static std::string KeyOfFlag(const std::string& flag) {
    for (const FlagAlias& alias : kFlagAliases) {
      if (alias.flag == flag) return std::string(alias.key);
    }
    for (const std::string& key : KnownKeys()) {
      if (FlagOf(key) == flag) return key;
    }
    return {};
  }

  static std::vector<std::string> KnownFlags() {
    std::vector<std::string> flags;
    for (const FlagAlias& alias : kFlagAliases) flags.emplace_back(alias.flag);
    for (const std::string& key : KnownKeys()) flags.push_back(FlagOf(key));
    for (const std::string_view flag : kActionFlags) flags.emplace_back(flag);
    return flags;
  }

  static bool IsUnusedBoolean(const std::string& key) {
    const UnusedSetting* unused = FindUnusedSetting(key);
    return unused != nullptr && (unused->harmless == "true" || unused->harmless == "false");
  }

  static std::optional<std::string> NextValue(const std::vector<std::string>& args, std::size_t& i,
                                              bool boolean) {
    const bool has_next = i + 1 < args.size() && args[i + 1].substr(0, 2) != "--";
    if (boolean) {  // may stand alone: a next word is taken only when it is a value
      if (has_next && (args[i + 1] == "true" || args[i + 1] == "false" || args[i + 1] == "auto"))
        return args[++i];
      return "true";
    }
    if (!has_next) return std::nullopt;
    return args[++i];
  }

  void ReadEnvironment() {
    const auto take = [this](const std::string& key, const std::string& name) {
      const auto found = environment_.find(name);
      if (found == environment_.end() || found->second.empty()) return;  // `X=` is how a shell unsets
      values_.emplace(key, GivenValue{found->second, name});  // does nothing when a stronger one is there
    };
    const auto port = environment_.find("PORT");
    if (port != environment_.end() && !port->second.empty()) {
      values_.emplace("inference_address", GivenValue{"http://0.0.0.0:" + port->second, "PORT"});
    }
    for (const Setting& setting : Settings()) {
      for (const std::string_view prefix : {"FLAMBEAU_", "TS_"}) {
        take(setting.key, EnvironmentName(prefix, setting.key));
      }
    }
    for (const UnusedSetting& unused : UnusedSettings()) {
      const std::string key(unused.key);
      take(key, unused.environment.empty() ? EnvironmentName("TS_", key) : std::string(unused.environment));
    }
    take("token_expiration_min", "TS_TOKEN_EXPIRATION_TIME_MIN");
    take("ts_header_key_sequence_id", "TS_HEADER_KEY_SEQUENCE_ID");
    take("ts_header_key_sequence_start", "TS_HEADER_KEY_SEQUENCE_START");
    take("ts_header_key_sequence_end", "TS_HEADER_KEY_SEQUENCE_END");
    take("log_location", "LOG_LOCATION");
    take("metrics_location", "METRICS_LOCATION");
    ReadOpenTelemetry(take);
    take("config", "FLAMBEAU_CONFIG_FILE");
    take("config", "TS_CONFIG_FILE");

    WarnOfUnknownVariables();
  }

  /// The names that OpenTelemetry gave these settings; the one for traces alone is stronger.
  template <class Take>
  void ReadOpenTelemetry(const Take& take) {
    constexpr std::pair<std::string_view, std::string_view> kNames[] = {
        {"trace_endpoint", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"},
        {"trace_headers", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"},
        {"trace_headers", "OTEL_EXPORTER_OTLP_HEADERS"},
        {"trace_compression", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"},
        {"trace_compression", "OTEL_EXPORTER_OTLP_COMPRESSION"},
        {"trace_timeout_ms", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"},
        {"trace_timeout_ms", "OTEL_EXPORTER_OTLP_TIMEOUT"},
        {"trace_sampler", "OTEL_TRACES_SAMPLER"},
        {"trace_ratio", "OTEL_TRACES_SAMPLER_ARG"},
        {"trace_service_name", "OTEL_SERVICE_NAME"},
        {"trace_resource", "OTEL_RESOURCE_ATTRIBUTES"},
        {"trace_project", "GOOGLE_CLOUD_PROJECT"},
    };
    for (const auto& [key, name] : kNames) take(std::string(key), std::string(name));
    std::string base = Variable("OTEL_EXPORTER_OTLP_ENDPOINT");
    while (base.ends_with('/')) base.pop_back();
    if (!base.empty()) {
      values_.emplace("trace_endpoint", GivenValue{base + "/v1/traces", "OTEL_EXPORTER_OTLP_ENDPOINT"});
    }
    const std::string protocol = Variable("OTEL_EXPORTER_OTLP_PROTOCOL");
    if (!protocol.empty() && protocol != "http/json") {
      config_.warnings.push_back(
          fmt::format("OTEL_EXPORTER_OTLP_PROTOCOL: spans are sent as http/json, not as {}; the collector's "
                      "port for HTTP is "
                      "4318",
                      protocol));
    }
  }

  /// What Cloud Run says of this process, and the defaults that suit it: weaker than everything that is
  /// given.
  void ReadCloudRun() {
    Instance& instance = config_.options.instance;
    instance = {Variable("K_SERVICE"), Variable("K_REVISION"), Variable("K_CONFIGURATION")};
    if (instance.service.empty()) return;
    values_.emplace("log_format", GivenValue{"json", "K_SERVICE"});
    values_.emplace("trusted_proxies", GivenValue{"1", "K_SERVICE"});
    values_.emplace("grace", GivenValue{"8", "K_SERVICE"});  // it kills after 10 s
    config_.options.log.place.service = instance.service;
    config_.options.log.place.revision = instance.revision;
  }

  [[nodiscard]] std::string Variable(std::string_view name) const {
    const auto found = environment_.find(name);
    return found == environment_.end() ? std::string() : found->second;
  }

  void WarnOfUnknownVariables() {
    constexpr std::string_view kPrefix = "FLAMBEAU_";
    std::vector<std::string> known = {"CONFIG_FILE"};
    for (const Setting& setting : Settings()) known.push_back(EnvironmentName("", setting.key));
    for (auto entry = environment_.lower_bound(kPrefix);
         entry != environment_.end() && entry->first.compare(0, kPrefix.size(), kPrefix) == 0; ++entry) {
      const std::string rest = entry->first.substr(kPrefix.size());
      // Far from every name it is somebody else's, e.g. what Kubernetes sets for a service named flambeau.
      const std::string_view nearest = Nearest(rest, known);
      if (nearest.empty() || nearest == rest) continue;
      config_.warnings.push_back(
          fmt::format("the environment variable {} is unknown and ignored; did you mean "
                      "`{}{}`?",
                      entry->first, kPrefix, nearest));
    }
  }

  void ReadFile() {
    std::string path;
    if (const auto given = values_.find("config"); given != values_.end()) {
      path = given->second.value;
      if (path.empty()) return;
    } else {
      const fs::path beside = fs::path(working_folder_) / "config.properties";
      std::error_code error;
      if (!fs::exists(beside, error)) {
        config_.notes.push_back("no configuration file is read");
        return;
      }
      path = working_folder_ == "." ? "config.properties" : beside.string();
    }

    std::error_code error;
    const Result<std::string> text = serve::ReadFile(path, kMostPropertiesBytes);
    if (!text) {
      const auto given = values_.find("config");
      const std::string source = given == values_.end() ? "working folder" : given->second.source;
      const std::string why = text.error().code == Code::kNotFound
                                  ? "does not exist"
                                  : fmt::format("cannot be read ({})", text.error().message);
      config_.errors.push_back(
          fmt::format("{}: the configuration file '{}' {}; name a file that can be read", source, path, why));
      return;
    }
    config_.notes.push_back(fmt::format("settings are read from {}", fs::absolute(path, error).string()));

    const Properties properties = ParseProperties(*text);
    for (const PropertyError& wrong : properties.errors) {
      config_.errors.push_back(fmt::format("{}:{}: {}", path, wrong.line, wrong.message));
    }
    std::map<std::string, const Property*> last;  // of a key that comes twice the last one counts
    for (const Property& property : properties.entries) {
      const auto [entry, first] = last.emplace(property.key, &property);
      if (first) continue;
      config_.warnings.push_back(fmt::format("{}:{}: `{}` is set again; line {} is ignored", path,
                                             property.line, property.key, entry->second->line));
      entry->second = &property;
    }
    for (const Property& property : properties.entries) {
      if (last[property.key] == &property) TakeProperty(path, property);
    }
  }

  void TakeProperty(const std::string& path, const Property& property) {
    const std::string source = fmt::format("{}:{}", path, property.line);
    if (FindSetting(property.key) == nullptr && FindUnusedSetting(property.key) == nullptr) {
      config_.unknown_keys.push_back(fmt::format("{}: the key `{}` is unknown{}", source, property.key,
                                                 DidYouMean(Nearest(property.key, KnownKeys()))));
      return;
    }
    const std::optional<std::string> value = Substitute(property, source);
    if (value && !value->empty()) values_.emplace(property.key, GivenValue{*value, source});
  }

  /// `$$NAME$$` → the environment variable.
  std::optional<std::string> Substitute(const Property& property, const std::string& source) {
    std::string out;
    std::string_view rest = property.value;
    while (true) {
      const std::size_t open = rest.find("$$");
      const std::size_t close = open == std::string_view::npos ? open : rest.find("$$", open + 2);
      if (close == std::string_view::npos) return out += rest;
      const std::string_view name = rest.substr(open + 2, close - open - 2);
      const auto found = environment_.find(name);
      if (found == environment_.end()) {
        config_.errors.push_back(fmt::format("{}: `{}` = '{}': the environment variable {} is not set",
                                             source, property.key, property.value, name));
        return std::nullopt;
      }
      out += rest.substr(0, open);
      out += found->second;
      rest.remove_prefix(close + 2);
    }
  }

  void WarnOfUnused() {
    for (const UnusedSetting& unused : UnusedSettings()) {
      const auto given = values_.find(unused.key);
      if (given == values_.end() || given->second.value == unused.harmless) continue;
      config_.warnings.push_back(
          fmt::format("{}: `{}` is not supported: {}", given->second.source, unused.key, unused.reason));
    }
  }

  void Apply() {
    for (const Setting& setting : Settings()) {
      const auto given = values_.find(setting.key);
      const bool is_given = given != values_.end();
      const GivenValue value = is_given ? given->second : GivenValue{setting.default_text, "default"};
      if (is_given || !setting.default_text.empty()) {
        const std::string allowed = setting.apply(value.value, config_.options);
        if (!allowed.empty()) {
          refused_.insert(setting.key);
          config_.errors.push_back(fmt::format("{}: `{}` = '{}' is not possible: it takes {}", value.source,
                                               setting.key, value.value, allowed));
        }
      }
      const bool hidden = setting.is_secret && is_given;
      config_.values.push_back({setting.key, hidden ? "(hidden)" : value.value, value.source});
    }
  }

  /// What only shows when all values are known; nothing is said of those that were refused alone.
  void CheckTogether() {
    AppOptions& options = config_.options;
    const std::string& model_store = options.management_api.model_store;
    std::error_code error;
    if (!model_store.empty() && !fs::is_directory(model_store, error)) {
      Wrong("model_store", fs::exists(model_store, error)
                               ? "this is not a folder"
                               : "there is no such folder; make it or name another one");
    }
    if (model_store.empty() && !options.load_models.empty() && options.load_models != "none") {
      Wrong("load_models", "models come from the model store; set `model_store` to its folder");
    }
    const std::string& workflow_store = options.management_api.workflow_store;
    if (!workflow_store.empty() && !fs::is_directory(workflow_store, error)) {
      Wrong("workflow_store", "there is no such folder; make it or name another one");
    }
    const std::string& unpack_folder = options.management_api.unpack_folder;
    if (!unpack_folder.empty() && !fs::is_directory(unpack_folder, error)) {
      Wrong("unpack_folder", "there is no such folder; make it or name another one");
    }
    PlaceSnapshots();
    PlaceLogFiles();
    if (!options.metrics_config.empty() && !fs::is_regular_file(options.metrics_config, error)) {
      Wrong("metrics_config", "there is no such file; name a metrics.yaml");
    }
    for (const char* key : {"log_file", "access_log_file", "port_file", "key_file"}) CheckParent(key);
    if (options.single_port) options.management = options.metrics = options.inference;
    ShareClientCertificates(options);
    CheckListeners();
    CheckHttps();
    CheckTokens();
    CheckModelApi();
  }

  void CheckHttps() {
    const TlsFindings found = CheckTls(config_.options, ValueOf("client_certificates").source != "default");
    for (const TlsFinding& error : found.errors) Wrong(error.key, error.text);
    for (const TlsFinding& warning : found.warnings) {
      config_.warnings.push_back(
          fmt::format("{}: `{}`: {}", ValueOf(warning.key).source, warning.key, warning.text));
    }
    for (const std::string& note : found.notes) config_.notes.push_back(note);
  }

  void PlaceSnapshots() {
    std::string& folder = config_.options.management_api.snapshot_folder;
    const auto logs = environment_.find("LOG_LOCATION");
    if (!config_.options.config_snapshots) {
      folder.clear();
    } else if (!folder.empty()) {
      return;
    } else if (logs != environment_.end() && !logs->second.empty()) {
      folder = (fs::path(logs->second) / "config").string();
    } else if (!config_.options.management_api.model_store.empty()) {
      folder = (fs::path(config_.options.management_api.model_store) / ".snapshots").string();
    }
  }

  void PlaceLogFiles() {
    LogOptions& log = config_.options.log;
    using LogFiles = AppOptions::LogFiles;
    const bool named = !log.folder.empty() || !log.metrics_folder.empty();
    if (config_.options.log_files == LogFiles::kOff ||
        (config_.options.log_files == LogFiles::kAuto && !named)) {
      log.folder.clear();
      log.metrics_folder.clear();
      return;
    }
    if (log.folder.empty()) log.folder = "logs";
    if (log.metrics_folder.empty()) log.metrics_folder = "logs";
  }

  void CheckTokens() {
    AppOptions& options = config_.options;
    TokenOptions& tokens = options.tokens;
    if (ValueOf("disable_token_authorization").value == "auto") {
      tokens.enabled = !tokens.key_file.empty() || !tokens.token_file.empty();
    }
    if (refused_.count("management_address") > 0 || ManagementIsProtected()) return;
    if (options.single_port && !options.insecure) {
      options.management_listener = false;
      config_.notes.push_back(
          "the management API is not served: with `single_port` it is where the predictions are, so it needs "
          "tokens (`token_file`, `key_file`), client certificates or `insecure=true`");
      return;
    }
    if (IsLoopback(options.management)) return;
    if (options.insecure) {
      config_.warnings.push_back(
          fmt::format("everybody who reaches the management address {} can change what is "
                      "served, for no token is asked for (insecure)",
                      AddressText(options.management)));
      return;
    }
    Wrong("management_address",
          "others than this machine would reach it, and it asks for no token; set `token_file` or "
          "`disable_token_authorization=false`, or keep it on loopback, or ask clients for certificates "
          "(https, `client_ca_file`), or say `insecure=true`");
  }

  /// Nobody reaches it without a token or a certificate.
  [[nodiscard]] bool ManagementIsProtected() const {
    const AppOptions& options = config_.options;
    return options.tokens.enabled || (options.management.tls && !options.tls.client_ca_file.empty() &&
                                      options.client_certificates.management);
  }

  void CheckModelApi() {
    AppOptions& options = config_.options;
    if (refused_.count("management_address") + refused_.count("enable_model_api") > 0) return;
    // `auto` has been read as true.
    if (ValueOf("enable_model_api").value == "auto" && !IsLoopback(options.management) &&
        !ManagementIsProtected() && options.management_listener) {
      options.management_api.allow_model_api = false;
      config_.notes.push_back(fmt::format(
          "registering and removing models is off because the management address {} is not loopback; "
          "`enable_model_api=true` turns it on",
          AddressText(options.management)));
    }
  }

  void CheckParent(const std::string& key) {
    const EffectiveValue value = ValueOf(key);
    if (value.value.empty()) return;
    const fs::path parent = fs::path(value.value).parent_path();
    std::error_code error;
    if (!parent.empty() && !fs::is_directory(parent, error)) {
      Wrong(key, fmt::format("there is no folder {}; make it or name another file", parent.string()));
    } else if (fs::is_directory(value.value, error)) {
      Wrong(key, "this is a folder; name a file");
    }
  }

  void CheckListeners() {
    const AppOptions& options = config_.options;
    if (options.single_port) return;
    std::vector<std::pair<std::string, ListenAddress>> listeners = {
        {"inference_address", options.inference}, {"management_address", options.management}};
    if (options.metrics_listener) listeners.emplace_back("metrics_address", options.metrics);
    for (std::size_t i = 0; i < listeners.size(); ++i) {
      for (std::size_t other = 0; other < i; ++other) {
        if (refused_.count(listeners[i].first) + refused_.count(listeners[other].first) > 0) continue;
        if (!Collide(listeners[other].second, listeners[i].second) ||
            SameListener(listeners[other].second, listeners[i].second)) {
          continue;  // exactly the same: one listener serves both
        }
        Wrong(listeners[i].first,
              fmt::format("`{}` ({}) has that port; give each listener its own, or exactly the same "
                          "address",
                          listeners[other].first, ValueOf(listeners[other].first).source));
      }
    }
  }

  const EffectiveValue& ValueOf(const std::string& key) {
    return *std::find_if(config_.values.begin(), config_.values.end(),
                         [&key](const EffectiveValue& value) { return value.key == key; });
  }
  void Wrong(const std::string& key, const std::string& why) {
    const EffectiveValue& value = ValueOf(key);
    config_.errors.push_back(fmt::format("{}: `{}` = '{}': {}", value.source, key, value.value, why));
  }
  void UsageError(std::string message) {
    config_.errors.push_back(std::move(message));
    config_.usage_error = true;
  }

  const Environment& environment_;
  const std::string working_folder_;
  GivenValues values_;
  std::set<std::string> refused_;  // keys whose value is not possible
  ParsedConfig config_;
};

}  // namespace

Environment ProcessEnvironment() {
  Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

ParsedConfig ParseConfig(const std::vector<std::string>& args, const Environment& environment,
                         const std::string& working_folder) {
  return Reader(environment, working_folder).Read(args);
}

}  // namespace serve
