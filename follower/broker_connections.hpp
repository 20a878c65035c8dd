#pragma once
// The connections of a reader to one broker.

#include <cstdint>
#include <string>
#include <vector>

#include "core/zmq/socket.hpp"
#include "follower/connection/connection.hpp"
#include "follower/control/control_channel.hpp"

namespace backplane::follower {

/// Connections to the egress and control endpoints of one broker. Lives on its follower's thread; owns the
/// sockets.
class BrokerConnections {
 public:
  /// Throws std::invalid_argument for an invalid endpoint.
  BrokerConnections(mq::Context& context, const std::string& egress, const std::string& control,
                    std::int64_t max_message_bytes);

  [[nodiscard]] mq::Socket& sub() noexcept { return sub_; }
  [[nodiscard]] Connection& connection() noexcept { return connection_; }
  [[nodiscard]] const Connection& connection() const noexcept { return connection_; }
  [[nodiscard]] ControlChannel& control() noexcept { return control_; }
  [[nodiscard]] const ControlChannel& control() const noexcept { return control_; }

  [[nodiscard]] std::vector<int> fds();
  [[nodiscard]] bool pending();
  void release();

 private:
  mq::Socket sub_;
  Connection connection_;
  ControlChannel control_;
};

}  // namespace backplane::follower
