#include "serve/app/server.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/runtime/fake/fake_runtime.h"
#include "serve/telemetry/cpu_quota.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
namespace http = boost::beast::http;
using testing::HasSubstr;

/// One keep-alive connection.
class Client {
 public:
  explicit Client(int port) : socket_(context_) {
    socket_.connect({boost::asio::ip::make_address("127.0.0.1"), static_cast<std::uint16_t>(port)});
  }
  struct Answer {
    int status = 0;
    std::string body;
  };
  Answer Call(http::verb method, const std::string& target, const std::string& body = "") {
    http::request<http::string_body> request{method, target, 11};
    request.set(http::field::host, "test");
    request.set(http::field::content_type, "application/json");
    request.body() = body;
    request.prepare_payload();
    http::write(socket_, request);
    http::response<http::string_body> response;
    http::read(socket_, buffer_, response);
    return {static_cast<int>(response.result_int()), response.body()};
  }

 private:
  boost::asio::io_context context_;
  boost::asio::ip::tcp::socket socket_;
  boost::beast::flat_buffer buffer_;
};

/// A server on port 0 whose models are functions; the model store has a folder for each version of `m`.
class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    std::string pattern = (fs::temp_directory_path() / "server-test-XXXXXX").string();
    store_ = mkdtemp(pattern.data());
    for (int version = 1; version <= 9; ++version) AddArchive(version);
  }
  ~ServerTest() override { fs::remove_all(store_); }

  void AddArchive(int version) const {
    const fs::path folder = store_ / ("m" + std::to_string(version));
    fs::create_directories(folder / "MAR-INF");
    std::ofstream(folder / "model.fake") << "a function\n";
    std::ofstream(folder / "MAR-INF" / "MANIFEST.json")
        << R"({"model": {"modelName": "m", "modelVersion": ")" << version
        << R"(.0", "serializedFile": "model.fake", "handler": "tensor"},)"
        << R"("flambeau": {"format": 1, "inputs": [{"name": "x", "dtype": "float32", "shape": [2]}]}})";
  }

  std::unique_ptr<Server> MakeServer(FakeRuntime::Function function, AppOptions options = {}) const {
    options.inference.port = options.management.port = options.metrics.port = 0;
    options.management_api.model_store = store_.string();
    std::vector<std::unique_ptr<RuntimeFactory>> factories;
    factories.push_back(std::make_unique<FakeRuntimeFactory>(std::move(function)));
    auto server = std::make_unique<Server>(std::move(options), std::move(factories));
    const Status started = server->Start();
    EXPECT_TRUE(started.ok()) << started.message;
    server->LoadModels();
    return server;
  }

  fs::path store_;
};

TEST_F(ServerTest, RegistersPredictsDescribesAndUnregisters) {
  auto server = MakeServer(FakeRuntime::Echo);
  Client management(server->management_port());
  Client inference(server->inference_port());
  Client metrics(server->metrics_port());

  EXPECT_EQ(inference.Call(http::verb::post, "/predictions/m", "[1, 2]").status, 404);
  const auto registered = management.Call(http::verb::post, "/models?url=m1&initial_workers=1");
  EXPECT_EQ(registered.status, 200) << registered.body;
  EXPECT_THAT(registered.body, HasSubstr("Model \\\"m\\\" Version: 1.0 registered with 1 initial workers"));
  EXPECT_EQ(inference.Call(http::verb::post, "/predictions/m", "[1, 2]").body, "[1.0,2.0]");
  EXPECT_EQ(inference.Call(http::verb::post, "/predictions/m/1.0", "[1]").status, 400);
  EXPECT_THAT(management.Call(http::verb::get, "/models/m").body, HasSubstr("\"status\": \"READY\""));
  EXPECT_THAT(
      metrics.Call(http::verb::get, "/metrics").body,
      HasSubstr("flambeau_predictions_total{model_name=\"m\",model_version=\"1.0\",outcome=\"ok\"} 1"));
  EXPECT_THAT(metrics.Call(http::verb::get, "/metrics").body, HasSubstr("\nflambeau_models_loaded 1\n"));
  EXPECT_EQ(management.Call(http::verb::delete_, "/models/m").status, 200);
  EXPECT_THAT(metrics.Call(http::verb::get, "/metrics").body, HasSubstr("\nflambeau_models_loaded 0\n"));
  EXPECT_EQ(inference.Call(http::verb::post, "/predictions/m", "[1, 2]").status, 404);
  EXPECT_TRUE(server->Stop());
}

