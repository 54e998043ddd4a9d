#pragma once

#include <string>
#include <utility>

#include <fmt/format.h>

#include "model_store/mlflow/client.h"
#include "serve/api/follower.h"

namespace serve {

/// The registry of an MLflow server, for Follower.
class MlflowRegistry final : public ModelRegistry {
 public:
  explicit MlflowRegistry(MlflowSettings settings) : client_(std::move(settings)) {}

  Result<std::string> VersionOfAlias(const std::string& model, const std::string& alias) override {
    Result<MlflowModelVersion> found = client_.VersionOfAlias(model, alias);
    if (!found) return found.error();
    return std::move(found->version);
  }
  [[nodiscard]] std::string UrlOf(const std::string& model, const std::string& version) const override {
    return fmt::format("models:/{}/{}", model, version);
  }
  Status SetVersionTag(const std::string& model, const std::string& version, const std::string& key,
                       const std::string& value) override {
    return client_.SetVersionTag(model, version, key, value);
  }

 private:
  const MlflowClient client_;
};

}  // namespace serve
