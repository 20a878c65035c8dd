#pragma once
// What a backplane counts: plain integers that its loop owns. Each is defined once, here, and explained in
// docs/operations.md under the same name.

#include <array>
#include <cstdint>
#include <string_view>

#include "broker/ingress/refusal.hpp"

namespace backplane::broker {

/// The ledger: received = published + the sum of rejected. All but the gauges only grow.
struct Counters {
  std::uint64_t received_total{};
  std::uint64_t published_total{};
  std::uint64_t published_bytes_total{};
  std::array<std::uint64_t, refusal_count> rejected_total{};  ///< by Refusal
  std::uint64_t lost_before_total{};       ///< holes in sessions' sequences: lost on the way to us
  std::uint64_t system_published_total{};  ///< our own $SYS events, not part of `received`
  std::uint64_t history_refused_total{};   ///< published, but the store did not take it
  std::uint64_t drop_episodes_total{};     ///< a subscriber was full and could not be waited for
  std::uint64_t lossy_sends_total{};       ///< events that begin what a full subscriber misses
  std::uint64_t egress_wait_ns_total{};    ///< time spent waiting for full subscribers
  std::uint64_t live_answers_total{};      ///< $SYS.live answers
  std::uint64_t subscriptions_total{};     ///< subscriptions seen on egress
  std::uint64_t unsubscriptions_total{};
  std::uint64_t control_requests_total{};
  std::uint64_t control_refused_total{};     ///< requests answered with an error
  std::uint64_t control_unanswered_total{};  ///< replies whose asker had gone or did not read
  std::uint64_t sources_untold_total{};      ///< $SYS.source events for which there was no topic
  std::uint64_t turns_total{};               ///< wakeups of the loop
};

/// One scalar counter, for exposition: all but rejected_total, which has a label.
struct CounterDefinition {
  std::string_view name;
  std::uint64_t Counters::*value;
  std::string_view help;
};

inline constexpr std::array counter_definitions{
    CounterDefinition{"received_total", &Counters::received_total,
                      "Messages taken from publishers, good or bad"},
    CounterDefinition{"published_total", &Counters::published_total,
                      "Events stamped and sent to subscribers"},
    CounterDefinition{"published_bytes_total", &Counters::published_bytes_total,
                      "Bytes of published events, stamps included, topics not"},
    CounterDefinition{"lost_before_total", &Counters::lost_before_total,
                      "Events missing in publishers' sequences: lost before the broker"},
    CounterDefinition{"system_published_total", &Counters::system_published_total,
                      "The broker's own $SYS events, not part of received_total"},
    CounterDefinition{"history_refused_total", &Counters::history_refused_total,
                      "Published events that the history store did not take"},
    CounterDefinition{"drop_episodes_total", &Counters::drop_episodes_total,
                      "Times that a full subscriber could not be waited for any longer"},
    CounterDefinition{"lossy_sends_total", &Counters::lossy_sends_total,
                      "Events with which full subscribers were given up: they miss all until they have room"},
    CounterDefinition{"egress_wait_ns_total", &Counters::egress_wait_ns_total,
                      "Nanoseconds spent waiting for full subscribers"},
    CounterDefinition{"live_answers_total", &Counters::live_answers_total,
                      "Answers to $SYS.live subscriptions"},
    CounterDefinition{"subscriptions_total", &Counters::subscriptions_total, "Distinct subscriptions begun"},
    CounterDefinition{"unsubscriptions_total", &Counters::unsubscriptions_total,
                      "Distinct subscriptions ended"},
    CounterDefinition{"control_requests_total", &Counters::control_requests_total,
                      "Control requests received"},
    CounterDefinition{"control_refused_total", &Counters::control_refused_total,
                      "Control requests answered with an error"},
    CounterDefinition{"control_unanswered_total", &Counters::control_unanswered_total,
                      "Control replies that could not be handed over: the asker had gone or did not read"},
    CounterDefinition{"sources_untold_total", &Counters::sources_untold_total,
                      "Comings and goings of sources that had no topic to be told on"},
    CounterDefinition{"turns_total", &Counters::turns_total, "Wakeups of the backplane's loop"},
};

}  // namespace backplane::broker