TEST_F(ServerTest, VersionsAreSwappedUnderLoadWithoutAFailedRequest) {
  AppOptions options;
  options.io_threads = 2;
  options.management_api.defaults.scheduler.batch_size = 4;
  options.management_api.defaults.scheduler.capacity = 1000;
  auto server = MakeServer(FakeRuntime::Echo, options);
  Client management(server->management_port());
  ASSERT_EQ(management.Call(http::verb::post, "/models?url=m1&initial_workers=2").status, 200);

  std::atomic<bool> stop{false};
  std::atomic<int> served{0};
  std::atomic<int> failed{0};
  std::vector<std::jthread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      Client client(server->inference_port());
      while (!stop.load()) {
        (client.Call(http::verb::post, "/predictions/m", "[3, 4]").body == "[3.0,4.0]" ? served : failed)++;
      }
    });
  }
  for (int version = 2; version <= 9; ++version) {
    const std::string text = std::to_string(version);
    ASSERT_EQ(management.Call(http::verb::post, "/models?url=m" + text + "&initial_workers=1").status, 200);
    ASSERT_EQ(management.Call(http::verb::put, "/models/m/" + text + ".0/set-default").status, 200);
    ASSERT_EQ(management.Call(http::verb::delete_, "/models/m/" + std::to_string(version - 1) + ".0").status,
              200);
    ASSERT_EQ(
        management.Call(http::verb::put, "/models/m?min_worker=" + std::to_string(1 + version % 3)).status,
        202);
    const int before = served.load();
    while (served.load() < before + 20) std::this_thread::yield();
  }
  stop = true;
  clients.clear();
  EXPECT_EQ(failed.load(), 0);
  EXPECT_TRUE(server->Stop());
}

TEST_F(ServerTest, StopFinishesWhatWasAccepted) {
  std::atomic<bool> entered{false};
  std::atomic<bool> open{false};
  AppOptions options;
  options.management_api.defaults.inline_limit = std::chrono::microseconds(0);
  options.load_models = "m1";
  options.start_workers = 1;
  std::atomic<bool> checked{false};  // the sanity check of the start is over
  auto server = MakeServer(
      [&](const std::vector<Tensor>& inputs) {
        if (checked.load()) {
          entered = true;
          entered.notify_all();
          open.wait(false);
        }
        return FakeRuntime::Echo(inputs);
      },
      options);
  checked = true;
  std::jthread client([&] {
    Client inference(server->inference_port());
    EXPECT_EQ(inference.Call(http::verb::post, "/predictions/m", "[1, 2]").body, "[1.0,2.0]");
  });
  entered.wait(false);
  std::jthread opener([&] {
    open = true;
    open.notify_all();
  });
  EXPECT_TRUE(server->Stop());
}

TEST_F(ServerTest, AModelThatFailsAtStartLeavesTheOthersServedAndIsNamedByPing) {
  fs::remove(store_ / "m2" / "model.fake");
  AppOptions options;
  options.load_models = "m1,m2";
  auto server = MakeServer(FakeRuntime::Echo, options);
  Client inference(server->inference_port());
  EXPECT_EQ(inference.Call(http::verb::post, "/predictions/m", "[1, 2]").status, 200);
  const auto ping = inference.Call(http::verb::get, "/ping");
  EXPECT_EQ(ping.status, 503);
  EXPECT_THAT(ping.body, HasSubstr("m2"));
  EXPECT_TRUE(server->Stop());
}

TEST_F(ServerTest, WhileModelsLoadAnUnknownOneIsNotYetThereRatherThanNotFound) {
  std::atomic<bool> open{false};
  AppOptions options;
  options.inference.port = options.management.port = options.metrics.port = 0;
  options.management_api.model_store = store_.string();
  options.load_models = "m1";
  std::vector<std::unique_ptr<RuntimeFactory>> factories;
  factories.push_back(std::make_unique<FakeRuntimeFactory>([&](const std::vector<Tensor>& inputs) {
    open.wait(false);  // the sanity check waits here
    return FakeRuntime::Echo(inputs);
  }));
  Server server(std::move(options), std::move(factories));
  ASSERT_TRUE(server.Start().ok());
  std::jthread loader([&] { server.LoadModels(); });
  Client inference(server.inference_port());
  EXPECT_EQ(inference.Call(http::verb::get, "/ping").status, 503);
  const auto early = inference.Call(http::verb::post, "/predictions/m", "[1, 2]");
  EXPECT_EQ(early.status, 503);
  EXPECT_THAT(early.body, HasSubstr("models are still loading"));
  open = true;
  open.notify_all();
  loader.join();
  EXPECT_EQ(inference.Call(http::verb::get, "/ping").status, 200);
  EXPECT_EQ(inference.Call(http::verb::post, "/predictions/m", "[1, 2]").status, 200);
  EXPECT_EQ(inference.Call(http::verb::post, "/predictions/other", "[1, 2]").status, 404);
  EXPECT_TRUE(server.Stop());
}

