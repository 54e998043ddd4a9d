#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace serve {

/// One entry of a zip file that is written byte by byte, so that it may lie.
struct RawEntry {
  std::string name;
  std::string data;
  std::uint32_t mode = 0100644;                 // Unix type and rights
  std::optional<std::uint32_t> claimed_size{};  // in both headers, instead of the data's
};

inline std::uint32_t Crc32(std::string_view bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0U);
  }
  return ~crc;
}

/// A stored (uncompressed) zip file of these entries.
inline std::string RawZip(const std::vector<RawEntry>& entries) {
  std::string zip;
  std::string directory;
  const auto put = [](std::string& out, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
  };
  for (const RawEntry& entry : entries) {
    const std::size_t offset = zip.size();
    std::string common;
    put(common, 10, 2);    // version needed
    put(common, 0, 2);     // flags
    put(common, 0, 2);     // method: stored
    put(common, 0, 2);     // time
    put(common, 0x21, 2);  // date: 1980-01-01
    put(common, Crc32(entry.data), 4);
    put(common, entry.claimed_size.value_or(static_cast<std::uint32_t>(entry.data.size())), 4);
    put(common, entry.claimed_size.value_or(static_cast<std::uint32_t>(entry.data.size())), 4);
    put(common, entry.name.size(), 2);
    put(common, 0, 2);  // extra field
    zip += "PK\x03\x04" + common + entry.name + entry.data;
    directory += "PK\x01\x02";
    put(directory, 0x031e, 2);  // made on Unix
    directory += common;
    put(directory, 0, 2);  // comment
    put(directory, 0, 2);  // disk
    put(directory, 0, 2);  // internal attributes
    put(directory, static_cast<std::uint64_t>(entry.mode) << 16, 4);
    put(directory, offset, 4);
    directory += entry.name;
  }
  const std::size_t start = zip.size();
  zip += directory + "PK\x05\x06";
  put(zip, 0, 4);
  put(zip, entries.size(), 2);
  put(zip, entries.size(), 2);
  put(zip, directory.size(), 4);
  put(zip, start, 4);
  put(zip, 0, 2);
  return zip;
}

}  // namespace serve
