#pragma once
// The steps that each event goes through: admit ▸ stamp ▸ store ▸ count ▸ publish. Start reading in
// pipeline.cpp.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <zmq.hpp>

#include "broker/access/access.hpp"
#include "broker/egress/egress.hpp"
#include "broker/ingress/refusal.hpp"
#include "broker/state/backplane_state.hpp"
#include "core/log/log.hpp"

namespace backplane::broker {

/// Admits events, numbers them, adds them to history and publishes them, in batches. While the store writes a
/// batch, the next ones are taken, up to a limit. Lives on the loop thread of its backplane. Owns only the
/// batches; everything else is the backplane's state.
class Pipeline {
 public:
  using UnixClock = std::function<std::int64_t()>;  ///< nanoseconds

  /// `state`, `access` and `sink` outlive the pipeline.
  Pipeline(BackplaneState& state, Access& access, EgressSink& sink, UnixClock now);

  /// The entry of a topic, or nullptr; valid as long as the state. To look up several topics, call it for all
  /// of them before the first take(): with very many topics each lookup waits for memory, and the processor
  /// overlaps consecutive waits.
  [[nodiscard]] TopicEntry* find_topic(std::string_view name);
  /// One message of a publisher: [topic][Event]. The frames are moved from. `known` is the result of
  /// find_topic(), if it was called. `user` is Access::user_of() the message.
  void take(zmq::message_t& topic, zmq::message_t& event, TopicEntry* known = nullptr,
            const policy::User* user = nullptr);
  /// One message of a PUB without protobuf: [topic][bytes]. It becomes an Event of source "raw".
  void take_raw(zmq::message_t& topic, zmq::message_t& bytes, const policy::User* user = nullptr);
  /// Counts and logs a message that does not have two frames.
  void refuse_frames(std::size_t frames);

  /// Publishes an event of the broker itself on a $SYS topic: numbered, stored and sent like any other.
  void publish_system(std::string_view topic, std::string_view event);
  /// Publishes an event of the broker without numbering or storing it: the live replies. Its position is that
  /// of the last event published.
  void publish_unnumbered(std::string_view topic, std::string_view event);

  /// Passes what was taken since the last batch to the store, and sends the batches that the store has
  /// written. Call it again, at the latest when the store's progress_fd() is readable.
  /// @returns false if the store is busy or too many events are being written: take no more until it is true.
  [[nodiscard]] bool flush();
  /// Events that are not published yet.
  [[nodiscard]] std::size_t pending() const noexcept { return state_.unpublished.size(); }
  /// Of these, events that the store has accepted and is still writing.
  [[nodiscard]] std::size_t writing() const noexcept { return writing_; }
  /// Whether flush() can publish a batch.
  [[nodiscard]] bool has_written() const {
    return !batches_.empty() && batches_.front().ticket <= state_.history->progress().written;
  }

 private:
  struct Admitted {
    TopicEntry* topic{};  ///< nullptr until it is found
    bool clears_value{};
    std::string_view user{};  ///< to whom its session belongs
    std::uint64_t lost{};     ///< it stands for so many lost events; 0: it is an event
  };
  /// Whom an event comes from.
  struct Origin {
    zmq::message_t& message;
    const policy::User* user{};
  };
  // The frames to publish for an event. The data to store is in state_.unpublished.
  struct InFlight {
    zmq::message_t topic;
    zmq::message_t event;
    bool system{};
    bool lost{};  ///< stored, but not sent: it stands for lost events
  };
  struct Batch {
    std::uint64_t ticket{};  ///< the store's
    std::size_t events{};
  };

  [[nodiscard]] Refusal admit(std::string_view topic, const Origin& from, Admitted& admitted);
  [[nodiscard]] Refusal check(std::string_view topic, const Origin& from, Admitted& admitted);
  [[nodiscard]] bool permit(std::string_view topic, const Origin& from);
  [[nodiscard]] Refusal follow(const wire::EventView& event, Refusal found, std::string_view topic,
                               Admitted& admitted, const Origin& from);
  [[nodiscard]] bool claim(SessionEntry& session, const policy::User* user, bool admits, bool& is_new) const;
  [[nodiscard]] bool is_forged(const SessionEntry& session, const wire::EventView& event, Peer peer) const;
  [[nodiscard]] bool is_after_missing(const SessionEntry& session, const wire::EventView& event) const;
  [[nodiscard]] std::int64_t batch_time();
  [[nodiscard]] InFlight& next_in_flight();
  void number(const Admitted& admitted, std::span<std::byte> stamped);
  void count_lost(std::uint64_t events);
  void refuse(Refusal refusal, std::string_view topic, std::string_view detail, const Origin* from);
  [[nodiscard]] std::string describe(const Origin& from);
  [[nodiscard]] bool remember();
  void publish_first_batch();

  BackplaneState& state_;
  Access& access_;
  EgressSink& sink_;
  UnixClock now_;
  // A ring: the frames of state_.unpublished, from first_in_flight_ on. Its size is a power of two. The
  // frames of the other slots are empty and are reused.
  std::vector<InFlight> in_flight_;
  std::size_t first_in_flight_{0};
  std::deque<Batch> batches_;  ///< what the store has accepted and is writing, in order
  std::size_t writing_{0};     ///< events in batches_
  std::size_t pending_bytes_{0};
  TopicEntry* latest_topic_{};  ///< the topic looked up last; entries live as long as the state
  std::int64_t batch_time_ns_{};
  log::RateLimit refusal_lines_{std::chrono::seconds{1}};
  log::RateLimit permission_lines_{std::chrono::seconds{1}};  ///< not_permitted and wrong_user
};

}  // namespace backplane::broker
