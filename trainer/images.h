#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trainer/images/network.h"
#include "trainer/recipe.h"

namespace serve::trainer {

/// `flambeau-train images`: every flag with its default.
struct ImagesOptions {
  /// A folder with train-images-idx3-ubyte, train-labels-idx1-ubyte and the same of t10k, packed (.gz) or
  /// not. The default is where Debian's package dataset-fashion-mnist puts them.
  std::filesystem::path data = "/usr/share/datasets/fashion-mnist";
  std::vector<std::string> labels = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                     "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
  NetworkOptions network;
  OutputOptions output{.name = "fashion_mnist"};
};

/// Reads, trains a small convolutional network, evaluates it on the test set (which nothing is chosen by),
/// exports, compares, packs for the handler image_classifier and, when asked, registers. Answers with the
/// exit code; what went wrong stands on `err`. Ctrl-C ends training early and packs what there is.
int RunImages(const ImagesOptions& options, const Streams& streams);

}  // namespace serve::trainer
