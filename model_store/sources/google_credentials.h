#pragma once

#include <chrono>
#include <string>

#include "serve/base/status.h"

namespace serve {

struct GoogleToken {
  std::string token;  // empty: nobody gave one; public objects can be read without
  std::string from;   // where it is from; without a token: where was looked
  std::chrono::steady_clock::time_point expires = std::chrono::steady_clock::time_point::max();
};

/// Finds an access token where Google's own programs look: GOOGLE_OAUTH_ACCESS_TOKEN; the key file
/// GOOGLE_APPLICATION_CREDENTIALS (of a service account, or of a user); the file that `gcloud auth
/// application-default login` leaves; the metadata service (GCE_METADATA_HOST, else
/// metadata.google.internal; a second at most). `explicit_only`: only what the environment names, as with an
/// emulator.
/// Errors: kInvalidArgument (a named file that cannot be used), kUnauthenticated (the token's server
/// refused), or those of CallHttp. Having none is no error. Threads: any; blocks.
Result<GoogleToken> FindGoogleToken(bool explicit_only);

}  // namespace serve
