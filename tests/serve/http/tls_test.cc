// What a connection does over TLS that it need not do over TCP alone; the rest is in tests/wire/tls_test.cc.
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "tests/model_store/archive/test_files.h"
#include "tests/serve/http/http_server.h"
#include "tests/serve/security/test_keys.h"

namespace serve {
namespace {

/// Sends and reads bytes over TLS; trusts anybody.
class TlsClient {
 public:
  TlsClient(std::uint16_t port, int version) : context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
    SSL_CTX_set_options(context_.get(), SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_min_proto_version(context_.get(), version);
    SSL_CTX_set_max_proto_version(context_.get(), version);
    bio_.reset(BIO_new_ssl_connect(context_.get()));
    BIO_set_conn_hostname(bio_.get(), ("127.0.0.1:" + std::to_string(port)).c_str());
    if (BIO_do_connect(bio_.get()) != 1) throw std::runtime_error("no connection: " + OpenSslReason());
  }
  bool Send(std::string_view bytes) {
    return BIO_write(bio_.get(), bytes.data(), static_cast<int>(bytes.size())) ==
           static_cast<int>(bytes.size());
  }
  /// Reads until `size` bytes are there, or the connection ends.
  std::string Read(std::size_t size) {
    std::string bytes;
    char some[16384];
    while (bytes.size() < size) {
      const int got = BIO_read(bio_.get(), some, sizeof(some));
      if (got <= 0) break;
      bytes.append(some, static_cast<std::size_t>(got));
    }
    return bytes;
  }
  /// One answer's body of a known size.
  std::string ReadBody(std::size_t size) {
    std::string all;
    while (all.find("\r\n\r\n") == std::string::npos) {
      const std::string more = Read(1);
      if (more.empty()) return all;
      all += more;
    }
    all.erase(0, all.find("\r\n\r\n") + 4);
    return all.size() < size ? all + Read(size - all.size()) : all;
  }
  void Close() { bio_.reset(); }

 private:
  struct FreeBio {
    void operator()(BIO* bio) const { BIO_free_all(bio); }
  };
  std::shared_ptr<SSL_CTX> context_;
  std::unique_ptr<BIO, FreeBio> bio_;
};

class TlsConnectionTest : public testing::TestWithParam<int> {
 protected:
  TlsConnectionTest() {
    const TestKey key = TestKey::Make();
    TlsOptions options;
    options.certificate_file = folder_.Write("certificate.pem", key.CertificatePem()).string();
    options.private_key_file = folder_.Write("key.pem", key.KeyPem()).string();
    auto opened = TlsKeys::Open(options);
    if (!opened) throw std::runtime_error(opened.error().message);
    keys_ = std::move(*opened);
    limits_.max_body_bytes = 64 << 20;
  }
  void Start(std::size_t threads = 2) {
    server_ = std::make_unique<HttpServer>(limits_, threads, ListenerTls{keys_.get(), false});
  }
  [[nodiscard]] std::unique_ptr<TlsClient> Connect() const {
    return std::make_unique<TlsClient>(server_->port(), GetParam());
  }

