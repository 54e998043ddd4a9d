#include "model_store/sources/checksum.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "serve/base/hex.h"

namespace serve {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

/// CRC-32C (Castagnoli), eight bytes a step.
class Crc32c {
 public:
  void Update(const unsigned char* bytes, std::size_t size) {
    static const std::array<std::array<std::uint32_t, 256>, 8> kTables = MakeTables();
    std::uint32_t crc = ~value_;
    for (; size >= 8; bytes += 8, size -= 8) {
      const std::uint32_t low = crc ^ (std::uint32_t{bytes[0]} | std::uint32_t{bytes[1]} << 8 |
                                       std::uint32_t{bytes[2]} << 16 | std::uint32_t{bytes[3]} << 24);
      crc = kTables[7][low & 255] ^ kTables[6][low >> 8 & 255] ^ kTables[5][low >> 16 & 255] ^
            kTables[4][low >> 24] ^ kTables[3][bytes[4]] ^ kTables[2][bytes[5]] ^ kTables[1][bytes[6]] ^
            kTables[0][bytes[7]];
    }
    for (; size > 0; ++bytes, --size) crc = kTables[0][(crc ^ *bytes) & 255] ^ crc >> 8;
    value_ = ~crc;
  }
  [[nodiscard]] std::string BigEndian() const {
    std::string bytes;
    for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(value_ >> shift & 255);
    return bytes;
  }

 private:
  static std::array<std::array<std::uint32_t, 256>, 8> MakeTables() {
    std::array<std::array<std::uint32_t, 256>, 8> tables{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
      tables[0][i] = crc;
    }
    for (std::size_t table = 1; table < 8; ++table) {
      for (std::size_t i = 0; i < 256; ++i) {
        tables[table][i] = tables[table - 1][i] >> 8 ^ tables[0][tables[table - 1][i] & 255];
      }
    }
    return tables;
  }
  std::uint32_t value_ = 0;
};

std::string Base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

/// The value of `crc32c=` or `md5=`, in one of the headers of that name.
std::string GoogleHash(const HttpAnswer& head, std::string_view kind) {
  for (const auto& [name, value] : head.headers) {
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    if (lower != "x-goog-hash") continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      std::string_view item = rest.substr(0, comma);
      rest.remove_prefix(std::min(comma + 1, rest.size()));
      while (item.starts_with(' ')) item.remove_prefix(1);
      if (item.starts_with(kind)) return std::string(item.substr(kind.size()));
    }
  }
  return {};
}

std::string Md5OfEtag(const HttpAnswer& head) {
  if (head.Header("x-amz-server-side-encryption").starts_with("aws:") ||
      !head.Header("x-amz-server-side-encryption-customer-algorithm").empty()) {
    return {};
  }
  std::string etag(head.Header("etag"));
  std::erase(etag, '"');
  std::transform(etag.begin(), etag.end(), etag.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool hex = etag.size() == 32 && IsHex(etag);
  return hex ? etag : std::string{};  // of several parts: HEX-N, which is no MD5 of the content
}

}  // namespace

std::string CompareChecksums(const std::filesystem::path& file, const HttpAnswer& head, bool etag_is_md5) {
  const std::string crc = GoogleHash(head, "crc32c=");
  const std::string md5 = GoogleHash(head, "md5=");
  const std::string etag = etag_is_md5 ? Md5OfEtag(head) : std::string{};
  if (crc.empty() && md5.empty() && etag.empty()) return {};
  const std::unique_ptr<std::FILE, CloseFile> opened(std::fopen(file.c_str(), "rbe"));
  if (opened == nullptr) return "it cannot be read again";
  Crc32c sum;
  // MD5 may be switched off (FIPS): then it is not compared.
  std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  if (md5.empty() && etag.empty()) context.reset();
  if (context != nullptr && EVP_DigestInit_ex(context.get(), EVP_md5(), nullptr) != 1) context.reset();
  std::vector<unsigned char> block(1U << 20);
  while (const std::size_t read = std::fread(block.data(), 1, block.size(), opened.get())) {
    if (!crc.empty()) sum.Update(block.data(), read);
    if (context != nullptr) EVP_DigestUpdate(context.get(), block.data(), read);
  }
  if (std::ferror(opened.get()) != 0) return "it cannot be read again";
  const auto differs = [](std::string_view what, const std::string& is, const std::string& wanted) {
    return fmt::format("what arrived is damaged: its {} is {} instead of {}", what, is, wanted);
  };
  if (const std::string is = Base64(sum.BigEndian()); !crc.empty() && is != crc)
    return differs("CRC32C", is, crc);
  if (context == nullptr) return {};
  std::string digest(EVP_MAX_MD_SIZE, '\0');
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(digest.data()), &size);
  digest.resize(size);
  if (const std::string is = Base64(digest); !md5.empty() && is != md5) return differs("MD5", is, md5);
  if (const std::string is = Hex(digest); !etag.empty() && is != etag) return differs("MD5", is, etag);
  return {};
}

}  // namespace serve
