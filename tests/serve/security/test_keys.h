#pragma once

#include <string>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "serve/security/tls_files.h"

namespace serve {

/// A key and its certificate, made anew by each test. Throws std::runtime_error when OpenSSL does not make
/// them.
class TestKey {
 public:
  struct Options {
    std::string name = "localhost";
    bool rsa = false;     // else EC
    bool is_ca = false;   // it may issue others
    long begins_s = -60;  // from now
    long ends_s = 86'400 * 90;
  };
  /// Signed by `issuer`; without one by itself. Servers are known as localhost and 127.0.0.1.
  static TestKey Make(const Options& options, const TestKey* issuer = nullptr);
  static TestKey Make() { return Make(Options()); }

  [[nodiscard]] std::string CertificatePem() const;
  [[nodiscard]] std::string KeyPem(const std::string& passphrase = {}) const;
  /// A PKCS12 store with both, and with `issuer`.
  [[nodiscard]] std::string Store(const std::string& password, const TestKey* issuer = nullptr) const;

 private:
  PrivateKey key_;
  Certificate certificate_;
};

}  // namespace serve
