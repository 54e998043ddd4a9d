#include "model_store/sources/download.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <fcntl.h>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "model_store/sources/checksum.h"
#include "model_store/sources/part_state.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kTries = 5;  // without any progress

std::uint64_t NumberOf(std::string_view text, std::uint64_t otherwise) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() ? number : otherwise;
}

/// `bytes BEGIN-END/TOTAL` of a 206; `total` is 0 when the answer has none.
struct ContentRange {
  std::uint64_t begin = 0;
  std::uint64_t total = 0;
};
ContentRange RangeOf(const HttpAnswer& head) {
  std::string_view text = head.Header("content-range");
  if (head.status != 206 || !text.starts_with("bytes ")) return {};
  text.remove_prefix(6);
  const std::size_t dash = text.find('-');
  const std::size_t slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || dash > slash) return {};
  constexpr std::uint64_t kNone = UINT64_MAX;
  const ContentRange range{NumberOf(text.substr(0, dash), kNone), NumberOf(text.substr(slash + 1), kNone)};
  if (range.begin == kNone || range.total == kNone || range.total == 0) return {};
  return range;
}

/// What changes with the content. A weak ETag does not promise equal bytes.
std::string ValidatorOf(const HttpAnswer& head) {
  const std::string_view etag = head.Header("etag");
  if (!etag.empty() && !etag.starts_with("W/")) return std::string(etag);
  return std::string(head.Header("last-modified"));
}

bool MayPass(int status) { return status == 408 || status == 429 || (status >= 500 && status != 501); }

class Downloading {
 public:
  Downloading(const DownloadPlan& plan, const FetchLimits& limits, fs::path partial, bool keep,
              const Progress& progress, const std::function<bool(const std::string&)>& is_known)
      : plan_(plan),
        limits_(limits),
        partial_(std::move(partial)),
        keep_(keep),
        progress_(progress),
        is_known_(is_known),
        deadline_(Clock::now() + limits.timeout) {
    state_file_ = partial_;
    state_file_ += ".state";
  }
  ~Downloading() {
    if (file_ >= 0) ::close(file_);
  }
  Downloading(const Downloading&) = delete;
  Downloading& operator=(const Downloading&) = delete;

