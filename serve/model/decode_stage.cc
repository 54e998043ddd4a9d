#include "serve/model/decode_stage.h"

#include <exception>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace serve {
namespace {

Status Decode(const Handler& handler, Sample& sample) try {
  return handler.Decode(sample);
} catch (const std::exception& error) {  // a worker survives whatever a handler forgot to catch
  return {Code::kPredictionFailed, fmt::format("Prediction failed: {}", error.what())};
}

}  // namespace

void DecodeSamples(const Handler& handler, Batch& batch, ModelMetrics& metrics) {
  std::vector<Waiting> decoded;
  decoded.reserve(batch.items.size());
  for (Waiting& item : batch.items) {
    if (Status status = Decode(handler, item.sample); status.ok()) {
      decoded.push_back(std::move(item));
    } else {
      metrics.rejected[static_cast<std::size_t>(RejectReason::kBadInput)].Add();
      batch.rows -= item.sample.rows;
      std::move(item.responder).Send(std::move(status));
    }
  }
  batch.items = std::move(decoded);
}

}  // namespace serve
