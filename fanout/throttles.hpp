#pragma once
// What a client gets at most once per interval.

#include <chrono>
#include <functional>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "fanout/delivery_ledger.hpp"
#include "fanout/log/ids.hpp"
#include "fanout/log/segment.hpp"
#include "fanout/timer_wheel.hpp"

namespace backplane::fanout {

/// The throttled topics of one client. The first message of a topic is sent at once, then the latest at most
/// once per interval, and only if there is a newer one. Lives on its worker's thread; owns a timer and a
/// copy of the latest message for each topic. Counts in the shard's ledger what it conflates and discards,
/// and what waits.
class Throttles {
 public:
  using Clock = TimerWheel::Clock;
  /// Sends a message to the client. @returns false if the client has not read what it was sent before; the
  /// message, or a newer one, is then sent an interval later.
  using Send = std::function<bool(std::string_view message)>;

  /// `timers` and `ledger` outlive it.
  Throttles(TimerWheel& timers, DeliveryLedger& ledger, Send send);
  /// Counts what waits as lost with its client.
  ~Throttles();
  Throttles(const Throttles&) = delete;
  Throttles& operator=(const Throttles&) = delete;

  /// Sends message `index` now, or keeps a copy for the end of the interval.
  void offer(AudienceId audience, std::chrono::milliseconds interval, const Segment& segment,
             std::uint32_t index, Clock::time_point now);
  /// Messages [first, last) reach the client at once: older ones of their topics are conflated.
  void supersede(const Segment& segment, std::uint32_t first, std::uint32_t last);
  /// Discards what came through this audience.
  void leave(AudienceId audience);

 private:
  class Throttle;

  TimerWheel& timers_;
  DeliveryLedger& ledger_;
  const Send send_;
  std::unordered_map<TopicId, std::unique_ptr<Throttle>> topics_;
};

}  // namespace backplane::fanout
