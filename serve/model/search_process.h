#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "serve/base/status.h"
#include "serve/model/variant_search.h"
#include "serve/runtime/runtime.h"

namespace serve {

/// A search for the fastest variant in a process of its own: what the losers leave behind in libtorch's and
/// oneDNN's caches ends with it, and a variant that crashes, or needs more memory than there is, costs the
/// search and not the server.
struct SearchJob {
  std::filesystem::path artifact;
  RuntimeOptions runtime;
  std::vector<SizedBatch> batches;
  SearchOptions options;  // `now` and `trying` stay here
};

/// Starts `command` (a program and its arguments), which answers with AnswerSearch, and waits for it. The
/// result has no runtime and no times: MakeReady makes the choice ready here.
///
/// The job is its standard input, the answer its standard output; it inherits no other open file, besides the
/// standard error. It is killed as soon as `job.options.stop` says so. A variant that it crashes with is
/// refused, and the search begun again without it; not one that it was killed with, which may be for want of
/// memory.
/// Errors: kNotImplemented: the program cannot be started, search here; kUnavailable: stopped; else how it
/// ended, and at which variant.
Result<SearchResult> SearchApart(const std::vector<std::string>& command, SearchJob job);

/// The other side: reads a job from `input`, loads its artifact with one of `factories`, and writes the
/// answer to `output`, one JSON object a line: {"trying": NAME}…, then {"found": {…}} or {"error": TEXT}.
/// Returns the exit code.
int AnswerSearch(const std::vector<std::unique_ptr<RuntimeFactory>>& factories, int input, int output);

}  // namespace serve
