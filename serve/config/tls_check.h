#pragma once

#include <string>
#include <vector>

#include "serve/app/options.h"

namespace serve {

/// Something about one setting, which the reader of the configuration completes with its source and value.
struct TlsFinding {
  std::string key;
  std::string text;
};
struct TlsFindings {
  std::vector<TlsFinding> errors;
  std::vector<TlsFinding> warnings;
  std::vector<std::string> notes;
};

/// What only shows when the addresses and the settings of TLS are seen together. `named`: client_certificates
/// was set, not left at its default. What is in the files is checked when the server starts.
TlsFindings CheckTls(const AppOptions& options, bool named);

/// APIs that are served at one place ask for client certificates together, when one of them does.
void ShareClientCertificates(AppOptions& options);

}  // namespace serve
