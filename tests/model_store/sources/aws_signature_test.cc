#include "model_store/sources/aws_signature.h"

#include <ctime>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

/// The examples of Amazon's documentation ("Signature Calculations for the Authorization Header").
std::string Authorization(const AwsRequest& request) {
  const AwsCredentials credentials{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "",
                                   ""};
  std::tm utc{};
  utc.tm_year = 113;
  utc.tm_mon = 4;
  utc.tm_mday = 24;
  const auto time = std::chrono::system_clock::from_time_t(timegm(&utc));
  for (const auto& [name, value] : SignAwsRequest(request, credentials, "us-east-1", "s3", time)) {
    if (name == "authorization") return value;
  }
  return {};
}

TEST(AwsSignatureTest, IsTheOneOfAmazonsExamples) {
  EXPECT_THAT(Authorization({.host = "examplebucket.s3.amazonaws.com",
                             .path = "/test.txt",
                             .query = "",
                             .headers = {{"Range", "bytes=0-9"}}}),
              EndsWith("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
  EXPECT_THAT(Authorization({.host = "examplebucket.s3.amazonaws.com",
                             .path = "/",
                             .query = "max-keys=2&prefix=J",
                             .headers = {}}),
              EndsWith("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
}

TEST(AwsSignatureTest, CoversTheSessionToken) {
  const HttpHeaders headers = SignAwsRequest({.host = "h", .path = "/k", .query = "", .headers = {}},
                                             {"key", "secret", "session", ""}, "eu-west-1", "s3", {});
  const std::string& authorization = headers.back().second;
  EXPECT_THAT(authorization,
              HasSubstr("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
  EXPECT_THAT(authorization, HasSubstr("Credential=key/19700101/eu-west-1/s3/aws4_request"));
}

}  // namespace
}  // namespace serve
