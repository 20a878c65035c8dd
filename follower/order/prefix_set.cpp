#include "follower/order/prefix_set.hpp"

#include <algorithm>

#include "core/topic/topic.hpp"

namespace backplane::follower {

bool PrefixSet::add(std::string_view prefix, std::uint64_t ticket) {
  const auto [entry, is_new] = by_prefix_.try_emplace(std::string(prefix));
  if (!is_new) {
    ++slots_[entry->second].count;
    return false;
  }
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  entry->second = free_.back();
  free_.pop_back();
  Slot& slot = slots_[entry->second];
  slot.count = 1;
  slot.start.reset();
  ++lengths_[prefix.size()];
  waiting_.push_back({ticket, Ref{entry->second, slot.generation}});
  return true;
}

bool PrefixSet::remove(std::string_view prefix) {
  const auto found = by_prefix_.find(prefix);
  if (found == by_prefix_.end()) return false;
  Slot& slot = slots_[found->second];
  if (--slot.count > 0) return false;
  ++slot.generation;
  free_.push_back(found->second);
  by_prefix_.erase(found);
  const auto length = lengths_.find(prefix.size());
  if (--length->second == 0) lengths_.erase(length);
  ++removals_;
  return true;
}

void PrefixSet::activate(std::uint64_t ticket, const Start& start) {
  auto next = waiting_.begin();
  for (; next != waiting_.end() && next->ticket <= ticket; ++next) {
    if (is_current(next->ref)) slots_[next->ref.slot].start = start;
  }
  waiting_.erase(waiting_.begin(), next);
}

void PrefixSet::rebase(std::uint64_t old_stream, const Start& start) {
  for (Slot& slot : slots_) {
    if (slot.start && slot.start->stream == old_stream) slot.start = start;
  }
}

std::optional<PrefixSet::Ref> PrefixSet::match(std::string_view topic) const {
  const Slot* best = nullptr;
  Ref ref;
  for (const auto& [length, count] : lengths_) {
    if (length > topic.size()) break;
    const auto found = by_prefix_.find(topic.substr(0, length));
    if (found == by_prefix_.end()) continue;
    const Slot& slot = slots_[found->second];
    const bool better =
        best == nullptr || (slot.start && (!best->start || slot.start->position < best->start->position));
    if (!better) continue;
    best = &slot;
    ref = Ref{found->second, slot.generation};
  }
  if (best == nullptr) return std::nullopt;
  return ref;
}

std::vector<std::string> PrefixSet::patterns(std::size_t count_max) const {
  std::vector<std::string> patterns;
  if (by_prefix_.size() > count_max) {
    patterns.emplace_back(">");
    const bool system = std::any_of(by_prefix_.begin(), by_prefix_.end(),
                                    [](const auto& entry) { return is_system_topic(entry.first); });
    if (system) patterns.emplace_back("$SYS.>");
    return patterns;
  }
  for (const auto& [prefix, slot] : by_prefix_) {
    std::string pattern = prefix.empty() || prefix.back() == '.' ? prefix + ">" : prefix;
    if (check_pattern(pattern) == TopicFault::none) patterns.push_back(std::move(pattern));
  }
  return patterns;
}

std::string PrefixSet::common_pattern(std::size_t count_max) const {
  if (by_prefix_.empty() || by_prefix_.size() > count_max) return ">";
  std::string_view common = by_prefix_.begin()->first;
  if (by_prefix_.size() == 1 && check_pattern(common) == TopicFault::none) return std::string(common);
  for (const auto& [prefix, slot] : by_prefix_) {
    const auto differs = std::mismatch(common.begin(), common.end(), prefix.begin(), prefix.end()).first;
    common = common.substr(0, static_cast<std::size_t>(differs - common.begin()));
  }
  const std::size_t dot = common.rfind('.');
  return std::string(dot == std::string_view::npos ? "" : common.substr(0, dot + 1)) + ">";
}

}  // namespace backplane::follower
