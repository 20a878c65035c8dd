#pragma once
// The state that a publisher's callers share with its sender thread.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "backplane/publisher.hpp"
#include "core/process/wake_fd.hpp"
#include "core/thread/mutex.hpp"
#include "publishers/lib/control_messages.hpp"
#include "publishers/lib/unconfirmed_events.hpp"

namespace backplane::publishing {

/// The unconfirmed events, the status, and the callers that wait for a change of either. Callers may use
/// their methods from any thread; the sender's methods are called on the sender's thread only. Owns the
/// events. One mutex, locked briefly, guards everything.
class Outbox {
 public:
  Outbox(std::string_view head, std::uint64_t session, const Publisher::Options& options)
      : event_bytes_max_(options.max_event_bytes),
        unconfirmed_bytes_max_(options.unconfirmed_bytes_max),
        events_(head, options.unconfirmed_bytes_max, options.resume ? options.resume->sequence : 0) {
    status_.session = session;
  }

  // For callers.
  [[nodiscard]] Offer append(std::string_view topic, std::string_view tail);
  [[nodiscard]] bool wait_ready(std::chrono::milliseconds timeout);
  [[nodiscard]] bool flush(std::chrono::milliseconds timeout);
  void request_confirmation();
  [[nodiscard]] PublisherStatus status() const;
  void set_counters(Counters counters);
  /// Refuses all further offers; what was offered before can still be flushed.
  void refuse_offers();
  /// Asks the sender to send its closing Hello and to return from run().
  void request_stop();

  // For the sender.
  struct View {
    std::uint64_t offered{};
    std::uint64_t sent{};
    std::uint64_t confirmed{};
    std::uint64_t flush_target{};  ///< a caller waits until the events up to here are confirmed
    bool stop_requested{};
  };
  [[nodiscard]] View view() const;
  [[nodiscard]] std::size_t peek(std::span<EventFrames> out) const;
  void mark_sent(std::size_t count);
  /// Confirms the events up to `sequence`, as far as they have been offered.
  void confirm(std::uint64_t sequence);
  void rewind();
  /// All events, also the unconfirmed ones, get this head and belong to this session from now on.
  void change_session(std::string_view head, std::uint64_t session);
  void limit_event_bytes(std::size_t bytes_max);
  [[nodiscard]] Counters counters() const;
  /// Changes the status (except `offered` and `confirmed`, which the outbox maintains) and wakes the callers
  /// that wait for it.
  template <class Change>
  void change_status(Change change) {
    const MutexLock lock(mutex_);
    change(status_);
    status_changed();
  }
  /// Must be called before sleeping on wake_fd(). With `for_events`: @returns false if an event can be sent
  /// now; otherwise the next offered event wakes the sender. Without: offered events do not wake the sender.
  [[nodiscard]] bool may_sleep(bool for_events);
  void woken();
  [[nodiscard]] int wake_fd() const noexcept { return wake_.fd(); }
  /// Increases when anything in the status other than `offered` changes.
  [[nodiscard]] std::uint64_t status_version() const;
  /// Marks the sender as stopped, which ends all waits.
  void mark_stopped();

 private:
  void status_changed() REQUIRES(mutex_) {
    ++status_version_;
    changed_.notify_all();
  }

  mutable Mutex mutex_;
  CondVar changed_;  // the status, or stopped_
  WakeFd wake_;

  std::size_t event_bytes_max_ GUARDED_BY(mutex_);
  std::size_t unconfirmed_bytes_max_ GUARDED_BY(mutex_);
  UnconfirmedEvents events_ GUARDED_BY(mutex_);
  PublisherStatus status_ GUARDED_BY(mutex_);
  std::uint64_t status_version_ GUARDED_BY(mutex_){};
  std::uint64_t flush_target_ GUARDED_BY(mutex_){};
  Counters counters_ GUARDED_BY(mutex_);
  bool refusing_offers_ GUARDED_BY(mutex_){};
  bool stop_requested_ GUARDED_BY(mutex_){};
  bool stopped_ GUARDED_BY(mutex_){};
  bool wake_on_offer_ GUARDED_BY(mutex_){};
};

}  // namespace backplane::publishing
