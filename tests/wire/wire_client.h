#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

struct ssl_st;  // OpenSSL's SSL

namespace serve::wire {

/// Longer than anything may take, also with sanitizers on a busy machine: a test that reaches it has failed.
inline constexpr std::chrono::seconds kPatience{60};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;

  /// Empty when there is no such field; `name` in lower case.
  [[nodiscard]] std::string Header(const std::string& name) const;
  /// The body as JSON; discarded (is_discarded()) when it is none.
  [[nodiscard]] nlohmann::json Json() const;
  /// `message`, `type` and `status` of the bodies that the server makes itself; empty when there is none.
  [[nodiscard]] std::string Text(const std::string& key) const;
};

using Headers = std::vector<std::pair<std::string, std::string>>;

/// The bytes of a request. Host is there always, Content-Length when there is a body or the method is POST or
/// PUT.
std::string RequestText(std::string_view method, std::string_view target, const Headers& headers = {},
                        std::string_view body = {});

/// How a client speaks TLS. Files are PEM.
struct WireTls {
  std::string ca_file;      // whom it trusts; the server must be known there as localhost
  std::string certificate;  // shown to the server when it asks
  std::string key;
  int version = 0;       // 0x0303 (1.2) or 0x0304 (1.3) alone; 0: any
  std::string ciphers;   // of TLS 1.2; empty: OpenSSL's
  std::string protocol;  // offered by ALPN; empty: none
};

/// One TCP connection to 127.0.0.1 over a blocking socket, which sends whatever bytes it is told to.
///
/// Errors:  std::runtime_error, for a failed connect, an answer that does not come within kPatience, ends
/// early or is
///          no HTTP; GoogleTest reports it as a failure of the test.
/// Threads: one at a time.
class WireConnection {
 public:
  explicit WireConnection(int port);
  /// To a Unix socket.
  explicit WireConnection(const std::filesystem::path& path);
  /// The same over TLS; throws std::runtime_error with OpenSSL's reason when the handshake fails.
  WireConnection(int port, const WireTls& tls);
  ~WireConnection();
  WireConnection(const WireConnection&) = delete;
  WireConnection& operator=(const WireConnection&) = delete;

  /// False: the server has closed the connection.
  bool Send(std::string_view bytes);
  /// Sends the request and reads its answer.
  HttpResponse Request(std::string_view method, std::string_view target, const Headers& headers = {},
                       std::string_view body = {});
  /// Reads one answer; `to_head`: to a HEAD request, whose answer has no body.
  HttpResponse Read(bool to_head = false);
  /// Everything until the server closes the connection, as it came.
  std::string ReadRest();
  /// Until `text` has come; gives everything so far, the text the last of it.
  std::string ReadUntil(std::string_view text);
  /// Waits until the server closes the connection; false when it sends something instead.
  bool ReadEnd();
  /// No more is sent; answers can be read.
  void HalfClose();
  /// `TLSv1.3`, and what ALPN chose.
  [[nodiscard]] std::string TlsVersion() const;
  [[nodiscard]] std::string TlsProtocol() const;
  void Close();

 private:
  /// Reads what there is into buffer_; false at the end of the stream.
  bool Fill();

  struct FreeTls {
    void operator()(ssl_st* tls) const;
  };

  int socket_ = -1;
  std::unique_ptr<ssl_st, FreeTls> tls_;  // null: plain
  std::string buffer_;
};

/// One request over a connection of its own.
HttpResponse Request(int port, std::string_view method, std::string_view target, const Headers& headers = {},
                     std::string_view body = {});
HttpResponse Get(int port, std::string_view target);
/// POST with Content-Type application/json.
HttpResponse PostJson(int port, std::string_view target, std::string_view body, Headers headers = {});

/// Whether 127.0.0.1:port takes a connection.
bool CanConnect(int port);

}  // namespace serve::wire
