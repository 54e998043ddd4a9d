#include "serve/runtime/fake/fake_runtime.h"

#include <cstring>

namespace serve {

Result<RunOutputs> FakeRuntime::Echo(const std::vector<Tensor>& inputs) {
  RunOutputs outputs;
  outputs.tensors.push_back(Tensor::Empty(inputs[0].dtype, inputs[0].shape));
  std::memcpy(outputs.tensors[0].data.get(), inputs[0].data.get(), inputs[0].bytes());
  return outputs;
}

Result<std::unique_ptr<Runtime>> FakeRuntimeFactory::Load(const std::filesystem::path&,
                                                          const RuntimeOptions&) {
  return std::unique_ptr<Runtime>(std::make_unique<FakeRuntime>(function_));
}

}  // namespace serve
