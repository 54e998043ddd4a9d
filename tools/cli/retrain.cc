#include "tools/cli/retrain.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

#include "serve/base/files.h"
#include "tools/cli/answer_text.h"

extern char** environ;  // NOLINT: POSIX declares it nowhere

namespace serve {
namespace {

namespace fs = std::filesystem;

/// Hyper-parameters whose flag has another name; an empty one: it follows from the data.
struct FlagRow {
  std::string_view parameter;
  std::string_view flag;
};
constexpr FlagRow kFlags[] = {{"max_iterations", "--epochs"},
                              {"features", ""},
                              {"terms", ""},
                              {"network", ""},
                              {"mean", ""},
                              {"std", ""}};

std::string FlagOf(const std::string& parameter) {
  for (const FlagRow& row : kFlags) {
    if (row.parameter == parameter) return std::string(row.flag);
  }
  std::string flag = "--" + parameter;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

/// Empty: the flag stays away.
std::string ValueOf(const Json& value) {
  if (value.is_null()) return {};
  if (!value.is_array()) return Text(value);
  std::string list;
  for (const Json& one : value) list += (list.empty() ? "" : ",") + Text(one);
  return list;
}

/// Empty when it cannot be read.
std::string OutputIn(const fs::path& file) {
  constexpr std::uint64_t kMostBytes = 16U << 20;
  Result<std::string> text = ReadFile(file, kMostBytes);
  return text ? *std::move(text) : std::string();
}

}  // namespace

Result<std::vector<std::string>> RetrainArguments(const Json& lineage, const std::vector<std::string>& labels,
                                                  const fs::path& data, const fs::path& validation) {
  constexpr std::string_view kProgram = "flambeau-train ";
  const std::string program = Field(lineage, "program");
  if (!program.starts_with(kProgram) || !lineage.contains("hyper_parameters")) {
    return InvalidArgument("the archive was not made by flambeau-train: it cannot be trained again");
  }
  if (lineage.contains("encoder")) {
    return InvalidArgument(
        fmt::format("the archive was trained on the encoder {} (sha256 {}), which it does not hold as it "
                    "was: run {} --encoder "
                    "FILE with it and compare the lineages' weights_sha256",
                    Field(lineage["encoder"], "file"), Field(lineage["encoder"], "sha256"), program));
  }
  std::vector<std::string> arguments = {program.substr(kProgram.size()), "--data=" + data.string()};
  const auto add = [&arguments](const std::string& flag, const std::string& value) {
    if (value.empty() || flag.empty()) return;
    arguments.push_back(flag + "=" + value);  // so that it may begin with a dash, or be that of a switch
  };
  add("--validation", validation.string());
  const Json recorded = lineage.value("validation", Json::object());
  if (validation.empty() && recorded.is_object()) add("--split", ValueOf(recorded.value("split", Json())));
  add("--seed", ValueOf(lineage.value("seed", Json())));
  std::string list;
  for (const std::string& label : labels) {
    if (label.find(',') != std::string::npos) {
      return InvalidArgument(fmt::format("the label {} holds a comma, which --labels cannot take", label));
    }
    list += (list.empty() ? "" : ",") + label;
  }
  add("--labels", list);
  for (const auto& [name, value] : lineage["hyper_parameters"].items()) add(FlagOf(name), ValueOf(value));
  return arguments;
}

Status Retrain(const std::string& program, std::vector<std::string> arguments, const fs::path& work,
               Json& lineage) {
  const fs::path out = work / "out.json";
  const fs::path err = work / "err.txt";
  for (const char* more : {"--out", "", "--json", "--quiet", "--no-tracking"}) arguments.emplace_back(more);
  *std::find(arguments.begin(), arguments.end(), "") = (work / "store").string();
  std::vector<char*> words = {const_cast<char*>(program.c_str())};
  for (std::string& argument : arguments) words.push_back(argument.data());
  words.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, program.c_str(), &files, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (failed != 0) {
    return {Code::kNotFound, fmt::format("cannot run {}: {}; name it with --trainer", program,
                                         std::generic_category().message(failed))};
  }
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(state) || WEXITSTATUS(state) != 0) {
    return InvalidArgument(fmt::format("{} failed: {}", program, OutputIn(err)));
  }
  const Json summary = Json::parse(OutputIn(out), nullptr, false);
  if (!summary.is_object() || !summary.contains("lineage")) {
    return Internal(fmt::format("{} printed no summary", program));
  }
  lineage = summary["lineage"];
  return {};
}

std::string TrainerProgram() {
  std::error_code error;
  const fs::path beside = fs::read_symlink("/proc/self/exe", error).parent_path() / "flambeau-train";
  return !error && fs::exists(beside, error) ? beside.string() : "flambeau-train";
}

}  // namespace serve
