#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model_store/archive/archive.h"
#include "tests/wire/server_process.h"
#include "tests/wire/wire_client.h"

namespace serve::wire {

/// One server for all tests of a suite; a test registers models under names of its own. The server must end
/// with 0.
template <class Suite>
class SharedServer : public testing::Test {
 public:
  static void SetUpTestSuite() { shared_ = std::make_unique<ServerProcess>(Suite::Options()); }
  static void TearDownTestSuite() {
    if (!shared_) return;  // it did not start
    EXPECT_EQ(shared_->Stop(), 0) << shared_->Log();
    shared_.reset();
  }

 protected:
  static ServerProcess& server() {
    if (!shared_) throw std::runtime_error("the server of this suite did not start");
    return *shared_;
  }

 private:
  static inline std::unique_ptr<ServerProcess> shared_;
};

/// `response` is an error of the server's own form with this status, this type and this text somewhere in its
/// message.
testing::AssertionResult IsError(const HttpResponse& response, int status, std::string_view type,
                                 std::string_view text);
/// `response` has this status and `{"status": text}`.
testing::AssertionResult IsStatus(const HttpResponse& response, int status, std::string_view text);
/// `response` is 200 with this JSON.
testing::AssertionResult IsJson(const HttpResponse& response, std::string_view json);

/// `POST /models?url=…&…`
HttpResponse Register(const ServerProcess& server, const std::string& query);
/// Copies the model to the store and registers it with one worker; the test fails when that does.
void MustRegister(const ServerProcess& server, const std::string& file, const std::string& name,
                  const std::string& more = {});
/// Names that GET /models lists.
std::vector<std::string> ModelNames(const ServerProcess& server);
/// The one element of `GET /models/{name}`.
nlohmann::json DescribeOne(const ServerProcess& server, const std::string& name);

/// Packs an archive into the server's store; throws when it cannot. `serialized` is a model of
/// wire_make_models.
std::filesystem::path Pack(const ServerProcess& server, const std::string& serialized, CreateOptions options);
TensorSpec Spec(const std::string& text);

/// `count` numbers with the value `value` as a JSON array.
std::string Numbers(std::size_t count, const std::string& value);

/// A request that is sent and not waited for.
class Pending {
 public:
  Pending(int port, std::string_view target, std::string_view json, const Headers& headers = {});
  HttpResponse Answer() { return connection_.Read(); }
  void Abandon() { connection_.Close(); }

 private:
  WireConnection connection_;
};

}  // namespace serve::wire
