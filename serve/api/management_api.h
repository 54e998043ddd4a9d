#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "serve/api/options.h"
#include "serve/base/status.h"
#include "serve/base/tensor_spec.h"
#include "serve/model/loader.h"
#include "serve/model/served_models.h"

namespace serve {

/// Parameters of `POST /models`, as TorchServe names them. nullopt: not given.
struct RegisterRequest {
  std::string url;  // file name in the model store; required
  std::optional<std::string> model_name;
  std::optional<std::string> handler;
  std::optional<std::string> version;  // ours: for a bare .pt, which has no manifest; default 1.0
  std::optional<int> batch_size;
  std::optional<int> max_batch_delay_ms;
  std::optional<int> initial_workers;
  std::optional<int> response_timeout_s;
  std::optional<int> startup_timeout_s;
  std::vector<std::string> inputs;   // ours: `name:dtype:[shape]`, for a model that declares none
  std::optional<std::string> batch;  // ours: `1..64` or `8`, likewise
  bool synchronous = true;
};

struct ScaleRequest {
  std::string model;
  std::string version;  // empty: the default version
  int min_worker = 1;
  std::optional<int> max_worker;  // default: min_worker
  bool synchronous = false;
};

struct ManagementReply {
  enum class Outcome : std::uint8_t { kDone, kAccepted, kPartial };  // HTTP 200, 202, 206
  Outcome outcome = Outcome::kDone;
  nlohmann::ordered_json body;
};

/// The management use cases, without a protocol. Texts and shapes: TorchServe's management API.
///
/// Threads: every method from any thread but an I/O thread: they read files, load models and wait for
/// workers.
class ManagementApi {
 public:
  /// `models` and `loader` are borrowed from the application and outlive this.
  ManagementApi(ServedModels& models, Loader& loader, ManagementOptions options);

  Result<ManagementReply> Register(const RegisterRequest& request);
  /// `version`: empty for the default version, "all" for every version.
  Result<ManagementReply> Describe(const std::string& model, const std::string& version) const;
  Result<ManagementReply> List(int limit, int next_page_token) const;
  Result<ManagementReply> Scale(const ScaleRequest& request);
  Result<ManagementReply> SetDefault(const std::string& model, const std::string& version);
  Result<ManagementReply> Unregister(const std::string& model, const std::string& version);

  /// Registers what `load_models` names (`all`, `none`, `a.mar`, `name=a.mar`, comma-separated, blanks around
  /// items ignored). One error per item that failed; the others are served.
  std::vector<Status> LoadAtStart(const std::string& load_models, int workers);

 private:
  Result<ManagementReply> RegisterWith(const RegisterRequest& request, int workers, bool at_start);

  ServedModels& models_;
  Loader& loader_;
  const ManagementOptions options_;
};

}  // namespace serve
