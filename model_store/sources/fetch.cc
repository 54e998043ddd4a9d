#include "model_store/sources/fetch.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <memory>
#include <mutex>
#include <sys/socket.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <curl/curl.h>
#include <fmt/format.h>

namespace serve {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct FreeEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

Status Failed(const std::string& url, std::string_view why) {
  return {Code::kDownloadFailed, fmt::format("Failed to download archive from: {} ({})", url, why)};
}

std::string Part(const std::string& url, CURLUPart part, unsigned flags = 0) {
  const std::unique_ptr<CURLU, FreeUrl> parsed(curl_url());
  char* text = nullptr;
  if (parsed == nullptr || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
      curl_url_get(parsed.get(), part, &text, flags) != CURLUE_OK) {
    return {};
  }
  std::string copy = text;
  curl_free(text);
  return copy;
}

/// What the callbacks of one transfer need.
struct Transfer {
  std::FILE* file = nullptr;
  std::uint64_t left = 0;
  bool too_large = false;
  bool disk_failed = false;
  bool may_be_local = false;  // the list names the host
  bool forbidden = false;
  CURL* easy = nullptr;
};

// libcurl is C: nothing may be thrown here.
std::size_t Receive(char* bytes, std::size_t size, std::size_t count, void* user) noexcept {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::size_t total = size * count;
  long status = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) return total;  // the text of a redirect or an error
  transfer.too_large = total > transfer.left;
  if (transfer.too_large) return 0;
  transfer.left -= total;
  transfer.disk_failed = std::fwrite(bytes, 1, total, transfer.file) != total;
  return transfer.disk_failed ? 0 : total;
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

/// One request. Ok: the file is complete, or `redirect` says where to go on.
Status GetOnce(const std::string& url, Transfer& transfer, Clock::time_point deadline,
               std::string& redirect) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const std::unique_ptr<CURL, FreeEasy> easy(curl_easy_init());
  if (easy == nullptr) return Failed(url, "libcurl cannot start");
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  if (left <= 0) return Failed(url, "no time is left");
  CURL* handle = easy.get();
  transfer.easy = handle;
  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, std::min<long>(left, 10'000L));
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(left));
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &Receive);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, &OpenSocket);
  curl_easy_setopt(handle, CURLOPT_OPENSOCKETDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, detail);
  const CURLcode code = curl_easy_perform(handle);
  if (transfer.forbidden)
    return Failed(url, "its host is a link-local or metadata address, which allowed_urls does not name");
  if (transfer.too_large) return Failed(url, "it is larger than max_download_size");
  if (transfer.disk_failed) return Failed(url, "the model store cannot be written");
  if (code == CURLE_OPERATION_TIMEDOUT) return Failed(url, "it took longer than download_timeout");
  if (code != CURLE_OK) return Failed(url, detail[0] != '\0' ? detail : curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  if (status == 200) return {};
  char* location = nullptr;
  curl_easy_getinfo(handle, CURLINFO_REDIRECT_URL, &location);
  if (location == nullptr || status < 300 || status > 399)
    return Failed(url, fmt::format("status {}", status));
  redirect = location;
  return {};
}

Status Download(const std::string& url, const AllowedUrls& allowed, const FetchLimits& limits,
                std::FILE* file) {
  const Clock::time_point deadline = Clock::now() + limits.timeout;
  std::string current = url;
  for (int hop = 0; hop <= limits.max_redirects; ++hop) {
    if (Status status = allowed.Check(current); !status.ok()) {
      return hop == 0 ? status : Failed(url, fmt::format("it redirects: {}", status.message));
    }
    const std::string host = Part(current, CURLUPART_HOST);
    if (host.empty()) return Failed(url, "it is no URL");
    Transfer transfer;
    transfer.file = file;
    transfer.left = limits.max_bytes;
    transfer.may_be_local = allowed.NamesHost(current, host);
    if (!transfer.may_be_local && IsForbiddenHost(host)) {
      return Failed(
          url, fmt::format("{} is a link-local or metadata address, which allowed_urls does not name", host));
    }
    std::string redirect;
    if (Status status = GetOnce(current, transfer, deadline, redirect); !status.ok()) return status;
    if (redirect.empty()) return {};
    current = redirect;
  }
  return Failed(url, fmt::format("it redirects more than {} times", limits.max_redirects));
}

Status CopyFile(const std::string& url, const FetchLimits& limits, std::FILE* file) {
  const std::string path = Part(url, CURLUPART_PATH, CURLU_URLDECODE);
  struct stat status {};
  const File source(path.empty() ? nullptr : std::fopen(path.c_str(), "rbe"));
  if (source == nullptr || ::fstat(::fileno(source.get()), &status) != 0 || !S_ISREG(status.st_mode)) {
    return Failed(url, "there is no such file");
  }
  if (static_cast<std::uint64_t>(status.st_size) > limits.max_bytes) {
    return Failed(url, "it is larger than max_download_size");
  }
  std::vector<char> block(1 << 20);
  for (std::uint64_t left = limits.max_bytes;;) {
    const std::size_t read = std::fread(block.data(), 1, block.size(), source.get());
    if (read == 0) break;
    if (read > left) return Failed(url, "it is larger than max_download_size");
    left -= read;
    if (std::fwrite(block.data(), 1, read, file) != read)
      return Failed(url, "the model store cannot be written");
  }
  return std::ferror(source.get()) != 0 ? Failed(url, "it cannot be read") : Status{};
}

}  // namespace

Result<std::string> FileNameOfUrl(const std::string& url) {
  const std::string path = Part(url, CURLUPART_PATH, CURLU_URLDECODE);
  const std::string name = path.substr(path.rfind('/') + 1);
  const bool odd =
      std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == '\\'; });
  if (path.empty() || name.empty() || name.front() == '.' || name.size() > 200 || odd) {
    return Status{Code::kModelNotFound,
                  fmt::format("Model not found at: {} (its path ends in no file name)", url)};
  }
  return name;
}

Status FetchArchive(const std::string& url, const AllowedUrls& allowed, const FetchLimits& limits,
                    const fs::path& target) {
  if (Status status = allowed.Check(url); !status.ok()) return status;
  const Status exists = Internal(fmt::format("Model file already exists {}", target.filename().string()));
  std::error_code error;
  if (fs::exists(target, error)) return exists;
  const fs::path partial =
      target.parent_path() / fmt::format(".{}.partial.{}", target.filename().string(), getpid());
  const int descriptor = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    if (errno == EEXIST) return exists;  // another call fetches it right now
    return Failed(
        url, fmt::format("the model store cannot be written: {}", std::generic_category().message(errno)));
  }
  Status status;
  {
    File file(::fdopen(descriptor, "wb"));
    const std::string scheme = Part(url, CURLUPART_SCHEME);
    status =
        scheme == "file" ? CopyFile(url, limits, file.get()) : Download(url, allowed, limits, file.get());
    if (std::fclose(file.release()) != 0 && status.ok())
      status = Failed(url, "the model store cannot be written");
  }
  // A link, unlike a rename, never replaces what somebody put there meanwhile.
  if (status.ok() && ::link(partial.c_str(), target.c_str()) != 0) {
    status = errno == EEXIST ? exists : Failed(url, std::generic_category().message(errno));
  }
  ::unlink(partial.c_str());
  return status;
}

}  // namespace serve
