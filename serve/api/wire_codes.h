#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "serve/base/status.h"

namespace serve {

/// How an error code looks on the wire.
struct WireCode {
  Code code;
  int http;
  std::string_view type;  // TorchServe's class names: clients match on them
};

/// The one table; read by HTTP answers, metrics and the OpenAPI document. In the order of Code.
inline constexpr std::array kWireCodes = {
    WireCode{Code::kOk, 200, "Ok"},
    WireCode{Code::kInvalidArgument, 400, "BadRequestException"},
    WireCode{Code::kUnauthenticated, 401, "InvalidKeyException"},
    WireCode{Code::kPermissionDenied, 403, "PermissionDeniedException"},
    WireCode{Code::kNotFound, 404, "ResourceNotFoundException"},
    WireCode{Code::kModelNotFound, 404, "ModelNotFoundException"},
    WireCode{Code::kVersionNotFound, 404, "ModelVersionNotFoundException"},
    WireCode{Code::kMethodNotAllowed, 405, "MethodNotAllowedException"},
    WireCode{Code::kConflict, 409, "ConflictStatusException"},
    WireCode{Code::kDefaultVersion, 403, "InvalidModelVersionException"},
    WireCode{Code::kPayloadTooLarge, 413, "RequestEntityTooLargeException"},
    WireCode{Code::kUnsupportedMedia, 415, "UnsupportedMediaTypeException"},
    WireCode{Code::kInvalidModel, 400, "InvalidModelException"},
    WireCode{Code::kHeaderTooLarge, 431, "RequestHeaderTooLargeException"},
    WireCode{Code::kReadTimeout, 408, "RequestTimeoutException"},
    WireCode{Code::kResourceExhausted, 503, "ServiceUnavailableException"},
    WireCode{Code::kUnavailable, 503, "ServiceUnavailableException"},
    WireCode{Code::kDeadlineExceeded, 504, "RequestTimeoutException"},
    WireCode{Code::kPredictionFailed, 503, "InternalServerException"},
    WireCode{Code::kNotImplemented, 501, "NotImplementedException"},
    WireCode{Code::kDownloadFailed, 400, "DownloadArchiveException"},
    WireCode{Code::kWorkflowNotFound, 404, "WorkflowNotFoundException"},
    WireCode{Code::kInvalidWorkflow, 400, "InvalidDAGException"},
    WireCode{Code::kWorkflowFailed, 500, "WorkflowException"},
    WireCode{Code::kInternal, 500, "InternalServerException"},
};
static_assert(kWireCodes.size() == static_cast<std::size_t>(Code::kInternal) + 1, "one row per code");
static_assert(
    [] {
      for (std::size_t i = 0; i < kWireCodes.size(); ++i) {
        if (static_cast<std::size_t>(kWireCodes[i].code) != i) return false;
      }
      return true;
    }(),
    "rows stand in the order of Code");

constexpr const WireCode& ToWire(Code code) { return kWireCodes[static_cast<std::size_t>(code)]; }

}  // namespace serve
