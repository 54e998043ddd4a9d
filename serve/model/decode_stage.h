#pragma once

#include "handlers/handler.h"
#include "serve/scheduler/batch_queue.h"
#include "serve/telemetry/metrics.h"

namespace serve {

/// The Decode stage of the samples of a batch, on the calling worker. Those that cannot be decoded are
/// answered and leave the batch; the others never notice.
void DecodeSamples(const Handler& handler, Batch& batch, ModelMetrics& metrics);

}  // namespace serve
