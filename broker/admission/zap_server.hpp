#pragma once
// The ZAP handler of a backplane (https://rfc.zeromq.org/spec/27): which keys may connect to which endpoint.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "broker/admission/endpoint_rule.hpp"
#include "broker/admission/zap_request.hpp"
#include "core/log/log.hpp"
#include "core/process/wake_fd.hpp"
#include "core/thread/mutex.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::broker {

/// Decides about every connection to the CURVE sockets of one context, whose ZAP domains are those of the
/// rules: a key that belongs to a user whom the rule of the domain admits is accepted, and libzmq gives the
/// connection's messages the property User-Id, the user's name. Everything else is refused.
///
/// Works on a thread of its own, so no flood of connections delays events, and no flood of events delays
/// connections. If that thread fails, nobody can connect any more.
class ZapServer {
 public:
  /// Create it before the sockets bind, and destroy it after them: libzmq admits everybody without one.
  /// Throws zmq::error_t if the context has a ZAP handler already.
  ZapServer(mq::Context& context, std::string backplane, std::vector<EndpointRule> rules,
            std::shared_ptr<const policy::Policy> policy);
  ~ZapServer();
  ZapServer(const ZapServer&) = delete;
  ZapServer& operator=(const ZapServer&) = delete;

  /// Decides by another policy from now on. Any thread.
  void set_policy(std::shared_ptr<const policy::Policy> policy);

  struct Counts {
    std::uint64_t admitted{};
    std::uint64_t unknown_key{};    ///< refused: the key belongs to no user
    std::uint64_t not_permitted{};  ///< refused: the user may not connect to this endpoint
  };
  /// The decisions so far. Any thread.
  [[nodiscard]] Counts counts() const noexcept;

 private:
  void run() noexcept;
  [[nodiscard]] bool receive(ZapRequest& request);
  void serve(const ZapRequest& request);
  void note(const ZapRequest& request, const ZapDecision& decision);
  void log_refusal(const ZapRequest& request, std::string_view reason);

  const std::string backplane_;
  const std::vector<EndpointRule> rules_;
  Mutex policy_mutex_;
  std::shared_ptr<const policy::Policy> policy_ GUARDED_BY(policy_mutex_);
  mq::Socket socket_;
  WakeFd wake_;
  std::atomic<bool> stopping_{};
  std::atomic<std::uint64_t> admitted_{};
  std::atomic<std::uint64_t> unknown_key_{};
  std::atomic<std::uint64_t> not_permitted_{};
  log::RateLimit refusal_lines_{std::chrono::seconds{1}};
  std::thread thread_;  ///< last: it uses everything above
};

}  // namespace backplane::broker
