#pragma once
// Requests of clients, on their way to the hub.

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/topic/pattern.hpp"
#include "fanout/log/ids.hpp"
#include "fanout/mailbox.hpp"
#include "fanout/waker.hpp"
#include "follower/control/replay_slice.hpp"
#include "gateway/access/authenticator.hpp"
#include "gateway/encode/encoder.hpp"
#include "gateway/session/event_parts.hpp"

namespace backplane::gateway {

/// Options of a subscription.
struct PatternOptions {
  /// At most one event per topic and interval, the latest; 0: every event at once.
  std::chrono::milliseconds every{0};
  bool last{};                      ///< retained values first,
  bool again{};                     ///< also those that the client has by another subscription
  std::optional<ReplayFrom> since;  ///< history first, from there on
};

namespace request {
struct Subscribe {
  Pattern pattern;
  PatternOptions options;
};
struct Unsubscribe {
  std::string pattern;
};
struct Publish {
  std::string topic;
  std::string text;
  std::unique_ptr<const EventParts> parts{};  ///< nullptr: none
};
struct SetFormat {
  Format format{};
};
/// A byte prefix, as ZeroMQ's subscriptions are: `""` is every topic but the system's. Without a reply.
struct Prefix {
  bool subscribe{};  ///< or else, cancel
  std::string prefix;
};
/// Returned as an event of this topic, `$SYS.live.<nonce>`, when every subscription that the client has
/// requested before is active.
struct Live {
  std::string topic;
};
/// A reply that the session has made itself. The hub returns it after the replies to earlier requests.
struct Echo {
  std::string reply;
};
/// Requests the position before which the client has everything. Returned after its backfills.
struct ReportPosition {
  /// Only as far as it is verified that nothing is missing: a second or two behind. Otherwise, as far as is
  /// known.
  bool verified{};
};
/// Makes the client the user of its certificate, if there is one. Without a reply, before its first command.
struct Identify {
  std::string certificate;  ///< its common name, which TLS has verified
};
/// Makes the client the user that the token belongs to. Later requests wait for the result.
struct Authenticate {
  std::string token;  ///< NAME:SECRET; empty: the user of its certificate, or anonymous
};
/// The verdict about the token of an Authenticate request, from the authenticator.
struct Verified {
  Authenticator::Verdict verdict;
};
/// Claims a name that one client may have at a time, among those of the same user. A client that has it is
/// disconnected ("taken_over").
struct ClaimName {
  std::string name;
};
struct Topics {
  std::string pattern;
};
/// The client has read most of its replies: paused replies can continue.
struct Drained {};
/// The client's join buffer for an audience is full and was discarded.
struct JoinBufferFull {
  fanout::AudienceId audience{};
};
struct Quit {};
}  // namespace request

struct Request {
  fanout::ClientId client{};
  std::variant<request::Subscribe, request::Unsubscribe, request::Publish, request::SetFormat,
               request::Prefix, request::Live, request::Echo, request::ReportPosition, request::Identify,
               request::ClaimName, request::Authenticate, request::Verified, request::Topics,
               request::Drained, request::JoinBufferFull, request::Quit>
      what;
};

/// The only way from the workers to the hub's thread: a queue under a mutex, and an eventfd that wakes a
/// sleeping hub. Carries requests, never events.
class Requests {
 public:
  /// Any worker's thread.
  void put(Request request) {
    mailbox_.put(std::move(request));
    waker_.wake();
  }

  // The hub's thread.
  [[nodiscard]] std::vector<Request> take() { return mailbox_.take(); }
  [[nodiscard]] bool empty() const noexcept { return mailbox_.empty(); }
  /// Used before and after the hub sleeps, while its fd() is watched; see Waker.
  [[nodiscard]] fanout::Waker& waker() noexcept { return waker_; }

 private:
  fanout::Mailbox<Request> mailbox_;
  fanout::Waker waker_;
};

}  // namespace backplane::gateway
