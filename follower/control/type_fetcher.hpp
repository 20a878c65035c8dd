#pragma once
// Fetching the message types that payloads turn out to have.

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "core/error/error.hpp"
#include "core/payload/payload_json.hpp"
#include "follower/control/alive_guard.hpp"
#include "follower/control/broker_info.hpp"

namespace backplane {

/// Requests the types that a PayloadJson did not know from the broker, and adds them to it; one request at a
/// time. Lives on the thread of the PayloadJson, which outlives it. A reply that comes after its end is
/// ignored.
class TypeFetcher {
 public:
  using Clock = std::chrono::steady_clock;
  using Handler = std::function<void(Result<TypesReply>)>;
  /// Requests the definitions of `names`. Calls the handler once: before it returns, or later on the same
  /// thread.
  using Request = std::function<void(const std::vector<std::string>& names, Handler handler)>;

  struct Options {
    /// When a type that the broker did not know is requested again: it may have been registered since.
    std::chrono::milliseconds retry_interval{5000};
    /// Receives one line about a reply whose types cannot be used.
    std::function<void(const std::string& text)> on_invalid_types{};
  };

  TypeFetcher(PayloadJson& payloads, Request request, Options options);
  TypeFetcher(PayloadJson& payloads, Request request);

  /// Requests what payloads have needed since the last call. Call it after payloads have been written.
  /// @returns whether types were added before it returned: payloads written before can be written again.
  bool turn(Clock::time_point now);

 private:
  void on_reply(const Result<TypesReply>& reply);

  PayloadJson& payloads_;
  Request request_;
  Options options_;
  bool pending_{};
  bool added_{};
  Clock::time_point retry_at_{};
  follower::AliveGuard alive_;  // the broker's reply may come later
};

}  // namespace backplane
