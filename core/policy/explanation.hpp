#pragma once
// Decisions of a policy in words.

#include <string>
#include <vector>

#include "core/policy/policy.hpp"

namespace backplane::policy {

/// What the user may do with a topic, or with the topics of a pattern, and why; one line for each action:
///     may not publish: dashboard has no roles
///     may subscribe: role readers has stock.*
/// For a pattern with wildcards there is only the line about subscribing.
[[nodiscard]] std::vector<std::string> explain(const Policy& policy, const User& user, const Pattern& topics);

}  // namespace backplane::policy
