#pragma once
// The steps that each event goes through: check ▸ commit log ▸ admit ▸ stamp ▸ store ▸ publish ▸ count. Start
// reading in pipeline.cpp.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <zmq.hpp>

#include "broker/access/access.hpp"
#include "broker/egress/egress.hpp"
#include "broker/ingress/refusal.hpp"
#include "broker/log/commit_log.hpp"
#include "broker/log/state_machine.hpp"
#include "broker/state/backplane_state.hpp"
#include "core/log/log.hpp"

namespace backplane::broker {

/// Checks events, admits and numbers them in the order of the commit log, adds them to history and publishes
/// them, in batches. While the store writes a batch, the next ones are taken, up to a limit. Lives on the
/// loop thread of its backplane. Owns the commit log and the batches; everything else is the backplane's
/// state.
class Pipeline {
 public:
  using UnixClock = std::function<std::int64_t()>;  ///< nanoseconds

  /// `state`, `access` and `sink` outlive the pipeline.
  Pipeline(BackplaneState& state, Access& access, EgressSink& sink, UnixClock now,
           std::unique_ptr<CommitLog> log = std::make_unique<LocalLog>());

  /// The entry of a topic, or nullptr; valid as long as the state. To look up several topics, call it for all
  /// of them before the first take(): with very many topics each lookup waits for memory, and the processor
  /// overlaps consecutive waits.
  [[nodiscard]] TopicEntry* find_topic(std::string_view name) { return machine_.find_topic(name); }
  /// One message of a publisher: [topic][Event]. The frames are moved from. `known` is the result of
  /// find_topic(), if it was called. `user` is Access::user_of() the message.
  void take(zmq::message_t& topic, zmq::message_t& event, TopicEntry* known = nullptr,
            const policy::User* user = nullptr);
  /// One message of a PUB without protobuf: [topic][bytes]. It becomes an Event of source "raw".
  void take_raw(zmq::message_t& topic, zmq::message_t& bytes, const policy::User* user = nullptr);
  /// Counts and logs a message that does not have two frames.
  void refuse_frames(std::size_t frames);

  /// Publishes an event of the broker itself on a $SYS topic: numbered, stored and sent like any other. With
  /// a replicated log, whose stream is that of all brokers, it is not numbered.
  void publish_system(std::string_view topic, std::string_view event);
  /// The same on a $SYS.source topic, always numbered. @returns false, and counts that, if it is new and
  /// there are source_topics_max() of them; with a replicated log, that is found out later.
  bool publish_source(std::string_view topic, std::string_view event, const SourceChange& change);
  /// Publishes an event of the broker without numbering or storing it: the live replies. Its position is that
  /// of the last event published.
  void publish_unnumbered(std::string_view topic, std::string_view event);

  /// Passes what was taken since the last batch to the store, and sends the batches that the store has
  /// written. Call it again, at the latest when the store's progress_fd() is readable.
  /// @returns false if the store is busy or too many events are being written: take no more until it is true.
  [[nodiscard]] bool flush();
  /// With a replicated log, before anything is applied: the store has the events up to `position`, from an
  /// earlier process that had applied more of the log. They are numbered again, but neither stored nor sent.
  /// `on_reached` is called when that is done, within flush(), and may throw.
  void continue_after(std::uint64_t position, std::function<void()> on_reached = {}) {
    stored_position_ = position;
    on_stored_position_ = std::move(on_reached);
  }

  /// Called within flush() for types that a replicated log has committed, in its order. `is_own`: this broker
  /// has appended them.
  using OnTypes = std::function<void(std::span<const std::byte> descriptor_set, bool is_own)>;
  void set_on_types(OnTypes on_types) { on_types_ = std::move(on_types); }

  [[nodiscard]] CommitLog& log() noexcept { return *log_; }
  /// Events that are not published yet.
  [[nodiscard]] std::size_t pending() const noexcept { return state_.unpublished.size(); }
  /// Of these, events that the store has accepted and is still writing.
  [[nodiscard]] std::size_t writing() const noexcept { return writing_; }
  /// Whether flush() can publish a batch.
  [[nodiscard]] bool has_written() const {
    return !batches_.empty() && batches_.front().ticket <= state_.history->progress().written;
  }

 private:
  /// Whom an event comes from.
  struct Origin {
    zmq::message_t& message;
    const policy::User* user{};
  };
  // More than the store writes or syncs at a time on any disk that keeps up; replies to requests about topics
  // search them.
  static constexpr std::size_t pending_events_max = 8192;
  static constexpr std::size_t pending_bytes_max = 8u << 20;

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

  // Stage 1.
  [[nodiscard]] Refusal check(LogEntry& entry, const Origin& from);
  [[nodiscard]] bool permit(std::string_view topic, const Origin& from);
  // Stage 2.
  Refusal commit(LogEntry& entry, zmq::message_t* topic, const Origin* from);
  Refusal apply(LogEntry& entry, zmq::message_t* topic, const Origin* from);
  Refusal publish_own(LogEntry::Kind kind, std::string_view topic, std::string_view event,
                      const SourceChange* change);
  void apply_committed();
  void refuse_committed(const LogEntry& entry, Refusal refusal, const Origin* from);

  [[nodiscard]] bool has_capacity() const {
    return pending() < pending_events_max && pending_bytes_ < pending_bytes_max;
  }
  [[nodiscard]] std::int64_t batch_time();
  [[nodiscard]] InFlight& next_in_flight();
  void count_lost(std::uint64_t events);
  void refuse(Refusal refusal, std::string_view topic, std::string_view detail, const Origin* from);
  [[nodiscard]] std::string describe(const Origin& from);
  [[nodiscard]] bool remember();
  void publish_first_batch();

  BackplaneState& state_;
  Access& access_;
  EgressSink& sink_;
  UnixClock now_;
  OnTypes on_types_;
  std::unique_ptr<CommitLog> log_;
  StateMachine machine_;
  // A ring: the frames of state_.unpublished, from first_in_flight_ on. Its size is a power of two. The
  // frames of the other slots are empty and are reused.
  std::vector<InFlight> in_flight_;
  std::size_t first_in_flight_{0};
  std::deque<Batch> batches_;  ///< what the store has accepted and is writing, in order
  std::size_t writing_{0};     ///< events in batches_
  std::size_t pending_bytes_{0};
  std::int64_t batch_time_ns_{};
  std::optional<std::int64_t> committed_ns_;  ///< received_ns of the batch of the log that is being applied
  std::uint64_t stored_position_{};           ///< see continue_after()
  std::function<void()> on_stored_position_;
  bool counts_{true};  ///< it is applied for this broker's publishers
  log::RateLimit refusal_lines_{std::chrono::seconds{1}};
  log::RateLimit permission_lines_{std::chrono::seconds{1}};  ///< not_permitted and wrong_user
};

}  // namespace backplane::broker
