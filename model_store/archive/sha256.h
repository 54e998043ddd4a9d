#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "serve/base/status.h"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace serve {

/// SHA-256 of bytes that arrive in pieces. Not thread-safe; one object a digest.
class Sha256 {
 public:
  Sha256();
  void Update(std::string_view bytes);
  /// 64 lower-case hexadecimal digits. Call once, last.
  std::string Finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

/// As Finish writes it.
bool IsSha256(std::string_view text);
std::string Sha256OfBytes(std::string_view bytes);

struct FileDigest {
  std::string sha256;      // hexadecimal
  std::uint64_t size = 0;  // bytes

  bool operator==(const FileDigest&) const = default;
};

/// Reads the file once, in blocks. Errors: kNotFound, kInternal (cannot be read), each with the path.
Result<FileDigest> DigestFile(const std::filesystem::path& file);

}  // namespace serve
