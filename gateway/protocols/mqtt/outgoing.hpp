#pragma once
// Messages that a client has yet to acknowledge.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace backplane::gateway::mqtt {

/// The packet identifiers of messages that were sent to one client at QoS 1 or 2: which are free, and what
/// each of the others waits for. Belongs to one session. Takes memory for identifiers that were in use.
class Outgoing {
 public:
  enum class Awaits : std::uint8_t { nothing, puback, pubrec, pubcomp };

  /// @param window how many messages may wait at the same time: at most 65,535
  explicit Outgoing(std::uint16_t window) noexcept : window_(window) {}

  [[nodiscard]] bool full() const noexcept { return waiting_ == window_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }

  /// Only if not full(). The identifier that has been free for longest.
  std::uint16_t begin(Awaits awaits) {
    ++waiting_;
    // An identifier that was never used is preferred to one that has just become free: the last reply to it
    // may come twice.
    if (states_.size() < window_ && (free_begin_ == free_.size() || states_.size() < fresh_max)) {
      states_.push_back(awaits);
      return static_cast<std::uint16_t>(states_.size());
    }
    const std::uint16_t id = free_[free_begin_++];
    if (free_begin_ * 2 >= free_.size()) {
      free_.erase(free_.begin(), free_.begin() + static_cast<std::ptrdiff_t>(free_begin_));
      free_begin_ = 0;
    }
    states_[id - 1U] = awaits;
    return id;
  }
  [[nodiscard]] Awaits awaits(std::uint16_t id) const noexcept {
    return id == 0 || id > states_.size() ? Awaits::nothing : states_[id - 1U];
  }
  /// Only if the identifier is in use.
  void advance(std::uint16_t id, Awaits awaits) noexcept { states_[id - 1U] = awaits; }
  /// The same.
  void end(std::uint16_t id) {
    states_[id - 1U] = Awaits::nothing;
    free_.push_back(id);
    --waiting_;
  }

 private:
  static constexpr std::size_t fresh_max = 64;

  std::uint16_t window_;
  std::uint16_t waiting_{};
  std::vector<Awaits> states_;       // of identifier 1, 2, …
  std::vector<std::uint16_t> free_;  // from free_begin_ on, the one that has been free for longest first
  std::size_t free_begin_{};
};

}  // namespace backplane::gateway::mqtt
