#pragma once
// The connections of a reader to one broker.

#include <cstdint>
#include <optional>
#include <vector>

#include "core/zmq/key_check.hpp"
#include "core/zmq/socket.hpp"
#include "follower/broker_endpoints.hpp"
#include "follower/connection/connection.hpp"
#include "follower/control/control_channel.hpp"

namespace backplane::follower {

/// Connections to the egress and control endpoints of one broker, or to control alone. Lives on its
/// follower's thread; owns the sockets.
class BrokerConnections {
 public:
  /// Throws std::invalid_argument for an invalid endpoint.
  /// @param bounds_bytes as many messages of max_message_bytes may wait as have 512 MiB, at least 16 and at
  ///                     most 1,000; otherwise 100,000 of any size
  BrokerConnections(mq::Context& context, const BrokerEndpoints& broker, std::int64_t max_message_bytes,
                    bool has_egress, bool bounds_bytes);

  [[nodiscard]] mq::Socket& sub() noexcept { return sub_; }
  /// To egress; nullptr: there is none.
  [[nodiscard]] Connection* egress() noexcept { return egress_ ? &*egress_ : nullptr; }
  [[nodiscard]] const Connection* egress() const noexcept { return egress_ ? &*egress_ : nullptr; }
  [[nodiscard]] ControlChannel& control() noexcept { return control_; }
  [[nodiscard]] const ControlChannel& control() const noexcept { return control_; }

  /// Leaves the broker for another one of the same cluster. As Connection::move_to().
  void move_to(const BrokerEndpoints& broker);

  /// What is wrong with the keys of either connection.
  [[nodiscard]] const mq::KeyCheck& keys() const noexcept;

  [[nodiscard]] std::vector<int> fds();
  [[nodiscard]] bool pending();
  void release();

 private:
  mq::Socket sub_;
  std::optional<Connection> egress_;
  ControlChannel control_;
};

}  // namespace backplane::follower
