#pragma once
// A small broker for tests of its readers: it stamps and publishes events, replies to live checks and control
// requests, and fails in the ways that a test sets.

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/v1/control.pb.h"
#include "core/wire/stamp.hpp"
#include "core/zmq/socket.hpp"
#include "tests/core/zmq/zap_server.hpp"

namespace backplane::testing {

/// An event as a broker publishes it: text and a stamp.
std::string stamped_event(std::string_view text, const wire::Stamp& stamp);

/// The text of an event.
std::string text_of(std::span<const std::byte> event);

/// Lives on the test's thread, which calls do_work() often.
class FakeBroker {
 public:
  explicit FakeBroker(std::uint64_t stream = 0x0000'0007'0000'0001);
  ~FakeBroker();
  FakeBroker(const FakeBroker&) = delete;
  FakeBroker& operator=(const FakeBroker&) = delete;

  /// Binds, at the same endpoints as before if there are any.
  void open();
  /// Closes both sockets, as if the process died. Keeps its state unless restart_without_state() follows.
  void close();
  /// Opens again with CURVE; all keys are admitted or refused, by the status.
  void require_keys(const CurveKeys& keys, const std::string& zap_status = "200");
  /// Begins a new incarnation: another stream, no events.
  void restart_without_state(std::uint64_t new_stream);

  std::size_t do_work();
  /// Lets another thread own the sockets: the next one that calls a method.
  void release();

  /// Stamps, stores and publishes an event. `lost`: does not publish it, as if the pipe were full.
  wire::Stamp publish(std::string_view topic, std::string_view text, bool lost = false);
  /// Sends frames as they are.
  void send_raw(const std::vector<std::string>& frames);
  /// Replies to a live check that is pending because of `replies_to_live_checks = false`.
  void send_live_reply(const std::string& topic);
  /// Evicts everything up to this position from history.
  void evict_history(std::uint64_t up_to) { evicted_through_ = up_to; }

  [[nodiscard]] const std::string& egress() const { return egress_; }
  [[nodiscard]] const std::string& control() const { return control_; }
  [[nodiscard]] std::uint64_t position() const { return position_; }

  bool replies_to_live_checks = true;
  bool replies_to_requests = true;
  std::chrono::nanoseconds age{0};  ///< of the stream, in live replies; 0: not said
  std::size_t slice_events = 3;
  int refused_replays = 0;                            ///< number of replays to refuse as "busy"
  std::vector<std::uint64_t> since_ago_ns;            ///< of each replay that began so
  std::vector<std::string> type_files;                ///< serialised FileDescriptorProtos, one per reply
  std::set<std::string> subscriptions;                ///< active now, without live checks
  std::vector<std::string> live_checks;               ///< topics of live checks, in order, since open()
  std::vector<v1::ControlRequest> requests;           ///< in order
  std::map<std::string, std::string> values;          ///< retained: topic to text
  std::set<std::size_t> subscriptions_at_live_check;  ///< number of active subscriptions at each live check

 private:
  struct Entry {
    std::string topic;
    std::string event;
    wire::Stamp stamp;
  };
  struct Sockets {
    explicit Sockets(const std::optional<mq::CurveServer>& keys, const std::string& zap_status);
    mq::Context context;
    std::optional<ZapServer> zap;
    mq::Socket xpub;
    mq::Socket router;
  };

  void handle_subscription(std::string_view message);
  void handle_request(std::vector<std::string> frames);
  v1::ControlReply reply_to(const v1::ControlRequest& request);
  void reply_to_retained(const v1::RetainedRequest& request, v1::ControlReply& reply);
  [[nodiscard]] std::optional<std::uint64_t> start_of(const v1::ReplayRequest& request) const;
  void reply_to_replay(const v1::ReplayRequest& request, v1::ControlReply& reply);
  void reply_to_topics(const v1::TopicsRequest& request, v1::ControlReply& reply);
  void reply_to_types(const v1::TypesRequest& request, v1::ControlReply& reply);
  void reply_to_stats(const v1::StatsRequest& request, v1::ControlReply& reply);
  void reply_to_tails(const v1::TailsRequest& request, v1::ControlReply& reply);

  std::optional<mq::CurveServer> keys_;
  std::string zap_status_;
  std::optional<Sockets> sockets_;
  std::string egress_ = "tcp://127.0.0.1:*";
  std::string control_ = "tcp://127.0.0.1:*";
  std::uint64_t stream_;
  std::uint64_t position_{};
  std::uint64_t evicted_through_{};
  std::map<std::string, wire::Stamp, std::less<>> tails_;
  std::vector<Entry> history_;
};

}  // namespace backplane::testing
