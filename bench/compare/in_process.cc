// The limit that a server can reach: one loop around libtorch, without a request, a queue or a socket.
//
//   in_process --model resnet18.pt --input x:float32:[3,224,224] --batch 8 --threads 2
//
// Runs batches of 1, 2, 4 … N rows in turn with each way of running a TorchScript module that libtorch 2.13
// has, each in rounds that alternate with the others, and prints JSON: rows per second of each, which was
// best, and for the plain module the time to load it, the time of its first run and the memory then. It
// shares no code with the server.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/codegen/onednn/interface.h>
#include <torch/csrc/jit/passes/pass_manager.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/types.h>

namespace {

using Clock = std::chrono::steady_clock;
using torch::jit::Module;

double Since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double ResidentMb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::strtod(line.c_str() + 6, nullptr) / 1024;
  }
  return 0;
}

thread_local bool fuse = false;

struct Way {
  const char* name;
  bool freeze, optimize, channels_last, executor_per_shape, fuse_graph;
};
constexpr Way kWays[] = {
    {"plain", false, false, false, false, false},       {"frozen", true, false, false, false, false},
    {"channels_last", true, false, true, false, false}, {"optimized", true, true, false, false, false},
    {"profiled", true, false, false, true, false},      {"onednn_graph", true, false, true, true, true},
};

struct Input {
  std::string dtype;
  std::vector<std::int64_t> shape;
};

/// `x:float32:[3,224,224]`.
Input ReadInput(const std::string& text) {
  Input input;
  const std::size_t first = text.find(':');
  const std::size_t second = text.find(':', first + 1);
  input.dtype = text.substr(first + 1, second - first - 1);
  std::string sizes = text.substr(second + 1);
  std::erase_if(sizes, [](char c) { return c == '[' || c == ']'; });
  std::stringstream stream(sizes);
  for (std::string size; std::getline(stream, size, ',');) input.shape.push_back(std::stoll(size));
  return input;
}

at::Tensor MakeTensor(const Input& input, std::int64_t rows) {
  std::vector<std::int64_t> shape{rows};
  shape.insert(shape.end(), input.shape.begin(), input.shape.end());
  return input.dtype == "int64" ? torch::ones(shape, torch::kLong) : torch::rand(shape);
}

class Runner {
 public:
  Runner(const Module& module, const Way& way) : way_(way), module_(module) {
    if (way.channels_last) {
      module_ = module.deepcopy();
      for (const at::Tensor& weight : module_.parameters()) {
        if (weight.dim() == 4) weight.set_data(weight.contiguous(at::MemoryFormat::ChannelsLast));
      }
    }
    if (way.freeze) module_ = torch::jit::freeze(module_);
    if (way.optimize) module_ = torch::jit::optimize_for_inference(module_);
    torch::jit::toGraphFunction(module_.get_method("forward").function())
        ._set_initial_executor_execution_mode(torch::jit::ExecutorExecutionMode::SIMPLE);
  }

  void Run(const std::vector<at::Tensor>& inputs) {
    fuse = way_.fuse_graph;
    std::vector<c10::IValue> stack;
    if (way_.executor_per_shape) stack.emplace_back(module_._ivalue());
    for (const at::Tensor& input : inputs) {
      stack.emplace_back(
          way_.channels_last && input.dim() == 4 ? input.contiguous(at::MemoryFormat::ChannelsLast) : input);
    }
    if (!way_.executor_per_shape) {
      module_.forward(std::move(stack));
      return;
    }
    auto& executor = executors_[inputs[0].size(0)];
    if (!executor) {
      executor = std::make_unique<torch::jit::GraphExecutor>(
          torch::jit::toGraphFunction(module_.get_method("forward").function()).graph()->copy(), "forward",
          torch::jit::ExecutorExecutionMode::PROFILING);
    }
    executor->run(stack);
  }

 private:
  const Way way_;
  Module module_;
  std::map<std::int64_t, std::unique_ptr<torch::jit::GraphExecutor>> executors_;
};

