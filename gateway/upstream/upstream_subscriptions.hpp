#pragma once
// What has to be subscribed to at the broker, for all that clients want.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/topic/string_hash.hpp"
#include "follower/broker_reader.hpp"

namespace backplane::gateway {

/// Counts the literal prefixes that are wanted and subscribes to each, or, above a number of them, to
/// everything: a broker's cost for an event grows with its subscriptions, and a client with many of them is
/// expensive when it leaves. Changing over, the new way is in force before the old one ends, so nothing is
/// lost. Lives on the hub's thread.
class UpstreamSubscriptions {
 public:
  /// @param prefixes_max above it everything is subscribed to, down to half of it
  explicit UpstreamSubscriptions(std::size_t prefixes_max) : prefixes_max_(prefixes_max) {}

  /// To be called once, before all else. `broker` outlives this.
  void attach(BrokerReader& broker) noexcept { broker_ = &broker; }

  /// @returns the ticket by which on_live() proves it.
  std::uint64_t add(std::string_view prefix);
  /// Takes back one add().
  void remove(std::string_view prefix);
  /// All up to `ticket` is in force.
  void on_live(std::uint64_t ticket);

  [[nodiscard]] std::size_t prefixes() const noexcept { return wanted_.size(); }
  /// Whether everything is subscribed to.
  [[nodiscard]] bool everything() const noexcept { return mode_ != Mode::each; }

 private:
  enum class Mode : std::uint8_t { each, to_everything, everything, to_each };
  struct Wanted {
    std::size_t count{};
    std::uint64_t ticket{};
    bool subscribed{};  ///< by itself
  };

  BrokerReader* broker_{};
  const std::size_t prefixes_max_;
  std::unordered_map<std::string, Wanted, StringHash, std::equal_to<>> wanted_;
  Mode mode_{Mode::each};
  std::uint64_t live_ticket_{};
  std::uint64_t everything_ticket_{};
  std::uint64_t each_ticket_{};  // of the last prefix, on the way back
};

}  // namespace backplane::gateway
