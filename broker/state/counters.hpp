#pragma once
// The counters of a backplane: plain integers that its loop owns. Each is defined once, here, and explained
// in docs/operations.md under the name given here.

#include <array>
#include <cstdint>
#include <string_view>

#include "broker/ingress/refusal.hpp"

namespace backplane::broker {

/// The ledger: received = published + the sum of rejected. Counters only grow.
struct Counters {
  std::uint64_t received_total{};
  std::uint64_t published_total{};
  std::uint64_t published_bytes_total{};
  std::array<std::uint64_t, refusal_count> rejected_total{};  ///< by Refusal
  std::uint64_t publish_permitted_total{};  ///< events that the policy permits their users to publish
  std::uint64_t lost_before_total{};        ///< holes in sessions' sequences: lost before the broker
  std::uint64_t system_published_total{};   ///< the broker's own $SYS events, not part of `received`
  std::uint64_t history_refused_total{};    ///< published, but not taken by the store
  std::uint64_t drop_episodes_total{};      ///< the wait for a full subscriber ran out
  std::uint64_t lossy_sends_total{};        ///< events sent past full subscribers
  std::uint64_t egress_wait_ns_total{};     ///< time spent waiting for full subscribers
  std::uint64_t live_replies_total{};       ///< replies to $SYS.live subscriptions
  std::uint64_t subscriptions_total{};      ///< subscriptions seen on egress
  std::uint64_t unsubscriptions_total{};
  std::uint64_t subscribers_disconnected_total{};  ///< for too many subscriptions
  std::uint64_t control_requests_total{};
  std::uint64_t control_refused_total{};            ///< requests refused with an error
  std::uint64_t control_permitted_total{};          ///< decisions of the policy about requests
  std::uint64_t control_not_permitted_total{};      ///< the same, part of control_refused_total
  std::uint64_t control_replies_dropped_total{};    ///< the client had gone, or its queue was full
  std::uint64_t source_events_dropped_total{};      ///< $SYS.source events above the limit of such topics
  std::uint64_t handshakes_failed_total{};          ///< connections that did not complete a ZMTP 3 handshake
  std::uint64_t connections_refused_total{};        ///< connections closed at the limit of open files
  std::uint64_t connections_admitted_total{};       ///< with a policy: connections of its users
  std::uint64_t connections_unknown_key_total{};    ///< connections refused: no user has the key
  std::uint64_t connections_not_permitted_total{};  ///< connections refused: the user may not read it all
  std::uint64_t connections_revoked_total{};        ///< connections closed after a change of the policy
  std::uint64_t turns_total{};                      ///< passes through the loop
};

/// One scalar counter and its help text: all counters except rejected_total, which has a label.
struct CounterDefinition {
  std::string_view name;
  std::uint64_t Counters::*value;
  std::string_view help;
  /// Of a counter of nanoseconds: its name where values are whole numbers (StatsReply and BrokerStats).
  /// `name` is in seconds, the base unit of Prometheus. Empty: `name` everywhere.
  std::string_view nanoseconds_name{};
};

inline constexpr std::array counter_definitions{
    CounterDefinition{"received_total", &Counters::received_total,
                      "Messages received from publishers, valid or not"},
    CounterDefinition{"published_total", &Counters::published_total,
                      "Events stamped and sent to subscribers"},
    CounterDefinition{"published_bytes_total", &Counters::published_bytes_total,
                      "Bytes of published events, with stamps, without topics"},
    CounterDefinition{"publish_permitted_total", &Counters::publish_permitted_total,
                      "Events that the policy permits their users to publish; 0 without a policy"},
    CounterDefinition{"lost_before_total", &Counters::lost_before_total,
                      "Events missing in publishers' sequences: lost before the broker"},
    CounterDefinition{"system_published_total", &Counters::system_published_total,
                      "The broker's own $SYS events, not part of received_total"},
    CounterDefinition{"history_refused_total", &Counters::history_refused_total,
                      "Published events that the history store refused"},
    CounterDefinition{"drop_episodes_total", &Counters::drop_episodes_total,
                      "Times that the wait for a full subscriber ran out"},
    CounterDefinition{
        "lossy_sends_total", &Counters::lossy_sends_total,
        "Events sent past full subscribers, which lose events until half their queue has drained"},
    CounterDefinition{"egress_wait_seconds_total", &Counters::egress_wait_ns_total,
                      "Time spent waiting for full subscribers, in seconds", "egress_wait_nanoseconds_total"},
    CounterDefinition{"live_replies_total", &Counters::live_replies_total,
                      "Replies to $SYS.live subscriptions"},
    CounterDefinition{"subscriptions_total", &Counters::subscriptions_total, "Subscriptions begun"},
    CounterDefinition{"unsubscriptions_total", &Counters::unsubscriptions_total, "Subscriptions ended"},
    CounterDefinition{"subscribers_disconnected_total", &Counters::subscribers_disconnected_total,
                      "Subscribers disconnected for too many subscriptions"},
    CounterDefinition{"control_requests_total", &Counters::control_requests_total,
                      "Control requests received"},
    CounterDefinition{"control_refused_total", &Counters::control_refused_total,
                      "Control requests refused with an error"},
    CounterDefinition{"control_permitted_total", &Counters::control_permitted_total,
                      "Control requests that the policy permits; 0 without a policy"},
    CounterDefinition{"control_not_permitted_total", &Counters::control_not_permitted_total,
                      "Control requests refused because the policy does not permit them"},
    CounterDefinition{"control_replies_dropped_total", &Counters::control_replies_dropped_total,
                      "Control replies dropped: the client had gone or did not read its replies"},
    CounterDefinition{
        "source_events_dropped_total", &Counters::source_events_dropped_total,
        "$SYS.source events not published: the limit of such topics (max_topics / 8) was reached"},
    CounterDefinition{"handshakes_failed_total", &Counters::handshakes_failed_total,
                      "Connections closed because the peer did not complete a ZMTP 3 handshake"},
    CounterDefinition{"connections_refused_total", &Counters::connections_refused_total,
                      "Connections closed because the limit of open files was reached"},
    CounterDefinition{"connections_admitted_total", &Counters::connections_admitted_total,
                      "Connections of users of the policy that were admitted"},
    CounterDefinition{"connections_unknown_key_total", &Counters::connections_unknown_key_total,
                      "Connections refused because no user of the policy has their key"},
    CounterDefinition{"connections_not_permitted_total", &Counters::connections_not_permitted_total,
                      "Connections refused because their user may not read what the endpoint publishes"},
    CounterDefinition{"connections_revoked_total", &Counters::connections_revoked_total,
                      "Connections closed because their user may no longer connect after a reload"},
    CounterDefinition{"turns_total", &Counters::turns_total, "Passes through the backplane's loop"},
};

}  // namespace backplane::broker
