#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "handlers/options.h"
#include "serve/base/status.h"
#include "serve/base/tensor_spec.h"
#include "serve/request/infer.h"
#include "serve/request/request.h"

namespace serve {

/// What a handler finds in an unpacked archive.
struct HandlerArtifacts {
  std::filesystem::path folder;
  std::vector<TensorSpec> inputs;  // as the manifest declares them; empty: undeclared
  std::vector<TensorSpec> outputs;
  HandlerOptions options = {};                 // of the manifest
  std::int64_t max_image_pixels = 89'478'485;  // of one request's pictures together; 0: no limit
};

/// What Split and Render say of a model's output that they cannot use.
inline Status UnusableOutput(std::string_view reason) {
  return {Code::kPredictionFailed, "Prediction failed: " + std::string(reason)};
}

/// What one run of the model brought a request of a handler that generates.
struct Step {
  std::string part;              // for a client that reads along; may be empty
  std::optional<Sample> more{};  // what the model is run on next; nothing: this was the last run
  Output answer{};               // after the last run: the whole answer, for Render
};

/// The code around a model, in stages that run on different threads:
///   Prepare          I/O thread   one request → one sample. Bad input is answered here and meets no batch
///   Decode           worker       what is too slow for an I/O thread: pictures → tensors. Most have none
///   Collate, Split   worker       samples → the module's inputs, the module's outputs → one output a sample
///   Next             worker       of handlers that generate: one output → a part of the answer, the next
///   sample Render           I/O thread   one output → body bytes
///
/// Threads: every method is const and is called from many threads at once; a handler holds no mutable state.
/// Errors:  Prepare answers kInvalidArgument with a text that says where in the input it is wrong. No
/// exception
///          leaves a handler.
class Handler {
 public:
  virtual ~Handler() = default;

  virtual Result<Sample> Prepare(Request request) const = 0;
  /// Whether there is a Decode stage; then no batch of this model runs on an I/O thread.
  [[nodiscard]] virtual bool Decodes() const { return false; }
  /// Finishes one sample before its batch is collated; does nothing to one that is finished. An error answers
  /// that request alone.
  virtual Status Decode(Sample& sample) const {
    (void)sample;
    return {};
  }
  /// Joins the inputs of `samples` (equal shape keys). The default puts rows one under the other: [rows,
  /// ...].
  virtual Result<std::vector<Tensor>> Collate(const std::vector<const Sample*>& samples) const;
  /// Cuts what the module answered, in the order of `samples`. The default takes each sample's rows of
  /// dimension 0 and refuses outputs whose dimension 0 is not the number of rows that went in. Views, no
  /// copies.
  virtual Result<std::vector<Output>> Split(const std::vector<Tensor>& outputs,
                                            const std::vector<std::string>& names,
                                            const std::vector<const Sample*>& samples) const;
  /// What a sequence of requests begins with (Sample::state of its requests, one after the other, never two
  /// at once): Collate reads it, Split writes what the next request shall find. The default keeps nothing.
  [[nodiscard]] virtual std::shared_ptr<SampleState> BeginSequence() const { return nullptr; }
  /// Whether answers take several runs of the model, as generated text does. Next is called after each run,
  /// and what is not finished goes back into the queue: it shares its next batch with whatever waits then.
  /// Such a model never runs on an I/O thread. Samples have one row.
  [[nodiscard]] virtual bool Generates() const { return false; }
  /// On the worker, between two batches: it must be quick. An error ends that request alone.
  virtual Result<Step> Next(const Output& output, Sample sample) const;
  /// The type of a Step's part, a literal.
  [[nodiscard]] virtual std::string_view PartType(const RenderHint&) const {
    return "text/plain; charset=utf-8";
  }
  virtual Result<Response> Render(const Output& output, const RenderHint& hint) const = 0;

  /// The same for typed tensors (KServe v2), which have another form than a request of the handler's own.
  /// `inputs` are those of InferInputs(), in its order, with its types and shapes; when it is empty, whatever
  /// the client sent. The default is kNotImplemented.
  virtual Result<Sample> PrepareTensors(std::vector<InferTensor> inputs) const;
  /// All outputs, named. The default passes the module's tensors on, with the module's names, else
  /// those of InferOutputs(), else output0, output1, …
  virtual Result<std::vector<InferTensor>> RenderTensors(const Output& output) const;
  /// What PrepareTensors takes and RenderTensors gives; empty: the archive declares nothing.
  [[nodiscard]] virtual std::vector<InferSpec> InferInputs() const { return {}; }
  [[nodiscard]] virtual std::vector<InferSpec> InferOutputs() const { return {}; }

  /// A request that every model of this handler understands, for warm-up when the archive brings no example
  /// and the inputs are fully declared; an error says why there is none.
  virtual Result<Sample> SyntheticSample() const = 0;
};

/// Makes the handler that an archive names: `tensor` (also `base_handler`, and the default),
/// `text_classifier`, … An unknown name is kInvalidArgument and lists the known ones; a Python file is told
/// that Python does not run here.
Result<std::unique_ptr<Handler>> MakeHandler(std::string_view name, const HandlerArtifacts& artifacts);

}  // namespace serve
