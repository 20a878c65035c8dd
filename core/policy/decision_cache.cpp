#include "core/policy/decision_cache.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "core/topic/topic.hpp"

namespace backplane::policy {
namespace {

constexpr std::size_t slot_bytes = 256;
static_assert(topic_bytes_max < slot_bytes);

}  // namespace

DecisionCache::DecisionCache(std::shared_ptr<const Policy> policy, std::size_t entries)
    : policy_(std::move(policy)),
      sets_(std::bit_ceil(std::max(entries, ways)) / ways),
      topics_(std::make_unique_for_overwrite<char[]>(sets_.size() * ways * slot_bytes)) {}

bool DecisionCache::decide(const User& user, std::string_view topic, Action action) {
  const std::uint64_t hash = std::hash<std::string_view>{}(topic);
  // Of one topic, users are spread over several sets.
  const std::size_t set_at = (hash ^ (user.id * 0x9e37'79b9'7f4a'7c15ULL >> 32)) & (sets_.size() - 1);
  Set& set = sets_[set_at];
  char* const topics = topics_.get() + set_at * ways * slot_bytes;
  std::size_t replaced = 0;
  for (std::size_t way = 0; way < ways; ++way) {
    const Entry& each = set.entries[way];
    if (each.hash == hash && each.user == user.id && each.action == action &&
        each.topic_bytes == topic.size() &&
        std::memcmp(topics + way * slot_bytes, topic.data(), topic.size()) == 0) {
      return each.permitted;
    }
    if (each.next_replaced) replaced = way;
  }
  const bool permitted = decide_anew(user, topic, action);
  if (topic.empty() || topic.size() > topic_bytes_max) return permitted;  // not a topic
  std::memcpy(topics + replaced * slot_bytes, topic.data(), topic.size());
  set.entries[replaced] = {hash, user.id, action, static_cast<std::uint8_t>(topic.size()), permitted, false};
  set.entries[(replaced + 1) % ways].next_replaced = true;
  return permitted;
}

bool DecisionCache::decide_anew(const User& user, std::string_view topic, Action action) const {
  return action == Action::publish ? policy_->may_publish(user, topic) : policy_->may_subscribe(user, topic);
}

}  // namespace backplane::policy
