#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include <boost/assert/source_location.hpp>
#include <boost/system/result.hpp>

namespace serve {

/// What kind of thing went wrong. Codes are few, messages are rich; serve/api/wire_codes.h holds the one
/// table that maps them to HTTP and metric labels.
enum class Code {
  kOk,
  kInvalidArgument,   // the caller sent something that cannot be used
  kUnauthenticated,   // a token is missing or wrong
  kPermissionDenied,  // understood, and refused by a setting
  kNotFound,          // no such route or file
  kModelNotFound,
  kVersionNotFound,
  kMethodNotAllowed,
  kConflict,        // it exists already
  kDefaultVersion,  // the default version cannot be removed while others exist
  kPayloadTooLarge,
  kUnsupportedMedia,
  kInvalidModel,  // an archive or module that cannot be served
  kHeaderTooLarge,
  kReadTimeout,        // the client did not finish sending in time
  kResourceExhausted,  // a queue is full
  kUnavailable,        // no worker, shutting down
  kDeadlineExceeded,   // the request's own deadline passed
  kPredictionFailed,   // the model threw or answered with something unusable
  kNotImplemented,
  kDownloadFailed,  // an archive could not be fetched
  kWorkflowNotFound,
  kInvalidWorkflow,  // a graph that cannot be run
  kWorkflowFailed,   // a part of it could not be registered
  kInternal,
};

/// An error, or kOk. `message` is for people: it names the model, the limit and the value that was seen.
struct [[nodiscard]] Status {
  Code code = Code::kOk;
  std::string message;
  int retry_after = 0;  // seconds after which it may succeed; 0: nothing is known

  [[nodiscard]] bool ok() const { return code == Code::kOk; }
};

[[noreturn]] inline void throw_exception_from_error(const Status& status, const boost::source_location&) {
  throw std::logic_error("value() of a failed Result: " + status.message);  // our own mistake, never input's
}

/// Used like std::expected: `if (!result) return result.error();`.
template <class T>
using Result = boost::system::result<T, Status>;

inline Status InvalidArgument(std::string message) { return {Code::kInvalidArgument, std::move(message)}; }
inline Status Internal(std::string message) { return {Code::kInternal, std::move(message)}; }

}  // namespace serve
