#include "handlers/text/vocabulary.h"

#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "handlers/tensor/json_source.h"  // Excerpt
#include "handlers/text/tokenizer.h"
#include "serve/base/files.h"

namespace serve {
namespace {

constexpr std::string_view kMagic = "flambeau-vocabulary";
constexpr std::string_view kFormat = "1";

template <class T>
bool ParseNumber(std::string_view text, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

/// What is wrong with `term` behind `previous`; empty when nothing is.
std::string Problem(const Term& term, const Term* previous) {
  if (term.text.size() > kMaxTermBytes) {
    return fmt::format("a term has {} bytes, allowed are {}", term.text.size(), kMaxTermBytes);
  }
  if (!IsToken(term.text)) {
    return fmt::format("\"{}\" is no term: terms are made of a-z and 0-9", Excerpt(term.text));
  }
  if (!std::isfinite(term.idf) || term.idf <= 0) {
    return fmt::format("the idf of \"{}\" must be a positive number", Excerpt(term.text));
  }
  if (previous != nullptr && previous->text == term.text) {
    return fmt::format("\"{}\" comes twice", Excerpt(term.text));
  }
  if (previous != nullptr && previous->text > term.text) {
    return fmt::format("\"{}\" stands behind \"{}\": terms must be sorted bytewise", Excerpt(term.text),
                       Excerpt(previous->text));
  }
  return {};
}

Status CheckTerms(const std::vector<Term>& terms, std::string_view name) {
  if (terms.empty()) return InvalidArgument(fmt::format("{}: the vocabulary has no terms", name));
  if (terms.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    return InvalidArgument(fmt::format("{}: {} terms are too many", name, terms.size()));
  }
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const std::string problem = Problem(terms[i], i == 0 ? nullptr : &terms[i - 1]);
    if (!problem.empty()) return InvalidArgument(fmt::format("{}:{}: {}", name, i + 2, problem));
  }
  return {};
}

Status ParseHeader(std::string_view line, std::string_view name, std::int64_t& documents) {
  const std::size_t first = line.find('\t');
  const std::size_t second = first == std::string_view::npos ? first : line.find('\t', first + 1);
  if (second == std::string_view::npos || line.substr(0, first) != kMagic) {
    return InvalidArgument(fmt::format("{}:1: expected `{}<tab>{}<tab>number of documents`, found `{}`", name,
                                       kMagic, kFormat, Excerpt(line)));
  }
  const std::string_view format = line.substr(first + 1, second - first - 1);
  if (format != kFormat) {
    return InvalidArgument(fmt::format("{}:1: format {} is not known, this program reads format {}", name,
                                       Excerpt(format), kFormat));
  }
  if (!ParseNumber(line.substr(second + 1), documents) || documents < 1) {
    return InvalidArgument(fmt::format("{}:1: expected the number of documents, found `{}`", name,
                                       Excerpt(line.substr(second + 1))));
  }
  return {};
}

}  // namespace

Vocabulary::Vocabulary(std::vector<Term> terms, std::int64_t documents)
    : terms_(std::move(terms)), documents_(documents) {
  ids_.reserve(terms_.size());
  std::int32_t id = 0;
  for (const Term& term : terms_) ids_.emplace(term.text, id++);
}

Result<Vocabulary> Vocabulary::Make(std::vector<Term> terms, std::int64_t documents) {
  if (documents < 1) return InvalidArgument(fmt::format("{}: counted on no documents", kVocabularyFile));
  if (Status status = CheckTerms(terms, kVocabularyFile); !status.ok()) return status;
  return Vocabulary(std::move(terms), documents);
}

Result<Vocabulary> Vocabulary::Parse(std::string_view content, std::string_view name) {
  std::int64_t documents = 0;
  std::vector<Term> terms;
  std::size_t number = 0;
  for (std::size_t at = 0; at < content.size();) {
    ++number;
    const std::size_t end = content.find('\n', at);
    if (end == std::string_view::npos) {
      return InvalidArgument(fmt::format("{}:{}: the last line has no end; the file was cut", name, number));
    }
    const std::string_view line = content.substr(at, end - at);
    at = end + 1;
    if (number == 1) {
      if (Status status = ParseHeader(line, name, documents); !status.ok()) return status;
      continue;
    }
    const std::size_t tab = line.find('\t');
    Term term;
    if (tab == std::string_view::npos || !ParseNumber(line.substr(tab + 1), term.idf)) {
      return InvalidArgument(
          fmt::format("{}:{}: expected `term<tab>idf`, found `{}`", name, number, Excerpt(line)));
    }
    term.text = line.substr(0, tab);
    terms.push_back(std::move(term));
  }
  if (number == 0) return InvalidArgument(fmt::format("{}: the file is empty", name));
  if (Status status = CheckTerms(terms, name); !status.ok()) return status;
  return Vocabulary(std::move(terms), documents);
}

Result<Vocabulary> Vocabulary::Load(const std::filesystem::path& file) {
  const Result<std::string> content = ReadFile(file, kMaxVocabularyFileBytes);
  if (!content) {
    return Status{content.error().code,
                  fmt::format("cannot read {}: {}", file.string(), content.error().message)};
  }
  return Parse(*content, file.filename().string());
}

std::string Vocabulary::FileText() const {
  fmt::memory_buffer text;
  fmt::format_to(std::back_inserter(text), "{}\t{}\t{}\n", kMagic, kFormat, documents_);
  for (const Term& term : terms_) {
    char digits[32];
    char* const end =
        std::to_chars(digits, digits + sizeof digits, term.idf).ptr;  // shortest that reads back
    fmt::format_to(std::back_inserter(text), "{}\t{}\n", term.text, std::string_view(digits, end));
  }
  return fmt::to_string(text);
}

}  // namespace serve
