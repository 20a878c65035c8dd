#include "gateway/protocols/mqtt/filters.hpp"

#include <algorithm>

namespace backplane::gateway::mqtt {
namespace {

constexpr std::size_t matches_max = 1024;
// With more filters, a topic is looked up.
constexpr std::size_t compared_max = 16;

}  // namespace

const Filters::Subscription* Filters::find(std::string_view filter) const {
  const auto found = by_filter_.find(filter);
  return found == by_filter_.end() ? nullptr : &found->second;
}

void Filters::set(std::string_view filter, const FilterPatterns& patterns, const Options& options) {
  matches_.clear();
  const auto [found, added] = by_filter_.try_emplace(std::string(filter), Subscription{patterns, options});
  if (!added) {
    found->second.options = options;
    return;
  }
  add_use(patterns.pattern, found->second);
  if (!patterns.parent.empty()) add_use(patterns.parent, found->second);
}

void Filters::add_use(const std::string& pattern, const Subscription& subscription) {
  Uses& uses = uses_[pattern];
  uses.push_back(&subscription);
  if (trie_) trie_->insert(pattern, &uses);
}

void Filters::remove_use(const std::string& pattern, const Subscription& subscription,
                         std::vector<std::string>& unused) {
  const auto found = uses_.find(pattern);
  if (found == uses_.end()) return;
  std::erase(found->second, &subscription);
  if (!found->second.empty()) return;
  if (trie_) trie_->erase(pattern);
  uses_.erase(found);
  unused.push_back(pattern);
}

std::vector<std::string> Filters::remove(std::string_view filter) {
  std::vector<std::string> unused;
  const auto found = by_filter_.find(filter);
  if (found == by_filter_.end()) return unused;
  matches_.clear();
  const Subscription& subscription = found->second;
  remove_use(subscription.patterns.pattern, subscription, unused);
  if (!subscription.patterns.parent.empty()) remove_use(subscription.patterns.parent, subscription, unused);
  by_filter_.erase(found);
  return unused;
}

Filters::Match Filters::compute(std::string_view topic, bool own) {
  Match match;
  const auto add = [&](const Options& options) {
    if (own && options.no_local) return;
    match.any = true;
    match.qos = std::max(match.qos, options.qos);
    match.retain_as_published = match.retain_as_published || options.retain_as_published;
    if (options.id != 0) match.ids.push_back(options.id);
  };
  if (by_filter_.size() <= compared_max) {
    for (const auto& [filter, subscription] : by_filter_) {
      if (filter_matches(filter, topic)) add(subscription.options);
    }
    return match;
  }
  if (!trie_) {
    trie_ = std::make_unique<PatternTrie<const Uses*>>();
    for (const auto& [pattern, uses] : uses_) trie_->insert(pattern, &uses);
  }
  std::string tokens(topic);
  std::replace(tokens.begin(), tokens.end(), '/', '.');
  trie_->match(tokens, [&](const Uses* uses) {
    for (const Subscription* const each : *uses) add(each->options);
  });
  return match;
}

const Filters::Match& Filters::match(std::string_view topic, bool own) {
  if (own) return own_ = compute(topic, true);
  if (const auto found = matches_.find(topic); found != matches_.end()) return found->second;
  if (matches_.size() >= matches_max) matches_.clear();
  return matches_.emplace(topic, compute(topic, false)).first->second;
}

}  // namespace backplane::gateway::mqtt
