#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace serve {

using KeyValues = std::vector<std::pair<std::string, std::string>>;

/// Where spans go. Each is a setting (serve/config) with the default that stands here.
struct TraceExport {
  std::string endpoint;                       // URL of the collector's traces; empty: nothing is exported
  KeyValues headers;                          // of each call: keys of the collector
  bool gzip = false;                          // whether the body of a call is packed
  std::chrono::milliseconds timeout{10'000};  // of one call
  std::chrono::milliseconds interval{1'000};  // between two calls while there is little to send
  std::size_t queue = 2048;                   // traced requests that may wait; more are dropped
  std::string service_name;                   // empty: K_SERVICE, else flambeau
  KeyValues resource;                         // attributes of this server, beside those that it knows
};

/// What the platform says of this process (Cloud Run: K_SERVICE and others). Empty: it says nothing.
struct Instance {
  std::string service;
  std::string revision;
  std::string configuration;
};

}  // namespace serve
