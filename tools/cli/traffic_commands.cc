#include <charconv>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>

#include <fmt/format.h>

#include "tools/cli/answer_text.h"
#include "tools/cli/server_commands.h"

namespace serve {
namespace {

/// The versions of a model with what they get, then what else the plan says.
std::string Shown(const Json& traffic) {
  std::vector<std::vector<std::string>> rows = {
      {"VERSION", "TRAFFIC", "ALIASES", "REQUESTS", "ERRORS", "P99"}};
  const Json names = traffic.value("aliases", Json::object());
  for (const Json& version : traffic.value("versions", Json::array())) {
    const std::string text = Field(version, "version");
    std::string aliases;
    for (const auto& [alias, target] : names.items()) {
      if (target == text) aliases += (aliases.empty() ? "" : ", ") + alias;
    }
    const double p99 = version.value("p99_ms", 0.0);
    rows.push_back({text + (text == Field(traffic, "default_version") ? " (default)" : ""),
                    fmt::format("{} %", version.value("percent", 0.0)), aliases, Field(version, "requests"),
                    Field(version, "errors"), fmt::format("{:.2f} ms", p99)});
  }
  std::vector<std::vector<std::string>> lines = {{"model", Field(traffic, "model")}};
  if (!Field(traffic, "why").empty())
    lines.push_back({"last change", fmt::format("{} ({})", Field(traffic, "why"), Field(traffic, "since"))});
  if (!Field(traffic, "follow").empty()) lines.push_back({"follows", Field(traffic, "follow")});
  if (traffic.contains("weights")) lines.push_back({"sticky header", Field(traffic, "sticky_header")});
  if (const auto shadow = traffic.find("shadow"); shadow != traffic.end() && shadow->is_object()) {
    const Json results = shadow->value("results", Json::object());
    lines.push_back(
        {"shadow", fmt::format("{} gets copies of {} %: {} equal, {} different (largest difference "
                               "{}), {} failed, {} dropped",
                               Field(*shadow, "version"), Field(*shadow, "percent"), Field(results, "equal"),
                               Field(results, "different"), Field(results, "largest_difference"),
                               Field(results, "failed"), Field(results, "dropped"))});
  }
  if (const auto rule = traffic.find("rule"); rule != traffic.end() && rule->is_object()) {
    lines.push_back({"rule", fmt::format("decides after {} requests: {}", Field(*rule, "promote_after"),
                                         Field(*rule, "verdict"))});
  }
  if (const auto history = traffic.find("history");
      history != traffic.end() && history->is_array() && !history->empty()) {
    const Json& before = history->front();
    lines.push_back(
        {"rollback to", fmt::format("default version {}{}", Field(before, "default_version"),
                                    before.contains("plan") ? ", " + Field(before, "plan") : "")});
  }
  return Table(lines) + Table(rows);
}

int Print(const ApiClient& client, const Result<HttpAnswer>& answer) {
  if (const int code = client.Check(answer); code != kToolDone) return code;
  if (client.json()) {
    client.PrintBody(*answer);
    return kToolDone;
  }
  const Json body = Json::parse(answer->body, nullptr, false);
  if (!body.is_object() || !body.contains("versions")) return UnexpectedAnswer(client, *answer);
  client.out() << Shown(body);
  return kToolDone;
}

struct Arguments {
  std::string model;
  std::vector<std::string> items;  // VERSION=PERCENT, ALIAS=VERSION
  std::string version;
  double percent = 100;
  double tolerance = 0.001;
  std::optional<std::string> sticky_header;
  std::optional<std::int64_t> promote_after;
  double max_error_increase = 0.01;
  double max_p99_ratio = 1.25;
  std::vector<std::string> removed;
  bool off = false;
};

Status Wrong(const std::string& item, std::string_view form) {
  return InvalidArgument(fmt::format("`{}` is not of the form {}", item, form));
}

Result<std::string> SplitBody(const Arguments& typed) {
  Json body = {{"weights", Json::object()}};
  for (const std::string& item : typed.items) {
    const std::size_t equals = item.rfind('=');
    double percent = 0;
    const char* end = item.data() + item.size();
    const char* first = equals == std::string::npos ? end : item.data() + equals + 1;
    const auto [stop, error] = std::from_chars(first, end, percent);
    if (equals == std::string::npos || equals == 0 || error != std::errc() || stop != end)
      return Wrong(item, "VERSION=PERCENT");
    body["weights"][item.substr(0, equals)] = percent;
  }
  if (typed.sticky_header) body["sticky_header"] = *typed.sticky_header;
  if (typed.promote_after) {
    body["rule"] = {{"promote_after", *typed.promote_after},
                    {"max_error_increase", typed.max_error_increase},
                    {"max_p99_ratio", typed.max_p99_ratio}};
  }
  return body.dump();
}

Result<std::string> AliasBody(const Arguments& typed) {
  Json body = {{"aliases", Json::object()}};
  for (const std::string& item : typed.items) {
    const std::size_t equals = item.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == item.size())
      return Wrong(item, "ALIAS=VERSION");
    body["aliases"][item.substr(0, equals)] = item.substr(equals + 1);
  }
  for (const std::string& alias : typed.removed) body["aliases"][alias] = nullptr;
  if (body["aliases"].empty()) return InvalidArgument("name an ALIAS=VERSION, or one to --remove");
  return body.dump();
}

Result<std::string> ShadowBody(const Arguments& typed) {
  if (typed.off) return std::string(R"({"shadow": null})");
  if (typed.version.empty()) return InvalidArgument("name a VERSION, or --off");
  Json body;
  body["shadow"] = {{"version", typed.version}, {"percent", typed.percent}, {"tolerance", typed.tolerance}};
  return body.dump();
}

}  // namespace

