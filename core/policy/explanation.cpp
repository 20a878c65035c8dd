#include "core/policy/explanation.hpp"

#include <optional>

#include <fmt/format.h>

#include "core/topic/topic.hpp"

namespace backplane::policy {
namespace {

/// The first role and pattern of the user for which `holds` is true: "role readers has stock.*".
template <class Holds>
std::optional<std::string> reason(const Policy& policy, const User& user,
                                  std::vector<Pattern> Role::*patterns, const Holds& holds) {
  for (const std::uint32_t number : user.roles) {
    const Role& role = policy.roles()[number];
    for (const Pattern& each : role.*patterns) {
      if (holds(each)) return fmt::format("role {} has {}", role.name, each.str());
    }
  }
  return std::nullopt;
}

std::string no_reason(const User& user) {
  if (user.roles.empty()) return fmt::format("{} has no roles", user.name);
  return fmt::format("no role of {} has a pattern that matches", user.name);
}

std::string explain_publish(const Policy& policy, const User& user, const Pattern& topic) {
  if (is_system_topic(topic.str())) return "may not publish: $SYS topics belong to the system";
  const auto why =
      reason(policy, user, &Role::publish, [&](const Pattern& each) { return each.covers(topic); });
  return why ? "may publish: " + *why : "may not publish: " + no_reason(user);
}

std::string explain_subscribe(const Policy& policy, const User& user, const Pattern& topics) {
  if (const auto why =
          reason(policy, user, &Role::subscribe, [&](const Pattern& each) { return each.covers(topics); })) {
    return "may subscribe: " + *why;
  }
  if (const auto why = reason(policy, user, &Role::subscribe,
                              [&](const Pattern& each) { return each.overlaps(topics); })) {
    return fmt::format("may subscribe in part: {}; topics that no pattern matches are hidden", *why);
  }
  return "may not subscribe: " + no_reason(user);
}

}  // namespace

std::vector<std::string> explain(const Policy& policy, const User& user, const Pattern& topics) {
  std::vector<std::string> lines;
  if (topics.is_exact()) lines.push_back(explain_publish(policy, user, topics));
  lines.push_back(explain_subscribe(policy, user, topics));
  return lines;
}

}  // namespace backplane::policy
