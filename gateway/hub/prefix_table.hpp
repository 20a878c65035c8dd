#pragma once
// The byte prefixes that ZeroMQ clients are subscribed to.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/topic/string_hash.hpp"
#include "core/topic/topic.hpp"
#include "fanout/log/ids.hpp"
#include "gateway/access/rights.hpp"

namespace backplane::gateway {

struct SubscribedPrefix;

/// The clients that receive one prefix, and may read the same part of it: one of the engine's audiences.
struct PrefixAudience {
  fanout::AudienceId id{};
  SubscribedPrefix* prefix{};
  ReadViewPtr view;  ///< what its members may read; nullptr: everything
  std::size_t members{};

  [[nodiscard]] bool may_read(std::string_view topic) const noexcept {
    return view == nullptr || view->may_read(topic);
  }
};

/// One prefix that clients are subscribed to.
struct SubscribedPrefix {
  std::string prefix;
  std::uint64_t ticket{};                                  ///< of the upstream subscription; 0: there is none
  std::size_t subscriptions{};                             ///< counted by the hub
  std::vector<std::unique_ptr<PrefixAudience>> audiences;  ///< changed by TopicRoutes only
};

/// Whether a subscription to `prefix` matches `topic`: `""` does not match the system's topics.
[[nodiscard]] inline bool prefix_matches(std::string_view prefix, std::string_view topic) noexcept {
  return topic.starts_with(prefix) && !(prefix.empty() && is_system_topic(topic));
}

/// Finds the prefixes of a topic: the cost depends on how many different lengths they have. Belongs to one
/// thread.
class PrefixTable {
 public:
  /// @returns nullptr if nobody is subscribed to the prefix.
  [[nodiscard]] SubscribedPrefix* find(std::string_view prefix) {
    const auto known = prefixes_.find(prefix);
    return known == prefixes_.end() ? nullptr : known->second.get();
  }
  /// Adds a prefix that find() does not know. The reference is valid until remove().
  SubscribedPrefix& add(std::string_view prefix, std::uint64_t ticket) {
    auto made = std::make_unique<SubscribedPrefix>(SubscribedPrefix{std::string(prefix), ticket, 0, {}});
    SubscribedPrefix& result = *made;
    prefixes_.emplace(result.prefix, std::move(made));
    if (prefix.size() < lengths_.size()) ++lengths_[prefix.size()];
    return result;
  }
  void remove(const SubscribedPrefix& prefix) {
    const std::string text = prefix.prefix;
    prefixes_.erase(text);
    if (text.size() < lengths_.size()) --lengths_[text.size()];
  }
  /// Calls `found(SubscribedPrefix&)` for each prefix that matches `topic`.
  template <class Found>
  void for_each_match(std::string_view topic, Found found) {
    if (prefixes_.empty()) return;
    for (std::size_t size = is_system_topic(topic) ? 1 : 0; size <= topic.size(); ++size) {
      if (lengths_[size] == 0) continue;
      if (const auto known = prefixes_.find(topic.substr(0, size)); known != prefixes_.end())
        found(*known->second);
    }
  }

 private:
  std::unordered_map<std::string, std::unique_ptr<SubscribedPrefix>, StringHash, std::equal_to<>> prefixes_;
  // How many prefixes have each length. Longer ones match no topic.
  std::array<std::uint32_t, topic_bytes_max + 1> lengths_{};
};

}  // namespace backplane::gateway
