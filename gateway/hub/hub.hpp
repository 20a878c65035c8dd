#pragma once
// The hub of a gateway: decides which client gets which event.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/log/log.hpp"
#include "core/policy/policy.hpp"
#include "core/topic/pattern.hpp"
#include "follower/broker_reader.hpp"
#include "follower/order/read_positions.hpp"
#include "gateway/access/access_counters.hpp"
#include "gateway/access/authenticator.hpp"
#include "gateway/access/permissions.hpp"
#include "gateway/access/rights.hpp"
#include "gateway/encode/encoder.hpp"
#include "gateway/hub/outlet.hpp"
#include "gateway/hub/retained_cache.hpp"
#include "gateway/hub/topic_routes.hpp"
#include "gateway/session/notice.hpp"
#include "gateway/session/requests.hpp"
#include "gateway/session/topic_directory.hpp"
#include "gateway/upstream/upstream_subscriptions.hpp"

namespace backplane::gateway {

struct HubLimits {
  std::size_t subscriptions_per_client_max = 100'000;
  std::size_t subscriptions_max = 1'000'000;  ///< of all clients
  /// Above this number of distinct prefixes, the hub subscribes to everything.
  std::size_t prefixes_max = 10'000;
  /// Memory for retained values, of all patterns together.
  std::size_t values_bytes_max = 64u << 20;
  /// Size of one part of a long reply. The next part is made when the client has read most of it.
  std::size_t slice_bytes = 128u << 10;
  /// Time for the first connection to a broker, before clients are notified that there is none.
  std::chrono::milliseconds first_wait{1000};
  /// How long cached retained values are reused: since their last use, and in total.
  std::chrono::milliseconds values_idle{5'000};
  std::chrono::milliseconds values_age_max{60'000};
};

struct HubCounters {
  std::uint64_t events{};  ///< from the broker
  /// Of these, events that matched no subscription: a prefix matches more than its pattern.
  std::uint64_t unmatched{};
  std::uint64_t undecodable{};    ///< of these, events that were announced as gaps
  std::uint64_t encoded{};        ///< lines made of these: one for each format in use
  std::uint64_t notices{};        ///< gaps and resets announced
  std::uint64_t replayed{};       ///< events of history sent to clients
  std::uint64_t values{};         ///< retained values sent to clients
  std::uint64_t refused{};        ///< subscribes that were refused
  std::uint64_t clients{};        ///< now
  std::uint64_t subscriptions{};  ///< now
  std::uint64_t topics{};         ///< now
};

/// Where a client connects from.
struct PeerAddress {
  Authenticator::Host host{};
  std::string text;  ///< with the port, for the log
};

/// What a hub needs to enforce a policy. All of it outlives the hub.
struct AccessServices {
  Authenticator& authenticator;
  Requests& requests;  ///< for the authenticator's verdicts
  AccessCounters& counters;
};

/// The clients of one backplane, their subscriptions, and the backfill (retained values or history) that some
/// subscriptions begin with. Encodes each event once per format and appends it to the engine with a route;
/// the engine knows which clients belong to the route.
///
/// A subscription makes its client a member of an audience; TopicRoutes maps topics to audiences.
/// RetainedCache caches the retained values that clients request. ZeroMQ clients subscribe to byte prefixes
/// instead of patterns (hub_prefixes.cpp).
///
/// With a policy, every client is a user: anonymous, until a token or certificate shows who it is. What its
/// user may not read is refused, or hidden if the subscription or request has wildcards: in live events by
/// TopicRoutes, in everything else here (hub_access.cpp).
///
/// Lives on one thread, the upstream thread. Owns the subscriptions, the routes and the cache.
class Hub final : public ReaderListener {
 public:
  using Clock = std::chrono::steady_clock;

  /// `outlet` and `directory` outlive the hub.
  Hub(HubLimits limits, Outlet& outlet, TopicDirectory& directory, Clock::time_point now);
  ~Hub() override;

  /// Call this once, before any other method. `broker` reads for the hub and reports to it; it outlives the
  /// last call of a method.
  void attach(BrokerReader& broker) noexcept {
    broker_ = &broker;
    upstream_.attach(broker);
    retained_.attach(broker);
  }

  /// Enforces a policy from now on. Called before the first client is added.
  void use_policy(std::shared_ptr<const policy::Policy> policy, const AccessServices& services);
  /// Replaces the policy. Every client is judged again: one whose token is not valid any more, or that is
  /// subscribed to something that its user may not read any more, is disconnected ("revoked").
  void change_policy(std::shared_ptr<const policy::Policy> policy);

  /// Adds a client of the engine. Its handler is a Subscriber. `peer` is used with a policy only.
  void add(fanout::ClientId id, Format format, PeerAddress peer = {});
  /// Removes a client that has left the engine.
  void remove(fanout::ClientId id);
  /// Executes any request except Publish. Requests of a client that has left are ignored.
  void handle(Request request, Clock::time_point now);
  /// Whether a subscription that the client has requested is not active yet. `ticket` is 0 at the first call,
  /// and keeps which subscriptions later calls with it are about: those requested before the first one, and
  /// those that wait for other requests of the client.
  [[nodiscard]] bool awaits_subscription(fanout::ClientId id, std::uint64_t& ticket) const;
  /// Whether the client may publish the topic: @returns a code and a text if not. Counts the decision.
  [[nodiscard]] AccessRefusal check_publish(fanout::ClientId id, std::string_view topic);
  /// Subscribes a client of a feed port. The client gets no reply. @returns whether it may be subscribed.
  bool subscribe(fanout::ClientId id, const Pattern& pattern, const PatternOptions& options,
                 Clock::time_point now);

  void on_event(const Delivery& delivery) override;
  void on_live(std::uint64_t ticket) override;
  void on_connection(bool up) override;
  void on_retained(std::uint64_t request, const Delivery& delivery) override;
  void on_retained_end(std::uint64_t request, const RetainedEnd& end) override;
  void on_replayed(std::uint64_t request, const Delivery& delivery) override;
  void on_replayed_gap(std::uint64_t request, const Gap& gap) override;
  void on_replay_slice(std::uint64_t request, const ReplaySlice& slice) override;
  void on_gap(const Gap& gap) override;
  void on_reset(const Reset& reset) override;

  /// Called after each turn of the broker's reader, and at next_deadline().
  void tick(Clock::time_point now);
  [[nodiscard]] Clock::time_point next_deadline() const;

  [[nodiscard]] HubCounters counters() const noexcept;
  [[nodiscard]] std::vector<fanout::ClientId> clients() const;
  /// Accepts the payload types that the broker knows.
  [[nodiscard]] PayloadJson& payloads() noexcept { return encoder_.payloads(); }
  void set_mqtt_payload(MqttPayload payload) noexcept { encoder_.set_mqtt_payload(payload); }
  [[nodiscard]] const UpstreamSubscriptions& upstream() const noexcept { return upstream_; }

 private:
  struct Access;
  struct Backfill;
  struct Client;
  struct PrefixSubscription;
  struct Prefixes;
  template <class Item>
  class RareQueue;
  struct Subscription;
  struct TopicsReply;

  // Requests of clients: hub.cpp.
  [[nodiscard]] Client* find(fanout::ClientId id);
  template <class Call>
  void notify(const Client& client, Call call);
  void send(const Client& client, SharedText text, bool notify_when_drained);
  void execute(Client& client, request::Subscribe& request, Clock::time_point now);
  void execute(Client& client, request::Unsubscribe& request, Clock::time_point now);
  void execute(Client& client, request::SetFormat& request, Clock::time_point now);
  void execute(Client& client, request::Prefix& request, Clock::time_point now);
  void execute(Client& client, request::Live& request, Clock::time_point now);
  void execute(Client& client, request::Echo& request, Clock::time_point now);
  void execute(Client& client, request::ReportPosition& request, Clock::time_point now);
  void execute(Client& client, request::Identify& request, Clock::time_point now);
  void execute(Client& client, request::Authenticate& request, Clock::time_point now);
  void execute(Client& client, request::ClaimName& request, Clock::time_point now);
  void execute(Client& client, request::Verified& request, Clock::time_point now);
  void execute(Client& client, request::Topics& request, Clock::time_point now);
  void execute(Client& client, request::Drained& request, Clock::time_point now);
  void execute(Client& client, request::JoinBufferFull& request, Clock::time_point now);
  void execute(Client& client, request::Quit& request, Clock::time_point now);
  void execute(Client& client, request::Publish& request, Clock::time_point now);
  void release_name(Client& client);
  void resume_deferred(Client& client);
  void request_topics(fanout::ClientId id, const std::string& cursor);
  void send_topics(fanout::ClientId id, Result<TopicsPage> page);
  void notify_waiting(Client& client, Clock::time_point now);

  // The policy: hub_access.cpp.
  [[nodiscard]] std::optional<AccessRefusal> check_read(const Client& client, Action action,
                                                        const Pattern& pattern);
  AccessRefusal refuse_access(const Client& client, Action action, std::string_view what);
  void on_verdict(Client& client, const Authenticator::Verdict& verdict);
  bool become(Client& client, Identity identity, const policy::User& user);
  void become_unproved(Client& client);
  void revoke(Client& client);
  [[nodiscard]] ReadViewPtr audience_view(const Subscription& subscription) const;
  void change_audience(Subscription& subscription);

  // Subscriptions: hub_subscriptions.cpp.
  bool subscribe(Client& client, const Pattern& pattern, const PatternOptions& options, bool with_reply);
  /// Starts each subscription that is active at the broker by now.
  void start_active();
  void start(Subscription& subscription);
  void confirm(Subscription& subscription);
  void refuse(Subscription& subscription, std::string_view code, std::string text);
  void end(Subscription& subscription);
  void join_audience(Subscription& subscription, bool buffered);
  /// @param left the engine has removed the client from the audience already
  void leave_audience(Subscription& subscription, bool left);
  void set_start(Subscription& subscription, const EnginePosition& start);
  [[nodiscard]] ReadPositions reached() const;
  static void note_joined(Client& client, const StreamPositions& at);
  [[nodiscard]] StreamPositions complete_positions(const Client& client, bool verified) const;

  // ZeroMQ clients: hub_prefixes.cpp.
  void end_prefix(Client& client, const std::string& prefix, bool left);
  void end_prefixes(Client& client, bool left);
  void change_prefix_audiences(Client& client);
  void confirm_live_requests();
  void send_live_event(const Client& client, std::string_view topic);
  void announce_to_zmtp(const Notice& notice, const EnginePosition& position);
  [[nodiscard]] static bool has_arrived_by_prefix(const Client& client, const RoutedTopic& topic);
  [[nodiscard]] bool is_concerned(const Client& client, std::string_view topic,
                                  const EnginePosition& position);

  // Events and notices: hub_events.cpp.
  /// @param position of the loss in the notice's stream: subscriptions that began after it are not concerned
  void announce(const Notice& notice, std::uint64_t position);
  void announce_one_by_one(const Notice& notice, const EnginePosition& position);
  void announce_undecodable(const RoutedTopic& topic, const wire::Stamp& stamp);
  void update_retained(const RoutedTopic& topic, const Delivery& delivery);
  void advance_low_watermark(Clock::time_point now);

  // Backfill by retained values: hub_values.cpp.
  void start_values(Subscription& subscription);
  void fail_values(SubscribedPattern& pattern, std::string_view code, const std::string& text);
  void send_values(Subscription& subscription);
  void send_all_values(Subscription& subscription);
  bool send_value_slice(Subscription& subscription);
  [[nodiscard]] static bool has_sent_value(const Subscription& subscription, std::string_view topic);
  [[nodiscard]] bool arrives_live(Subscription& subscription, const RoutedTopic& topic,
                                  const wire::Stamp& stamp);

  // Backfill by history: hub_replay.cpp.
  void start_replay(Subscription& subscription);
  void continue_replay(Subscription& subscription);
  void finish_replay(Subscription& subscription, const StreamPositions& through);
  [[nodiscard]] StreamPositions joined_positions(Subscription& subscription, const StreamPositions& through);
  [[nodiscard]] static bool waits_for_other_replay(const Subscription& subscription);
  void request_replay(Subscription& subscription);
  void request_waiting_replays(Client& client);
  void append_replay_notice(Subscription& subscription, const Notice& notice);

  // Backfill of either kind: hub_backfill.cpp.
  void mark_started(Subscription& subscription);
  void end_backfill(Subscription& subscription);
  void pause_until_drained(Subscription& subscription);

  HubLimits limits_;
  BrokerReader* broker_{};
  Outlet& outlet_;
  TopicDirectory& directory_;
  UpstreamSubscriptions upstream_;
  Encoder encoder_;
  TopicRoutes routes_;
  RetainedCache retained_;
  HubCounters counters_;
  std::optional<Permissions> permissions_;  // nothing: there is no policy
  std::optional<AccessServices> access_;    // if there is one
  log::RateLimit refusal_log_{std::chrono::seconds{1}};
  log::RateLimit token_log_{std::chrono::seconds{1}};

  std::unordered_map<fanout::ClientId, Client> clients_;
  std::unordered_map<std::string, fanout::ClientId> names_;     // that clients have claimed
  std::set<std::pair<std::uint64_t, Subscription*>> inactive_;  // by the ticket that they wait for
  std::unordered_map<const RetainedValues*, std::vector<Subscription*>> awaiting_values_;
  std::unordered_map<std::uint64_t, Subscription*> replays_;            // by the broker reader's request
  std::set<std::pair<std::uint64_t, fanout::ClientId>> awaiting_live_;  // by the ticket that they wait for
  std::set<fanout::ClientId> gap_clients_;  // ZeroMQ clients that ask for their gaps

  bool connected_{};
  bool announce_live_{};         // clients have yet to be notified that the broker is back
  bool announce_wait_{true};     // clients have yet to be notified that there is no broker
  Clock::time_point wait_from_;  // they are not notified of that before this time
  Clock::time_point now_;
  std::uint64_t live_ticket_{};
  std::uint64_t serial_{};   // of the current event, or the last
  EnginePosition position_;  // the highest of the last event's stream
  ReadPositions read_;       // of every stream: where a client that has received the last event can resume
  Clock::time_point low_watermark_due_{};
  std::string line_;  // scratch memory
};

}  // namespace backplane::gateway
