#pragma once
// What stage 1 of the pipeline hands to stage 2 (docs/decisions/0030-commit-log.md).

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <zmq.hpp>

#include "broker/ingress/peer.hpp"
#include "broker/ingress/refusal.hpp"
#include "broker/state/topic_table.hpp"
#include "broker/state/user_number.hpp"
#include "core/wire/scan.hpp"

namespace backplane::broker {

/// What the event on a $SYS.source topic says: a publisher has come up or gone down at a broker.
struct SourceChange {
  std::uint64_t session{};
  bool up{};
  /// The incarnation of the broker at which it is or was. 0: the one that appends the entry.
  std::uint64_t owner{};
};

/// An event that stage 1 has checked. Views: what they point to belongs to the caller, and is valid until the
/// entry is applied or the log has copied it.
struct LogEntry {
  enum class Kind : std::uint8_t {
    event,
    raw,      ///< of a PUB without protobuf: `bytes` become an Event
    refused,  ///< stage 1 has refused it, and has counted that: only its session learns of it
    source,   ///< the broker's own, on a $SYS.source topic
    system,   ///< the broker's own, on another $SYS topic
    types,    ///< no event: `bytes` are a serialised FileDescriptorSet to register
  };
  // Not constexpr, so that the members are set one by one: GCC clears a constant of this size with `rep
  // stos`, which costs 4 % of the pipeline.
  LogEntry() noexcept {}  // NOLINT(modernize-use-equals-default)

  Kind kind{Kind::event};
  Refusal refused{Refusal::none};  ///< why stage 1 has refused it
  bool has_session{};              ///< its sequence counts in the session that `view` names
  /// refused: how many events of the session with consecutive sequences, of which `view` is the last.
  std::uint64_t refusals{1};
  UserNumber user{no_user};  ///< who has sent it
  Peer peer{};               ///< by which connection; used if `message` is nullptr
  /// The message that it came in, if this process has received it and applies it at once.
  zmq::message_t* message{};
  /// The topic's entry, if it is known. Set when the entry is admitted.
  TopicEntry* known{};
  std::string_view topic;
  std::span<const std::byte> bytes;  ///< as they came
  /// What the scan has found: of source, session, sequences, payload and lost events, if there are any.
  const wire::EventView* view{};
  /// source, with a replicated log: the event is published only if it changes what all brokers know.
  const SourceChange* source{};

  /// For how many lost events it stands; 0: it is an event.
  [[nodiscard]] std::uint64_t lost() const noexcept { return kind == Kind::event ? view->lost : 0; }
  /// The size of the event without its stamp.
  [[nodiscard]] std::size_t event_bytes() const noexcept;
  /// Writes the event. `out` has exactly event_bytes() bytes.
  void write_event(std::span<std::byte> out) const noexcept;
};

}  // namespace backplane::broker
