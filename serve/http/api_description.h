#pragma once

#include <string>
#include <string_view>

#include "serve/api/inference_api.h"
#include "serve/http/router.h"

namespace serve {

/// The routes with `OPTIONS /` and `GET /api-description` added, which answer an OpenAPI 3.0 document made of
/// the table itself and of api_operations.cc; where the table has /predictions/{model} or /models/{model},
/// OPTIONS on them answers the same for one model, to those whom their other methods answer. Call it last:
/// routes that are added later are not in the document.
///
/// `title`: "Flambeau inference API". `api` is borrowed and outlives the listener.
Router WithDescription(Router router, std::string_view title, const InferenceApi& api);

/// The document as JSON. `model`: only the operations of that model, named in the paths; empty: everything.
std::string DescribeApi(const Router& router, std::string_view title, std::string_view model = {});

}  // namespace serve
