#pragma once

#include <string>
#include <string_view>

namespace serve {

/// Shortens what libtorch says to what helps: the reason (for a shape mismatch the line that names both
/// shapes) and the line of the model's own code that raised it, without the interpreter's and the C++
/// backtrace. At most 600 characters.
std::string ShortTorchError(std::string_view what);

}  // namespace serve
