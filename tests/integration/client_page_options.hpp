#pragma once
// What the test of docs/client.md's program changes in it.

#include <cstdlib>
#include <string>

#include <backplane/client.hpp>

/// The page says a minute.
inline constexpr std::chrono::milliseconds test_minute{50};

/// The broker at the host that the environment names.
inline backplane::Client::Options test_options() {
  const char* const host = std::getenv("TEST_HOST");
  const std::string place = std::string("tcp://") + (host == nullptr ? "127.0.0.1" : host);
  backplane::Client::Options options;
  options.brokers = {{place + ":5571", place + ":5572"}};
  return options;
}
