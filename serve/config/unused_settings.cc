#include <string_view>
#include <vector>

#include "serve/config/settings.h"

namespace serve {
namespace {

constexpr std::string_view kNoGrpc = "this version serves no gRPC";
constexpr std::string_view kNoPython = "models run without Python";
constexpr std::string_view kNoGpu = "this version computes on CPUs";
constexpr std::string_view kNoJava = "it is about the Java virtual machine";

std::vector<UnusedSetting> MakeUnusedSettings() {
  return {
      {"grpc_inference_address", "", kNoGrpc},
      {"grpc_management_address", "", kNoGrpc},
      {"grpc_inference_port", "", kNoGrpc},
      {"grpc_management_port", "", kNoGrpc},
      {"grpc_inference_max_connection_age_ms", "", kNoGrpc},
      {"grpc_inference_max_connection_age_grace_ms", "", kNoGrpc},
      {"grpc_management_max_connection_age_ms", "", kNoGrpc},
      {"grpc_management_max_connection_age_grace_ms", "", kNoGrpc},
      {"enable_grpc_ssl", "false", kNoGrpc},
      {"max_response_size", "", "answers have no limit"},
      {"use_env_allowed_urls", "true", "the environment always overrides the file"},
      {"netty_client_threads", "0", kNoPython},
      {"number_of_gpu", "0", kNoGpu},
      {"prefer_direct_buffer", "false", kNoJava},
      {"async_logging", "true", "logging is always asynchronous"},
      {"enable_envvars_config", "true", "the environment always overrides the file"},
      {"decode_input_request", "true", "the handler decides how an input is read"},
      {"default_service_handler", "", "an archive without a handler gets `tensor`"},
      {"service_envelope", "",
       "the body decides: {\"instances\": ...} is answered with predictions; see docs/kserve.md"},
      {"install_py_dep_per_model", "false", kNoPython},
      {"blacklist_env_vars", "", kNoPython},
      {"model_metrics_auto_detect", "false", kNoPython},
      {"system_metrics_cmd", "", "the server reads them itself; see disable_system_metrics"},
      {"ts_open_inference_protocol", "true", "the open inference protocol is always served",
       "TS_OPEN_INFERENCE_PROTOCOL"},
      {"initial_worker_port", "", "workers are threads and have no ports"},
      {"initial_distribution_port", "", "this version does not spread a model over processes"},
      {"cpu_launcher_enable", "false", kNoPython},
      {"cpu_launcher_args", "", kNoPython},
      {"ipex_enable", "false", kNoPython},
      {"ipex_gpu_enable", "false", kNoPython},
      {"cpp_log_config", "", "see log_level, log_format and log_files"},
      {"log_config", "", "see log_level, log_format and log_files"},
      {"debug", "false", "see log_level"},
      {"model_server_home", "", "paths are relative to the working folder"},
      {"use_native_io", "true", kNoJava},
      {"io_ratio", "", kNoJava},
      {"vmargs", "", kNoJava},
      {"plugins_path", "", "there are no Java plugins"},
      {"NUM_WORKERS", "", "see default_workers_per_model"},
  };
}

}  // namespace

const std::vector<UnusedSetting>& UnusedSettings() {
  static const std::vector<UnusedSetting> settings = MakeUnusedSettings();
  return settings;
}

const UnusedSetting* FindUnusedSetting(std::string_view key) {
  for (const UnusedSetting& setting : UnusedSettings()) {
    if (setting.key == key) return &setting;
  }
  return nullptr;
}

}  // namespace serve
