#pragma once
// Finds out which backplanes some brokers are.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/zmq/client_keys.hpp"
#include "core/zmq/socket.hpp"
#include "follower/control/alive_guard.hpp"
#include "follower/control/control_channel.hpp"

namespace backplane::links {

/// Requests from each broker of a list which backplane it is, until it has replied once. Lives on one thread;
/// owns its sockets.
class BackplaneLookup {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param controls  control endpoints; `context` outlives it
  BackplaneLookup(mq::Context& context, const std::vector<std::string>& controls, const mq::SharedKeys& keys,
                  std::string name);

  /// The upper halves of the streams that have been learnt since the last call.
  [[nodiscard]] std::vector<std::uint32_t> take() { return std::exchange(found_, {}); }
  /// Whether all have replied.
  [[nodiscard]] bool is_complete() const noexcept { return brokers_.empty(); }

  std::size_t do_work(Clock::time_point now);
  [[nodiscard]] std::vector<int> fds();
  [[nodiscard]] bool pending();
  [[nodiscard]] Clock::time_point next_deadline() const;

 private:
  struct Broker {
    std::unique_ptr<follower::ControlChannel> channel;
    bool requested{};
    bool replied{};
  };
  void request(Broker& broker);

  std::string name_;
  std::vector<std::unique_ptr<Broker>> brokers_;
  std::vector<std::uint32_t> found_;
  follower::AliveGuard alive_;
};

}  // namespace backplane::links
