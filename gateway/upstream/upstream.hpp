#pragma once
// The reading half of the broker.

#include <cstdint>
#include <functional>
#include <string_view>

#include "core/error/error.hpp"
#include "follower/control/broker_info.hpp"
#include "follower/control/replay_slice.hpp"

namespace backplane::gateway {

/// What a hub asks of a broker, with the meaning that Follower gives it (follower/follower.hpp); a test
/// plays it. Called on the hub's thread; nothing blocks.
class Upstream {
 public:
  virtual ~Upstream() = default;
  virtual std::uint64_t subscribe(std::string_view prefix) = 0;
  virtual void unsubscribe(std::string_view prefix) = 0;
  virtual std::uint64_t retained(std::string_view pattern) = 0;
  virtual std::uint64_t replay(std::string_view pattern, const ReplayFrom& from) = 0;
  virtual void replay_more(std::uint64_t request) = 0;
  virtual void cancel(std::uint64_t request) = 0;
  /// Where reading what was subscribed to last began; {0, 0} before the first live answer.
  [[nodiscard]] virtual StreamPosition live_position() const = 0;
  /// Whether events wait for others that are missing: then some at or below live_position() may be yet to
  /// come.
  [[nodiscard]] virtual bool is_recovering() const = 0;
  /// Up to where nothing comes any more.
  [[nodiscard]] virtual StreamPosition low_watermark() const = 0;
  virtual void topics(std::string_view pattern, std::string_view cursor,
                      std::function<void(Result<TopicsPage>)> handler) = 0;
};

}  // namespace backplane::gateway
