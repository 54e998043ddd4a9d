#include "tests/serve/security/test_keys.h"

#include <memory>
#include <stdexcept>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

namespace serve {
namespace {

void Must(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string("OpenSSL: ") + what + ": " + OpenSslReason());
}

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;

std::string TextOf(const Bio& bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

void AddExtension(X509* certificate, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
  Must(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1, value);
  X509_EXTENSION_free(extension);
}

}  // namespace

TestKey TestKey::Make(const Options& options, const TestKey* issuer) {
  TestKey made;
  made.key_.reset(options.rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"));
  made.certificate_.reset(X509_new());
  X509* certificate = made.certificate_.get();
  Must(made.key_ != nullptr && certificate != nullptr, "no key");
  X509_set_version(certificate, X509_VERSION_3);
  std::uint32_t serial = 0;
  Must(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial)) == 1, "no random number");
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), static_cast<long>(serial | 1U));
  X509_gmtime_adj(X509_getm_notBefore(certificate), options.begins_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate), options.ends_s);
  X509_set_pubkey(certificate, made.key_.get());
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(options.name.c_str()), -1, -1, 0);
  X509_set_issuer_name(certificate,
                       issuer == nullptr ? name : X509_get_subject_name(issuer->certificate_.get()));
  AddExtension(certificate, NID_basic_constraints, options.is_ca ? "critical,CA:TRUE" : "CA:FALSE");
  AddExtension(certificate, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
  EVP_PKEY* signer = issuer == nullptr ? made.key_.get() : issuer->key_.get();
  Must(X509_sign(certificate, signer, EVP_sha256()) > 0, "cannot sign");
  return made;
}

std::string TestKey::CertificatePem() const {
  const Bio bio(BIO_new(BIO_s_mem()));
  Must(PEM_write_bio_X509(bio.get(), certificate_.get()) == 1, "cannot write the certificate");
  return TextOf(bio);
}

std::string TestKey::KeyPem(const std::string& passphrase) const {
  const Bio bio(BIO_new(BIO_s_mem()));
  const bool secret = !passphrase.empty();
  Must(PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), secret ? EVP_aes_256_cbc() : nullptr,
                                     secret ? passphrase.data() : nullptr,
                                     static_cast<int>(passphrase.size()), nullptr, nullptr) == 1,
       "cannot write the key");
  return TextOf(bio);
}

std::string TestKey::Store(const std::string& password, const TestKey* issuer) const {
  STACK_OF(X509)* others = sk_X509_new_null();
  if (issuer != nullptr) sk_X509_push(others, issuer->certificate_.get());
  PKCS12* store =
      PKCS12_create(password.c_str(), "server", key_.get(), certificate_.get(), others, 0, 0, 0, 0, 0);
  sk_X509_free(others);
  Must(store != nullptr, "cannot make the store");
  const Bio bio(BIO_new(BIO_s_mem()));
  const bool written = i2d_PKCS12_bio(bio.get(), store) == 1;
  PKCS12_free(store);
  Must(written, "cannot write the store");
  return TextOf(bio);
}

}  // namespace serve