  Result<Downloaded> Run() {
    file_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file_ < 0) return CannotWrite();
    if (keep_) state_ = ReadPartState(state_file_);
    for (int round = 0; round < 3; ++round) {
      again_ = false;
      Status status = Begin();
      if (status.ok() && !again_ && !result_.known && !whole_) status = GetMissing();
      if (again_) {  // the file changed, or cannot be had in parts
        state_ = {};
        continue;
      }
      if (!status.ok()) return status;
      return Finish();
    }
    return DownloadFailed(plan_.shown, "it changes again and again while it is fetched");
  }

 private:
  [[nodiscard]] Status CannotWrite() const {
    return DownloadFailed(plan_.shown,
                          fmt::format("{} cannot be written: {}", partial_.parent_path().string(),
                                      std::generic_category().message(errno)));
  }

  Result<Downloaded> Finish() {
    if (result_.known) return result_;
    if (keep_ && ::fdatasync(file_) != 0) return CannotWrite();
    if (std::string wrong = CompareChecksums(partial_, result_.head, plan_.etag_is_md5); !wrong.empty()) {
      state_ = {};
      Forget();
      return DownloadFailed(plan_.shown, wrong);
    }
    Report(true);
    return result_;
  }

  void Forget() {
    std::error_code ignored;
    fs::remove(state_file_, ignored);
    if (::ftruncate(file_, 0) != 0) ::unlink(partial_.c_str());
  }

  /// The first request of a round: learns size and kind of the file, and fetches its first missing part, or
  /// all.
  Status Begin() {
    whole_ = false;
    received_ = state_.Received();
    if (state_.total > 0 && state_.FirstMissing() == state_.done.size()) {
      state_.done.back() = '0';  // complete, but never asked whether it is still the same
      received_ = state_.Received();
    }
    const std::size_t part = state_.FirstMissing();
    const std::uint64_t part_bytes = state_.total > 0 ? state_.part_bytes : limits_.part_bytes;
    const std::uint64_t begin = part * part_bytes;
    std::uint64_t at = begin;
    bool too_large = false;
    bool disk_failed = false;
    HttpHeaders headers;
    if (!plain_) headers.emplace_back("Range", fmt::format("bytes={}-{}", begin, begin + part_bytes - 1));
    if (!plain_ && !state_.validator.empty()) headers.emplace_back("If-Range", state_.validator);
    const auto head = [&](const HttpAnswer& answer) {
      const ContentRange range = RangeOf(answer);
      if (answer.status == 206 && (range.total == 0 || range.begin != begin)) {
        plain_ = again_ = true;
        return false;
      }
      result_.head = answer;
      result_.head.body.clear();
      result_.validator = ValidatorOf(answer);
      result_.size = range.total > 0 ? range.total : NumberOf(answer.Header("content-length"), 0);
      too_large = result_.size > limits_.max_bytes;
      if (too_large) return false;
      if (is_known_ && !result_.validator.empty() && is_known_(result_.validator)) {
        result_.known = true;
        return false;
      }
      if (plan_.pin) plan_.pin(answer);
      if (range.total == 0) {
        whole_ = true;
        at = 0;
        received_ = 0;
        state_ = {};
        disk_failed = ::ftruncate(file_, 0) != 0;
        return !disk_failed;
      }
      if (state_.total > 0 && (state_.total != range.total || state_.validator != result_.validator)) {
        again_ = true;
        return false;
      }
      if (result_.validator.empty() && range.total > part_bytes) {  // parts might not belong together
        plain_ = again_ = true;
        return false;
      }
      if (state_.total == 0) {
        state_ = {result_.validator, range.total, part_bytes, {}};
        state_.done.assign((range.total - 1) / part_bytes + 1, '0');
        disk_failed = ::ftruncate(file_, static_cast<off_t>(range.total)) != 0;
      }
      return !disk_failed;
    };
    const auto bytes = [&](std::string_view piece) {
      too_large = whole_ ? at + piece.size() > limits_.max_bytes : at + piece.size() > state_.End(part);
      disk_failed = !too_large && !Write(piece, at);
      at += piece.size();
      return !too_large && !disk_failed;
    };
    for (int tries = 1;; ++tries) {
      Result<GetAnswer> got = Ask(headers, head, bytes);
      if (!got) return got.error();
      if (too_large) return DownloadFailed(plan_.shown, "it is larger than max_download_size");
      if (disk_failed) return CannotWrite();
      if (again_ || result_.known) return {};
      if (!plain_ && got->answer.status == 416) {  // an empty file has no range
        plain_ = again_ = true;
        return {};
      }
      if (whole_) {
        if (got->end == GetAnswer::End::kComplete) {
          result_.size = at;
          return {};
        }
        if (got->end != GetAnswer::End::kBroken || tries >= kTries || !Wait(tries, nullptr)) return Why(*got);
        continue;  // from the beginning: `head` empties the file
      }
      if (at == begin && got->answer.status != 206) {
        if (got->end == GetAnswer::End::kBroken && tries < kTries && Wait(tries, nullptr)) continue;
        return Why(*got);
      }
      return GetPart(part, at);
    }
  }

  /// The parts that are not there yet, on several threads.
  Status GetMissing() {
    std::vector<std::size_t> missing;
    for (std::size_t part = 0; part < state_.done.size(); ++part) {
      if (state_.done[part] == '0') missing.push_back(part);
    }
    std::atomic<std::size_t> next{0};
    Status failure;
    const auto work = [&] {
      for (std::size_t i = next++; i < missing.size() && !again_; i = next++) {
        Status status = GetPart(missing[i], state_.Begin(missing[i]));
        if (status.ok()) continue;
        next = missing.size();
        const std::lock_guard lock(mutex_);
        if (failure.ok()) failure = std::move(status);
      }
    };
    {
      std::vector<std::jthread> threads;
      const auto wanted = static_cast<std::size_t>(std::max(1, limits_.connections));
      for (std::size_t i = 1; i < std::min(wanted, missing.size()); ++i) threads.emplace_back(work);
      work();
    }
    return failure;
  }

  /// One part, from `at` on, over as many connections as it takes.
  Status GetPart(std::size_t part, std::uint64_t at) {
    const std::uint64_t end = state_.End(part);
    bool disk_failed = false;
    for (int tries = 0; at < end;) {
      const std::uint64_t before = at;
      const HttpHeaders headers = {{"Range", fmt::format("bytes={}-{}", at, end - 1)},
                                   {"If-Range", state_.validator}};
      const auto head = [&](const HttpAnswer& answer) {
        const ContentRange range = RangeOf(answer);
        if (range.begin == at && range.total == state_.total && ValidatorOf(answer) == state_.validator) {
          return true;
        }
        again_ = true;
        return false;
      };
      const Result<GetAnswer> got = Ask(headers, head, [&](std::string_view piece) {
        if (piece.size() > end - at) return false;
        disk_failed = !Write(piece, at);
        at += piece.size();
        return !disk_failed && !again_;
      });
      if (!got) return got.error();
      if (disk_failed) return CannotWrite();
      if (again_) return {};
      if (at >= end) break;
      const bool broken = got->end == GetAnswer::End::kBroken ||
                          (got->end == GetAnswer::End::kComplete && got->answer.status == 206);
      if (!broken) return Why(*got);
      tries = at > before ? 1 : tries + 1;
      if (tries >= kTries || !Wait(tries, nullptr)) return Why(*got);
    }
    if (keep_ && ::fdatasync(file_) != 0) return CannotWrite();
    const std::lock_guard lock(mutex_);
    state_.done[part] = '1';
    if (keep_ && !state_.validator.empty()) WritePartState(state_file_, state_);
    return {};
  }

  /// One request, again where a wait, a token or a redirect helps. What comes back is content, or final.
  Result<GetAnswer> Ask(const HttpHeaders& more, const std::function<bool(const HttpAnswer&)>& head,
                        const std::function<bool(std::string_view)>& bytes) {
    int corrections = 0;
    int hops = 0;
    for (int tries = 1;;) {
      Result<GetCall> call = Request();
      if (!call) return call.error();
      call->headers.insert(call->headers.end(), more.begin(), more.end());
      call->deadline = deadline_;
      GetAnswer got = GetHttp(*call, head, bytes);
      const int status = got.answer.status;
      if (status == 200 || status == 206 || got.end != GetAnswer::End::kComplete) return got;
      if (!got.redirect.empty() && plan_.redirect) {
        if (++hops > limits_.max_redirects) {
          return DownloadFailed(plan_.shown,
                                fmt::format("it redirects more than {} times", limits_.max_redirects));
        }
        Result<GetCall> next = plan_.redirect(got.redirect);
        if (!next) return next.error();
        const std::lock_guard lock(request_mutex_);
        redirected_ = std::move(*next);
        continue;
      }
      if (plan_.correct && corrections < 3) {
        const std::lock_guard lock(request_mutex_);
        if (plan_.correct(got)) {
          ++corrections;
          continue;
        }
      }
      if (!MayPass(status) || tries >= kTries - 1 || !Wait(tries++, &got.answer)) return got;
    }
  }

  Result<GetCall> Request() {
    const std::lock_guard lock(request_mutex_);
    if (redirected_) return *redirected_;
    return plan_.request();
  }

  /// False when the time is over. What the server asks for counts, up to half a minute.
  [[nodiscard]] bool Wait(int tries, const HttpAnswer* answer) const {
    milliseconds wait{100 << std::min(tries, 6)};
    if (answer != nullptr) {
      const std::uint64_t asked = NumberOf(answer->Header("retry-after"), 0);
      if (asked > 30) return false;
      wait = std::max(wait, milliseconds(asked * 1000));
    }
    if (Clock::now() + wait >= deadline_) return false;
    std::this_thread::sleep_for(wait);
    return true;
  }

  bool Write(std::string_view piece, std::uint64_t at) {
    while (!piece.empty()) {
      const ssize_t written = ::pwrite(file_, piece.data(), piece.size(), static_cast<off_t>(at));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      piece.remove_prefix(static_cast<std::size_t>(written));
      at += static_cast<std::uint64_t>(written);
      received_ += static_cast<std::uint64_t>(written);
    }
    Report(false);
    return true;
  }

  void Report(bool last) {
    if (!progress_) return;
    const std::lock_guard lock(progress_mutex_);
    const Clock::time_point now = Clock::now();
    if (!last && now - reported_ < milliseconds(200)) return;
    reported_ = now;
    progress_(last ? result_.size : received_.load(), result_.size);
  }

  [[nodiscard]] Status Why(const GetAnswer& got) {
    switch (got.end) {
      case GetAnswer::End::kForbidden:
        return DownloadFailed(
            plan_.shown, "its host is a link-local or metadata address, which allowed_urls does not name");
      case GetAnswer::End::kTimeout:
        return DownloadFailed(plan_.shown, "it took longer than download_timeout");
      case GetAnswer::End::kBroken:
        return DownloadFailed(plan_.shown, fmt::format("the connection broke: {}", got.detail));
      case GetAnswer::End::kComplete:
        break;
      default:
        return DownloadFailed(plan_.shown, got.detail);
    }
    const std::lock_guard lock(request_mutex_);
    std::string why = plan_.explain ? plan_.explain(got) : std::string{};
    return DownloadFailed(plan_.shown, why.empty() ? fmt::format("status {}", got.answer.status) : why);
  }

  const DownloadPlan& plan_;
  const FetchLimits& limits_;
  const fs::path partial_;
  fs::path state_file_;
  const bool keep_;
  const Progress& progress_;
  const std::function<bool(const std::string&)>& is_known_;
  const Clock::time_point deadline_;
  int file_ = -1;
  Downloaded result_;
  bool whole_ = false;              // the server sends all of it, or nothing
  bool plain_ = false;              // no range is asked for any more
  std::atomic<bool> again_{false};  // this round led nowhere; the next one begins anew
  std::atomic<std::uint64_t> received_{0};

  std::mutex mutex_;  // guards state_.done and state_file_
  PartState state_;
  std::mutex request_mutex_;  // guards redirected_, and calls into the plan
  std::optional<GetCall> redirected_;
  std::mutex progress_mutex_;  // guards reported_
  Clock::time_point reported_{};
};

}  // namespace

Status DownloadFailed(const std::string& shown, std::string_view why) {
  return {Code::kDownloadFailed, fmt::format("Failed to download archive from: {} ({})", shown, why)};
}

Result<Downloaded> Download(const DownloadPlan& plan, const FetchLimits& limits, const fs::path& partial,
                            bool keep, const Progress& progress,
                            const std::function<bool(const std::string&)>& is_known) {
  Result<Downloaded> downloaded = Downloading(plan, limits, partial, keep, progress, is_known).Run();
  std::error_code ignored;
  fs::path state = partial;
  state += ".state";
  if (downloaded || !keep) fs::remove(state, ignored);
  if (!downloaded && !keep) fs::remove(partial, ignored);
  return downloaded;
}

}  // namespace serve
