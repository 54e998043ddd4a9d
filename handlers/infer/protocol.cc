#include "handlers/infer/protocol.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "handlers/infer/infer_reader.h"
#include "handlers/tensor/json_source.h"
#include "handlers/tensor/json_writer.h"

namespace serve {
namespace {

Result<Sample> PrepareV1(const Handler& handler, Request&& request) {
  Result<Sample> sample = handler.Prepare(std::move(request));
  if (sample && !sample->hint.instances) {
    return InvalidArgument("body: expected {\"instances\": [...]} with a row for each prediction");
  }
  return sample;
}

Result<InferRequest> ReadV2(const Handler& handler, Request&& request) {
  const std::string_view body = request.body.view();
  if (!request.json_bytes) return ReadInferRequest(body);
  const InferBytes raw{body.substr(*request.json_bytes), std::move(request.body).Release()};
  if (*request.json_bytes == 0) return ReadRawRequest(handler.InferInputs(), raw);
  return ReadInferRequest(body.substr(0, *request.json_bytes), raw);
}

Result<Sample> PrepareV2(const Handler& handler, Request&& request) try {
  Result<InferRequest> infer = ReadV2(handler, std::move(request));
  if (!infer) return infer.error();
  if (Status status = CheckInferInputs(handler.InferInputs(), infer->inputs); !status.ok()) return status;
  if (Status status = CheckInferOutputs(handler.InferOutputs(), infer->ask.outputs); !status.ok())
    return status;
  Result<Sample> sample = handler.PrepareTensors(std::move(infer->inputs));
  if (!sample) return sample;
  sample->hint.infer = std::make_shared<const InferAsk>(std::move(infer->ask));
  if (infer->sequence)
    sample->hint.sequence = std::make_shared<const SequenceAsk>(std::move(*infer->sequence));
  return sample;
} catch (const std::bad_alloc&) {
  return Status{Code::kResourceExhausted, "not enough memory for the tensors of this request"};
}

struct Chosen {
  const InferTensor* tensor;
  bool binary;
};

/// The outputs that were asked for, in that order.
Result<std::vector<Chosen>> Choose(const std::vector<InferTensor>& tensors, const InferAsk& ask) {
  std::vector<Chosen> chosen;
  if (ask.outputs.empty()) {
    for (const InferTensor& tensor : tensors) chosen.push_back({&tensor, ask.binary});
    return chosen;
  }
  for (const auto& [asked, binary] : ask.outputs) {
    const std::string& name = asked;
    const auto found = std::find_if(tensors.begin(), tensors.end(),
                                    [&](const InferTensor& tensor) { return tensor.name == name; });
    if (found == tensors.end()) {
      std::string names;
      for (const InferTensor& tensor : tensors) {
        names += fmt::format("{}{}", names.empty() ? "" : ", ", Excerpt(tensor.name));
      }
      return BadInput(fmt::format("outputs: unknown name \"{}\"; the outputs are {}", Excerpt(name), names));
    }
    chosen.push_back({&*found, binary.value_or(ask.binary)});
  }
  return chosen;
}

std::size_t RawBytes(const InferTensor& tensor) {
  if (tensor.datatype) return tensor.numbers.bytes();
  std::size_t bytes = 0;
  for (const std::string& text : tensor.texts) bytes += sizeof(std::uint32_t) + text.size();
  return bytes;
}

void AppendRaw(std::string& body, const InferTensor& tensor) {
  if (tensor.datatype) {
    body.append(reinterpret_cast<const char*>(tensor.numbers.data.get()), tensor.numbers.bytes());
    return;
  }
  for (const std::string& text : tensor.texts) {
    const auto length = static_cast<std::uint32_t>(text.size());
    body.append(reinterpret_cast<const char*>(&length), sizeof length);
    body += text;
  }
}

void AppendTensor(std::string& body, const InferTensor& tensor, bool binary) {
  body += "{\"name\":";
  AppendQuoted(body, tensor.name);
  body += ",\"datatype\":\"";
  body += DatatypeName(tensor.datatype);
  body += "\",\"shape\":[";
  char digits[24];
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    if (i > 0) body += ',';
    body.append(digits, std::to_chars(digits, digits + sizeof digits, tensor.shape[i]).ptr);
  }
  if (binary) {
    body += fmt::format("],\"parameters\":{{\"binary_data_size\":{}}}}}", RawBytes(tensor));
    return;
  }
  body += "],\"data\":[";
  if (tensor.datatype) {
    AppendFlat(body, tensor.numbers);
  } else {
    for (std::size_t i = 0; i < tensor.texts.size(); ++i) {
      if (i > 0) body += ',';
      AppendQuoted(body, tensor.texts[i]);
    }
  }
  body += "]}";
}

}  // namespace

Result<Sample> PrepareAs(const Handler& handler, Request&& request) {
  switch (request.protocol) {
    case Protocol::kKServeV1:
      return PrepareV1(handler, std::move(request));
    case Protocol::kKServeV2:
      return PrepareV2(handler, std::move(request));
    case Protocol::kNative:
      break;
  }
  return handler.Prepare(std::move(request));
}

Result<Response> RenderAs(const Handler& handler, const Output& output, const RenderHint& hint,
                          std::string_view model, std::string_view version) try {
  if (!hint.infer) return handler.Render(output, hint);
  const Result<std::vector<InferTensor>> tensors = handler.RenderTensors(output);
  if (!tensors) return tensors.error();
  const auto chosen = Choose(*tensors, *hint.infer);
  if (!chosen) return chosen.error();
  Response response;
  std::string& body = response.body;
  body += "{\"model_name\":";
  AppendQuoted(body, model);
  body += ",\"model_version\":";
  AppendQuoted(body, version);
  if (!hint.infer->id.empty()) {
    body += ",\"id\":";
    AppendQuoted(body, hint.infer->id);
  }
  body += ",\"outputs\":[";
  for (std::size_t i = 0; i < chosen->size(); ++i) {
    if (i > 0) body += ',';
    AppendTensor(body, *(*chosen)[i].tensor, (*chosen)[i].binary);
  }
  body += "]}";
  std::size_t raw = 0;
  for (const auto& [tensor, binary] : *chosen) raw += binary ? RawBytes(*tensor) : 0;
  if (std::none_of(chosen->begin(), chosen->end(), [](const Chosen& output) { return output.binary; }))
    return response;
  response.json_bytes = body.size();
  response.content_type = "application/octet-stream";
  body.reserve(body.size() + raw);
  for (const auto& [tensor, binary] : *chosen) {
    if (binary) AppendRaw(body, *tensor);
  }
  return response;
} catch (const std::bad_alloc&) {
  return Status{Code::kResourceExhausted, "not enough memory for the answer"};
}

}  // namespace serve
