#include "serve/runtime/aoti/aoti_runtime.h"

#include <algorithm>
#include <cstring>
#include <dlfcn.h>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/ops/cat.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/version.h>

#include "serve/base/work_folder.h"
#include "serve/runtime/aoti/check_inputs.h"
#include "serve/runtime/aoti/compiled_inputs.h"
#include "serve/runtime/aoti/host_cpu.h"
#include "serve/runtime/aoti/package.h"
#include "serve/runtime/torchscript/error_text.h"
#include "serve/runtime/torchscript/tensors.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

/// Calls that may run at once: one for each CPU, but at least as many as a version on a small machine has
/// workers and I/O threads, and at most what is worth its memory: an instance lists all weights.
constexpr std::size_t kMinInstances = 4;
constexpr std::size_t kMaxInstances = 32;

/// The keys of a module that answers with a flat dictionary, in the order of its tensors; else empty.
std::vector<std::string> OutputNames(const std::string& out_spec) {
  const auto spec = nlohmann::json::parse(out_spec, nullptr, false);
  if (!spec.is_array() || spec.size() < 2 || !spec[1].is_object()) return {};
  const auto& root = spec[1];
  if (root.value("type", nlohmann::json()) != "builtins.dict") return {};
  const auto children = root.value("children_spec", nlohmann::json::array());
  const auto context = root.value("context", nlohmann::json());
  const auto keys = context.is_string() ? nlohmann::json::parse(context.get<std::string>(), nullptr, false)
                                        : nlohmann::json();
  if (!keys.is_array() || keys.size() != children.size()) return {};
  std::vector<std::string> names;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (!keys[i].is_string() || !children[i].is_object() || !children[i].value("type", keys[i]).is_null())
      return {};
    names.push_back(keys[i].get<std::string>());
  }
  return names;
}

/// `tensor` with copies of its first row behind it, up to `rows`.
at::Tensor Pad(const at::Tensor& tensor, std::int64_t rows) {
  std::vector<std::int64_t> missing = tensor.sizes().vec();
  missing[0] = rows - missing[0];
  return at::cat({tensor, tensor.narrow(0, 0, 1).expand(missing)});
}

using OpenMpThreads = void (*)(int);

/// Some builds of libtorch bring an OpenMP of their own beside the system's, which packages use. Null when no
/// package has loaded that.
OpenMpThreads FindOpenMp() {
  void* openmp = dlopen("libgomp.so.1", RTLD_LAZY | RTLD_NOLOAD);  // never closed: it stays as long as we do
  return openmp == nullptr ? nullptr : reinterpret_cast<OpenMpThreads>(dlsym(openmp, "omp_set_num_threads"));
}

class AotiRuntime final : public Runtime {
 public:
  AotiRuntime(std::unique_ptr<torch::inductor::AOTIModelPackageLoader> package, RuntimeOptions options)
      : package_(std::move(package)), options_(std::move(options)) {
    const std::vector<std::string> spec = package_->get_call_spec();
    if (spec.size() == 2) output_names_ = OutputNames(spec[1]);
  }

  Result<RunOutputs> Run(const std::vector<Tensor>& inputs) override {
    const Result<std::int64_t> rows = CheckInputs(inputs, options_.inputs, options_.batch);
    if (!rows) return rows.error();
    const std::int64_t padded = std::max(*rows, options_.batch.min);
    try {
      const c10::InferenceMode guard;
      std::vector<at::Tensor> tensors;
      tensors.reserve(inputs.size());
      for (const Tensor& input : inputs) {
        tensors.push_back(padded == *rows ? Borrow(input) : Pad(Borrow(input), padded));
      }
      std::vector<at::Tensor> answer = package_->boxed_run(std::move(tensors));
      if (padded != *rows) {
        for (at::Tensor& output : answer) {
          if (output.dim() > 0 && output.size(0) == padded) output = output.narrow(0, 0, *rows);
        }
      }
      Result<RunOutputs> outputs = Unpack(c10::IValue(std::move(answer)));
      if (outputs && outputs->tensors.size() == output_names_.size()) outputs->names = output_names_;
      return outputs;
    } catch (const c10::Error& error) {
      return Failed(ShortTorchError(error.what_without_backtrace()));
    } catch (const std::exception& error) {
      return Failed(ShortTorchError(error.what()));
    }
  }

