#include <cstdio>
#include <fstream>
#include <iterator>

#include <CLI/CLI.hpp>

#include "bench/load/load_client.h"
#include "bench/load/report.h"

namespace serve {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;  // unreachable, or not one answer
constexpr int kBadArguments = 2;

struct Arguments {
  LoadOptions load;
  std::string url;
  std::vector<std::string> body_files;
  double warmup_s = 0;
  double duration_s = 10;
  double timeout_s = 10;
  bool json = false;
};

int Refuse(const std::string& message) {
  std::fprintf(stderr, "flambeau-load: %s\n", message.c_str());
  return kBadArguments;
}

std::chrono::nanoseconds FromSeconds(double seconds) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
}

Status ReadBodies(Arguments& arguments) {
  for (const std::string& name : arguments.body_files) {
    std::ifstream file(name, std::ios::binary);
    if (!file) return InvalidArgument("--body " + name + ": cannot be read");
    arguments.load.bodies.emplace_back(std::istreambuf_iterator<char>(file),
                                       std::istreambuf_iterator<char>());
  }
  return {};
}

void Declare(CLI::App& app, Arguments& arguments) {
  LoadOptions& load = arguments.load;
  app.add_option("--url", arguments.url, "http://HOST[:PORT][/PATH]")->required();
  app.add_option("--connections", load.connections, "Kept open at the same time")
      ->check(CLI::Range(1, 20'000));
  app.add_option("--threads", load.threads, "Threads of this client")->check(CLI::Range(1, 64));
  app.add_option("--duration", arguments.duration_s, "Seconds that are measured")
      ->check(CLI::Range(0.01, 86'400.0));
  app.add_option("--warmup", arguments.warmup_s, "Seconds before them, under the same load")
      ->check(CLI::Range(0.0, 3'600.0));
  app.add_option("--requests", load.max_requests, "End after so many answers, warm-up included");
  app.add_option("--rate", load.rate,
                 "Open loop: requests a second, due at fixed times; latency counts from when each was due")
      ->check(CLI::Range(0.001, 10e6));
  app.add_option("--timeout", arguments.timeout_s, "Seconds until an unanswered request counts as lost")
      ->check(CLI::Range(0.001, 3'600.0));
  app.add_option("--body", arguments.body_files, "FILE to send; several are sent in turn")
      ->expected(1)
      ->take_all();
  app.add_option("--header", load.headers, "'Name: value', for every request")->expected(1)->take_all();
  app.add_option("--method", load.method, "Default: POST with a body, else GET");
  app.add_flag("--json", arguments.json, "Print JSON");
  app.get_formatter()->column_width(32);
  for (CLI::Option* option : app.get_options()) option->capture_default_str();
}

int Main(int count, char** words) {
  CLI::App app("Puts an HTTP/1.1 server under load and reports rates and latencies.", "flambeau-load");
  Arguments arguments;
  Declare(app, arguments);
  try {
    app.parse(count, words);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kBadArguments;
  }
  LoadOptions& load = arguments.load;
  load.warmup = FromSeconds(arguments.warmup_s);
  load.duration = FromSeconds(arguments.duration_s);
  load.timeout = FromSeconds(arguments.timeout_s);
  if (Status status = SetUrl(arguments.url, load); !status.ok()) return Refuse(status.message);
  if (Status status = ReadBodies(arguments); !status.ok()) return Refuse(status.message);
  for (const std::string& header : load.headers) {
    if (header.find(':') == std::string::npos || header.find_first_of("\r\n") != std::string::npos) {
      return Refuse("--header '" + header + "': expected 'Name: value'");
    }
  }
  const Result<LoadResult> result = RunLoad(load);
  if (!result) {
    std::fprintf(stderr, "flambeau-load: %s\n", result.error().message.c_str());
    return kFailed;
  }
  std::fputs((arguments.json ? ReportJson(load, *result) : ReportText(load, *result)).c_str(), stdout);
  return result->statuses.empty() ? kFailed : kDone;
}

}  // namespace
}  // namespace serve

int main(int count, char** words) { return serve::Main(count, words); }
