#include "serve/security/tls_keys.h"

#include <array>
#include <chrono>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "tests/model_store/archive/test_files.h"
#include "tests/serve/security/test_keys.h"

namespace serve {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class TlsKeysTest : public testing::Test {
 protected:
  /// Writes the pair and names it.
  TlsOptions Pair(const TestKey& certificate, const TestKey& key) const {
    TlsOptions options;
    options.certificate_file = folder_.Write("certificate.pem", certificate.CertificatePem()).string();
    options.private_key_file = folder_.Write("key.pem", key.KeyPem()).string();
    options.reload_interval = std::chrono::milliseconds(5);
    return options;
  }
  TlsOptions Pair(const TestKey& both) const { return Pair(both, both); }
  TlsOptions Store(const std::string& bytes) const {
    TlsOptions options;
    options.keystore = folder_.Write("store.p12", bytes).string();
    return options;
  }
  static std::string ErrorOf(const TlsOptions& options) {
    const auto opened = TlsKeys::Open(options);
    return opened ? "" : opened.error().message;
  }
  /// The certificate that a new connection is to be shown.
  static std::string Shown(const TlsKeys& keys) {
    const TlsSession session = keys.NewSession(0, false);
    if (session == nullptr) return {};
    BIO* text = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(text, SSL_get_certificate(session.get()));
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(text, &bytes);
    std::string pem(bytes, static_cast<std::size_t>(size));
    BIO_free(text);
    return pem;
  }
  template <class Condition>
  static bool Eventually(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }

