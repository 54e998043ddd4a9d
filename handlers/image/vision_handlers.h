#pragma once

#include <memory>

#include "handlers/handler.h"

namespace serve {

/// A picture in, its likeliest classes out.
///
/// Archive: index_to_name.json (ReadClassNames), optional: a class without a name is called by its number.
/// Options: top_k (5), resize (256), crop (224), mean and std (ImageNet's), softmax (true).
/// Input:   see ReadImages; transformed as ImageTransform says. Lists of numbers are taken as they are.
/// Module:  forward(pictures float32 [n, 3, crop, crop]) → scores float32 [n, classes] (its first output).
/// Out:     {"tabby": 0.4, ...}, the top_k classes, best first; fewer where the module has fewer.
/// Errors:  kPredictionFailed when the module's answer has another form.
/// Source:  TorchServe's image_classifier.
Result<std::unique_ptr<Handler>> MakeImageClassifier(const HandlerArtifacts& artifacts);

/// A picture in, the class of each of its points out.
///
/// Options: resize, crop, mean, std as above.
/// Module:  forward(pictures) → {"out": scores float32 [n, classes, height, width]}, or that tensor alone or
///          first.
/// Out:     [height][width][2]: the class, as a float, and its probability (softmax over the classes).
/// Source:  TorchServe's image_segmenter.
Result<std::unique_ptr<Handler>> MakeImageSegmenter(const HandlerArtifacts& artifacts);

/// A picture in, boxes out. The picture keeps its size; pictures of one size share a batch.
///
/// Options: threshold (0.5): boxes with a lower score are left out.
/// Archive: index_to_name.json as above.
/// Module:  forward(pictures float32 [n, 3, height, width], in [0, 1]) → boxes, labels, scores, as a tuple in
///          this order or as a dictionary with these names: boxes [n, k, 4], labels [n, k], scores [n, k], or
///          without the n for a module that takes one picture (batch_size 1). Or what torchvision's detectors
///          do: forward(List[Tensor]) → a list of such dictionaries, one a picture, also behind a first
///          element (the losses of a scripted one), which is left out.
/// Out:     [{"person": [x1, y1, x2, y2], "score": 0.99}, ...] in the module's order.
/// Source:  TorchServe's object_detector.
Result<std::unique_ptr<Handler>> MakeObjectDetector(const HandlerArtifacts& artifacts);

}  // namespace serve
