#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "serve/base/periodic.h"
#include "serve/base/published.h"
#include "serve/base/status.h"
#include "serve/security/options.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX and SSL
struct ssl_st;

namespace serve {

struct FileMark;

struct FreeTlsSession {
  void operator()(ssl_st* session) const;
};
/// The TLS state of one connection.
using TlsSession = std::unique_ptr<ssl_st, FreeTlsSession>;

/// The certificate that this server shows, its key, and whose certificates of clients it accepts.
///
/// Files:    certificate_file and private_key_file when they are set, else keystore. They are looked at every
///           reload_interval; new connections get what changed, open ones keep what they have. A file that
///           became unusable is reported once and changes nothing.
/// Protocol: TLS 1.2 with forward secrecy and authenticated encryption, and TLS 1.3; no renegotiation;
/// tickets
///           resume sessions until the files change; ALPN knows http/1.1.
/// Errors:   Open: kInvalidArgument, which names the setting, the file and what to do: unreadable, expired or
///           not yet valid, a key of another certificate, an encrypted key, a JKS store.
/// Threads:  NewSession from any thread; it takes no lock that other threads take.
class TlsKeys {
 public:
  /// Is told when the certificate ends, each time one is read. From the opening thread, then from one of its
  /// own.
  using Expiry = std::function<void(std::chrono::system_clock::time_point)>;
  static Result<std::unique_ptr<TlsKeys>> Open(TlsOptions options, Expiry expiry = {});
  TlsKeys(const TlsKeys&) = delete;
  TlsKeys& operator=(const TlsKeys&) = delete;

  /// The server's side of a connection over `socket`, which does not block and stays the caller's.
  /// `client_certificate`: the handshake fails for a client without a certificate that client_ca_file vouches
  /// for. Null: no memory, or `client_certificate` without client_ca_file.
  [[nodiscard]] TlsSession NewSession(int socket, bool client_certificate) const;

 private:
  using Context = std::shared_ptr<ssl_ctx_st>;
  struct Contexts {
    Context open;
    Context verified;  // apart, so that a ticket of one is worth nothing at the other
  };

  TlsKeys(TlsOptions options, Expiry expiry) : options_(std::move(options)), expiry_(std::move(expiry)) {}
  [[nodiscard]] Result<Contexts> Read() const;
  [[nodiscard]] std::vector<FileMark> Marks() const;
  void ReadAgain();

  const TlsOptions options_;
  const Expiry expiry_;
  Published<Contexts> current_;
  std::optional<Periodic> watcher_;  // last: it uses the others
};

}  // namespace serve
