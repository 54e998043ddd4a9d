#pragma once

#include <chrono>
#include <string>

namespace serve {

struct TokenOptions {
  bool enabled = false;
  /// Short-lived keys are made at start and written here, with mode 0600. Empty: key_file.json in the working
  /// folder, or none when there is a token_file.
  std::string key_file;
  std::chrono::milliseconds lifetime{60 * 60'000};   // of a short-lived key. TorchServe: token_expiration_min
  std::string token_file;                            // long-lived keys; empty: none
  std::chrono::milliseconds reload_interval{1'000};  // how often token_file is looked at
};

/// Key and certificate of the listeners whose address begins with https://. All files are read again when one
/// of them changes.
struct TlsOptions {
  std::string certificate_file;            // PEM: the server's certificate, then those that lead to the root
  std::string private_key_file;            // PEM, RSA or EC, not encrypted
  std::string keystore;                    // PKCS12, for when there are no PEM files
  std::string keystore_pass = "changeit";  // TorchServe's default
  std::string client_ca_file;  // PEM: who signs the certificates of clients; empty: none are asked for
  bool only_tls_1_3 = false;
  std::chrono::milliseconds reload_interval{1'000};  // how often the files are looked at
};

}  // namespace serve
