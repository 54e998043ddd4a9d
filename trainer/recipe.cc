#include "trainer/recipe.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <numeric>
#include <ostream>
#include <system_error>
#include <unistd.h>

namespace serve::trainer {

using Json = nlohmann::ordered_json;

std::size_t Scores::rows() const {
  std::size_t rows = 0;
  for (const auto& row : confusion) rows = std::accumulate(row.begin(), row.end(), rows);
  return rows;
}

double Scores::accuracy() const {
  std::size_t right = 0;
  for (std::size_t c = 0; c < confusion.size(); ++c) right += confusion[c][c];
  return rows() == 0 ? 0 : static_cast<double>(right) / static_cast<double>(rows());
}

std::string ScoresText(const Scores& scores, const std::vector<std::string>& labels) {
  std::size_t width = 5;
  for (const std::string& label : labels) width = std::max(width, label.size());
  std::string text =
      fmt::format("{:<{}}  {:>7}  {:>7}  most often taken for\n", "class", width, "recall", "rows");
  for (std::size_t c = 0; c < labels.size(); ++c) {
    std::vector<std::size_t> row = scores.confusion[c];
    const std::size_t all = std::accumulate(row.begin(), row.end(), std::size_t{0});
    const double recall = all == 0 ? 0 : static_cast<double>(row[c]) / static_cast<double>(all);
    row[c] = 0;
    const auto other = std::max_element(row.begin(), row.end());
    text += fmt::format("{:<{}}  {:>7.3f}  {:>7}  {}\n", labels[c], width, recall, all,
                        *other == 0 ? "" : labels[static_cast<std::size_t>(other - row.begin())]);
  }
  return text + fmt::format("\naccuracy {:.4f} on {} rows\n", scores.accuracy(), scores.rows());
}

Json ScoresJson(const Scores& scores, const std::vector<std::string>& labels) {
  return {{"rows", scores.rows()},
          {"accuracy", scores.accuracy()},
          {"labels", labels},
          {"confusion", scores.confusion}};
}

Status CheckOutput(const std::filesystem::path& out, const std::string& name, bool replace) {
  std::error_code error;
  const std::filesystem::path archive = out / (name + ".mar");
  if (!replace && std::filesystem::exists(std::filesystem::symlink_status(archive, error))) {
    return {Code::kConflict,
            fmt::format("{} exists already; replace it with --force, or choose another --name or --out",
                        archive.string())};
  }
  // The folder itself, or the one in which the first of the missing folders is made.
  std::filesystem::path there = std::filesystem::absolute(out, error);
  while (access(there.c_str(), F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR) &&
         there.has_relative_path()) {
    there = there.parent_path();
  }
  if (access((there / ".").c_str(), W_OK | X_OK) == 0) return {};
  return Internal(fmt::format("cannot write to the folder {}: {}; choose another one with --out",
                              there.string(), std::strerror(errno)));
}

int RecipeOutput::Fail(const Status& status) const {
  streams_.err << "error: " << status.message << '\n';
  return status.code == Code::kPredictionFailed ? kDiverged : kFailed;
}

void RecipeOutput::SayText(const std::string& text) const {
  if (!options_.quiet) (options_.json ? streams_.err : streams_.out) << text << std::flush;
}

double RecipeOutput::Seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
}

int RecipeOutput::Finish(const CreatedArchive& archive, const Json& lineage, const Json& metrics) const {
  const Registration where = {options_.management,      options_.name,       options_.version, archive.path,
                              options_.initial_workers, options_.set_default};
  Say("archive   {} ({} bytes), {} {}\ntime      {:.1f} s\n", archive.path.string(), archive.size,
      options_.name, options_.version, Seconds());
  bool registered = false;
  if (options_.management.empty()) {
    Say("\nServe it:              flambeau serve --model-store {} --models {}\n"
        "Or, in a running one:  {}\n",
        options_.out.string(), archive.path.filename().string(), RegisterCommand(where));
  } else if (const Result<std::string> said = RegisterModel(where); said) {
    registered = true;
    Say("\nregistered with {}: {}\n", where.management, *said);
  } else {
    streams_.err << fmt::format(
        "error: {} was not registered: {}\nThe archive stays. It must lie in the model store of that server; "
        "then: "
        "{}\n",
        archive.path.string(), said.error().message, RegisterCommand(where));
  }
  if (options_.json) {
    const Json summary = {{"name", options_.name},
                          {"version", options_.version},
                          {"archive", archive.path.string()},
                          {"archive_sha256", archive.sha256},
                          {"registered", registered},
                          {"seconds", std::round(Seconds() * 1000) / 1000},
                          {"lineage", lineage},
                          {"metrics", metrics}};
    streams_.out << summary.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  }
  return registered || options_.management.empty() ? kDone : kFailed;
}

std::string CreationTime() {
  std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  if (const char* fixed = std::getenv("SOURCE_DATE_EPOCH")) now = std::strtoll(fixed, nullptr, 10);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace serve::trainer