void AddTrafficCommands(CLI::App& app, const ApiClient& client, int& exit_code) {
  CLI::App* traffic = app.add_subcommand("traffic", "Divide the requests of a model between its versions");
  traffic->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, const char* example) {
    CLI::App* command = traffic->add_subcommand(name, help);
    auto typed = std::make_shared<Arguments>();
    command->add_option("model", typed->model, "Its name")->required();
    command->footer(fmt::format("Example:\n  flambeau traffic {}", example));
    return std::pair(command, typed);
  };
  const auto call = [&client, &exit_code](CLI::App* command, std::shared_ptr<Arguments> typed,
                                          const char* method, const char* what) {
    command->callback([=, &client, &exit_code] {
      const QueryItems query =
          typed->version.empty() ? QueryItems{} : QueryItems{{"version", typed->version}};
      exit_code = Print(client, client.Management(method, ApiPath({"traffic", typed->model, what}, query)));
    });
  };
  const auto change = [&client, &exit_code](CLI::App* command, std::shared_ptr<Arguments> typed,
                                            Result<std::string> (*make)(const Arguments&)) {
    command->callback([=, &client, &exit_code] {
      const Result<std::string> body = make(*typed);
      exit_code = body ? Print(client, client.Management("PATCH", ApiPath({"traffic", typed->model}), *body))
                       : client.Fail(body.error());
    });
  };

  const auto [show, shown] = add("show", "Show who gets what, and why", "show news");
  call(show, shown, "GET", "");

  const auto [split, parts] =
      add("split", "Give versions a part of the requests that name none",
          "split news 2.0=10\n  flambeau traffic split news 2.0=10 --promote-after 500");
  split->add_option("weights", parts->items, "VERSION=PERCENT; the default version gets the rest")
      ->required();
  split->add_option("--sticky-header", parts->sticky_header, "Header that keeps a client on one version");
  CLI::Option* rule =
      split
          ->add_option("--promote-after", parts->promote_after,
                       "Promote the version after so many requests if it is no worse, else roll back")
          ->check(CLI::Range(1LL, 1'000'000'000'000LL));
  split
      ->add_option("--max-error-increase", parts->max_error_increase,
                   "How much larger its share of errors may be")
      ->check(CLI::Range(0.0, 1.0))
      ->needs(rule)
      ->capture_default_str();
  split->add_option("--max-p99-ratio", parts->max_p99_ratio, "How many times slower its p99 may be")
      ->check(CLI::Range(0.0, 1e6))
      ->needs(rule)
      ->capture_default_str();
  change(split, parts, SplitBody);

  const auto [shadow, copied] = add("shadow", "Send copies of requests to a version and compare its answers",
                                    "shadow news 2.0 --percent 10\n  flambeau traffic shadow news --off");
  shadow->add_option("version", copied->version, "The version that is tried out");
  shadow->add_option("--percent", copied->percent, "Of the requests")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  shadow->add_option("--tolerance", copied->tolerance, "Numbers that differ less are equal")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  shadow->add_flag("--off", copied->off, "No more copies");
  change(shadow, copied, ShadowBody);

  const auto [alias, named] =
      add("alias", "Name versions: MODEL@ALIAS in the paths of predictions", "alias news production=2.0");
  alias->add_option("aliases", named->items, "ALIAS=VERSION");
  alias->add_option("--remove", named->removed, "An alias that ends; repeat")->allow_extra_args(false);
  change(alias, named, AliasBody);

  const auto [promote, winner] =
      add("promote", "Give everything to a version and make it the default one", "promote news");
  promote->add_option("version", winner->version, "The version; default: the one that is tried out");
  call(promote, winner, "POST", "promote");

  const auto [rollback, back] =
      add("rollback", "Go back to what was before the last change", "rollback news");
  call(rollback, back, "POST", "rollback");

  const auto [clear, cleared] =
      add("clear", "End the plan: everything to the default version, no aliases", "clear news");
  call(clear, cleared, "DELETE", "");
}

}  // namespace serve
