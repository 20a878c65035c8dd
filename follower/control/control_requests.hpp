#pragma once
// Requests to a broker about itself, as values without protobuf.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"
#include "follower/control/alive_guard.hpp"
#include "follower/control/broker_identity.hpp"
#include "follower/control/broker_info.hpp"

namespace backplane::follower {

class ControlChannel;

/// Sends requests through a channel and converts the replies. Lives on the channel's thread; `channel`
/// outlives it. Without a broker, a request waits. Once sent, a request without a
/// reply within the timeout ends in an Error (timeout). Each handler is called once, from the channel's
/// do_work(), and not after this object has been destroyed.
class ControlRequests {
 public:
  template <class T>
  using Handler = std::function<void(Result<T>)>;

  ControlRequests(ControlChannel& channel, std::chrono::milliseconds timeout);
  ~ControlRequests();
  ControlRequests(const ControlRequests&) = delete;
  ControlRequests& operator=(const ControlRequests&) = delete;

  /// Requests one page of the topics that match. `cursor` comes from the page before; "": the first page.
  void topics(std::string_view pattern, std::string_view cursor, Handler<TopicsPage> handler);
  /// Requests the files that define these message types, with the files that they import. No names: all known
  /// types. Several replies become one, up to 16 MiB (above: exhausted).
  void types(const std::vector<std::string>& names, Handler<TypesReply> handler);
  /// Requests the broker's counters and the programs that send Hello to it.
  void stats(Handler<BrokerStats> handler);
  /// Requests who the broker is. It does not list the sender, whom `name` names, among its participants.
  void identify(std::string_view name, Handler<BrokerIdentity> handler);
  /// Requests that the broker drains and exits without losing events. The reply comes before it exits.
  void drain(Handler<void> handler);

 private:
  void request_types(const std::vector<std::string>& names, const std::string& cursor,
                     std::shared_ptr<TypesReply> so_far, Handler<TypesReply> handler);
  void request_stats(const std::string& cursor, std::shared_ptr<BrokerStats> so_far,
                     Handler<BrokerStats> handler);

  ControlChannel& channel_;
  std::chrono::milliseconds timeout_;
  AliveGuard alive_;  // for handlers in the channel
};

}  // namespace backplane::follower