TEST_F(ServerTest, AnAddressInUseIsNamedWithItsSetting) {
  auto server = MakeServer(FakeRuntime::Echo);
  AppOptions options;
  options.inference.port = static_cast<std::uint16_t>(server->inference_port());
  options.management.port = options.metrics.port = 0;
  Server second(options, {});
  const Status started = second.Start();
  EXPECT_THAT(started.message, HasSubstr("--inference-address"));
  EXPECT_TRUE(server->Stop());
}

TEST_F(ServerTest, ModelsOfTheStartAreLoadedAtTheSameTime) {
  if (ReadCpuQuota().cpus < 2) GTEST_SKIP() << "as many at once as there are CPUs";
  std::atomic<int> loading{0};
  std::atomic<bool> met{false};
  const auto function = [&](const std::vector<Tensor>& inputs) -> Result<RunOutputs> {
    ++loading;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (loading < 2 && !met && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    if (loading >= 2) met = true;
    return FakeRuntime::Echo(inputs);
  };
  AppOptions options;
  options.load_models = "m1,m2";
  options.management_api.defaults.tuning = TuningMode::kOff;
  auto server = MakeServer(function, options);
  EXPECT_TRUE(met) << "the second model was loaded when the first one was done";
  EXPECT_TRUE(server->Stop());
}

TEST_F(ServerTest, AModelThatTakesTooLongToLoadIsReportedAndTheServerGoesOn) {
  std::atomic<bool> stuck{true};
  const auto function = [&](const std::vector<Tensor>& inputs) -> Result<RunOutputs> {
    while (stuck) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return FakeRuntime::Echo(inputs);
  };
  AppOptions options;
  options.load_models = "m1";
  options.management_api.defaults.startup_timeout = std::chrono::milliseconds(50);
  auto server = MakeServer(function, options);
  Client inference(server->inference_port());
  const auto ping = inference.Call(http::verb::get, "/ping");
  EXPECT_EQ(ping.status, 503);
  EXPECT_THAT(ping.body, HasSubstr("Failed to start workers for model m version: 1.0: loading took longer "
                                   "than startup_timeout, 0.05 s"));
  Client management(server->management_port());
  EXPECT_EQ(management.Call(http::verb::get, "/models/m").status, 404);
  EXPECT_TRUE(server->Busy()) << "nothing can interrupt the attempt";
  stuck = false;
  const auto registered =
      management.Call(http::verb::post, "/models?url=m1&initial_workers=1&startup_timeout=60");
  EXPECT_EQ(registered.status, 200) << registered.body;
  EXPECT_EQ(inference.Call(http::verb::get, "/ping").status, 200);
  EXPECT_TRUE(server->Stop());
}

// What ThreadSanitizer can see of a workflow: its requests change threads at every node.
TEST_F(ServerTest, WorkflowsAreAskedWhileTheyComeAndGo) {
  fs::create_directories(store_ / "w" / "WAR-INF");
  std::ofstream(store_ / "w" / "WAR-INF" / "MANIFEST.json") << R"({"workflow": {"specFile": "w.yaml"}})";
  std::ofstream(store_ / "w" / "w.yaml")
      << "models: {batch-size: 4, max-workers: 2, a: {url: m1}, b: {url: m2}, c: {url: m3}}\n"
         "functions: {pre: pass, both: merge}\n"
         "dag: {pre: [a, b], a: [c], c: [both], b: [both]}\n";
  AppOptions options;
  options.io_threads = 2;
  options.management_api.defaults.tuning = TuningMode::kOff;
  auto server = MakeServer(FakeRuntime::Echo, options);
  Client management(server->management_port());
  const auto registered = management.Call(http::verb::post, "/workflows?url=w&workflow_name=stays");
  ASSERT_EQ(registered.status, 200) << registered.body;
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::atomic<int> asked{0};
  std::vector<std::jthread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&, i] {
      Client client(server->inference_port());
      const std::string row = "[" + std::to_string(i) + ",1]";
      const std::string answer = std::to_string(i) + ".0,1.0]";
      while (!stop) {
        const auto reply = client.Call(http::verb::post, "/wfpredict/stays", row);
        const bool right = reply.body == "{\"c\":[" + answer + ",\"b\":[" + answer + "}" ||
                           reply.body == "{\"b\":[" + answer + ",\"c\":[" + answer + "}";
        wrong += reply.status == 200 && right ? 0 : 1;
        const auto other = client.Call(http::verb::post, "/wfpredict/comes", row);
        wrong += other.status == 200 || other.status == 404 ? 0 : 1;
        ++asked;
      }
    });
  }
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(management.Call(http::verb::post, "/workflows?url=w&workflow_name=comes").status, 200);
    const int before = asked;
    while (asked < before + 8) std::this_thread::yield();
    EXPECT_EQ(management.Call(http::verb::delete_, "/workflows/comes").status, 200);
  }
  stop = true;
  clients.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(server->Stop());
}

}  // namespace
}  // namespace serve
