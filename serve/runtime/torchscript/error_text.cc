#include "serve/runtime/torchscript/error_text.h"

#include <algorithm>
#include <array>
#include <vector>

namespace serve {
namespace {

constexpr std::size_t kMaxLength = 600;

std::string_view Trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return lines;
}

bool IsNoise(std::string_view line) {
  constexpr std::array<std::string_view, 4> kStarts = {
      "Exception raised from", "frame #", "Traceback of TorchScript", "The following operation failed in"};
  return line.empty() || std::any_of(kStarts.begin(), kStarts.end(),
                                     [&](std::string_view start) { return line.starts_with(start); });
}

}  // namespace

std::string ShortTorchError(std::string_view what) {
  const std::vector<std::string_view> lines = Lines(what);
  // An exception inside a module: the interpreter prints the code with a marker under the operation that
  // failed, and the reason last, after "RuntimeError: " or the name of the exception that the module raised.
  std::string_view code;
  std::string_view reason;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string_view line = Trim(lines[i]);
    if (line.find("~~~") != std::string_view::npos && i > 0) {
      code = Trim(lines[i - 1]);
    } else if (line.starts_with("RuntimeError: ")) {
      reason = line.substr(std::string_view("RuntimeError: ").size());
    } else if (reason.empty() && line.starts_with("torch.jit.Error: ")) {
      reason = line.substr(std::string_view("torch.jit.Error: ").size());
    }
  }
  std::string text;
  if (!reason.empty()) {
    text = reason;
    if (!code.empty() && reason.find(code) == std::string_view::npos)
      text.append(", in `").append(code).append("`");
  } else {
    // No interpreter involved: the first lines that say something.
    for (const std::string_view raw : lines) {
      const std::string_view line = Trim(raw);
      if (line.starts_with("Exception raised from") || line.starts_with("frame #")) break;
      if (IsNoise(line)) continue;
      if (!text.empty()) text += ' ';
      text += line;
      if (text.size() > kMaxLength) break;
    }
  }
  if (text.empty()) text = "unknown error";
  if (text.size() > kMaxLength) text.resize(kMaxLength);
  return text;
}

}  // namespace serve
