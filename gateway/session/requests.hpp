#pragma once
// What clients ask of the hub, on its way there.

#include <chrono>
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
#include "gateway/encode/encoder.hpp"

namespace backplane::gateway {

/// How a pattern is subscribed to.
struct PatternOptions {
  /// At most one event a topic in this time, the latest; 0: all of them at once.
  std::chrono::milliseconds every{0};
  bool last{};                      ///< the retained values come first
  std::optional<ReplayFrom> since;  ///< what was published from there on comes first
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
};
struct SetFormat {
  Format format{};
};
/// An answer that the client gives itself, when it is its turn.
struct Echo {
  std::string reply;
};
/// How far the client has been given what it has subscribed to, once it has been given what comes first.
struct ReportPosition {};
struct Topics {
  std::string pattern;
};
/// The client has read most of what it was given.
struct Drained {};
/// What was kept for the client in an audience was too much.
struct JoinBufferFull {
  fanout::AudienceId audience{};
};
struct Quit {};
}  // namespace request

struct Request {
  fanout::ClientId client{};
  std::variant<request::Subscribe, request::Unsubscribe, request::Publish, request::SetFormat, request::Echo,
               request::ReportPosition, request::Topics, request::Drained, request::JoinBufferFull,
               request::Quit>
      what;
};

/// The one way from the workers to the hub's thread: a queue under a mutex, and an eventfd for a hub that
/// sleeps. Only commands go this way, never events.
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
  /// See Waker: before sleeping, while fd() is watched, and after it.
  [[nodiscard]] fanout::Waker& waker() noexcept { return waker_; }

 private:
  fanout::Mailbox<Request> mailbox_;
  fanout::Waker waker_;
};

}  // namespace backplane::gateway
