#pragma once
// The endpoints of a broker.

#include <string>

#include "core/zmq/client_keys.hpp"

namespace backplane {

/// The ZeroMQ endpoints of one broker; by default, those of a broker on this machine that requires no keys.
struct BrokerEndpoints {
  std::string ingress = "tcp://127.0.0.1:5570";
  std::string egress = "tcp://127.0.0.1:5571";
  std::string control = "tcp://127.0.0.1:5572";
  mq::SharedKeys keys{};
  friend bool operator==(const BrokerEndpoints&, const BrokerEndpoints&) = default;
};

}  // namespace backplane
