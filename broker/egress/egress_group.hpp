#pragma once
// All egress endpoints of a backplane: each publishes all topics, or some.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/egress/egress.hpp"
#include "broker/egress/wait_budget.hpp"
#include "core/topic/pattern.hpp"

namespace backplane::broker {

/// Sends each event to the endpoints that publish its topic. They share one WaitBudget: the loop does not
/// wait longer for several than for one. Lives on the loop thread.
class EgressGroup final : public EgressSink {
 public:
  static constexpr std::size_t endpoints_max = 33;  ///< those of the configuration, and the process's own

  EgressGroup(mq::Context& context, Counters& counters) : context_(context), counters_(counters) {}

  /// Adds an endpoint, at most endpoints_max. It publishes the topics that match one of `patterns`; empty:
  /// all topics.
  Egress& add(const Egress::Options& options, std::vector<Pattern> patterns);

  void publish(zmq::message_t& topic, zmq::message_t& event) override;

  [[nodiscard]] std::size_t size() const noexcept { return endpoints_.size(); }
  [[nodiscard]] Egress& endpoint(std::size_t index) { return endpoints_[index].egress; }

  /// While the subscriptions of all subscribers exceed this, closes the connection that has most of them.
  void bound_subscriptions(std::size_t bytes_max);

  /// Call it once per second: see SubscriptionLedger::churned().
  void begin_second() noexcept;

  /// See Egress::set_linger().
  void set_linger(std::chrono::milliseconds linger);

 private:
  struct Endpoint {
    Egress egress;
    std::vector<Pattern> patterns;  ///< empty: all topics
  };
  /// The endpoints that publish a topic, a bit for each.
  using Mask = std::uint64_t;
  static_assert(endpoints_max <= 64);
  struct Decision {
    std::string topic;
    Mask mask{};
  };
  [[nodiscard]] Mask all_endpoints() const noexcept { return (Mask{1} << endpoints_.size()) - 1; }
  [[nodiscard]] Mask endpoints_of(std::string_view topic);
  [[nodiscard]] Mask match(std::string_view topic) const;

  mq::Context& context_;
  Counters& counters_;
  WaitBudget budget_;
  std::deque<Endpoint> endpoints_;   ///< never moved
  bool publish_everything_{true};    ///< all endpoints
  std::size_t patterns_{};           ///< of all endpoints
  std::vector<Decision> decisions_;  ///< the latest, by the hash of the topic; empty: not worth it
};

}  // namespace backplane::broker