  void PrepareThread(int threads) override {
    UseThreads(threads);
    if (set_openmp_threads_ != nullptr) set_openmp_threads_(threads);
  }

 private:
  const std::unique_ptr<torch::inductor::AOTIModelPackageLoader> package_;
  const RuntimeOptions options_;
  std::vector<std::string> output_names_;
  const OpenMpThreads set_openmp_threads_ = FindOpenMp();
};

Status CheckDeclared(const RuntimeOptions& options) {
  if (!options.inputs.empty() && options.batch.declared()) return {};
  const char* missing = !options.inputs.empty()     ? "the batch sizes are"
                        : !options.batch.declared() ? "inputs and batch sizes are"
                                                    : "the inputs are";
  return InvalidArgument(fmt::format(
      "{} not declared, and a .pt2 package does not check what it is given. Register it with one "
      "input=name:dtype:[shape without the batch] for each input, in the order of forward, and with "
      "batch=1..64 for "
      "the range of its batch dimension or batch=8 for a fixed one; or pack it: flambeau archive create "
      "--serialized-file model.pt2 --input x:float32:[3,224,224] --batch 1..64 …",
      missing));
}

/// A package that was compiled with `aot_inductor.package_constants_in_so` off has a list of weights and no
/// weights; it would run on null pointers.
Status CheckWeights(const torch::inductor::AOTIModelContainerRunner& runner) {
  const std::size_t wanted = runner.getConstantNamesToOriginalFQNs().size();
  if (wanted == 0 || !runner.extract_constants_map(false).empty()) return {};
  return InvalidArgument(
      fmt::format("the package lacks the {} weights of its model; compile it again without "
                  "aot_inductor.package_constants_in_so = False",
                  wanted));
}

/// What libtorch says of a library that cannot be loaded, and what to do about it.
Status LoadFailed(std::string_view what) {
  std::string text = ShortTorchError(what);
  // "Error in dlopen: /…/package-XXXXXX/…/name.so: reason": the path is a random one and no longer there.
  if (const std::size_t path = text.find(".so: ");
      text.starts_with("Error in dlopen") && path != std::string::npos)
    text = "the package's library cannot be loaded: " + text.substr(path + 5);
  if (text.find("undefined symbol") != std::string::npos) {
    text += fmt::format(" (the package was compiled with another version of torch; this server has {})",
                        TORCH_VERSION);
  } else if (text.find("failed to map segment") != std::string::npos) {
    text +=
        " (code cannot be run from the folder for temporary files; set TMPDIR to one that is not mounted "
        "noexec)";
  }
  return InvalidArgument(std::move(text));
}

}  // namespace

bool AotiFactory::Accepts(const fs::path& file) const {
  return file.extension() == ".pt2" || (file.extension() == ".pt" && IsPackage(file));
}

Result<std::unique_ptr<Runtime>> AotiFactory::Load(const fs::path& file, const RuntimeOptions& options) {
  if (file.extension() != ".pt2") {
    return InvalidArgument("the file is a .pt2 package, not TorchScript: give it the ending .pt2");
  }
  const Result<WorkFolder> scratch = WorkFolder::Make(options.scratch, "package");
  if (!scratch) return scratch.error();
  const Result<Package> package = OpenPackage(file, scratch->path());
  if (!package) return package.error();
  if (Status fits = CheckFits(package->metadata, ReadHostCpu()); !fits.ok()) return fits;
  if (Status declared = CheckDeclared(options); !declared.ok()) return declared;
  std::ifstream source(package->source);
  if (Status possible = CheckDeclaration(ReadCompiledInputs(source), options.inputs, options.batch);
      !possible.ok())
    return possible;
  try {
    const std::size_t instances =
        std::clamp<std::size_t>(std::thread::hardware_concurrency(), kMinInstances, kMaxInstances);
    auto loader = std::make_unique<torch::inductor::AOTIModelPackageLoader>(package->folder.string(),
                                                                            package->model, false, instances);
    if (Status weights = CheckWeights(*loader->get_runner()); !weights.ok()) return weights;
    return std::unique_ptr<Runtime>(std::make_unique<AotiRuntime>(std::move(loader), options));
  } catch (const c10::Error& error) {
    return LoadFailed(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return LoadFailed(error.what());
  }
}

}  // namespace serve
