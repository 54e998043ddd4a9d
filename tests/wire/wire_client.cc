#include "tests/wire/wire_client.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace serve::wire {
namespace {

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

int Connect(int port) {
  const int connected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(connected, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    close(connected);
    return -1;
  }
  const int on = 1;  // bytes that are sent one by one leave one by one
  setsockopt(connected, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return connected;
}

std::string TlsReason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason == nullptr ? "no reason" : reason;
}

/// A connection that is open although the server may still refuse it: TLS 1.3 tells a client afterwards.
SSL* ConnectTls(int socket, const WireTls& options) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_load_verify_locations(context, options.ca_file.c_str(), nullptr);
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
  if (!options.certificate.empty()) {
    SSL_CTX_use_certificate_file(context, options.certificate.c_str(), SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(context, options.key.c_str(), SSL_FILETYPE_PEM);
  }
  SSL_CTX_set_min_proto_version(context, options.version);
  SSL_CTX_set_max_proto_version(context, options.version);
  if (!options.ciphers.empty()) SSL_CTX_set_cipher_list(context, options.ciphers.c_str());
  SSL* tls = SSL_new(context);
  SSL_CTX_free(context);  // `tls` holds it
  SSL_set_fd(tls, socket);
  SSL_set1_host(tls, "localhost");
  SSL_set_tlsext_host_name(tls, "localhost");
  if (!options.protocol.empty()) {
    const std::string wire = static_cast<char>(options.protocol.size()) + options.protocol;
    SSL_set_alpn_protos(tls, reinterpret_cast<const unsigned char*>(wire.data()),
                        static_cast<unsigned>(wire.size()));
  }
  ERR_clear_error();
  if (SSL_connect(tls) == 1) return tls;
  SSL_free(tls);
  return nullptr;
}

}  // namespace

void WireConnection::FreeTls::operator()(ssl_st* tls) const { SSL_free(tls); }

WireConnection::WireConnection(int port, const WireTls& tls) : WireConnection(port) {
  const timeval patience{std::chrono::seconds(kPatience).count(), 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  signal(SIGPIPE, SIG_IGN);
  tls_.reset(ConnectTls(socket_, tls));
  if (tls_ == nullptr) throw std::runtime_error("TLS: " + TlsReason());
}

std::string WireConnection::TlsVersion() const { return SSL_get_version(tls_.get()); }

std::string WireConnection::TlsProtocol() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(tls_.get(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string HttpResponse::Header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

nlohmann::json HttpResponse::Json() const { return nlohmann::json::parse(body, nullptr, false); }

std::string HttpResponse::Text(const std::string& key) const {
  const nlohmann::json json = Json();
  return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
}

std::string RequestText(std::string_view method, std::string_view target, const Headers& headers,
                        std::string_view body) {
  std::string text(method);
  text.append(" ").append(target).append(" HTTP/1.1\r\nHost: localhost\r\n");
  for (const auto& [name, value] : headers) text.append(name).append(": ").append(value).append("\r\n");
  if (!body.empty() || method == "POST" || method == "PUT") {
    text.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
  }
  return text.append("\r\n").append(body);
}

WireConnection::WireConnection(int port) : socket_(Connect(port)) {
  if (socket_ < 0) throw std::runtime_error("cannot connect to port " + std::to_string(port));
}

WireConnection::WireConnection(const std::filesystem::path& path)
    : socket_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.string().copy(static_cast<char*>(address.sun_path), sizeof address.sun_path - 1);
  if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    Close();
    throw std::runtime_error("cannot connect to " + path.string());
  }
}

WireConnection::~WireConnection() { Close(); }

void WireConnection::Close() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}

void WireConnection::HalfClose() {
  if (tls_ != nullptr) SSL_shutdown(tls_.get());
  shutdown(socket_, SHUT_WR);
}

