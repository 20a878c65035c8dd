#pragma once
// Policies for tests.

#include <memory>
#include <string_view>

#include "core/policy/policy.hpp"

namespace backplane::broker::testing {

/// The policy with this text, which must be correct.
inline std::shared_ptr<const policy::Policy> policy_of(std::string_view text) {
  return std::make_shared<const policy::Policy>(policy::Policy::parse(text, "policy.toml").value());
}

/// Users with disjoint patterns: `sensor` and `news` publish and read their own, `reader` only reads news,
/// `visitor` may do nothing, `operator` is admin.
inline constexpr std::string_view two_worlds = R"(
[users.sensor]
certificate = "sensor"
roles = ["sensors"]
[users.news]
certificate = "news"
roles = ["news"]
[users.reader]
certificate = "reader"
roles = ["readers"]
[users.visitor]
certificate = "visitor"
[users.operator]
certificate = "operator"
roles = ["operators"]

[roles.sensors]
publish = ["sensor.>"]
subscribe = ["sensor.>"]
[roles.news]
publish = ["news.>"]
subscribe = ["news.>"]
[roles.readers]
subscribe = ["news.>"]
[roles.operators]
admin = true
)";

}  // namespace backplane::broker::testing
