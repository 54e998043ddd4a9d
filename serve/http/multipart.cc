#include "serve/http/multipart.h"

#include <string>

#include <fmt/format.h>

#include "serve/http/http_message.h"

namespace serve {
namespace {

constexpr std::size_t kMaxPartHeader = 4096;

/// Reads the header lines of one part; an error text, or empty.
std::string ReadPartHeader(std::string_view header, MultipartPart& part) {
  bool disposition = false;
  while (!header.empty()) {
    const std::size_t end = header.find("\r\n");
    const std::string_view line = header.substr(0, end);
    header.remove_prefix(end == std::string_view::npos ? header.size() : end + 2);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) return "has a header line without a colon";
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = TrimBlanks(line.substr(colon + 1));
    if (EqualsIgnoreCase(name, "content-disposition")) {
      const std::string_view kind = TrimBlanks(value.substr(0, value.find(';')));
      if (!EqualsIgnoreCase(kind, "form-data")) return "has a Content-Disposition that is not form-data";
      part.name = FieldParameter(value, "name");
      if (part.name.empty()) return "has a Content-Disposition without a name";
      part.has_file_name = value.find("filename") != std::string_view::npos;
      disposition = true;
    } else if (EqualsIgnoreCase(name, "content-type")) {
      part.content_type = TrimBlanks(value.substr(0, value.find(';')));
    } else if (EqualsIgnoreCase(name, "content-transfer-encoding")) {
      if (!EqualsIgnoreCase(value, "binary") && !EqualsIgnoreCase(value, "8bit") &&
          !EqualsIgnoreCase(value, "7bit")) {
        return "has a Content-Transfer-Encoding that is not understood; send it as binary";
      }
    }
  }
  return disposition ? "" : "has no Content-Disposition";
}

}  // namespace

std::string_view FieldParameter(std::string_view field, std::string_view name) {
  std::size_t at = field.find(';');
  while (at != std::string_view::npos) {
    field.remove_prefix(at + 1);
    field = TrimBlanks(field);
    const std::size_t equals = field.find_first_of("=;");
    if (equals == std::string_view::npos) return {};
    if (field[equals] == ';') {
      at = equals;
      continue;
    }
    const std::string_view key = TrimBlanks(field.substr(0, equals));
    field = TrimBlanks(field.substr(equals + 1));
    std::string_view value;
    if (!field.empty() && field[0] == '"') {
      std::size_t end = 1;
      while (end < field.size() && field[end] != '"') end += field[end] == '\\' ? 2 : 1;
      if (end >= field.size()) return {};
      value = field.substr(1, end - 1);
      field.remove_prefix(end + 1);
    } else {
      value = TrimBlanks(field.substr(0, field.find(';')));
    }
    if (EqualsIgnoreCase(key, name)) return value;
    at = field.find(';');
  }
  return {};
}

Result<std::vector<MultipartPart>> ParseMultipart(std::string_view body, std::string_view boundary,
                                                  std::size_t max_parts) {
  if (boundary.empty() || boundary.size() > 70) {
    return InvalidArgument("the Content-Type multipart/form-data needs a boundary of 1 to 70 characters");
  }
  const std::string delimiter = "\r\n--" + std::string(boundary);
  const std::string_view opening = std::string_view(delimiter).substr(2);
  std::vector<MultipartPart> parts;

  // The first delimiter may stand at the very start, or after a preamble that nobody reads.
  if (body.substr(0, opening.size()) == opening) {
    body.remove_prefix(opening.size());
  } else {
    const std::size_t first = body.find(delimiter);
    if (first == std::string_view::npos) {
      return InvalidArgument("the form's body does not contain the boundary that its Content-Type names");
    }
    body.remove_prefix(first + delimiter.size());
  }
  for (;;) {
    if (body.substr(0, 2) == "--") return parts;  // the closing boundary; an epilogue is not read
    const std::size_t line = body.find("\r\n");
    if (line == std::string_view::npos || !TrimBlanks(body.substr(0, line)).empty()) {
      return InvalidArgument(fmt::format("the form ends before its closing boundary `--{}--`", boundary));
    }
    const std::size_t number = parts.size() + 1;
    if (number > max_parts) {
      return InvalidArgument(fmt::format("the form has more than {} parts, which is the limit", max_parts));
    }
    body.remove_prefix(line);  // keeps the CR LF, so that a part without header lines is seen
    const std::size_t header_end = body.substr(0, kMaxPartHeader + 4).find("\r\n\r\n");
    if (header_end == std::string_view::npos) {
      return InvalidArgument(
          fmt::format("part {} of the form has no empty line after its header, or more than {} bytes of it",
                      number, kMaxPartHeader));
    }
    MultipartPart part;
    const std::string_view header = header_end == 0 ? std::string_view() : body.substr(2, header_end - 2);
    const std::string wrong = ReadPartHeader(header, part);
    if (!wrong.empty()) return InvalidArgument(fmt::format("part {} of the form {}", number, wrong));
    body.remove_prefix(header_end + 2);  // keeps a CR LF: the delimiter of an empty value begins with it
    const std::size_t end = body.find(delimiter);
    if (end == std::string_view::npos) {
      return InvalidArgument(
          fmt::format("part {} of the form (`{}`) ends before its boundary", number, part.name));
    }
    part.value = end < 2 ? std::string_view() : body.substr(2, end - 2);
    body.remove_prefix(end + delimiter.size());
    parts.push_back(part);
  }
}

}  // namespace serve
