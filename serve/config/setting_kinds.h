#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/config/settings.h"

namespace serve {

// One function for each kind of value: it makes a row of the table, which reads such a value, says what is
// possible when it cannot, and sets a member of the options.

/// What a row says before its value is known.
struct Row {
  std::string_view key;
  std::string_view group;
  std::string_view default_text;
  std::string_view help;
};

/// The ports are TorchServe's, for a URL that names none.
struct DefaultPorts {
  std::uint16_t http;
  std::uint16_t https;
};

Setting Number(const Row& row, std::string unit, std::int64_t low, std::int64_t high,
               std::function<void(AppOptions&, std::int64_t)> set);
/// Bytes; `64k`, `8m` and `1g` are powers of 1024.
Setting Size(const Row& row, std::int64_t low, std::int64_t high,
             std::function<void(AppOptions&, std::int64_t)> set);
Setting Boolean(const Row& row, std::function<void(AppOptions&, bool)> set);
Setting Text(const Row& row, std::string value, std::function<void(AppOptions&, std::string_view)> set);
/// `set` gets the index of the choice.
Setting Choice(const Row& row, std::vector<std::string> choices,
               std::function<void(AppOptions&, std::size_t)> set);
Setting Address(const Row& row, DefaultPorts ports, ListenAddress AppOptions::*member);
Setting Timeout(const Row& row, std::chrono::milliseconds HttpLimits::*member);
/// The value of a header field, sent as it is.
Setting Field(const Row& row, std::string HttpLimits::*member);
Setting HeaderName(const Row& row, std::string SequenceNames::*member);
/// Regular expressions with commas between them.
Setting Expressions(const Row& row);
/// Minutes, with fractions.
Setting Minutes(const Row& row);
/// inference, management and metrics, with commas between them.
Setting Listeners(const Row& row);
/// From 0 to 1.
Setting Ratio(const Row& row);
Setting Pairs(const Row& row, KeyValues TraceExport::*member);
Setting TraceEndpoint(const Row& row);
/// Of Google Cloud; it stands in every line.
Setting Project(const Row& row);
Setting KeystoreType(const Row& row);
Setting ModelsSetting(const Row& row);
Setting Followed(const Row& row);

}  // namespace serve
