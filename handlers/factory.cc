#include <array>

#include <fmt/format.h>

#include "handlers/handler.h"
#include "handlers/image/vision_handlers.h"
#include "handlers/tensor/tensor_handler.h"
#include "handlers/text/subword_handlers.h"
#include "handlers/text/subword_tokenizer.h"
#include "handlers/text/text_classifier.h"
#include "handlers/text/text_generator.h"
#include "handlers/text/vocabulary.h"

namespace serve {
namespace {

/// Words with their frequencies, as flambeau-train packs them, or pieces.
Result<std::unique_ptr<Handler>> MakeText(const HandlerArtifacts& artifacts) {
  std::error_code error;
  if (std::filesystem::exists(artifacts.folder / kVocabularyFile, error))
    return MakeTextClassifier(artifacts);
  if (HasSubwordVocabulary(artifacts.folder)) return MakeSubwordClassifier(artifacts);
  return InvalidArgument(
      "text_classifier needs a vocabulary in the archive: vocabulary.tsv (flambeau-train packs it), "
      "vocab.txt "
      "(WordPiece), or spiece.model, tokenizer.model or sentencepiece.bpe.model (SentencePiece)");
}

struct Entry {
  std::string_view name;
  Result<std::unique_ptr<Handler>> (*make)(const HandlerArtifacts& artifacts);
};

constexpr std::array kHandlers = {
    Entry{"tensor", MakeTensorHandler},           Entry{"image_classifier", MakeImageClassifier},
    Entry{"image_segmenter", MakeImageSegmenter}, Entry{"object_detector", MakeObjectDetector},
    Entry{"text_classifier", MakeText},           Entry{"text_embedding", MakeTextEmbedding},
    Entry{"text_generator", MakeTextGenerator},
};

/// `my_handler.py`, `my_handler.py:handle`, or `my_handler:handle`.
bool IsPython(std::string_view name) {
  return name.ends_with(".py") || name.find(".py:") != std::string_view::npos ||
         name.find(':') != std::string_view::npos;
}

}  // namespace

Result<std::unique_ptr<Handler>> MakeHandler(std::string_view name, const HandlerArtifacts& artifacts) {
  std::string known;
  for (const Entry& entry : kHandlers) {
    if (name == entry.name) return entry.make(artifacts);
    known += fmt::format("{}{}", known.empty() ? "" : ", ", entry.name);
  }
  if (name.empty() || name == "base_handler") return MakeTensorHandler(artifacts);
  std::error_code error;
  const bool packed = std::filesystem::is_regular_file(artifacts.folder / (std::string(name) + ".py"), error);
  if (packed || IsPython(name)) {
    return InvalidArgument(fmt::format(
        "the handler \"{}\" is Python code, which does not run in this server; name one that is built "
        "in, in the archive or with &handler= in the register call: {}",
        name.substr(0, 80), known));
  }
  return InvalidArgument(fmt::format("unknown handler \"{}\"; known are {} and base_handler, which is tensor",
                                     name.substr(0, 80), known));
}

}  // namespace serve
