#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "serve/base/status.h"
#include "serve/security/options.h"

namespace serve {

/// Frees what OpenSSL made.
struct FreeOpenSsl {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using PrivateKey = std::unique_ptr<EVP_PKEY, FreeOpenSsl>;
using Certificate = std::unique_ptr<X509, FreeOpenSsl>;

/// Who this server is.
struct TlsIdentity {
  PrivateKey key;
  Certificate certificate;
  std::vector<Certificate> chain;  // from its issuer on, as far as the file goes
  std::chrono::system_clock::time_point expires;
  std::string valid_until;  // the same for people
};

/// Reads certificate_file and private_key_file when one of them is set, else keystore, and checks that the
/// key is the certificate's and that the certificate is valid now. Errors: kInvalidArgument; names the
/// setting, the file and what to do.
Result<TlsIdentity> ReadTlsIdentity(const TlsOptions& options);

/// What OpenSSL said last on this thread, in words.
std::string OpenSslReason();

}  // namespace serve
