#pragma once
// Everything that one backplane knows.

#include <cstdint>
#include <memory>
#include <string>

#include "broker/state/counters.hpp"
#include "broker/state/history_store.hpp"
#include "broker/state/session_table.hpp"
#include "broker/state/topic_table.hpp"

namespace backplane::broker {

/// The state of one backplane. Created before its loop starts, then used by the loop thread only: pipeline,
/// control and egress share it by reference, without locks.
struct BackplaneState {
  BackplaneState(std::string backplane_name, std::size_t topics_max, std::size_t sessions_max,
                 std::unique_ptr<HistoryStore> store)
      : name(std::move(backplane_name)),
        topics(topics_max),
        sessions(sessions_max),
        history(std::move(store)) {}

  std::string name;           ///< the backplane's
  std::uint64_t stream{};     ///< see wire::Stamp
  std::uint64_t position{};   ///< of the last event admitted
  std::int64_t started_ns{};  ///< Unix
  bool draining{};
  std::size_t max_event_bytes{};
  Counters counters;
  TopicTable topics;
  SessionTable sessions;
  std::unique_ptr<HistoryStore> history;
};

}  // namespace backplane::broker
