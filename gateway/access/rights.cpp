#include "gateway/access/rights.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace backplane::gateway {

using policy::Visibility;

bool ReadView::may_read(std::string_view topic) const noexcept {
  return std::any_of(patterns_.begin(), patterns_.end(),
                     [&](const Pattern& each) { return each.matches(topic); });
}

Visibility ReadView::visibility(const Pattern& subscription) const noexcept {
  Visibility best = Visibility::none;
  for (const Pattern& each : patterns_) {
    if (each.covers(subscription)) return Visibility::all;
    if (each.overlaps(subscription)) best = Visibility::part;
  }
  return best;
}

bool ReadView::includes(const ReadView& other, const Pattern& subscription) const noexcept {
  if (visibility(subscription) == Visibility::all) return true;
  return std::all_of(other.patterns_.begin(), other.patterns_.end(), [&](const Pattern& theirs) {
    return !theirs.overlaps(subscription) ||
           std::any_of(patterns_.begin(), patterns_.end(),
                       [&](const Pattern& own) { return own.covers(theirs); });
  });
}

std::vector<Pattern> readable_patterns(const policy::Policy& policy, const policy::User& user) {
  std::vector<Pattern> patterns;
  for (const std::uint32_t role : user.roles) {
    const std::vector<Pattern>& of_role = policy.roles().at(role).subscribe;
    patterns.insert(patterns.end(), of_role.begin(), of_role.end());
  }
  std::sort(patterns.begin(), patterns.end(),
            [](const Pattern& a, const Pattern& b) { return a.str() < b.str(); });
  patterns.erase(std::unique(patterns.begin(), patterns.end()), patterns.end());
  return patterns;
}

AccessRefusal refusal(std::string_view user, bool anonymous, std::string_view what) {
  if (anonymous) {
    return {not_authenticated,
            fmt::format("clients without credentials may not {}: send a token first", what)};
  }
  return {not_permitted, fmt::format("user {} may not {}", user, what)};
}

}  // namespace backplane::gateway
