#pragma once
// ControlRequests to a broker about itself, without protobuf on the asker's side.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"
#include "follower/control/alive_guard.hpp"
#include "follower/control/broker_info.hpp"

namespace backplane::follower {

class ControlChannel;

/// Asks through a channel, and makes values of the answers. Lives on the channel's thread; `channel` outlives
/// it, or is exchanged by use(). A question waits for a broker where there is none; then an answer that does
/// not come within the limit is an Error (timeout). Each handler is called once, from the channel's
/// do_work(); never after the ControlRequests' end.
class ControlRequests {
 public:
  template <class T>
  using Handler = std::function<void(Result<T>)>;

  ControlRequests(ControlChannel& channel, std::chrono::milliseconds timeout);
  ~ControlRequests();
  ControlRequests(const ControlRequests&) = delete;
  ControlRequests& operator=(const ControlRequests&) = delete;

  /// A page of the topics that match; `cursor` from the page before, or "".
  void topics(std::string_view pattern, std::string_view cursor, Handler<TopicsPage> handler);
  /// The files that define these message types, and those that they need; no names: all known types.
  /// Several replies are put together, up to 16 MiB (above it: exhausted).
  void types(const std::vector<std::string>& names, Handler<TypesReply> handler);
  /// The broker's counters, and all that say Hello to it.
  void stats(Handler<BrokerStats> handler);
  /// Asks the broker to end without losing what was sent. The answer comes before it does.
  void drain(Handler<void> handler);

  /// What is asked from now on goes through another channel.
  void use(ControlChannel& channel) noexcept { channel_ = &channel; }

 private:
  void request_types(const std::vector<std::string>& names, const std::string& cursor,
                     std::shared_ptr<TypesReply> so_far, Handler<TypesReply> handler);
  void request_stats(const std::string& cursor, std::shared_ptr<BrokerStats> so_far,
                     Handler<BrokerStats> handler);

  ControlChannel* channel_;
  std::chrono::milliseconds timeout_;
  AliveGuard alive_;
};

}  // namespace backplane::follower
