// HTTPS: both versions of TLS, what clients must show, certificates that change, and clients that do it
// wrong.

#include <string>
#include <vector>

#include "tests/serve/security/test_keys.h"
#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr int kTls12 = 0x0303;
constexpr int kTls13 = 0x0304;

/// A certificate authority, and files of what it issued.
class Keys {
 public:
  explicit Keys(const std::string& name) : root_(TestKey::Make({.name = name, .is_ca = true})) {
    folder_.Write("ca.pem", root_.CertificatePem());
  }
  /// A new pair in certificate.pem and key.pem, or in files with other names.
  TestKey Issue(const std::string& prefix = {}, TestKey::Options options = {}) const {
    TestKey key = TestKey::Make(options, &root_);
    folder_.Write(prefix + "certificate.pem", key.CertificatePem());
    folder_.Write(prefix + "key.pem", key.KeyPem());
    return key;
  }
  [[nodiscard]] std::string File(const std::string& name) const { return (folder_ / name).string(); }
  [[nodiscard]] WireTls Trust(int version = 0) const {
    WireTls tls;
    tls.ca_file = File("ca.pem");
    tls.version = version;
    return tls;
  }
  void Write(const std::string& name, const std::string& content) const { folder_.Write(name, content); }

 private:
  TemporaryFolder folder_;
  TestKey root_;
};

ServerProcess::Options Https(const Keys& keys, std::vector<std::string> models,
                             const std::vector<std::string>& more = {}) {
  ServerProcess::Options options;
  options.models = std::move(models);
  options.pass_addresses = false;
  options.flags = {"--inference-address", "https://127.0.0.1:0",        "--management-address",
                   "https://127.0.0.1:0", "--metrics-address",          "http://127.0.0.1:0",
                   "--certificate-file",  keys.File("certificate.pem"), "--private-key-file",
                   keys.File("key.pem")};
  options.flags.insert(options.flags.end(), more.begin(), more.end());
  return options;
}

class TlsTest : public SharedServer<TlsTest> {
 public:
  static const Keys& OurKeys() {
    static const Keys keys("server root");
    static const TestKey issued = keys.Issue();
    return keys;
  }
  static ServerProcess::Options Options() {
    return Https(OurKeys(), {"double.pt", "slow.pt"}, {"--inline-limit-us", "0", "--log-level", "debug"});
  }

 protected:
  static WireConnection Connect(int version = 0) { return {server().inference(), OurKeys().Trust(version)}; }
  static double Failures() { return server().Metric("flambeau_tls_handshake_failures_total"); }
};

const Headers kJson = {{"Content-Type", "application/json"}};

TEST_F(TlsTest, BothVersionsServeManyRequestsOnOneConnection) {
  for (const int version : {kTls12, kTls13}) {
    WireConnection client = Connect(version);
    EXPECT_EQ(client.TlsVersion(), version == kTls12 ? "TLSv1.2" : "TLSv1.3");
    for (int i = 0; i < 5; ++i) {
      EXPECT_TRUE(IsJson(client.Request("POST", "/predictions/double", kJson, "[1, 2]"), "[2.0, 4.0]"));
    }
    EXPECT_TRUE(IsStatus(client.Request("GET", "/ping"), 200, "Healthy"));
  }
  WireConnection management(server().management(), OurKeys().Trust());
  EXPECT_EQ(management.Request("GET", "/models").status, 200);
  EXPECT_THAT(server().Log(), HasSubstr("Inference API bind to: https://127.0.0.1:"));
}