bool WireConnection::Send(std::string_view bytes) {
  if (tls_ != nullptr) return SSL_write(tls_.get(), bytes.data(), static_cast<int>(bytes.size())) > 0;
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool WireConnection::Fill() {
  if (tls_ != nullptr) {
    char plain[16384];
    ERR_clear_error();
    const int got = SSL_read(tls_.get(), plain, sizeof(plain));
    if (got > 0) buffer_.append(plain, static_cast<std::size_t>(got));
    if (got <= 0 && SSL_get_error(tls_.get(), got) != SSL_ERROR_ZERO_RETURN) {
      throw std::runtime_error("TLS: " + TlsReason());
    }
    return got > 0;
  }
  pollfd ready{socket_, POLLIN, 0};
  const int timeout = static_cast<int>(std::chrono::milliseconds(kPatience).count());
  if (poll(&ready, 1, timeout) <= 0) throw std::runtime_error("the server did not answer in time");
  char bytes[16384];
  const ssize_t count = recv(socket_, bytes, sizeof(bytes), 0);
  if (count < 0) throw std::runtime_error(std::string("the connection broke: ") + std::strerror(errno));
  buffer_.append(bytes, static_cast<std::size_t>(count));
  return count > 0;
}

HttpResponse WireConnection::Read(bool to_head) {
  std::size_t head_size = 0;
  while ((head_size = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!Fill()) throw std::runtime_error("the connection ended within a header: `" + buffer_ + "`");
  }
  HttpResponse response;
  const std::string head = buffer_.substr(0, head_size + 2);
  buffer_.erase(0, head_size + 4);
  if (head.compare(0, 9, "HTTP/1.1 ") != 0) throw std::runtime_error("this is no HTTP answer: " + head);
  response.status = std::atoi(head.c_str() + 9);
  for (std::size_t start = head.find("\r\n") + 2; start < head.size();) {
    const std::size_t end = head.find("\r\n", start);
    const std::size_t colon = head.find(": ", start);
    if (colon >= end) throw std::runtime_error("a header line has no colon: " + head);
    if (!response.headers
             .emplace(Lower(head.substr(start, colon - start)), head.substr(colon + 2, end - colon - 2))
             .second) {
      throw std::runtime_error("a header field comes twice: " + head);
    }
    start = end + 2;
  }
  if (to_head || response.status == 100) return response;
  if (response.Header("content-length").empty()) throw std::runtime_error("no Content-Length: " + head);
  const std::size_t size = std::stoul(response.Header("content-length"));
  while (buffer_.size() < size) {
    if (!Fill()) throw std::runtime_error("the connection ended within a body: `" + buffer_ + "`");
  }
  response.body = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return response;
}

HttpResponse WireConnection::Request(std::string_view method, std::string_view target, const Headers& headers,
                                     std::string_view body) {
  if (!Send(RequestText(method, target, headers, body)))
    throw std::runtime_error("the server closed the connection");
  return Read(method == "HEAD");
}

std::string WireConnection::ReadRest() {
  while (Fill()) {
  }
  return std::exchange(buffer_, {});
}

std::string WireConnection::ReadUntil(std::string_view text) {
  std::size_t at = 0;
  while ((at = buffer_.find(text)) == std::string::npos) {
    if (!Fill()) throw std::runtime_error("the connection ended before the text came: `" + buffer_ + "`");
  }
  std::string read = buffer_.substr(0, at + text.size());
  buffer_.erase(0, read.size());
  return read;
}

bool WireConnection::ReadEnd() {
  while (buffer_.empty()) {
    if (!Fill()) return true;
  }
  return false;
}

HttpResponse Request(int port, std::string_view method, std::string_view target, const Headers& headers,
                     std::string_view body) {
  return WireConnection(port).Request(method, target, headers, body);
}

HttpResponse Get(int port, std::string_view target) { return Request(port, "GET", target); }

HttpResponse PostJson(int port, std::string_view target, std::string_view body, Headers headers) {
  headers.emplace_back("Content-Type", "application/json");
  return Request(port, "POST", target, headers, body);
}

bool CanConnect(int port) {
  const int connected = Connect(port);
  if (connected >= 0) close(connected);
  return connected >= 0;
}

}  // namespace serve::wire
