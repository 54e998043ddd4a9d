#pragma once

#include <string>

#include "model_store/sources/aws_signature.h"
#include "serve/base/status.h"

namespace serve {

/// Finds credentials where Amazon's own programs look, in their order: the environment (AWS_ACCESS_KEY_ID,
/// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN); the profile AWS_PROFILE (else `default`) of
/// AWS_SHARED_CREDENTIALS_FILE (else ~/.aws/credentials); the container's endpoint
/// (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, …_FULL_URI); the machine's metadata service (IMDSv2, asked for a
/// second at most, never when AWS_EC2_METADATA_DISABLED is true).
/// Errors: kNotFound, with a list of where was looked and why it was not there. Threads: any; blocks.
Result<AwsCredentials> FindAwsCredentials();

/// AWS_REGION, AWS_DEFAULT_REGION, else the profile's in AWS_CONFIG_FILE (else ~/.aws/config); else
/// us-east-1.
std::string FindAwsRegion();

/// The value of an environment variable; empty when there is none.
std::string EnvironmentValue(const char* name);

}  // namespace serve
