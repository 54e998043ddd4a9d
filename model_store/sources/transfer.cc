#include "model_store/sources/transfer.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <sys/socket.h>

#include <curl/curl.h>
#include <fmt/format.h>

#include "model_store/sources/allowed_urls.h"

namespace serve {
namespace {

constexpr std::size_t kMaxErrorText = 16U << 10;
constexpr std::size_t kMaxHeaders = 256;

struct FreeEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

/// What the callbacks of one transfer need.
struct Transfer {
  CURL* easy = nullptr;
  GetAnswer* got = nullptr;
  const std::function<bool(const HttpAnswer&)>* head = nullptr;
  const std::function<bool(std::string_view)>* bytes = nullptr;
  bool head_seen = false;
  bool refused = false;
  bool may_be_local = false;
  bool forbidden = false;

  [[nodiscard]] bool IsContent() const { return got->answer.status == 200 || got->answer.status == 206; }
  bool SeeHead() {
    if (!std::exchange(head_seen, true)) refused = !(*head)(got->answer);
    return !refused;
  }
};

std::string_view Trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// libcurl is C: an exception must not pass through it. Out of memory ends the call like a broken connection.
std::size_t ReceiveHeader(char* bytes, std::size_t size, std::size_t count, void* user) noexcept {
  auto& transfer = *static_cast<Transfer*>(user);
  HttpAnswer& answer = transfer.got->answer;
  const std::string_view line(bytes, size * count);
  try {
    if (line.starts_with("HTTP/")) {
      long status = 0;
      curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
      answer.status = static_cast<int>(status);
      answer.headers.clear();
    } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
      if (answer.headers.size() >= kMaxHeaders) return CURL_WRITEFUNC_ERROR;
      answer.headers.emplace_back(Trim(line.substr(0, colon)), Trim(line.substr(colon + 1)));
    }
  } catch (const std::exception&) {
    return CURL_WRITEFUNC_ERROR;
  }
  return size * count;
}

std::size_t ReceiveBody(char* bytes, std::size_t size, std::size_t count, void* user) noexcept {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::size_t total = size * count;
  try {
    if (!transfer.IsContent()) {
      std::string& text = transfer.got->answer.body;
      text.append(bytes, std::min(total, kMaxErrorText - text.size()));
      return total;
    }
    if (!transfer.SeeHead()) return CURL_WRITEFUNC_ERROR;
    transfer.refused = !(*transfer.bytes)({bytes, total});
  } catch (const std::exception&) {
    return CURL_WRITEFUNC_ERROR;
  }
  return transfer.refused ? CURL_WRITEFUNC_ERROR : total;
}

/// The address is known only here: between a check of the name and this, it may resolve to another one.
curl_socket_t OpenSocket(void* user, curlsocktype, curl_sockaddr* address) noexcept {
  auto& transfer = *static_cast<Transfer*>(user);
  if (!transfer.may_be_local && IsForbiddenAddress(address->addr)) {
    transfer.forbidden = true;
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

bool IsLoopback(std::string_view host) {
  return host == "localhost" || host.starts_with("127.") || host == "[::1]";
}

GetAnswer::End EndOf(CURLcode code, const Transfer& transfer, bool in_time) {
  if (transfer.forbidden) return GetAnswer::End::kForbidden;
  if (transfer.refused) return GetAnswer::End::kRefusedByUs;
  switch (code) {
    case CURLE_OK:
      return GetAnswer::End::kComplete;
    case CURLE_OPERATION_TIMEDOUT:  // also for nothing that comes for a while
      return in_time ? GetAnswer::End::kBroken : GetAnswer::End::kTimeout;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return GetAnswer::End::kNoConnection;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
      return GetAnswer::End::kBroken;
    default:
      return GetAnswer::End::kFailed;
  }
}

}  // namespace

std::string HostOfUrl(const std::string& url) {
  const std::unique_ptr<CURLU, FreeUrl> parsed(curl_url());
  char* text = nullptr;
  if (parsed == nullptr || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
      curl_url_get(parsed.get(), CURLUPART_HOST, &text, 0) != CURLUE_OK) {
    return {};
  }
  std::string copy = text;
  curl_free(text);
  return copy;
}

GetAnswer GetHttp(const GetCall& call, const std::function<bool(const HttpAnswer&)>& head,
                  const std::function<bool(std::string_view)>& bytes) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  using Clock = std::chrono::steady_clock;
  GetAnswer got;
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(call.deadline - Clock::now()).count();
  if (left <= 0) {
    got.end = GetAnswer::End::kTimeout;
    got.detail = "no time is left";
    return got;
  }
  const std::unique_ptr<CURL, FreeEasy> easy(curl_easy_init());
  if (easy == nullptr) {
    got.detail = "libcurl cannot start";
    return got;
  }
  std::unique_ptr<curl_slist, FreeList> headers;
  for (const auto& [name, value] : call.headers) {
    curl_slist* longer = curl_slist_append(headers.get(), fmt::format("{}: {}", name, value).c_str());
    if (longer == nullptr) continue;
    (void)headers.release();
    headers.reset(longer);
  }
  CURL* handle = easy.get();
  Transfer transfer{.easy = handle, .got = &got, .head = &head, .bytes = &bytes};
  transfer.may_be_local = call.may_be_local;
  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(handle, CURLOPT_URL, call.url.c_str());
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
  curl_easy_setopt(handle, CURLOPT_PATH_AS_IS, 1L);  // a signature covers the path as it stands
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, std::min<long>(left, 10'000L));
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(left));
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, 30L);
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &ReceiveHeader);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &ReceiveBody);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, &OpenSocket);
  curl_easy_setopt(handle, CURLOPT_OPENSOCKETDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, detail);
  if (IsLoopback(HostOfUrl(call.url))) curl_easy_setopt(handle, CURLOPT_NOPROXY, "*");
  if (!call.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, call.ca_file.c_str());
  if (!call.certificate.empty()) curl_easy_setopt(handle, CURLOPT_SSLCERT, call.certificate.c_str());
  if (!call.key.empty()) curl_easy_setopt(handle, CURLOPT_SSLKEY, call.key.c_str());
  if (!call.verify_tls) {
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  const CURLcode code = curl_easy_perform(handle);
  if (code == CURLE_OK && transfer.IsContent()) transfer.SeeHead();  // an empty body
  // libcurl rounds down: its timeout may come a little before the deadline.
  got.end = EndOf(code, transfer, Clock::now() + std::chrono::milliseconds(20) < call.deadline);
  if (code != CURLE_OK) got.detail = detail[0] != '\0' ? detail : curl_easy_strerror(code);
  char* location = nullptr;
  curl_easy_getinfo(handle, CURLINFO_REDIRECT_URL, &location);
  if (location != nullptr && got.answer.status >= 300 && got.answer.status <= 399) got.redirect = location;
  return got;
}

}  // namespace serve
