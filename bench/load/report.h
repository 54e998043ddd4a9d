#pragma once

#include <string>

#include "bench/load/load_client.h"
#include "bench/load/options.h"

namespace serve {

/// One JSON object: seconds for durations, microseconds for latencies, requests and bytes a second.
std::string ReportJson(const LoadOptions& options, const LoadResult& result);
/// The same for people, a few lines.
std::string ReportText(const LoadOptions& options, const LoadResult& result);

}  // namespace serve
