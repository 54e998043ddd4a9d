#include <fmt/format.h>

#include "handlers/handler.h"
#include "handlers/tensor/tensor_handler.h"
#include "handlers/text/text_classifier.h"

namespace serve {

Result<std::unique_ptr<Handler>> MakeHandler(std::string_view name, const HandlerArtifacts& artifacts) {
  if (name.empty() || name == "tensor" || name == "base_handler") return MakeTensorHandler(artifacts);
  if (name == "text_classifier") return MakeTextClassifier(artifacts);
  return InvalidArgument(
      fmt::format("unknown handler \"{}\"; known are tensor (also called base_handler) and text_classifier",
                  name.substr(0, 80)));
}

}  // namespace serve
