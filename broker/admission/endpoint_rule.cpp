#include "broker/admission/endpoint_rule.hpp"

#include <algorithm>

namespace backplane::broker {
namespace {

// Users that have no key cannot be connected.
bool keeps_its_keys(const policy::User& before, const policy::User& now) {
  return std::ranges::all_of(before.curve, [&](const PublicKey& key) {
    return std::ranges::find(now.curve, key) != now.curve.end();
  });
}

}  // namespace

const Pattern* EndpointRule::first_hidden(const policy::Policy& policy, const policy::User& user) const {
  const auto found = std::ranges::find_if(published_, [&](const Pattern& each) {
    return policy.visibility(user, each) != policy::Visibility::all;
  });
  return found == published_.end() ? nullptr : &*found;
}

UserNames users_to_disconnect(const EndpointRule& rule, const policy::Policy& before,
                              const policy::Policy& now) {
  UserNames names;
  for (const policy::User& user : before.users()) {
    if (user.curve.empty() || !rule.admits(before, user)) continue;
    const policy::User* const later = now.user(user.name);
    if (later == nullptr || !keeps_its_keys(user, *later) || !rule.admits(now, *later)) {
      names.insert(user.name);
    }
  }
  return names;
}

}  // namespace backplane::broker
