#include "model_store/http_client/http_client.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>

#include <curl/curl.h>
#include <fmt/format.h>

namespace serve {
namespace {

struct FreeEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

bool EqualIgnoringCase(std::string_view left, std::string_view right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); });
}

std::string_view Trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

/// The parts of a URL that the call needs to know.
struct Url {
  std::string shown;  // without user and password: for messages
  std::string host;
};

std::string Part(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return {};
  std::string copy = text;
  curl_free(text);
  return copy;
}

Result<Url> ReadUrl(const std::string& text) {
  const std::unique_ptr<CURLU, FreeUrl> url(curl_url());
  constexpr std::string_view kForm = "expected http://HOST[:PORT]/… or https://…";
  if (url == nullptr ||
      curl_url_set(url.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
    return InvalidArgument(fmt::format("\"{}\" is not a URL: {}", text, kForm));
  }
  const std::string scheme = Part(url.get(), CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") {
    return InvalidArgument(
        fmt::format("\"{}\": the scheme \"{}\" is not supported: {}", text, scheme, kForm));
  }
  curl_url_set(url.get(), CURLUPART_USER, nullptr, 0);
  curl_url_set(url.get(), CURLUPART_PASSWORD, nullptr, 0);
  return Url{Part(url.get(), CURLUPART_URL), Part(url.get(), CURLUPART_HOST)};
}

bool IsLoopback(std::string_view host) {
  return EqualIgnoringCase(host, "localhost") || host.starts_with("127.") || host == "[::1]" || host == "::1";
}

/// What the callbacks of one call write to.
struct Receiver {
  HttpAnswer answer;
  std::size_t max_bytes = 0;
  bool too_large = false;
  bool refused = false;  // by the sink
  const std::function<bool(std::string_view)>* sink = nullptr;
  CURL* easy = nullptr;
};

// libcurl is C: an exception must not pass through it. Out of memory ends the call like a broken connection.
std::size_t ReceiveBody(char* bytes, std::size_t size, std::size_t count, void* user) noexcept {
  auto& receiver = *static_cast<Receiver*>(user);
  const std::size_t total = size * count;
  if (*receiver.sink) {
    long status = 0;
    curl_easy_getinfo(receiver.easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300) {
      try {
        receiver.refused = !(*receiver.sink)({bytes, total});
        return receiver.refused ? CURL_WRITEFUNC_ERROR : total;
      } catch (const std::exception&) {
        return CURL_WRITEFUNC_ERROR;
      }
    }
  }
  if (total > receiver.max_bytes - receiver.answer.body.size()) {
    receiver.too_large = true;
    return CURL_WRITEFUNC_ERROR;
  }
  try {
    receiver.answer.body.append(bytes, total);
  } catch (const std::exception&) {
    return CURL_WRITEFUNC_ERROR;
  }
  return total;
}

std::size_t SendFile(char* bytes, std::size_t size, std::size_t count, void* user) noexcept {
  auto* file = static_cast<std::FILE*>(user);
  const std::size_t read = std::fread(bytes, size, count, file);
  return std::ferror(file) != 0 ? CURL_READFUNC_ABORT : read;
}

std::size_t ReceiveHeader(char* bytes, std::size_t size, std::size_t count, void* user) noexcept {
  auto& receiver = *static_cast<Receiver*>(user);
  const std::string_view line(bytes, size * count);
  try {
    if (line.starts_with("HTTP/")) {
      receiver.answer.headers.clear();  // of a 100 Continue
    } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
      receiver.answer.headers.emplace_back(Trim(line.substr(0, colon)), Trim(line.substr(colon + 1)));
    }
  } catch (const std::exception&) {
    return CURL_WRITEFUNC_ERROR;
  }
  return size * count;
}

