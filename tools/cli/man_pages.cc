#include "tools/cli/man_pages.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <sstream>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "tools/cli/man_sections.h"

namespace serve {
namespace {

/// Text of roff: no character of it is a command. Each line of `text` stays one.
std::string Roff(std::string_view text) {
  std::string out;
  bool begins = true;
  for (const char c : text) {
    if (begins && (c == '.' || c == '\'')) out += "\\&";
    begins = c == '\n';
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

std::string Upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
  return text;
}

std::string Today() {
  const char* epoch = std::getenv("SOURCE_DATE_EPOCH");
  const std::time_t time = epoch == nullptr ? std::time(nullptr) : std::strtoll(epoch, nullptr, 10);
  return fmt::format("{:%Y-%m-%d}", fmt::gmtime(time));
}

/// A help text's end, taken apart.
struct Footer {
  std::string notes;
  std::string exit_codes;
  std::vector<std::string> examples;
};

Footer Divide(const std::string& text) {
  Footer footer;
  std::istringstream lines(text);
  bool examples = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Example")) {
      examples = true;
    } else if (line.starts_with("Exit codes: ")) {
      examples = false;
      footer.exit_codes = line.substr(12);
    } else if (examples && line.starts_with("  ")) {
      footer.examples.push_back(line.substr(2));
    } else if (!line.empty()) {
      examples = false;
      footer.notes += line + "\n";
    }
  }
  return footer;
}

std::string Value(const OptionInfo& option) {
  if (option.choices.empty()) return option.value;
  std::string text;
  for (const std::string& choice : option.choices) text += (text.empty() ? "" : "|") + choice;
  return text;
}

std::string Term(const std::string& term, const std::string& text) {
  return fmt::format(".TP\n{}\n{}\n", term, Roff(text));
}

std::string OptionTerm(const OptionInfo& option) {
  std::string term = ".B ";
  for (std::size_t i = 0; i < option.names.size(); ++i) term += (i == 0 ? "" : ", ") + Roff(option.names[i]);
  if (!option.value.empty()) term += " \\fI" + Roff(Value(option)) + "\\fP";
  std::string text = option.description.empty() ? "See above." : option.description;
  if (!option.default_text.empty()) text += fmt::format(" [{}]", option.default_text);
  return Term(term, text);
}

/// `flambeau models scale [OPTIONS] MODEL`
std::string Synopsis(const CommandInfo& command) {
  std::string text = ".B flambeau";
  for (const std::string& word : command.path) text += " " + Roff(word);
  text += "\n[\\fIOPTION\\fP]...";
  for (const OptionInfo& argument : command.arguments) {
    text += argument.required ? fmt::format(" \\fI{}\\fP", Roff(Upper(argument.value)))
                              : fmt::format(" [\\fI{}\\fP]", Roff(Upper(argument.value)));
  }
  if (!command.commands.empty()) text += " \\fICOMMAND\\fP ...";
  return text + "\n";
}

/// Arguments, options and notes of one command.
std::string Body(const CommandInfo& command) {
  std::string text;
  for (const OptionInfo& argument : command.arguments) {
    std::string about = argument.description;
    if (!argument.choices.empty()) about += fmt::format(": {}", Value(argument));
    text += Term(".I " + Roff(Upper(argument.value)), about);
  }
  for (const OptionInfo& option : command.options) text += OptionTerm(option);
  return text;
}

std::string Heading(std::string_view title) { return fmt::format(".SH {}\n", title); }

std::string Examples(const std::vector<const CommandInfo*>& all, std::string_view command) {
  std::string text;
  for (const ManSection& example : ManSections(command, "EXAMPLES"))
    text += fmt::format(".TP\n{}\n.nf\n{}\n.fi\n", Roff(example.term), Roff(example.text));
  for (const CommandInfo* one : all) {
    const Footer footer = Divide(one->footer);
    if (footer.examples.empty()) continue;
    text += text.empty() ? ".nf\n" : ".PP\n.nf\n";
    for (const std::string& example : footer.examples) text += Roff(example) + "\n";
    text += ".fi\n";
  }
  return text;
}

std::string Sections(std::string_view command, std::string_view title) {
  std::string text;
  for (const ManSection& section : ManSections(command, title))
    text += Term(".B " + Roff(section.term), std::string(section.text));
  return text;
}

std::string Environment(const std::vector<const CommandInfo*>& all, std::string_view command) {
  std::string text;
  for (const CommandInfo* one : all) {
    for (const OptionInfo& option : one->options) {
      if (option.environment.empty()) continue;
      text += Term(".B " + Roff(option.environment), fmt::format("Instead of {}.", option.names.front()));
    }
  }
  return text + Sections(command, "ENVIRONMENT");
}

std::string ExitStatus(const CommandInfo& root, const CommandInfo& command, std::string_view name) {
  if (std::string text = Sections(name, "EXIT STATUS"); !text.empty()) return text;
  std::string codes = Divide(command.footer).exit_codes;
  if (codes.empty()) codes = Divide(root.footer).exit_codes;
  return Roff(codes) + "\n";
}

}  // namespace

std::string ManPage(const CommandInfo& root, const CommandInfo& command) {
  const std::string name = command.path.empty() ? "" : command.path.front();
  const std::string page = name.empty() ? "flambeau" : "flambeau-" + name;
  // The page of the program lists its commands only; each has a page with all that is below it.
  const std::vector<const CommandInfo*> all =
      name.empty() ? std::vector<const CommandInfo*>{&command} : AllCommands(command);
  std::string text = fmt::format(".TH {} 1 {} \"flambeau {}\" \"Flambeau manual\"\n", Roff(Upper(page)),
                                 Today(), FLAMBEAU_VERSION);
  text += Heading("NAME") + fmt::format("{} \\- {}\n", Roff(page), Roff(command.description));
  text += Heading("SYNOPSIS") + Synopsis(command);
  const std::string notes = Divide(command.footer).notes;
  text += Heading("DESCRIPTION") + Roff(command.description) + ".\n" + (notes.empty() ? "" : Roff(notes));
  if (const std::string body = Body(command); !body.empty()) text += Heading("OPTIONS") + body;
  if (!command.commands.empty()) {
    text += Heading("COMMANDS");
    for (const CommandInfo& inner : command.commands) {
      if (name.empty()) {
        text += Term(".BR flambeau\\-" + Roff(inner.path.front()) + " (1)", inner.description);
        continue;
      }
      text += fmt::format(".SS \"{}\"\n{}.PP\n{}.\n", Roff(inner.Words()), Synopsis(inner),
                          Roff(inner.description));
      if (const std::string more = Divide(inner.footer).notes; !more.empty()) text += Roff(more);
      text += Body(inner);
    }
  }
  for (const auto& [title, section] :
       {std::pair("ENVIRONMENT", Environment(all, name)), std::pair("FILES", Sections(name, "FILES")),
        std::pair("SIGNALS", Sections(name, "SIGNALS")),
        std::pair("EXIT STATUS", ExitStatus(root, command, name)),
        std::pair("EXAMPLES", Examples(all, name))}) {
    if (!section.empty() && section != "\n") text += Heading(title) + section;
  }
  text += Heading("SEE ALSO");
  std::vector<std::string> others = {"flambeau"};
  for (const CommandInfo& inner : root.commands) others.push_back("flambeau-" + inner.path.front());
  others.erase(std::find(others.begin(), others.end(), page));
  for (std::size_t i = 0; i < others.size(); ++i)
    text += fmt::format(".BR {} (1){}\n", Roff(others[i]), i + 1 < others.size() ? "," : "");
  return text;
}

}  // namespace serve
