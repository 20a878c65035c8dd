#pragma once
// Finds out when a broker earlier in the list works again.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backplane/publisher.hpp"
#include "core/zmq/client_keys.hpp"
#include "core/zmq/socket.hpp"
#include "publishers/lib/publisher_connection.hpp"

namespace backplane::publishing {

/// While a publisher uses a later broker, connects to the earlier ones without sending events, and asks them
/// now and then. Lives on the sender's thread; owns its connections.
class EarlierBrokers {
 public:
  using Clock = std::chrono::steady_clock;

  /// The arguments must outlive this object.
  EarlierBrokers(mq::Context& context, const std::vector<PublisherEndpoints>& brokers, mq::SharedKeys keys,
                 const std::string& source)
      : context_(context), brokers_(brokers), keys_(std::move(keys)), source_(source) {}

  /// Watches the first `count` brokers of the list. Those that are not watched yet have to prove that they
  /// work.
  void watch(std::size_t count);
  /// Discards what is known of all watched brokers: each has to prove again that it works.
  void doubt();
  void work(Clock::time_point now);
  /// The first that has replied on all its endpoints for some seconds.
  [[nodiscard]] std::optional<std::size_t> recovered(Clock::time_point now) const;
  /// When work() is to be called next.
  [[nodiscard]] Clock::time_point next_deadline() const noexcept;

 private:
  struct Probe {
    std::unique_ptr<PublisherConnection> connection;
    std::optional<BrokerAddresses> addresses{};
    Clock::time_point connect_at{};
    std::optional<Clock::time_point> healthy_since{};
    std::optional<std::uint64_t> stream{};
    Clock::time_point asked_at{};
    Clock::time_point replied_at{};
  };
  /// @returns whether the broker may still be healthy.
  [[nodiscard]] bool work_on(Probe& probe, const PublisherEndpoints& broker, Clock::time_point now);
  [[nodiscard]] bool read_replies(Probe& probe, Clock::time_point now);
  void ask(Probe& probe, Clock::time_point now);

  mq::Context& context_;
  const std::vector<PublisherEndpoints>& brokers_;
  const mq::SharedKeys keys_;
  const std::string& source_;
  std::vector<Probe> probes_;
  std::uint64_t next_id_{1};
  Clock::time_point work_at_{};
};

}  // namespace backplane::publishing
