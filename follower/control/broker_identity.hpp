#pragma once
// Who a broker is.

#include <cstdint>
#include <string>

namespace backplane {

/// Who a broker is, and what its clients must know.
struct BrokerIdentity {
  std::string broker;   ///< its name
  std::string version;  ///< of its program
  bool draining{};
  std::uint64_t max_event_bytes{};
};

}  // namespace backplane