  TemporaryFolder folder_;
  HttpLimits limits_;
  std::unique_ptr<TlsKeys> keys_;
  std::unique_ptr<HttpServer> server_;
};

TEST_P(TlsConnectionTest, BodiesOfAllSizesComeBack) {
  Start();
  const auto client = Connect();
  for (const std::size_t size : {0, 1, 16'000, 16'384, 16'385, 40'000, 20'000'000}) {
    std::string body(size, 'a');
    for (std::size_t i = 0; i < size; i += 1000) body[i] = static_cast<char>('a' + i / 1000 % 26);
    client->Send(Post("/echo", body));
    EXPECT_EQ(client->ReadBody(size), body) << size;
  }
}

TEST_P(TlsConnectionTest, AClientThatReadsLateGetsEverything) {
  Start();
  const std::string body(20'000'000, 'x');
  const auto client = Connect();
  client->Send(Post("/blocking", body));
  // More than the sockets hold: the server waits for us.
  EXPECT_EQ(client->ReadBody(body.size()).size(), body.size());
}

TEST_P(TlsConnectionTest, AClientThatNeverReadsIsLetGo) {
  limits_.write_timeout = std::chrono::milliseconds(200);
  Start();
  const auto client = Connect();
  client->Send(Post("/echo", std::string(40'000'000, 'x')));
  EXPECT_TRUE(Eventually([&] { return server_->listener->connections() == 0; }));
}

TEST_P(TlsConnectionTest, AnswersOfOtherThreadsGoOut) {
  Start();
  const auto client = Connect();
  for (int i = 0; i < 3; ++i) {
    client->Send(Post("/later", "x"));
    HttpServer::Later later = server_->Take();
    HttpReply reply;
    reply.body = "later";
    std::move(later.sender).Send(std::move(reply));
    EXPECT_EQ(client->ReadBody(5), "later");
  }
}

TEST_P(TlsConnectionTest, AClientThatLeavesCancelsItsRequest) {
  Start();
  auto client = Connect();
  client->Send(Post("/later", "x"));
  const HttpServer::Later later = server_->Take();
  client->Close();
  EXPECT_TRUE(Eventually([&] { return later.cancelled->load(); }));
}

TEST_P(TlsConnectionTest, AnAnswerInPartsGoesOutAsItComes) {
  Start();
  auto client = Connect();
  client->Send(Post("/later", "", "Connection: close\r\n"));
  HttpServer::Later later = server_->Take();
  PartSink& parts = *later.sender.parts();
  parts.Put("one", "text/plain", later.cancelled);
  EXPECT_EQ(client->ReadBody(8), "3\r\none\r\n");
  const std::string large(1 << 20, 'x');
  parts.Put(large, "text/plain", later.cancelled);
  EXPECT_EQ(client->Read(large.size() + 10), "100000\r\n" + large + "\r\n");
  std::move(later.sender).Send(HttpReply());
  EXPECT_EQ(client->Read(100), "0\r\n\r\n");
}

TEST_P(TlsConnectionTest, OneThreadServesOthersBesideAClientThatAlwaysHasMore) {
  Start(1);
  std::atomic<bool> stop{false};
  const auto greedy = Connect();
  greedy->Send(Get("/ping"));
  std::string answer;
  while (!answer.ends_with("pong")) answer += greedy->Read(1);
  std::thread sender([&] {
    std::string many;
    for (int i = 0; i < 200; ++i) many += Get("/ping");
    while (!stop.load() && greedy->Send(many)) greedy->Read(200 * answer.size());
  });
  for (int i = 0; i < 20; ++i) {
    const auto other = Connect();
    other->Send(Get("/ping"));
    EXPECT_EQ(other->ReadBody(4), "pong");
  }
  stop = true;
  sender.join();
}

TEST_P(TlsConnectionTest, OneConnectionTooManyIsToldSo) {
  limits_.max_connections = 1;
  Start();
  const auto first = Connect();
  first->Send(Get("/ping"));
  EXPECT_EQ(first->ReadBody(4), "pong");
  const auto second = Connect();
  EXPECT_THAT(second->Read(1 << 20), testing::HasSubstr("max_connections"));
}

TEST_P(TlsConnectionTest, TheListenerEndsWhileClientsAreInTheMiddle) {
  Start();
  const auto idle = Connect();
  const auto half = Connect();
  half->Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx");
  const auto waiting = Connect();
  waiting->Send(Post("/later", "x"));
  HttpServer::Later later = server_->Take();
  RawClient handshaking(server_->port());
  handshaking.Send("\x16\x03\x01");
  const RawClient unborn(server_->port());
  server_.reset();
  EXPECT_EQ(idle->Read(1), "");
  EXPECT_EQ(half->Read(1), "");
}

INSTANTIATE_TEST_SUITE_P(Versions, TlsConnectionTest, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

}  // namespace
}  // namespace serve
