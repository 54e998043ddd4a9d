#pragma once

#include <string_view>

#include "handlers/handler.h"

namespace serve {

/// Reads a request in the form that its `protocol` names, into an ordinary sample of the handler: requests of
/// all forms share batches. kNative is the handler's own Prepare.
Result<Sample> PrepareAs(const Handler& handler, Request&& request);

/// The answer of KServe v2 in JSON, as `hint.infer` asks for it; without one, the handler's own Render. NaN
/// and infinities are null, as JSON has no other word for them. Errors: kInvalidArgument for an output that
/// the model did not give, naming those that it did.
Result<Response> RenderAs(const Handler& handler, const Output& output, const RenderHint& hint,
                          std::string_view model, std::string_view version);

}  // namespace serve