  TemporaryFolder folder_;
};

TEST_F(TlsKeysTest, EcAndRsaPairsAreTaken) {
  for (const bool rsa : {false, true}) {
    const TestKey key = TestKey::Make({.rsa = rsa});
    const auto keys = TlsKeys::Open(Pair(key));
    ASSERT_TRUE(keys) << keys.error().message;
    EXPECT_EQ(Shown(**keys), key.CertificatePem());
    EXPECT_EQ((*keys)->NewSession(0, true), nullptr);  // nobody vouches for clients
  }
}

TEST_F(TlsKeysTest, ItTellsWhenTheCertificateEnds) {
  const auto before = std::chrono::system_clock::now();
  std::chrono::system_clock::time_point end;
  const auto keys = TlsKeys::Open(Pair(TestKey::Make({.ends_s = 10'000})), [&](auto told) { end = told; });
  ASSERT_TRUE(keys) << keys.error().message;
  EXPECT_GE(end, before + std::chrono::seconds(9'999));
  EXPECT_LE(end, std::chrono::system_clock::now() + std::chrono::seconds(10'000));
}

TEST_F(TlsKeysTest, AChainIsShownWhole) {
  const TestKey root = TestKey::Make({.name = "root", .is_ca = true});
  const TestKey key = TestKey::Make({}, &root);
  TlsOptions options = Pair(key);
  folder_.Write("certificate.pem", key.CertificatePem() + root.CertificatePem());
  const Result<TlsIdentity> identity = ReadTlsIdentity(options);
  ASSERT_TRUE(identity) << identity.error().message;
  EXPECT_EQ(identity->chain.size(), 1u);
  const Result<TlsIdentity> stored = ReadTlsIdentity(Store(key.Store("changeit", &root)));
  ASSERT_TRUE(stored) << stored.error().message;
  EXPECT_EQ(stored->chain.size(), 1u);
}

TEST_F(TlsKeysTest, APkcs12StoreIsTakenWithItsPasswordOnly) {
  const TestKey key = TestKey::Make();
  TlsOptions options = Store(key.Store("secret"));
  EXPECT_THAT(ErrorOf(options), AllOf(HasSubstr("keystore " + options.keystore), HasSubstr("keystore_pass")));
  options.keystore_pass = "secret";
  EXPECT_EQ(ErrorOf(options), "");
}

TEST_F(TlsKeysTest, AStoreThatIsNoneAndOneOfJavaAreRefusedWithAWayOut) {
  EXPECT_THAT(ErrorOf(Store("no store")), HasSubstr("no PKCS12 store"));
  EXPECT_THAT(ErrorOf(Store("\xfe\xed\xfe\xed and so on")), AllOf(HasSubstr("JKS"), HasSubstr("keytool")));
}

TEST_F(TlsKeysTest, AKeyOfAnotherCertificateIsRefused) {
  const TlsOptions options = Pair(TestKey::Make(), TestKey::Make());
  EXPECT_THAT(ErrorOf(options), AllOf(HasSubstr("private_key_file " + options.private_key_file),
                                      HasSubstr("not the key"), HasSubstr(options.certificate_file)));
}

TEST_F(TlsKeysTest, AnExpiredCertificateAndOneOfTheFutureAreRefused) {
  EXPECT_THAT(ErrorOf(Pair(TestKey::Make({.begins_s = -200, .ends_s = -100}))),
              AllOf(HasSubstr("certificate_file"), HasSubstr("expired on")));
  EXPECT_THAT(ErrorOf(Pair(TestKey::Make({.begins_s = 3600}))), HasSubstr("not valid before"));
}

TEST_F(TlsKeysTest, FilesThatAreMissingBrokenOrEncryptedAreNamed) {
  const TestKey key = TestKey::Make();
  TlsOptions options = Pair(key);
  folder_.Write("key.pem", key.KeyPem("passphrase"));
  EXPECT_THAT(ErrorOf(options), AllOf(HasSubstr("key.pem"), HasSubstr("encrypted")));
  folder_.Write("key.pem", "nothing");
  EXPECT_THAT(ErrorOf(options), HasSubstr("no private key"));
  folder_.Write("certificate.pem", "nothing");
  EXPECT_THAT(ErrorOf(options), HasSubstr("no certificate"));
  folder_.Write("certificate.pem", key.CertificatePem().substr(0, 200));
  EXPECT_THAT(ErrorOf(options), HasSubstr("certificate.pem"));
  options.certificate_file += ".missing";
  EXPECT_THAT(ErrorOf(options), AllOf(HasSubstr(options.certificate_file), HasSubstr("No such file")));
}

TEST_F(TlsKeysTest, AFileOfClientAuthoritiesMustHoldCertificates) {
  TlsOptions options = Pair(TestKey::Make());
  options.client_ca_file = folder_.Write("clients.pem", "nothing").string();
  EXPECT_THAT(ErrorOf(options), HasSubstr("client_ca_file " + options.client_ca_file));
  folder_.Write("clients.pem", TestKey::Make({.is_ca = true}).CertificatePem());
  const auto keys = TlsKeys::Open(options);
  ASSERT_TRUE(keys) << keys.error().message;
  EXPECT_NE((*keys)->NewSession(0, true), nullptr);
}

TEST_F(TlsKeysTest, ANewPairIsShownAndABrokenOneIsNot) {
  const TestKey first = TestKey::Make();
  const TestKey second = TestKey::Make();
  const auto keys = TlsKeys::Open(Pair(first));
  ASSERT_TRUE(keys) << keys.error().message;
  folder_.Write("certificate.pem", "broken for a while");
  folder_.Write("certificate.pem", second.CertificatePem());  // does not fit the key yet
  EXPECT_EQ(Shown(**keys), first.CertificatePem());
  folder_.Write("key.pem", second.KeyPem());
  EXPECT_TRUE(Eventually([&] { return Shown(**keys) == second.CertificatePem(); }));
  folder_.Write("key.pem", "broken");
  const TestKey third = TestKey::Make();
  folder_.Write("certificate.pem", third.CertificatePem());
  EXPECT_EQ(Shown(**keys), second.CertificatePem());
  folder_.Write("key.pem", third.KeyPem());
  EXPECT_TRUE(Eventually([&] { return Shown(**keys) == third.CertificatePem(); }));
}

}  // namespace
}  // namespace serve
