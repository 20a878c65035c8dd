#pragma once
// What a client publishes besides a topic and a payload.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace backplane::gateway {

/// The other parts of an event, which few protocols have.
struct EventParts {
  enum class Payload : std::uint8_t {
    text,   ///< text if it is UTF-8, else bytes
    bytes,  ///< bytes in any case
    none,   ///< the event clears the topic's retained value
  };
  Payload payload{Payload::text};
  std::vector<std::pair<std::string, std::string>> attributes{};
  std::uint32_t tag{};  ///< the session's own, returned with the result
};

}  // namespace backplane::gateway