void SetTls(CURL* handle, const HttpTls& tls) {
  if (!tls.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, tls.ca_file.c_str());
  if (!tls.verify) {
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  if (!tls.certificate.empty()) curl_easy_setopt(handle, CURLOPT_SSLCERT, tls.certificate.c_str());
  if (!tls.key.empty()) curl_easy_setopt(handle, CURLOPT_SSLKEY, tls.key.c_str());
}

Status Failure(CURLcode code, const HttpCall& call, const Url& url, const Receiver& receiver,
               const char* detail) {
  const std::string_view reason = detail[0] != '\0' ? detail : curl_easy_strerror(code);
  const auto status = [&](Code kind, std::string_view text) {
    return Status{kind, fmt::format("{} {}: {}", call.method, url.shown, text)};
  };
  if (receiver.too_large) {
    return status(Code::kPayloadTooLarge,
                  fmt::format("the answer is larger than {} bytes", receiver.max_bytes));
  }
  if (receiver.refused) return status(Code::kPayloadTooLarge, "the answer was not wanted to its end");
  switch (code) {
    case CURLE_COULDNT_CONNECT:
      return status(Code::kUnavailable, fmt::format("connection refused: is the server running? {} ({})",
                                                    call.start_advice, reason));
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return status(Code::kUnavailable, fmt::format("unknown host: is the name spelt right? ({})", reason));
    case CURLE_OPERATION_TIMEDOUT:
      return status(
          Code::kDeadlineExceeded,
          fmt::format("no complete answer within {} ms; allow more time or look at the server's log",
                      call.timeout.count() > 0 ? call.timeout.count()
                                               : std::chrono::milliseconds(call.stall_timeout).count()));
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
      return status(Code::kInternal,
                    fmt::format("the connection broke before the answer was complete ({})", reason));
    case CURLE_PEER_FAILED_VERIFICATION:
      return status(
          Code::kPermissionDenied,
          fmt::format("the server's certificate is not trusted ({}); name the certificates to trust "
                      "with --ca-file",
                      reason));
    default:
      return status(Code::kInternal, reason);
  }
}

}  // namespace

std::string_view HttpAnswer::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (EqualIgnoringCase(key, name)) return value;
  }
  return {};
}

Result<HttpAnswer> CallHttp(const HttpCall& call) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const Result<Url> url = ReadUrl(call.url);
  if (!url) return url.error();
  const std::unique_ptr<CURL, FreeEasy> easy(curl_easy_init());
  if (easy == nullptr) return Internal("libcurl cannot start");

  std::unique_ptr<curl_slist, FreeList> headers(
      curl_slist_append(nullptr, "Expect:"));  // no round trip for 100
  const auto add = [&headers](const std::string& line) {
    if (curl_slist* longer = curl_slist_append(headers.get(), line.c_str())) {
      (void)headers.release();
      headers.reset(longer);
    }
  };
  bool has_content_type = false;
  for (const auto& [name, value] : call.headers) {
    if (name.find_first_of("\r\n:") != std::string::npos ||
        value.find_first_of("\r\n") != std::string::npos) {
      return InvalidArgument(
          fmt::format("the header \"{}\" holds a line break or a colon in its name", name));
    }
    has_content_type = has_content_type || EqualIgnoringCase(name, "content-type");
    add(value.empty() ? name + ";" : fmt::format("{}: {}", name, value));
  }
  if (!has_content_type) add("Content-Type:");  // else libcurl calls every body a form

  Receiver receiver;
  receiver.max_bytes = call.max_response_bytes;
  receiver.sink = &call.sink;
  receiver.easy = easy.get();
  std::unique_ptr<std::FILE, CloseFile> body_file;
  std::uintmax_t body_size = 0;
  if (!call.body_file.empty()) {
    std::error_code error;
    body_size = std::filesystem::file_size(call.body_file, error);
    if (!error) body_file.reset(std::fopen(call.body_file.c_str(), "rbe"));
    if (body_file == nullptr) {
      return Status{Code::kNotFound, fmt::format("cannot read {}", call.body_file.string())};
    }
  }
  char detail[CURL_ERROR_SIZE] = "";
  CURL* handle = easy.get();
  curl_easy_setopt(handle, CURLOPT_URL, call.url.c_str());
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);  // signals and threads do not mix
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(call.connect_timeout.count()));
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(call.timeout.count()));
  SetTls(handle, call.tls);
  if (!call.use_proxy || IsLoopback(url->host)) curl_easy_setopt(handle, CURLOPT_NOPROXY, "*");
  if (call.stall_timeout.count() > 0) {
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(call.stall_timeout.count()));
  }
  if (body_file != nullptr) {
    curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(handle, CURLOPT_READFUNCTION, &SendFile);
    curl_easy_setopt(handle, CURLOPT_READDATA, body_file.get());
    curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(body_size));
  } else if (!call.body.empty() || call.method == "POST" || call.method == "PUT") {
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(call.body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, call.body.data());
  }
  if (call.method == "HEAD") curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
  curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, call.method.c_str());
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &ReceiveBody);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &receiver);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &ReceiveHeader);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &receiver);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, detail);

  if (const CURLcode code = curl_easy_perform(handle); code != CURLE_OK) {
    return Failure(code, call, *url, receiver, detail);
  }
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  receiver.answer.status = static_cast<int>(status);
  return std::move(receiver.answer);
}

std::string UrlEncode(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~')) {
      encoded += c;
    } else {
      encoded += '%';
      encoded += kDigits[byte >> 4];
      encoded += kDigits[byte & 15];
    }
  }
  return encoded;
}

}  // namespace serve
