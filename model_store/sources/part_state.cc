#include "model_store/sources/part_state.h"

#include <algorithm>
#include <fstream>
#include <system_error>

namespace serve {

std::uint64_t PartState::End(std::size_t part) const { return std::min(total, Begin(part) + part_bytes); }

std::size_t PartState::FirstMissing() const { return std::min(done.find('0'), done.size()); }

std::uint64_t PartState::Received() const {
  std::uint64_t bytes = 0;
  for (std::size_t part = 0; part < done.size(); ++part) {
    if (done[part] == '1') bytes += End(part) - Begin(part);
  }
  return bytes;
}

PartState ReadPartState(const std::filesystem::path& file) {
  std::ifstream stream(file);
  PartState state;
  std::getline(stream, state.validator);
  stream >> state.total >> state.part_bytes >> state.done;
  const bool fits = stream && !state.validator.empty() && state.total > 0 && state.part_bytes > 0 &&
                    state.done.size() == (state.total - 1) / state.part_bytes + 1 &&
                    state.done.find_first_not_of("01") == std::string::npos;
  return fits ? state : PartState{};
}

void WritePartState(const std::filesystem::path& file, const PartState& state) {
  std::filesystem::path fresh = file;
  fresh += ".new";
  {
    std::ofstream stream(fresh);
    stream << state.validator << '\n' << state.total << ' ' << state.part_bytes << '\n' << state.done << '\n';
    if (!stream.flush()) return;
  }
  std::error_code ignored;
  std::filesystem::rename(fresh, file, ignored);
}

}  // namespace serve
