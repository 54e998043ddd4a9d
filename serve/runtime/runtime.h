#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "serve/base/status.h"
#include "serve/request/tensor.h"

namespace serve {

struct RuntimeOptions {
  std::vector<TensorSpec> inputs;  // as the archive or the call declares them; may be empty
  BatchRange batch;                // rows that one Run may bring; may be undeclared
  std::filesystem::path scratch;   // where a runtime may unpack to while it loads; empty: TMPDIR
  bool own_file = false;           // nobody changes the file as long as the runtime lives: it may be mapped
};

/// What a variant of a model may compute with.
enum class Precision : std::uint8_t {
  kFloat32,   // as the model was saved
  kAuto,      // bfloat16 where it is faster and the outputs agree within its tolerance
  kBFloat16,  // bfloat16 even where it is slower than float32
};

/// What the module answered: tensors in order; `names` is filled when it answered with a dictionary.
struct RunOutputs {
  std::vector<Tensor> tensors;
  std::vector<std::string> names;
};

/// "Run this artifact on these tensors." One copy of the weights, shared by every worker of a version.
///
/// Threads: Run from many threads at once.
/// Errors:  kPredictionFailed with the engine's own reason, shortened to what helps; kInvalidArgument for
///          inputs that are not as declared, where the engine depends on it. No exception leaves it.
/// Variants: the artifact can be run in several ways, of which none is the fastest for every model. Load
/// gives the simplest; the tuner in serve/model times the others and replaces it. Memory:  inputs are read in
/// place and must stay alive during the call; outputs own theirs.
class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual Result<RunOutputs> Run(const std::vector<Tensor>& inputs) = 0;
  /// How many threads a Run on the calling thread may use inside an operator. Cheap when it is as it was.
  virtual void PrepareThread(int threads) { (void)threads; }

  /// Other ways to run the same artifact, simplest first, by name.
  [[nodiscard]] virtual std::vector<std::string> Variants(Precision precision) const {
    (void)precision;
    return {};
  }
  /// One of them; it shares the weights where it can, and this one stays as it is. Errors: kPredictionFailed.
  [[nodiscard]] virtual Result<std::shared_ptr<Runtime>> MakeVariant(const std::string& name) const;
  /// Compiles for inputs of exactly these shapes, where that makes sense. Before the first Run on another
  /// thread; any other shape runs as well, without a stall, but may be slower.
  virtual Status Specialize(const std::vector<Tensor>& inputs) {
    (void)inputs;
    return {};
  }
  /// True: shapes that were not specialized for are much slower, so the queue should form no others.
  [[nodiscard]] virtual bool WantsSpecializedShapes() const { return false; }
  /// True: it computes in less than the precision that the model was saved in.
  [[nodiscard]] virtual bool LowerPrecision() const { return false; }
  /// What computes, with its version: results of tuning hold for it alone.
  [[nodiscard]] virtual std::string Engine() const { return "none"; }
};

inline Result<std::shared_ptr<Runtime>> Runtime::MakeVariant(const std::string& name) const {
  return Status{Code::kPredictionFailed, "this runtime has no variant named " + name};
}

/// Loads one kind of artifact. serve/app hands the factories that were built in to serve/model.
class RuntimeFactory {
 public:
  virtual ~RuntimeFactory() = default;
  /// A file is about to be loaded: makes ready in the background what every Load needs. Returns at once; may
  /// be called often, from any thread.
  virtual void Begin() {}
  /// Whether this factory takes the file, told by its name (".pt").
  [[nodiscard]] virtual bool Accepts(const std::filesystem::path& file) const = 0;
  virtual Result<std::unique_ptr<Runtime>> Load(const std::filesystem::path& file,
                                                const RuntimeOptions& options) = 0;
};

}  // namespace serve
