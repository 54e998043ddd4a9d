#pragma once

#include <string>

#include "model_store/sources/download.h"
#include "serve/base/status.h"

namespace serve {

/// `s3://BUCKET/KEY` and `gs://BUCKET/OBJECT`.
struct ObjectUri {
  std::string bucket;
  std::string key;
};
/// Errors: kModelNotFound, saying what is wrong with it.
Result<ObjectUri> ParseObjectUri(const std::string& uri);

/// How an object of S3, or of a store that speaks its protocol, is fetched: signed (Signature Version 4) with
/// the credentials of FindAwsCredentials. The endpoint is AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or
/// MLFLOW_S3_ENDPOINT_URL with the bucket in the path; else Amazon's in the region, with the bucket in the
/// host name. A bucket of another region is asked there. Errors: kModelNotFound (not such a URI),
/// kDownloadFailed (no credentials). Threads: any; may wait a few seconds for credentials.
Result<DownloadPlan> S3Plan(const std::string& uri);

/// Percent-encodes each part of a path and leaves its slashes.
std::string EncodePath(std::string_view path);

}  // namespace serve
