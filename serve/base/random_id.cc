#include "serve/base/random_id.h"

#include <random>

#include "serve/base/hex.h"

namespace serve {

std::uint64_t RandomNumber() {
  thread_local std::uint64_t state = [] {
    std::random_device device;
    return (std::uint64_t{device()} << 32) ^ device();
  }();
  state += 0x9E3779B97F4A7C15;  // splitmix64
  std::uint64_t mixed = state;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
  return mixed ^ (mixed >> 31);
}

void AppendRandomId(std::string& out) {
  char id[32];
  PutHex(PutHex(id, RandomNumber()), RandomNumber());
  out.append(id, sizeof(id));
}

}  // namespace serve
