#pragma once
// Everything that one backplane knows.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "broker/state/cluster_report.hpp"
#include "broker/state/counters.hpp"
#include "broker/state/history_store.hpp"
#include "broker/state/known_sources.hpp"
#include "broker/state/session_table.hpp"
#include "broker/state/topic_table.hpp"
#include "broker/state/unpublished_events.hpp"
#include "core/error/error.hpp"
#include "core/wire/stamp.hpp"

namespace backplane::broker {

/// The state of one backplane. Created before its loop starts, then used by the loop thread only: pipeline,
/// control and egress share it by reference, without locks.
struct BackplaneState {
  BackplaneState(std::string backplane_name, std::size_t topics_limit, std::size_t sessions_limit,
                 std::unique_ptr<HistoryStore> store)
      : name(std::move(backplane_name)),
        topics_max(topics_limit),
        sessions_max(sessions_limit),
        topics(topics_limit),
        sessions(sessions_limit),
        history(std::move(store)) {}

  std::string name;                ///< the backplane's
  std::size_t topics_max;          ///< of the configuration
  std::size_t sessions_max;        ///< the same
  std::uint64_t stream{};          ///< see wire::Stamp
  std::uint64_t position{};        ///< of the last event numbered
  std::uint64_t start_position{};  ///< of the last event before this process
  /// By how much the offsets of all topics together exceed the position: several lost events have one
  /// position.
  std::uint64_t offsets_without_position{};
  std::uint64_t missing_at_start{};  ///< events up to it that were not in history when the process started
  std::int64_t started_ns{};         ///< Unix
  std::string store_kind{"memory"};  ///< as in the configuration
  std::string store_sync;            ///< as in the configuration; "" in memory
  bool draining{};
  bool insecure{};               ///< see BrokerConfig
  std::uint64_t policy_users{};  ///< who have a key; 0: there is no policy
  std::size_t max_event_bytes{};
  std::size_t source_topics{};           ///< $SYS.source topics that exist
  std::optional<ClusterReport> cluster;  ///< of a log that several brokers share, some hundred ms old
  KnownSources sources;                  ///< with a replicated log: those of all brokers
  Counters counters;
  TopicTable topics;
  SessionTable sessions;
  std::unique_ptr<HistoryStore> history;

  /// The events that are numbered and not published yet: the pipeline's batches. Replies to clients
  /// (positions, tails, what is admitted) do not include them: they may not be written yet.
  UnpublishedEvents unpublished;
  std::uint64_t last_ticket{};  ///< the store's, of the last batch published

  /// The maximum number of $SYS.source topics. Topics are never removed, and anyone can send Hello with any
  /// number of names. They must not use up the topics that events need.
  [[nodiscard]] std::size_t source_topics_max() const noexcept {
    return std::max<std::size_t>(1, topics_max / 8);
  }
  /// The position of the last event published.
  [[nodiscard]] std::uint64_t published_position() const noexcept {
    return unpublished.empty() ? position : unpublished.front().stamp.position - 1;
  }
  struct Tail {
    std::uint64_t position{};
    std::uint64_t offset{};
  };
  /// The last event of a topic that has been published; zeros if none has. Costs a pass over `unpublished` if
  /// the topic has events there.
  [[nodiscard]] Tail published_tail(const TopicEntry& topic) const {
    if (topic.position <= published_position()) return {topic.position, topic.offset};
    const auto events = unpublished.all();
    const auto first = std::ranges::find_if(
        events, [&](const HistoryAppend& each) { return each.topic.data() == topic.name.data(); });
    CHECK(first != events.end(), "a topic's last event is published or in a batch");
    // It may stand for several lost events.
    return {first->stamp.previous,
            first->stamp.offset - std::max<std::uint64_t>(wire::lost_events(first->event), 1)};
  }
};

}  // namespace backplane::broker
