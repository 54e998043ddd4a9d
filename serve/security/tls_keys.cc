#include "serve/security/tls_keys.h"

#include <array>
#include <signal.h>
#include <utility>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "serve/base/log.h"
#include "serve/security/file_mark.h"
#include "serve/security/tls_files.h"

namespace serve {
namespace {

/// TLS 1.2 with keys that nobody can recover later, and with authenticated encryption; of TLS 1.3 all is so.
constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr int kDaysToWarn = 14;

Status OpenSslFailure(const std::string& what) {
  return InvalidArgument(fmt::format("{}: {}", what, OpenSslReason()));
}

/// ALPN. A client that speaks only other protocols (h2) is told so by the handshake.
int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                   unsigned offered_size, void*) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1\x08http/1.0";
  unsigned char* found = nullptr;
  const int result = SSL_select_next_proto(&found, size, kOurs, sizeof(kOurs) - 1, offered, offered_size);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

Result<std::shared_ptr<SSL_CTX>> MakeContext(const TlsOptions& options, const TlsIdentity& identity) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (context == nullptr) return Internal("OpenSSL has no memory for TLS");
  SSL_CTX* raw = context.get();
  SSL_CTX_set_min_proto_version(raw, options.only_tls_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
  if (SSL_CTX_set_cipher_list(raw, kCiphers) != 1) return OpenSslFailure("no cipher for TLS 1.2");
  // A client that just closes is no error: HTTP says by itself whether a message is complete.
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(
      raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(raw, 1);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);  // tickets carry the sessions: no memory, no lock
  static constexpr unsigned char kName[] = "flambeau";
  SSL_CTX_set_session_id_context(raw, kName, sizeof(kName) - 1);
  SSL_CTX_set_alpn_select_cb(raw, &ChooseProtocol, nullptr);
  ERR_clear_error();
  if (SSL_CTX_use_certificate(raw, identity.certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(raw, identity.key.get()) != 1) {
    return OpenSslFailure("the certificate cannot be used");
  }
  for (const Certificate& one : identity.chain) {
    if (SSL_CTX_add1_chain_cert(raw, one.get()) != 1) {
      return OpenSslFailure("a certificate of the chain cannot be used");
    }
  }
  return context;
}

Status AskForClientCertificates(SSL_CTX* context, const std::string& file) {
  ERR_clear_error();
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(file.c_str());
  if (names == nullptr || SSL_CTX_load_verify_locations(context, file.c_str(), nullptr) != 1) {
    sk_X509_NAME_pop_free(names, X509_NAME_free);
    return InvalidArgument(
        fmt::format("client_ca_file {}: it holds no certificates in PEM form: {}", file, OpenSslReason()));
  }
  SSL_CTX_set_client_CA_list(context, names);  // takes them
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return {};
}

void WarnOfExpiry(const TlsIdentity& identity) {
  int days = 0;
  int seconds = 0;
  ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(identity.certificate.get()));
  if (days < kDaysToWarn) LogWarning("the TLS certificate expires on {}; renew it", identity.valid_until);
}

}  // namespace

void FreeTlsSession::operator()(ssl_st* session) const { SSL_free(session); }

Result<std::unique_ptr<TlsKeys>> TlsKeys::Open(TlsOptions options, Expiry expiry) {
  std::unique_ptr<TlsKeys> keys(new TlsKeys(std::move(options), std::move(expiry)));
  // OpenSSL writes to sockets in a way that raises it when the client has gone.
  signal(SIGPIPE, SIG_IGN);
  // Before they are read: a change after that must not be taken for what was read.
  std::vector<FileMark> seen = keys->Marks();
  Result<Contexts> contexts = keys->Read();
  if (!contexts) return contexts.error();
  keys->current_.Publish(std::make_shared<const Contexts>(std::move(*contexts)));
  keys->watcher_.emplace(keys->options_.reload_interval,
                         [raw = keys.get(), seen = std::move(seen)]() mutable {
                           std::vector<FileMark> now = raw->Marks();
                           if (now == seen) return;
                           seen = std::move(now);
                           raw->ReadAgain();
                         });
  return keys;
}

Result<TlsKeys::Contexts> TlsKeys::Read() const {
  const Result<TlsIdentity> identity = ReadTlsIdentity(options_);
  if (!identity) return identity.error();
  Contexts contexts;
  Result<Context> open = MakeContext(options_, *identity);
  if (!open) return open.error();
  contexts.open = std::move(*open);
  if (!options_.client_ca_file.empty()) {
    Result<Context> verified = MakeContext(options_, *identity);
    if (!verified) return verified.error();
    Status status = AskForClientCertificates(verified->get(), options_.client_ca_file);
    if (!status.ok()) return status;
    contexts.verified = std::move(*verified);
  }
  LogInfo("The TLS certificate is valid until {}.", identity->valid_until);
  WarnOfExpiry(*identity);
  if (expiry_) expiry_(identity->expires);
  return contexts;
}

std::vector<FileMark> TlsKeys::Marks() const {
  std::vector<FileMark> marks;
  for (const std::string* file : {&options_.certificate_file, &options_.private_key_file, &options_.keystore,
                                  &options_.client_ca_file}) {
    marks.push_back(file->empty() ? FileMark() : FileMark::Of(*file));
  }
  return marks;
}

void TlsKeys::ReadAgain() {
  Result<Contexts> contexts = Read();
  if (contexts) {
    current_.Publish(std::make_shared<const Contexts>(std::move(*contexts)));
  } else {
    LogError("the TLS certificate stays as it was: {}", contexts.error().message);
  }
}

TlsSession TlsKeys::NewSession(int socket, bool client_certificate) const {
  const std::shared_ptr<const Contexts> contexts = current_.Get();
  const Context& context = client_certificate ? contexts->verified : contexts->open;
  if (context == nullptr) return nullptr;
  TlsSession session(SSL_new(context.get()));
  if (session == nullptr || SSL_set_fd(session.get(), socket) != 1) return nullptr;
  SSL_set_accept_state(session.get());
  return session;
}

}  // namespace serve
