#include "model_store/sources/s3.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <memory>
#include <string_view>

#include <fmt/format.h>

#include "model_store/sources/aws_credentials.h"
#include "model_store/sources/aws_signature.h"

namespace serve {
namespace {

/// What stands between <tag> and </tag> in an error of S3: short texts, never nested.
std::string Tag(std::string_view xml, std::string_view tag) {
  const std::string open = fmt::format("<{}>", tag);
  const std::size_t begin = xml.find(open);
  if (begin == std::string_view::npos) return {};
  const std::size_t end = xml.find("</", begin);
  if (end == std::string_view::npos) return {};
  return std::string(xml.substr(begin + open.size(), std::min<std::size_t>(end - begin - open.size(), 300)));
}

/// The request of one object, with what may change while it is fetched.
class S3Request {
 public:
  S3Request(ObjectUri object, AwsCredentials credentials)
      : object_(std::move(object)), credentials_(std::move(credentials)), region_(FindAwsRegion()) {
    for (const char* variable : {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "MLFLOW_S3_ENDPOINT_URL"}) {
      if (endpoint_.empty()) endpoint_ = EnvironmentValue(variable);
    }
    while (endpoint_.ends_with('/')) endpoint_.pop_back();
  }

  [[nodiscard]] GetCall Make() const {
    std::string path = "/" + EncodePath(object_.key);
    std::string base = endpoint_;
    if (endpoint_.empty() && object_.bucket.find('.') == std::string::npos) {
      base = fmt::format("https://{}.s3.{}.amazonaws.com", object_.bucket, region_);
    } else {  // a name with dots is not covered by the certificate
      if (base.empty()) base = fmt::format("https://s3.{}.amazonaws.com", region_);
      path = "/" + UrlEncode(object_.bucket) + path;
    }
    const std::size_t host = base.find("://") + 3;
    const std::size_t slash = std::min(base.find('/', host), base.size());
    path = base.substr(slash) + path;
    base.resize(slash);
    GetCall call;
    call.url = base + path;
    call.headers = SignAwsRequest({.host = base.substr(host), .path = path}, credentials_, region_, "s3",
                                  std::chrono::system_clock::now());
    call.ca_file = EnvironmentValue("AWS_CA_BUNDLE");
    return call;
  }

  /// Asks in the right region, once.
  bool Correct(const GetAnswer& got) {
    const std::string region = RegionOf(got);
    if (region.empty() || region == region_ || corrected_) return false;
    const bool name = std::all_of(region.begin(), region.end(), [](unsigned char c) {
      return std::islower(c) != 0 || std::isdigit(c) != 0 || c == '-';
    });
    if (!name) return false;  // it becomes a part of a host name
    region_ = region;
    return corrected_ = true;
  }

  [[nodiscard]] std::string Explain(const GetAnswer& got) const {
    const int status = got.answer.status;
    const std::string code = Tag(got.answer.body, "Code");
    const std::string said =
        code.empty() ? fmt::format("status {}", status)
                     : fmt::format("status {}, {}: {}", status, code, Tag(got.answer.body, "Message"));
    struct Row {
      std::string_view code;
      std::string why;
    };
    const std::string key = fmt::format("the credentials of {}", credentials_.from);
    const Row rows[] = {
        {"NoSuchBucket", fmt::format("there is no bucket {}", object_.bucket)},
        {"NoSuchKey", fmt::format("there is no object {} in the bucket {}", object_.key, object_.bucket)},
        {"InvalidAccessKeyId", fmt::format("the server does not know the access key: {}", key)},
        {"SignatureDoesNotMatch", fmt::format("the secret key does not fit the access key: {}", key)},
        {"ExpiredToken", fmt::format("the session token has expired: get a new one for {}", key)},
        {"TokenRefreshRequired", fmt::format("the session token has expired: get a new one for {}", key)},
        {"InvalidToken", fmt::format("the session token is not valid: {}", key)},
        {"RequestTimeTooSkewed", "the clock of this machine is wrong: set it (NTP)"},
        {"AccessDenied",
         fmt::format("{} may not read it: they need s3:GetObject (and s3:ListBucket, else what "
                     "does not exist is refused too)",
                     key)},
        {"InvalidObjectState", "it lies in an archive class: restore it first"},
        {"PermanentRedirect", fmt::format("the bucket is not in the region {}: set AWS_REGION", region_)},
        {"AuthorizationHeaderMalformed",
         fmt::format("the bucket is not in the region {}: set AWS_REGION", region_)},
    };
    for (const Row& row : rows) {
      if (row.code == code) return fmt::format("{} ({})", row.why, said);
    }
    if (status == 301 || status == 307) {
      const std::string region = RegionOf(got);
      return fmt::format("the bucket is not in the region {}: set AWS_REGION{} ({})", region_,
                         region.empty() ? "" : "=" + region, said);
    }
    if (status == 403) return fmt::format("{} may not read it ({})", key, said);
    if (status == 404) return fmt::format("there is no such bucket or object ({})", said);
    return said;
  }

 private:
  static std::string RegionOf(const GetAnswer& got) {
    std::string region(got.answer.Header("x-amz-bucket-region"));
    if (region.empty() &&
        (got.answer.status == 301 || got.answer.status == 307 || got.answer.status == 400)) {
      region = Tag(got.answer.body, "Region");
    }
    return region;
  }

  const ObjectUri object_;
  const AwsCredentials credentials_;
  std::string endpoint_;
  std::string region_;
  bool corrected_ = false;
};

}  // namespace

std::string EncodePath(std::string_view path) {
  std::string encoded;
  while (true) {
    const std::size_t slash = path.find('/');
    encoded += UrlEncode(path.substr(0, slash));
    if (slash == std::string_view::npos) return encoded;
    encoded += '/';
    path.remove_prefix(slash + 1);
  }
}

Result<ObjectUri> ParseObjectUri(const std::string& uri) {
  const std::size_t begin = uri.find("://");
  const std::size_t slash = begin == std::string::npos ? begin : uri.find('/', begin + 3);
  if (slash == std::string::npos || slash + 1 == uri.size()) {
    return Status{Code::kModelNotFound,
                  fmt::format("Model not found at: {} (expected SCHEME://BUCKET/OBJECT)", uri)};
  }
  ObjectUri object{uri.substr(begin + 3, slash - begin - 3), uri.substr(slash + 1)};
  const bool name = object.bucket.size() >= 3 && object.bucket.size() <= 222 &&
                    std::all_of(object.bucket.begin(), object.bucket.end(), [](unsigned char c) {
                      return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
                    });
  if (!name || object.bucket.front() == '.' || object.bucket.find("..") != std::string::npos) {
    return Status{Code::kModelNotFound,
                  fmt::format("Model not found at: {} (\"{}\" is no name of a bucket)", uri, object.bucket)};
  }
  return object;
}

Result<DownloadPlan> S3Plan(const std::string& uri) {
  Result<ObjectUri> object = ParseObjectUri(uri);
  if (!object) return object.error();
  Result<AwsCredentials> credentials = FindAwsCredentials();
  if (!credentials) return DownloadFailed(uri, credentials.error().message);
  const auto request = std::make_shared<S3Request>(*std::move(object), *std::move(credentials));
  DownloadPlan plan;
  plan.shown = uri;
  plan.request = [request] { return Result<GetCall>(request->Make()); };
  plan.explain = [request](const GetAnswer& got) { return request->Explain(got); };
  plan.correct = [request](const GetAnswer& got) { return request->Correct(got); };
  plan.etag_is_md5 = true;
  return plan;
}

}  // namespace serve
