#include "serve/config/setting_kinds.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <regex>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "serve/config/address.h"
#include "serve/config/key_values.h"
#include "serve/config/models_setting.h"

namespace serve {

using std::chrono::milliseconds;

namespace {

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

std::optional<std::int64_t> ReadNumber(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Setting Begin(const Row& row, std::string value) {
  Setting setting;
  setting.key = row.key;
  setting.group = row.group;
  setting.value = std::move(value);
  setting.default_text = row.default_text;
  setting.help = row.help;
  return setting;
}

}  // namespace

Setting Number(const Row& row, std::string unit, std::int64_t low, std::int64_t high,
               std::function<void(AppOptions&, std::int64_t)> set) {
  Setting setting = Begin(row, std::move(unit));
  setting.apply = [low, high, set = std::move(set)](std::string_view text,
                                                    AppOptions& options) -> std::string {
    const std::optional<std::int64_t> number = ReadNumber(text);
    if (!number || *number < low || *number > high)
      return fmt::format("a whole number from {} to {}", low, high);
    set(options, *number);
    return {};
  };
  return setting;
}

Setting Size(const Row& row, std::int64_t low, std::int64_t high,
             std::function<void(AppOptions&, std::int64_t)> set) {
  Setting setting = Begin(row, "BYTES");
  setting.apply = [low, high, set = std::move(set)](std::string_view text,
                                                    AppOptions& options) -> std::string {
    std::int64_t unit = 1;
    if (!text.empty()) {
      const char last = static_cast<char>(std::tolower(static_cast<unsigned char>(text.back())));
      unit = last == 'k' ? 1LL << 10 : last == 'm' ? 1LL << 20 : last == 'g' ? 1LL << 30 : 1;
      if (unit != 1) text.remove_suffix(1);
    }
    const std::optional<std::int64_t> number = ReadNumber(text);
    if (!number || *number < 0 || *number > high / unit || *number * unit < low) {
      return fmt::format("bytes from {} to {}, as a whole number that k, m or g may follow", low, high);
    }
    set(options, *number * unit);
    return {};
  };
  return setting;
}

Setting Boolean(const Row& row, std::function<void(AppOptions&, bool)> set) {
  Setting setting = Begin(row, "true|false");
  setting.is_boolean = true;
  setting.apply = [set = std::move(set)](std::string_view text, AppOptions& options) -> std::string {
    const std::string lower = Lower(text);
    if (lower != "true" && lower != "false") return "true or false";
    set(options, lower == "true");
    return {};
  };
  return setting;
}

Setting Text(const Row& row, std::string value, std::function<void(AppOptions&, std::string_view)> set) {
  Setting setting = Begin(row, std::move(value));
  setting.apply = [set = std::move(set)](std::string_view text, AppOptions& options) -> std::string {
    set(options, text);
    return {};
  };
  return setting;
}

Setting Choice(const Row& row, std::vector<std::string> choices,
               std::function<void(AppOptions&, std::size_t)> set) {
  std::string list;
  for (const std::string& choice : choices) list += (list.empty() ? "" : "|") + choice;
  Setting setting = Begin(row, list);
  setting.apply = [choices = std::move(choices), list, set = std::move(set)](
                      std::string_view text, AppOptions& options) -> std::string {
    const auto found = std::find(choices.begin(), choices.end(), Lower(text));
    if (found == choices.end()) return "one of " + list;
    set(options, static_cast<std::size_t>(found - choices.begin()));
    return {};
  };
  return setting;
}

Setting Address(const Row& row, DefaultPorts ports, ListenAddress AppOptions::*member) {
  Setting setting = Begin(row, "URL");
  setting.apply = [ports, member](std::string_view text, AppOptions& options) -> std::string {
    Result<ListenAddress> address = ParseListenAddress(text, ports.http, ports.https);
    if (!address) return address.error().message;
    options.*member = std::move(*address);
    return {};
  };
  return setting;
}

Setting Timeout(const Row& row, milliseconds HttpLimits::*member) {
  return Number(row, "MS", 1, 3'600'000,
                [member](AppOptions& o, std::int64_t n) { o.http.*member = milliseconds(n); });
}

Setting Field(const Row& row, std::string HttpLimits::*member) {
  Setting setting = Begin(row, "TEXT");
  setting.apply = [member](std::string_view text, AppOptions& options) -> std::string {
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
    if (!plain) return "printable ASCII, as it stands in a header";
    options.http.*member = text;
    return {};
  };
  return setting;
}

Setting HeaderName(const Row& row, std::string SequenceNames::*member) {
  Setting setting = Begin(row, "NAME");
  setting.apply = [member](std::string_view text, AppOptions& options) -> std::string {
    const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
    });
    if (text.empty() || !plain) return "a header's name: letters, digits, -, _ and .";
    options.sequence_names.*member = text;
    return {};
  };
  return setting;
}

