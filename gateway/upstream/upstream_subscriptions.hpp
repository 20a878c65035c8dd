#pragma once
// The gateway's subscriptions at the broker.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/topic/string_hash.hpp"
#include "follower/broker_reader.hpp"

namespace backplane::gateway {

/// Subscribes to the literal prefix of each pattern, or, above a number of prefixes, to everything: the
/// broker's cost per event grows with its subscriptions, and a reader with many subscriptions is expensive
/// when it leaves. In a change from one to the other, the new subscriptions are active before the old ones
/// end, and nothing is lost. Counts how often each prefix is needed. Lives on the hub's thread.
class UpstreamSubscriptions {
 public:
  /// @param prefixes_max above it, everything is subscribed to, until half of it are left
  explicit UpstreamSubscriptions(std::size_t prefixes_max) : prefixes_max_(prefixes_max) {}

  /// Called once, before all else. `broker` outlives this object's use.
  void attach(BrokerReader& broker) noexcept { broker_ = &broker; }

  /// Adds a use of the prefix. @returns its ticket: on_live() with this ticket or a later one reports it
  /// active.
  std::uint64_t add(std::string_view prefix);
  /// Takes back one add() of the same prefix.
  void remove(std::string_view prefix);
  /// Every subscription up to `ticket` is active.
  void on_live(std::uint64_t ticket);

  /// The distinct prefixes that are needed.
  [[nodiscard]] std::size_t prefixes() const noexcept { return prefixes_.size(); }
  /// Whether everything is subscribed to. True also during a change in either direction.
  [[nodiscard]] bool everything() const noexcept { return mode_ != Mode::each; }

 private:
  enum class Mode : std::uint8_t { each, to_everything, everything, to_each };
  struct Prefix {
    std::size_t count{};
    std::uint64_t ticket{};
    bool subscribed{};  ///< this prefix itself
  };

  BrokerReader* broker_{};
  const std::size_t prefixes_max_;
  std::unordered_map<std::string, Prefix, StringHash, std::equal_to<>> prefixes_;
  Mode mode_{Mode::each};
  std::uint64_t live_ticket_{};
  std::uint64_t everything_ticket_{};
  std::uint64_t each_ticket_{};  // of the last prefix, in Mode::to_each
};

}  // namespace backplane::gateway
