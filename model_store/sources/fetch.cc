#include "model_store/sources/fetch.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <curl/curl.h>
#include <fmt/format.h>

namespace serve {
namespace {

namespace fs = std::filesystem;

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

Status Failed(const std::string& url, std::string_view why) { return DownloadFailed(url, why); }

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

Result<DownloadPlan> HttpPlan(const std::string& url, const AllowedUrls& allowed) {
  if (Status status = allowed.Check(url); !status.ok()) return status;
  const auto call_of = [url, &allowed](const std::string& target) -> Result<GetCall> {
    const std::string host = HostOfUrl(target);
    if (host.empty()) return Failed(url, "it is no URL");
    const bool named = allowed.NamesHost(target, host);
    if (!named && IsForbiddenHost(host)) {
      return Failed(
          url, fmt::format("{} is a link-local or metadata address, which allowed_urls does not name", host));
    }
    GetCall call;
    call.url = target;
    call.may_be_local = named;
    return call;
  };
  const Result<GetCall> first = call_of(url);
  if (!first) return first.error();
  DownloadPlan plan;
  plan.shown = url;
  plan.request = [call = *first] { return Result<GetCall>(call); };
  plan.redirect = [url, call_of, &allowed](const std::string& target) -> Result<GetCall> {
    if (const Status status = allowed.Check(target); !status.ok()) {
      return Failed(url, fmt::format("it redirects: {}", status.message));
    }
    return call_of(target);
  };
  return plan;
}

Status FetchArchive(const std::string& url, const AllowedUrls& allowed, const FetchLimits& limits,
                    const fs::path& target, const Progress& progress) {
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
    if (Part(url, CURLUPART_SCHEME) == "file") {
      status = CopyFile(url, limits, file.get());
    } else if (const Result<DownloadPlan> plan = HttpPlan(url, allowed); !plan) {
      status = plan.error();
    } else if (const auto done = Download(*plan, limits, partial, false, progress); !done) {
      status = done.error();
    }
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
