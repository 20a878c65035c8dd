#pragma once
// Where the callers' threads and the sender's thread of a publisher meet.

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "backplane/publisher.hpp"
#include "core/process/wake_fd.hpp"
#include "publishers/lib/control_messages.hpp"
#include "publishers/lib/unconfirmed_events.hpp"

namespace backplane::publishing {

/// The unconfirmed events, the status and who waits for it. Every method may be called from any thread,
/// those under "the sender's" from its thread alone. Owns the events; one short mutex guards all of it.
class Outbox {
 public:
  Outbox(std::string_view head, const Publisher::Options& options)
      : event_bytes_max_(options.max_event_bytes),
        unconfirmed_bytes_max_(options.unconfirmed_bytes_max),
        events_(head, options.unconfirmed_bytes_max) {}

  // The callers'.
  [[nodiscard]] Offer append(std::string_view topic, std::string_view tail);
  [[nodiscard]] bool wait_ready(std::chrono::milliseconds timeout);
  [[nodiscard]] bool flush(std::chrono::milliseconds timeout);
  void request_confirmation();
  [[nodiscard]] PublisherStatus status() const;
  void set_counters(Counters counters);
  /// No event is taken from now on; what is there may still be flushed.
  void refuse_offers();
  /// Asks the sender to say goodbye and to end.
  void request_stop();

  // The sender's.
  struct View {
    std::uint64_t offered{};
    std::uint64_t sent{};
    std::uint64_t confirmed{};
    std::uint64_t flush_target{};  ///< somebody waits for the events up to here to be confirmed
    bool stop_requested{};
  };
  [[nodiscard]] View view() const;
  [[nodiscard]] std::size_t peek(std::span<EventFrames> out) const;
  void mark_sent(std::size_t count);
  void confirm(std::uint64_t sequence);
  void rewind();
  void limit_event_bytes(std::size_t bytes_max);
  [[nodiscard]] Counters counters() const;
  /// Changes the status (all but `offered` and `confirmed`, which are kept here) and tells who waits for it.
  template <class Change>
  void change_status(Change change) {
    const std::lock_guard lock(mutex_);
    change(status_);
    status_changed();
  }
  /// To be called before sleeping on wake_fd(). With `for_events`, @returns false where an event is to be
  /// sent, and otherwise the next one offered wakes the sender; without, offered events let it sleep.
  [[nodiscard]] bool may_sleep(bool for_events);
  void woken();
  [[nodiscard]] int wake_fd() const noexcept { return wake_.fd(); }
  /// Grows whenever the status changes in something other than `offered`.
  [[nodiscard]] std::uint64_t status_version() const;
  /// The sender's thread is at its end: nobody need wait any longer.
  void mark_stopped();

 private:
  void status_changed() {
    ++status_version_;
    changed_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // the status, or stopped_
  WakeFd wake_;

  // Guarded by mutex_.
  std::size_t event_bytes_max_;
  std::size_t unconfirmed_bytes_max_;
  UnconfirmedEvents events_;
  PublisherStatus status_;
  std::uint64_t status_version_{};
  std::uint64_t flush_target_{};
  Counters counters_;
  bool refusing_offers_{};
  bool stop_requested_{};
  bool stopped_{};
  bool wake_on_offer_{};
};

}  // namespace backplane::publishing