TEST_F(TlsTest, LargeBodiesGoBothWaysWholeAndInChunks) {
  const std::string body = Numbers(400'000, "1.5");
  WireConnection client = Connect();
  const HttpResponse whole = client.Request("POST", "/predictions/double", kJson, body);
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.Json().size(), 400'000u);
  client.Send(
      "POST /predictions/double HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n");
  char size[32];
  for (std::size_t at = 0; at < body.size(); at += 50'000) {
    const std::string chunk = body.substr(at, 50'000);
    snprintf(size, sizeof(size), "%zx\r\n", chunk.size());
    ASSERT_TRUE(client.Send(size + chunk + "\r\n"));
  }
  client.Send("0\r\n\r\n");
  EXPECT_EQ(client.Read().body, whole.body);
}

TEST_F(TlsTest, RequestsInOneRecordAndARequestInManyAreAnswered) {
  WireConnection client = Connect();
  const std::string one = RequestText("POST", "/predictions/double", kJson, "[3]");
  std::string many;
  for (int i = 0; i < 20; ++i) many += one;
  client.Send(many);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(IsJson(client.Read(), "[6.0]"));
  for (const char byte : one) client.Send({&byte, 1});
  EXPECT_TRUE(IsJson(client.Read(), "[6.0]"));
}

TEST_F(TlsTest, AlpnKnowsHttp11Alone) {
  WireTls tls = OurKeys().Trust();
  tls.protocol = "http/1.1";
  WireConnection client(server().inference(), tls);
  EXPECT_EQ(client.TlsProtocol(), "http/1.1");
  tls.protocol = "h2";
  const double before = Failures();
  EXPECT_THAT(([&] { WireConnection(server().inference(), tls); }),
              ThrowsMessage<std::runtime_error>(HasSubstr("no application protocol")));
  EXPECT_TRUE(WaitUntil([&] { return Failures() == before + 1; }));
}

TEST_F(TlsTest, OldCiphersAreRefusedAndCounted) {
  WireTls tls = OurKeys().Trust(kTls12);
  tls.ciphers = "AES128-SHA256:ECDHE-ECDSA-AES128-SHA";
  const double before = Failures();
  EXPECT_THROW(WireConnection(server().inference(), tls), std::runtime_error);
  EXPECT_TRUE(WaitUntil([&] { return Failures() == before + 1; }));
  EXPECT_TRUE(WaitUntil([&] { return server().Log().find("no shared cipher") != std::string::npos; }));
}

TEST_F(TlsTest, PlainHttpIsToldToUseHttps) {
  const double before = Failures();
  WireConnection client(server().inference());
  client.Send(RequestText("POST", "/predictions/double", {}, "[1]"));
  const HttpResponse answer = client.Read();
  EXPECT_TRUE(IsError(answer, 403, "HttpsRequiredException", "https://"));
  EXPECT_THAT(answer.Text("status"), HasSubstr("HTTPS only"));
  EXPECT_EQ(answer.Header("connection"), "close");
  EXPECT_TRUE(client.ReadEnd());
  EXPECT_TRUE(WaitUntil([&] { return Failures() == before + 1; }));
}

TEST_F(TlsTest, AClientThatLeavesIsNotWaitedFor) {
  WireConnection busy = Connect();
  busy.Send(RequestText("POST", "/predictions/slow", kJson, "[1500]"));
  ASSERT_TRUE(WaitUntil([&] {
    return server().Metric("flambeau_workers", {"state=\"busy\"", "slow"}) == 1;
  }));
  const double before = server().Metric("flambeau_rejections_total", {"client_gone", "slow"});
  WireConnection leaving = Connect();
  leaving.Send(RequestText("POST", "/predictions/slow", kJson, "[1]"));
  ASSERT_TRUE(WaitUntil([&] { return server().Metric("flambeau_queue_depth", {"slow"}) == 1; }));
  leaving.HalfClose();
  leaving.Close();
  EXPECT_TRUE(WaitUntil([&] {
    return server().Metric("flambeau_rejections_total", {"client_gone", "slow"}) == before + 1;
  }));
  EXPECT_TRUE(IsJson(busy.Read(), "[1500.0]"));
}

TEST_F(TlsTest, ATooLargeBodyIsRefusedAndTheAnswerArrives) {
  WireConnection client = Connect();
  client.Send("POST /predictions/double HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" +
              std::string(100'000, 'x'));
  EXPECT_EQ(client.Read().status, 413);
}

TEST_F(TlsTest, ToolsTrustWhomTheyAreTold) {
  const auto list = [](std::vector<std::string> more, int port = server().management()) {
    std::vector<std::string> args = {"models", "list", "--management",
                                     "https://localhost:" + std::to_string(port)};
    args.insert(args.end(), more.begin(), more.end());
    return RunProgram(args);
  };
  const Ran trusted = list({"--ca-file", OurKeys().File("ca.pem")});
  EXPECT_EQ(trusted.code, 0) << trusted.err;
  EXPECT_THAT(trusted.out, HasSubstr("double"));
  const Ran unknown = list({});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("--ca-file"));
  EXPECT_EQ(list({"-k"}).code, 0);
}

/// Clients that take their time.
class TlsTimeoutTest : public SharedServer<TlsTimeoutTest> {
 public:
  static ServerProcess::Options Options() {
    return Https(TlsTest::OurKeys(), {"slow.pt"},
                 {"--inline-limit-us", "0", "--header-timeout-ms", "1500", "--idle-timeout-ms", "1500"});
  }

 protected:
  static WireConnection Connect() { return {server().inference(), TlsTest::OurKeys().Trust()}; }
  static double Failures() { return server().Metric("flambeau_tls_handshake_failures_total"); }
};

TEST_F(TlsTimeoutTest, AHandshakeThatHangsAndAConnectionThatSaysNothingAreClosed) {
  const double before = Failures();
  WireConnection hanging(server().inference());
  hanging.Send("\x16\x03\x01");
  EXPECT_TRUE(hanging.ReadEnd());
  EXPECT_TRUE(WaitUntil([&] { return Failures() == before + 1; }));
  WireConnection silent(server().inference());
  EXPECT_TRUE(silent.ReadEnd());
  WireConnection(server().inference()).Close();  // a load balancer's look
  EXPECT_EQ(Failures(), before + 1);
}

TEST_F(TlsTimeoutTest, AnIdleConnectionIsClosedInTlsWords) {
  WireConnection client = Connect();
  EXPECT_EQ(client.Request("GET", "/ping").status, 200);
  EXPECT_TRUE(client.ReadEnd());  // close_notify: anything else would throw
}

TEST_F(TlsTimeoutTest, TimeoutsOfHeaderAndRequestAreAnswered) {
  WireConnection slow = Connect();
  slow.Send("GET /ping HTTP/1.1\r\nHo");
  EXPECT_TRUE(IsError(slow.Read(), 408, "RequestTimeoutException", "header_timeout_ms"));
  WireConnection waiting = Connect();
  Headers headers = kJson;
  headers.emplace_back("X-Request-Timeout-Ms", "100");
  EXPECT_TRUE(IsError(waiting.Request("POST", "/predictions/slow", headers, "[2000]"), 504,
                      "RequestTimeoutException", "100 ms"));
}

TEST(TlsReloadTest, NewConnectionsGetTheNewCertificateAndABrokenOneChangesNothing) {
  const Keys old_keys("old root");
  const Keys new_keys("new root");
  old_keys.Issue();
  ServerProcess server(Https(old_keys, {"double.pt"}));
  WireConnection open(server.inference(), old_keys.Trust());
  EXPECT_EQ(open.Request("GET", "/ping").status, 200);
  EXPECT_GT(server.Metric("flambeau_tls_certificate_expiry_timestamp_seconds"), 1e9);
  old_keys.Write("certificate.pem", "broken");
  EXPECT_TRUE(WaitUntil(
      [&] { return server.Log().find("the TLS certificate stays as it was") != std::string::npos; }));
  EXPECT_EQ(WireConnection(server.inference(), old_keys.Trust()).Request("GET", "/ping").status, 200);
  const TestKey next = new_keys.Issue("", {.rsa = true});
  old_keys.Write("key.pem", next.KeyPem());
  old_keys.Write("certificate.pem", next.CertificatePem());
  EXPECT_TRUE(WaitUntil([&] {
    try {
      return WireConnection(server.inference(), new_keys.Trust()).Request("GET", "/ping").status == 200;
    } catch (const std::runtime_error&) {
      return false;
    }
  }));
  EXPECT_EQ(open.Request("GET", "/ping").status, 200);  // what was open goes on
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

class ClientCertificateTest : public testing::Test {
 protected:
  ClientCertificateTest() {
    keys_.Issue();
    clients_.Issue();
    strangers_.Issue();
  }
  WireTls As(const Keys& who, int version = 0) const {
    WireTls tls = keys_.Trust(version);
    tls.certificate = who.File("certificate.pem");
    tls.key = who.File("key.pem");
    return tls;
  }
  static HttpResponse Ping(int port, const WireTls& tls) {
    return WireConnection(port, tls).Request("GET", "/ping");
  }

  Keys keys_{"server root"};
  Keys clients_{"clients' root"};
  Keys strangers_{"strangers' root"};
};

TEST_F(ClientCertificateTest, OnlyThoseOfTheAuthorityAreLetIn) {
  ServerProcess server(
      Https(keys_, {}, {"--client-ca-file", clients_.File("ca.pem"), "--client-certificates", "management"}));
  for (const int version : {kTls12, kTls13}) {
    EXPECT_EQ(Ping(server.management(), As(clients_, version)).status, 200);
    EXPECT_EQ(Ping(server.inference(), keys_.Trust(version)).status, 200);
    EXPECT_THAT([&] { Ping(server.management(), keys_.Trust(version)); },
                ThrowsMessage<std::runtime_error>(
                    AnyOf(HasSubstr("handshake failure"), HasSubstr("certificate required"))));
    EXPECT_THAT([&] { Ping(server.management(), As(strangers_, version)); },
                ThrowsMessage<std::runtime_error>(HasSubstr("unknown ca")));
  }
  // counted once the alert is written, when its client may have read it already
  EXPECT_TRUE(WaitUntil([&] { return server.Metric("flambeau_tls_handshake_failures_total") == 4; }));
  const Ran tool = RunProgram({"models", "list", "--management",
                               "https://localhost:" + std::to_string(server.management()), "--ca-file",
                               keys_.File("ca.pem"), "--certificate", clients_.File("certificate.pem"),
                               "--private-key", clients_.File("key.pem")});
  EXPECT_EQ(tool.code, 0) << tool.err;
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

TEST(TlsStopTest, AcceptedRequestsAreAnsweredAndIdleConnectionsClosed) {
  const Keys keys("server root");
  keys.Issue();
  ServerProcess server(Https(keys, {"slow.pt"}, {"--inline-limit-us", "0"}));
  WireConnection busy(server.inference(), keys.Trust());
  busy.Send(RequestText("POST", "/predictions/slow", kJson, "[700]"));
  ASSERT_TRUE(WaitUntil([&] { return server.Metric("flambeau_workers", {"state=\"busy\""}) == 1; }));
  WireConnection idle(server.inference(), keys.Trust());
  EXPECT_EQ(idle.Request("GET", "/ping").status, 200);
  const WireConnection unborn(server.inference());
  server.process().Signal(SIGTERM);
  EXPECT_TRUE(idle.ReadEnd());
  const HttpResponse answer = busy.Read();
  EXPECT_TRUE(IsJson(answer, "[700.0]"));
  EXPECT_EQ(answer.Header("connection"), "close");
  EXPECT_TRUE(busy.ReadEnd());
  EXPECT_EQ(server.process().WaitForExit(), 0) << server.Log();
}

TEST(TlsStartTest, WhatCannotServeDoesNotStart) {
  const Keys keys("server root");
  keys.Issue("", {.begins_s = -200, .ends_s = -100});
  const auto start = [](std::vector<std::string> more) {
    std::vector<std::string> args = {"serve",
                                     "--inference-address",
                                     "https://127.0.0.1:0",
                                     "--management-address",
                                     "http://127.0.0.1:0",
                                     "--metrics-address",
                                     "http://127.0.0.1:0"};
    args.insert(args.end(), more.begin(), more.end());
    return RunProgram(args);
  };
  const Ran none = start({});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, AllOf(HasSubstr("certificate_file"), HasSubstr("openssl req")));
  const Ran expired =
      start({"--certificate-file", keys.File("certificate.pem"), "--private-key-file", keys.File("key.pem")});
  EXPECT_EQ(expired.code, 1);
  EXPECT_THAT(expired.err, HasSubstr("expired on"));
}

TEST(TlsStartTest, AKeystoreAndTls13AloneAreEnough) {
  const Keys keys("server root");
  const TestKey key = keys.Issue();
  keys.Write("store.p12", key.Store("secret"));
  ServerProcess::Options options;
  options.pass_addresses = false;
  options.flags = {"--inference-address",  "https://127.0.0.1:0",
                   "--management-address", "http://127.0.0.1:0",
                   "--metrics-address",    "https://127.0.0.1:0",
                   "--keystore",           keys.File("store.p12"),
                   "--tls-min-version",    "1.3"};
  options.environment = {{"FLAMBEAU_KEYSTORE_PASS", "secret"}};
  ServerProcess server(options);
  WireConnection metrics(server.metrics(), keys.Trust());
  EXPECT_EQ(metrics.Request("GET", "/metrics").status, 200);
  EXPECT_THROW(WireConnection(server.inference(), keys.Trust(kTls12)), std::runtime_error);
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

}  // namespace
}  // namespace serve::wire
