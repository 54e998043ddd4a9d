#include "serve/security/tls_files.h"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

namespace serve {
namespace {

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;
struct FreeStore {
  void operator()(PKCS12* store) const { PKCS12_free(store); }
};

Status Unusable(std::string_view setting, const std::string& path, const std::string& why) {
  return InvalidArgument(fmt::format("{} {}: {}", setting, path, why));
}

Result<Bio> OpenFile(std::string_view setting, const std::string& path) {
  ERR_clear_error();
  errno = 0;
  Bio bio(BIO_new_file(path.c_str(), "rb"));
  if (bio != nullptr) return bio;
  const int reason = errno;
  return Unusable(setting, path,
                  fmt::format("it cannot be read: {}", std::generic_category().message(reason)));
}

/// Without it OpenSSL would ask at the terminal. `asked` tells that the file needs a passphrase.
int RefusePassphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

Result<PrivateKey> ReadPrivateKey(const std::string& path) {
  Result<Bio> file = OpenFile("private_key_file", path);
  if (!file) return file.error();
  bool asked = false;
  PrivateKey key(PEM_read_bio_PrivateKey(file->get(), nullptr, &RefusePassphrase, &asked));
  if (key != nullptr) return key;
  if (asked) {
    return Unusable("private_key_file", path,
                    "the key is encrypted; write it without a passphrase, for the server's user alone: "
                    "`openssl pkey -in KEY -out PLAIN_KEY`");
  }
  return Unusable("private_key_file", path,
                  "it holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)");
}

Status ReadCertificates(const std::string& path, TlsIdentity& identity) {
  Result<Bio> file = OpenFile("certificate_file", path);
  if (!file) return file.error();
  while (Certificate one{PEM_read_bio_X509(file->get(), nullptr, nullptr, nullptr)}) {
    if (identity.certificate == nullptr) {
      identity.certificate = std::move(one);
    } else {
      identity.chain.push_back(std::move(one));
    }
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string reason = OpenSslReason();
  ERR_clear_error();
  if (identity.certificate == nullptr && at_end) {
    return Unusable("certificate_file", path,
                    "it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
  }
  if (!at_end) return Unusable("certificate_file", path, "it is broken: " + reason);
  return {};
}

bool IsJavaStore(BIO* file) {
  constexpr std::string_view kMagic = "\xfe\xed\xfe\xed";
  char start[4] = {};
  const bool same = BIO_read(file, start, sizeof(start)) == 4 && std::memcmp(start, kMagic.data(), 4) == 0;
  (void)BIO_reset(file);
  return same;
}

Status ReadKeystore(const TlsOptions& options, TlsIdentity& identity) {
  const auto unusable = [&](const std::string& why) { return Unusable("keystore", options.keystore, why); };
  Result<Bio> file = OpenFile("keystore", options.keystore);
  if (!file) return file.error();
  if (IsJavaStore(file->get())) {
    return unusable(
        "it is a JKS store; convert it with `keytool -importkeystore -srckeystore OLD -destkeystore NEW.p12 "
        "-deststoretype PKCS12`");
  }
  const std::unique_ptr<PKCS12, FreeStore> store(d2i_PKCS12_bio(file->get(), nullptr));
  if (store == nullptr) return unusable("it is no PKCS12 store");
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
  STACK_OF(X509)* others = nullptr;
  if (PKCS12_parse(store.get(), options.keystore_pass.c_str(), &key, &certificate, &others) != 1) {
    const bool wrong = ERR_GET_REASON(ERR_peek_last_error()) == PKCS12_R_MAC_VERIFY_FAILURE;
    if (wrong) return unusable("keystore_pass does not open it");
    return unusable(
        fmt::format("it cannot be opened: {}; `openssl pkcs12 -legacy -in STORE -nodes` followed by "
                    "`openssl pkcs12 -export` writes an old one anew",
                    OpenSslReason()));
  }
  identity.key.reset(key);
  identity.certificate.reset(certificate);
  while (others != nullptr && sk_X509_num(others) > 0) identity.chain.emplace_back(sk_X509_shift(others));
  sk_X509_free(others);
  if (key == nullptr || certificate == nullptr) return unusable("it holds no key with its certificate");
  return {};
}

std::string TimeText(const ASN1_TIME* time) {
  const Bio text(BIO_new(BIO_s_mem()));
  char* bytes = nullptr;
  if (text == nullptr || ASN1_TIME_print(text.get(), time) != 1) return "an unknown time";
  const long size = BIO_get_mem_data(text.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

Status CheckIdentity(std::string_view setting, const std::string& path, TlsIdentity& identity) {
  const ASN1_TIME* begin = X509_get0_notBefore(identity.certificate.get());
  const ASN1_TIME* end = X509_get0_notAfter(identity.certificate.get());
  identity.valid_until = TimeText(end);
  std::tm time{};
  if (ASN1_TIME_to_tm(end, &time) == 1)
    identity.expires = std::chrono::system_clock::from_time_t(timegm(&time));
  if (X509_cmp_current_time(end) < 0) {
    return Unusable(setting, path,
                    fmt::format("the certificate expired on {}; renew it", identity.valid_until));
  }
  if (X509_cmp_current_time(begin) > 0) {
    return Unusable(
        setting, path,
        fmt::format("the certificate is not valid before {}; is the clock right?", TimeText(begin)));
  }
  return {};
}

}  // namespace

std::string OpenSslReason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason == nullptr ? "no reason is known" : reason;
}

Result<TlsIdentity> ReadTlsIdentity(const TlsOptions& options) {
  TlsIdentity identity;
  if (options.certificate_file.empty() && options.private_key_file.empty()) {
    if (Status status = ReadKeystore(options, identity); !status.ok()) return status;
    if (Status status = CheckIdentity("keystore", options.keystore, identity); !status.ok()) return status;
    return identity;
  }
  if (Status status = ReadCertificates(options.certificate_file, identity); !status.ok()) return status;
  Result<PrivateKey> key = ReadPrivateKey(options.private_key_file);
  if (!key) return key.error();
  identity.key = std::move(*key);
  if (X509_check_private_key(identity.certificate.get(), identity.key.get()) != 1) {
    return Unusable(
        "private_key_file", options.private_key_file,
        fmt::format("this is not the key of the first certificate in {}; `openssl x509 -noout -pubkey` "
                    "and `openssl pkey -pubout` show what differs",
                    options.certificate_file));
  }
  if (Status status = CheckIdentity("certificate_file", options.certificate_file, identity); !status.ok()) {
    return status;
  }
  return identity;
}

}  // namespace serve