int Measure(const std::string& file, const std::vector<Input>& inputs, std::int64_t batch, int threads,
            const std::string& only, double seconds) {
  at::set_num_threads(threads);
  const c10::InferenceMode guard;
  torch::jit::registerPrePass([](std::shared_ptr<torch::jit::Graph>& graph) {
    if (fuse) torch::jit::fuser::onednn::fuseGraph(graph);
  });
  std::vector<std::vector<at::Tensor>> batches;
  std::int64_t rows_of_all = 0;
  for (std::int64_t rows = 1; rows <= batch; rows *= 2) {
    std::vector<at::Tensor> tensors;
    for (const Input& input : inputs) tensors.push_back(MakeTensor(input, rows));
    batches.push_back(std::move(tensors));
    rows_of_all += rows;
  }

  const auto start = Clock::now();
  Module module = torch::jit::load(file, c10::kCPU);
  module.eval();
  const double load = Since(start);
  Runner plain(module, kWays[0]);
  const auto first = Clock::now();
  plain.Run(batches[0]);
  const double first_run = Since(first);
  const double resident = ResidentMb();

  struct Entry {
    const char* name;
    std::unique_ptr<Runner> runner;
    std::int64_t rows = 0;
    double seconds = 0;
    std::string refused;

    [[nodiscard]] double Rate() const { return seconds > 0 ? static_cast<double>(rows) / seconds : 0; }
  };
  std::vector<Entry> entries;
  for (const Way& way : kWays) {
    if (only != "all" && only != way.name) continue;
    Entry entry{way.name, nullptr, 0, 0, ""};
    try {
      entry.runner = std::make_unique<Runner>(module, way);
      for (const auto& tensors : batches) {
        for (int i = 0; i < 3; ++i) entry.runner->Run(tensors);
      }
    } catch (const std::exception& error) {
      entry.refused = "throws";
    }
    entries.push_back(std::move(entry));
  }
  constexpr int kRounds = 4;
  for (int round = 0; round < kRounds; ++round) {
    for (Entry& entry : entries) {
      if (!entry.refused.empty()) continue;
      const auto begin = Clock::now();
      do {
        for (const auto& tensors : batches) entry.runner->Run(tensors);
        entry.rows += rows_of_all;
      } while (Since(begin) < seconds / kRounds);
      entry.seconds += Since(begin);  // the mean counts, as it does for a server
    }
  }

  if (entries.empty()) throw std::runtime_error("there is no variant named " + only);
  const Entry* best = &entries.front();
  std::printf(
      "{\"threads\": %d, \"load_ms\": %.1f, \"first_run_ms\": %.1f, \"rss_mb\": %.1f,\n \"variants\": [",
      threads, 1e3 * load, 1e3 * first_run, resident);
  for (const Entry& entry : entries) {
    std::printf("%s{\"name\": \"%s\", \"items_per_s\": %.2f%s}", &entry == &entries.front() ? "" : ", ",
                entry.name, entry.Rate(), entry.refused.empty() ? "" : ", \"refused\": true");
    if (entry.Rate() > best->Rate()) best = &entry;
  }
  std::printf("],\n \"best\": \"%s\", \"best_items_per_s\": %.2f}\n", best->name, best->Rate());
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  std::string file;
  std::vector<Input> inputs;
  std::int64_t batch = 1;
  int threads = 1;
  std::string only = "all";
  double seconds = 2;
  for (int i = 1; i < count; ++i) {
    const std::string flag = arguments[i];
    if (flag == "--json") continue;  // it prints nothing else
    if (i + 1 == count) {
      std::fprintf(stderr, "%s needs a value\n", flag.c_str());
      return 2;
    }
    const std::string value = arguments[++i];
    if (flag == "--model") {
      file = value;
    } else if (flag == "--input") {
      inputs.push_back(ReadInput(value));
    } else if (flag == "--batch") {
      batch = std::stoll(value);
    } else if (flag == "--threads") {
      threads = std::stoi(value);
    } else if (flag == "--variants") {
      only = value;
    } else if (flag == "--seconds") {  // for each way
      seconds = std::stod(value);
    } else {
      std::fprintf(stderr, "in_process: unknown option %s\n", flag.c_str());
      return 2;
    }
  }
  if (file.empty() || inputs.empty()) {
    std::fputs(
        "in_process --model FILE --input name:dtype:[shape]… [--batch N] [--threads N] [--variants "
        "all|NAME] "
        "[--seconds S]\n",
        stderr);
    return 2;
  }
  try {
    return Measure(file, inputs, batch, threads, only, seconds);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "in_process: %s\n", error.what());
    return 1;
  }
}
