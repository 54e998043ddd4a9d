#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "handlers/handler.h"

namespace serve {

/// A request whose raw body is `body`, as the HTTP codec makes it. `content_type` is a literal.
inline Request RawRequest(std::string_view body, std::string_view content_type = "application/json") {
  Request request;
  request.body = Buffer(body);
  request.parts.push_back({"body", request.body.view(), content_type});
  request.body_is_part = true;
  return request;
}

/// A form whose field `data` is `value`, with other bytes of the body on both sides.
inline Request FormRequest(std::string_view value, std::string_view content_type = "application/json") {
  Request request;
  request.body = Buffer("--boundary 123" + std::string(value) + "456]]]}}} --boundary");
  request.parts.push_back({"data", request.body.view().substr(14, value.size()), content_type});
  return request;
}

/// The tensor handler of an archive with these declarations (`x:float32:[3]`).
inline std::unique_ptr<Handler> TensorHandlerFor(std::initializer_list<std::string_view> inputs,
                                                 std::initializer_list<std::string_view> outputs = {}) {
  HandlerArtifacts artifacts;
  for (const std::string_view text : inputs) artifacts.inputs.push_back(ParseTensorSpec(text).value());
  for (const std::string_view text : outputs) artifacts.outputs.push_back(ParseTensorSpec(text).value());
  return std::move(MakeHandler("tensor", artifacts).value());
}

/// The same for one input that ParseTensorSpec would not let through; a manifest may be damaged.
inline std::unique_ptr<Handler> TensorHandlerFor(TensorSpec input) {
  HandlerArtifacts artifacts;
  artifacts.inputs = {std::move(input)};
  return std::move(MakeHandler("tensor", artifacts).value());
}

template <class T>
std::vector<T> Values(const Tensor& tensor) {
  return {tensor.as<T>(), tensor.as<T>() + tensor.elements()};
}

template <class T>
Tensor MakeTensor(DType dtype, std::vector<std::int64_t> shape, std::initializer_list<T> values) {
  Tensor tensor = Tensor::Empty(dtype, std::move(shape));
  std::copy(values.begin(), values.end(), tensor.as<T>());
  return tensor;
}

}  // namespace serve
