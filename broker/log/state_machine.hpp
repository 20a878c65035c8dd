#pragma once
// Stage 2 of the pipeline: what depends on the events before.

#include <cstdint>
#include <span>
#include <string_view>

#include "broker/ingress/refusal.hpp"
#include "broker/log/log_entry.hpp"
#include "broker/state/backplane_state.hpp"

namespace backplane::broker {

/// Applies entries in the order that the log has decided: sessions, duplicates, topics, numbers. Brokers that
/// apply the same entries get the same stream. For this reason it has no clock, knows no policy and no
/// configuration, and is the only code that changes the sessions, the topics and the position of its
/// BackplaneState. Lives on the loop thread; owns nothing.
///
/// Only an entry that this process has received and applies at once (LogEntry::message) is also judged by its
/// connection. A replicated log judges that before it takes the entry.
class StateMachine {
 public:
  /// `state` outlives it.
  explicit StateMachine(BackplaneState& state) : state_(state) {}

  /// The entry of a topic, or nullptr; valid as long as the state. Events of one topic come in runs: if it is
  /// the topic looked up last, the lookup is saved.
  [[nodiscard]] TopicEntry* find_topic(std::string_view name);

  struct Outcome {
    std::uint64_t lost{};            ///< sequences that are missing before the event's
    Refusal refusal{Refusal::none};  ///< none: `known` of the entry is its topic, and number() is next
    bool changes_nothing{};          ///< of a source: it is not published
  };
  /// Tracks the session of an event, also of one that stage 1 has refused: AdmittedReply reports both. Then
  /// looks up or adds the topic of an event that is not refused.
  [[nodiscard]] Outcome admit(LogEntry& entry);
  /// Gives an admitted event its number, adds it to the unpublished events and writes the stamp to the end of
  /// `stamped`, which has the event and room for the stamp, and is valid until it is published. `user`: the
  /// name of the one to whom its session belongs; "" if it has none.
  void number(const LogEntry& entry, std::string_view user, std::span<std::byte> stamped,
              std::int64_t received_ns);

  /// The same without adding it: the store has the event already, and it was published.
  void number_again(const LogEntry& entry, std::int64_t received_ns);

  /// The session's sequence at this moment, for messages; 0: unknown.
  [[nodiscard]] std::uint64_t sequence_of(const LogEntry& entry) const;

 private:
  [[nodiscard]] Refusal find_or_add_topic(LogEntry& entry);
  [[nodiscard]] Outcome change_source(LogEntry& entry);
  [[nodiscard]] bool claim(SessionEntry& session, UserNumber user, bool admits, bool& is_new) const;

  BackplaneState& state_;
  TopicEntry* latest_topic_{};  ///< the topic looked up last; entries live as long as the state
};

}  // namespace backplane::broker
