#pragma once

#include <memory>

#include "handlers/handler.h"

namespace serve {

/// The default handler: numbers in, numbers out. The archive's declaration (`name:dtype:[shape of one row]`,
/// -1 for any size) says what a request must bring; without one a request is one row of float32 of any shape.
///
/// JSON in:   [1, 2, 3]                        one row, or several when it is nested one level deeper than
/// declared
///            {"instances": [row, row]}        rows; answered as {"predictions": [...]}
///            {"x": ..., "mask": ...}          by name: one row or several of each declared input
///            {"instances": [{"x": ..., "mask": ...}]}
///            Integers take 3 and 3.0, never 3.5 or a value out of range; bool takes true, false, 0, 1. A
///            number that would become infinite in float16, bfloat16 or float32 is refused. JSON has no NaN.
///            A byte order mark is skipped. A name that comes twice or is not declared is refused.
/// Binary in: the declared input as raw little-endian bytes; several rows when the size is a multiple of a
/// row,
///            else one row whose one free dimension follows from the size. Its memory becomes the tensor.
/// Which:     application/json and +json are JSON; text, form fields and parts without a type too when they
/// look like text;
///            every other type is binary.
/// JSON out:  one row [0.1, 0.9] (a number when a row is a scalar), a list of rows, {"predictions": [...]};
///            several outputs are an object when they have names, else a list. Floats are the shortest text
///            that reads back the same (1.0, 0.1, 1e+20); NaN and infinities are null.
/// Binary out: the bytes of the only output, when the first type of Accept is application/octet-stream.
/// Sequences: the option `state=h,c` names declared inputs that clients do not send: what the model answered
/// last for the
///            sequence (its last outputs, in this order), zeros at its begin. A request is one row then.
/// Warm-up:   SyntheticSample is one row of ones (floats) or zeros (others); a free dimension is 8 long.
/// Errors:    kInvalidArgument with the place (`instances[2][5]: expected a number, found a string`), cut at
/// 300
///            characters; kPredictionFailed when an output cannot be rendered.
/// Threads:   const and free of locks; each thread keeps a JSON parser of at most a few MiB.
/// Source:    TorchServe's base_handler behind its `body` and `json` envelopes.
Result<std::unique_ptr<Handler>> MakeTensorHandler(const HandlerArtifacts& artifacts);

/// Equal for tensors that may share a batch: same types, same shapes beyond dimension 0.
std::uint64_t ShapeKey(const std::vector<Tensor>& inputs);

}  // namespace serve
