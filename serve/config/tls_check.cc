#include "serve/config/tls_check.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>

#include <fmt/format.h>

#include "serve/config/address.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNoKey =
    "https needs a key: set `certificate_file` and `private_key_file` (PEM), or `keystore` (PKCS12). A "
    "self-signed "
    "pair for a try: openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 "
    "-subj "
    "/CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out certificate.pem";

struct Place {
  const char* key;
  bool tls;
  bool asks;
};

}  // namespace

TlsFindings CheckTls(const AppOptions& options, bool named) {
  TlsFindings found;
  const TlsOptions& tls = options.tls;
  const TlsFinding files[] = {{"certificate_file", tls.certificate_file},
                              {"private_key_file", tls.private_key_file},
                              {"keystore", tls.keystore},
                              {"client_ca_file", tls.client_ca_file}};
  const ClientCertificates& asked = options.client_certificates;
  const Place places[] = {
      {"inference_address", options.inference.tls, asked.inference},
      {"management_address", options.management.tls, asked.management},
      {"metrics_address", options.metrics_listener && options.metrics.tls, asked.metrics}};
  const Place* secret =
      std::find_if(std::begin(places), std::end(places), [](const Place& one) { return one.tls; });
  if (secret == std::end(places)) {
    for (const TlsFinding& file : files) {
      if (file.text.empty()) continue;
      // Who names a client_ca_file relies on it.
      auto& list = file.key == "client_ca_file" ? found.errors : found.warnings;
      list.push_back({file.key, "it has no effect, for no address begins with https://"});
    }
    return found;
  }
  for (const TlsFinding& file : files) {
    std::error_code error;
    if (file.text.empty() || fs::is_regular_file(file.text, error)) continue;
    found.errors.push_back(
        {file.key, fs::exists(file.text, error) ? "this is no file" : "there is no such file"});
  }
  if (tls.certificate_file.empty() != tls.private_key_file.empty()) {
    const bool no_key = tls.private_key_file.empty();
    found.errors.push_back(
        {no_key ? "certificate_file" : "private_key_file",
         fmt::format("it needs the other one, `{}`", no_key ? "private_key_file" : "certificate_file")});
  } else if (tls.certificate_file.empty() && tls.keystore.empty()) {
    found.errors.push_back({secret->key, kNoKey});
  }
  if (tls.client_ca_file.empty() || options.single_port) return found;
  for (const Place& place : places) {
    if (!place.asks || place.tls) continue;
    if (named) {
      found.errors.push_back(
          {"client_certificates", fmt::format("`{}` does not begin with https://", place.key)});
    } else {
      found.notes.push_back(
          fmt::format("`{}` asks for no client certificate, for it is not https", place.key));
    }
  }
  return found;
}

void ShareClientCertificates(AppOptions& options) {
  const auto share = [&](const ListenAddress& left, const ListenAddress& right, bool& of_left,
                         bool& of_right) {
    if (options.single_port || SameListener(left, right)) of_left = of_right = of_left || of_right;
  };
  ClientCertificates& asked = options.client_certificates;
  for (int round = 0; round < 2; ++round) {  // twice: the last pair may tell the first one something
    share(options.inference, options.management, asked.inference, asked.management);
    share(options.management, options.metrics, asked.management, asked.metrics);
    share(options.inference, options.metrics, asked.inference, asked.metrics);
  }
}

}  // namespace serve
