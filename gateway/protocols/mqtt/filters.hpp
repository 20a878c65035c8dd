#pragma once
// The subscriptions of one MQTT client.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/topic/string_hash.hpp"
#include "gateway/hub/pattern_trie.hpp"
#include "gateway/protocols/mqtt/topics.hpp"

namespace backplane::gateway::mqtt {

/// The topic filters of one client with their options, and which of the hub's patterns they need: a filter
/// may need two, and two filters the same. Belongs to one session.
class Filters {
 public:
  struct Options {
    std::uint8_t qos{};
    bool no_local{};
    bool retain_as_published{};
    std::uint32_t id{};  ///< the subscription identifier; 0: none
  };
  struct Subscription {
    FilterPatterns patterns;
    Options options;
  };
  /// All subscriptions that match a topic, as one: a client gets a message once.
  struct Match {
    bool any{};
    std::uint8_t qos{};  ///< the highest
    bool retain_as_published{};
    std::vector<std::uint32_t> ids;
  };

  [[nodiscard]] const Subscription* find(std::string_view filter) const;
  /// Adds a filter, or replaces its options.
  void set(std::string_view filter, const FilterPatterns& patterns, const Options& options);
  /// Removes a filter, if it is there. @returns the patterns that no other filter needs.
  std::vector<std::string> remove(std::string_view filter);
  [[nodiscard]] std::size_t size() const noexcept { return by_filter_.size(); }

  /// @param own the client has published the message itself. The result is valid until the next call.
  [[nodiscard]] const Match& match(std::string_view topic, bool own);

 private:
  /// The filters that need one pattern.
  using Uses = std::vector<const Subscription*>;

  void add_use(const std::string& pattern, const Subscription& subscription);
  void remove_use(const std::string& pattern, const Subscription& subscription,
                  std::vector<std::string>& unused);
  [[nodiscard]] Match compute(std::string_view topic, bool own);

  std::map<std::string, Subscription, std::less<>> by_filter_;
  std::map<std::string, Uses, std::less<>> uses_;   // by pattern
  std::unique_ptr<PatternTrie<const Uses*>> trie_;  // of uses_; made when there are many
  // By topic, for messages of others; emptied when a filter changes.
  std::unordered_map<std::string, Match, StringHash, std::equal_to<>> matches_;
  Match own_;
};

}  // namespace backplane::gateway::mqtt