Setting Expressions(const Row& row) {
  Setting setting = Begin(row, "REGEX,REGEX");
  setting.apply = [](std::string_view text, AppOptions& options) -> std::string {
    options.management_api.allowed_urls = text;
    while (!text.empty()) {
      const std::string one(text.substr(0, text.find(',')));
      text.remove_prefix(std::min(one.size() + 1, text.size()));
      try {
        const std::regex expression(one);
      } catch (const std::regex_error& error) {
        return "regular expressions; `" + one + "` is none: " + error.what();
      }
    }
    return {};
  };
  return setting;
}

Setting Minutes(const Row& row) {
  Setting setting = Begin(row, "MINUTES");
  setting.apply = [](std::string_view text, AppOptions& options) -> std::string {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || !(number > 0) || number > 5'256'000) {
      return "minutes, above 0 and up to 5256000";
    }
    options.tokens.lifetime = milliseconds(static_cast<std::int64_t>(number * 60'000));
    return {};
  };
  return setting;
}

Setting Listeners(const Row& row) {
  Setting setting = Begin(row, "LIST");
  setting.apply = [](std::string_view text, AppOptions& options) -> std::string {
    ClientCertificates chosen{false, false, false};
    while (!text.empty()) {
      const std::string one = Lower(text.substr(0, text.find(',')));
      text.remove_prefix(std::min(one.size() + 1, text.size()));
      bool* which = one == "inference"    ? &chosen.inference
                    : one == "management" ? &chosen.management
                    : one == "metrics"    ? &chosen.metrics
                                          : nullptr;
      if (which == nullptr) return "inference, management and metrics, with commas between them";
      *which = true;
    }
    options.client_certificates = chosen;
    return {};
  };
  return setting;
}

Setting Ratio(const Row& row) {
  Setting setting = Begin(row, "RATIO");
  setting.apply = [](std::string_view text, AppOptions& options) -> std::string {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || !(number >= 0) || number > 1)
      return "a number from 0 to 1";
    options.trace_sampling.ratio = number;
    return {};
  };
  return setting;
}

Setting Pairs(const Row& row, KeyValues TraceExport::*member) {
  Setting setting = Begin(row, "KEY=VALUE,…");
  setting.apply = [member](std::string_view text, AppOptions& options) -> std::string {
    std::optional<KeyValues> pairs = ParseKeyValues(text);
    if (!pairs) return "KEY=VALUE, with commas between several and %XX for what is special in a value";
    options.trace_export.*member = std::move(*pairs);
    return {};
  };
  return setting;
}

Setting TraceEndpoint(const Row& row) {
  Setting setting = Begin(row, "URL");
  setting.apply = [](std::string_view text, AppOptions& options) -> std::string {
    if (!text.starts_with("http://") && !text.starts_with("https://"))
      return "a URL that begins with http:// or https://";
    options.trace_export.endpoint = text;
    return {};
  };
  return setting;
}

Setting Project(const Row& row) {
  Setting setting = Begin(row, "PROJECT");
  setting.apply = [](std::string_view text, AppOptions& options) -> std::string {
    const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-' || c == ':' || c == '.' || c == '_';
    });
    if (!plain || text.size() > 100) return "the id of a project: letters, digits, and - : . _";
    options.log.place.project = text;
    return {};
  };
  return setting;
}

Setting KeystoreType(const Row& row) {
  Setting setting = Begin(row, "PKCS12");
  setting.apply = [](std::string_view text, AppOptions&) -> std::string {
    if (const std::string type = Lower(text); type == "pkcs12" || type == "p12") return {};
    return "PKCS12; `keytool -importkeystore -srckeystore OLD -destkeystore NEW.p12 -deststoretype PKCS12` "
           "converts a JKS store";
  };
  return setting;
}

Setting ModelsSetting(const Row& row) {
  Setting setting = Begin(row, "JSON");
  setting.apply = [](std::string_view text, AppOptions& options) -> std::string {
    Result<ModelConfigs> models = ParseModelsSetting(text);
    if (!models) return "a JSON object; " + models.error().message;
    options.management_api.models = std::move(*models);
    return {};
  };
  return setting;
}

Setting Followed(const Row& row) {
  Setting setting = Begin(row, "LIST");
  setting.apply = [](std::string_view text, AppOptions& options) -> std::string {
    // The form of an item; the rest is said by whoever reads the list.
    for (std::string_view rest = text; !rest.empty();) {
      const std::string_view item = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(item.size() + 1, rest.size()));
      if (item.find('@') == std::string_view::npos) return "models:/NAME@ALIAS, with commas between several";
    }
    options.follow.models = text;
    return {};
  };
  return setting;
}

}  // namespace serve
