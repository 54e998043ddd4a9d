#include <filesystem>
#include <memory>
#include <ostream>
#include <system_error>

#include <fmt/format.h>

#include "tools/cli/answer_text.h"
#include "tools/cli/server_commands.h"

namespace serve {
namespace {

constexpr int kMaxPages = 10'000;  // of a list: ends a server that never does

int RunList(const ApiClient& client, int limit, const std::string& first_page) {
  std::vector<std::vector<std::string>> rows = {{"NAME", "URL"}};
  std::string page = first_page;
  for (int pages = 0; pages < kMaxPages; ++pages) {
    QueryItems query = {{"limit", std::to_string(limit)}};
    if (!page.empty()) query.emplace_back("next_page_token", page);
    const Result<HttpAnswer> answer = client.Management("GET", ApiPath({"workflows"}, query));
    if (const int code = client.Check(answer); code != kToolDone) return code;
    if (client.json()) {  // one call, one JSON document: scripts page by themselves
      client.PrintBody(*answer);
      return kToolDone;
    }
    const Json body = Json::parse(answer->body, nullptr, false);
    if (!body.is_object() || !body.contains("workflows") || !body["workflows"].is_array()) {
      return UnexpectedAnswer(client, *answer);
    }
    for (const Json& workflow : body["workflows"]) {
      rows.push_back({Field(workflow, "workflowName"), Field(workflow, "workflowUrl")});
    }
    const std::string next = Field(body, "nextPageToken");
    if (next.empty() || next == page) break;
    page = next;
  }
  client.out() << (rows.size() == 1 ? "no workflows are registered\n" : Table(rows));
  return kToolDone;
}

std::string Description(const Json& workflow) {
  std::vector<std::vector<std::string>> nodes = {{"NODE", "IS", "URL", "WORKERS", "BATCH"}};
  for (const Json& node : workflow.value("nodes", Json::array())) {
    if (node.contains("function")) {
      nodes.push_back({Field(node, "name"), Field(node, "function"), "", "", ""});
    } else {
      nodes.push_back({Field(node, "name"), Field(node, "modelName"), Field(node, "modelUrl"),
                       fmt::format("{} to {}", Field(node, "minWorkers"), Field(node, "maxWorkers")),
                       Field(node, "batchSize")});
    }
  }
  return Table({{"workflow", Field(workflow, "workflowName")},
                {"url", Field(workflow, "workflowUrl")},
                {"dag", Field(workflow, "workflowDag")},
                {"timeout", Field(workflow, "timeoutMs") + " ms"}}) +
         Table(nodes);
}

int RunDescribe(const ApiClient& client, const std::string& name) {
  const Result<HttpAnswer> answer = client.Management("GET", ApiPath({"workflows", name}));
  if (const int code = client.Check(answer); code != kToolDone) return code;
  if (client.json()) {
    client.PrintBody(*answer);
    return kToolDone;
  }
  const Json body = Json::parse(answer->body, nullptr, false);
  if (!body.is_array() || body.size() != 1 || !body[0].is_object()) return UnexpectedAnswer(client, *answer);
  client.out() << Description(body[0]);
  return kToolDone;
}

int RunRegister(const ApiClient& client, const std::string& url, const std::string& name) {
  QueryItems query = {{"url", url}};
  if (!name.empty()) query.emplace_back("workflow_name", name);
  std::error_code error;
  std::string hint;
  if (std::filesystem::exists(url, error)) {
    hint = fmt::format(
        "{} exists here, but the server looks in its own workflow store: copy it there and register it as {}",
        url, std::filesystem::path(url).filename().string());
  }
  return client.PrintStatus(client.Management("POST", ApiPath({"workflows"}, query)), hint);
}

}  // namespace

void AddWorkflowsCommands(CLI::App& app, const ApiClient& client, int& exit_code) {
  CLI::App* workflows = app.add_subcommand("workflows", "List and change the workflows of a running server");
  workflows->require_subcommand(1);

  CLI::App* list = workflows->add_subcommand("list", "List the workflows");
  auto limit = std::make_shared<int>(100);
  auto page = std::make_shared<std::string>();
  list->add_option("--limit", *limit, "Workflows per page")->check(CLI::Range(1, 100))->capture_default_str();
  list->add_option("--next-page-token", *page, "Where to begin, as the page before tells");
  list->footer("Example:\n  flambeau workflows list");
  list->callback([=, &client, &exit_code] { exit_code = RunList(client, *limit, *page); });

  auto name = std::make_shared<std::string>();
  CLI::App* describe = workflows->add_subcommand("describe", "Show a workflow and its nodes");
  describe->add_option("workflow", *name, "Its name")->required();
  describe->footer("Example:\n  flambeau workflows describe review");
  describe->callback([=, &client, &exit_code] { exit_code = RunDescribe(client, *name); });

  CLI::App* add = workflows->add_subcommand("register", "Load a workflow from the server's workflow store");
  auto url = std::make_shared<std::string>();
  add->add_option("url", *url, "A .war file or a folder in the server's workflow store")->required();
  add->add_option("--workflow-name", *name, "Name, instead of the archive's");
  add->footer("Example:\n  flambeau workflows register review.war");
  add->callback([=, &client, &exit_code] { exit_code = RunRegister(client, *url, *name); });

  CLI::App* remove = workflows->add_subcommand("remove", "Remove a workflow and its models");
  remove->add_option("workflow", *name, "Its name")->required();
  remove->footer("Example:\n  flambeau workflows remove review");
  remove->callback([=, &client, &exit_code] {
    exit_code = client.PrintStatus(client.Management("DELETE", ApiPath({"workflows", *name})));
  });
}

}  // namespace serve
