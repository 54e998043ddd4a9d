#include "model_store/archive/sha256.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "serve/base/hex.h"

namespace serve {
namespace {

constexpr std::size_t kBlock = 1 << 20;

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (context_ == nullptr || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1)
    throw std::bad_alloc();
}

void Sha256::Update(std::string_view bytes) {
  if (!bytes.empty()) EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
}

std::string Sha256::Finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(context_.get(), digest, &size);
  return Hex({reinterpret_cast<const char*>(digest), size});
}

bool IsSha256(std::string_view text) { return text.size() == 64 && IsHex(text); }

std::string Sha256OfBytes(std::string_view bytes) {
  Sha256 sha;
  sha.Update(bytes);
  return sha.Finish();
}

Result<FileDigest> DigestFile(const std::filesystem::path& file) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> opened(std::fopen(file.c_str(), "rbe"), &std::fclose);
  if (opened == nullptr) {
    const Code code = errno == ENOENT ? Code::kNotFound : Code::kInternal;
    return Status{code, fmt::format("cannot read {}: {}", file.string(), std::strerror(errno))};
  }
  FileDigest digest;
  Sha256 sha;
  std::vector<char> block(kBlock);
  while (const std::size_t count = std::fread(block.data(), 1, block.size(), opened.get())) {
    sha.Update({block.data(), count});
    digest.size += count;
  }
  if (std::ferror(opened.get()) != 0) {
    return Internal(fmt::format("cannot read {}: {}", file.string(), std::strerror(errno)));
  }
  digest.sha256 = sha.Finish();
  return digest;
}

}  // namespace serve
