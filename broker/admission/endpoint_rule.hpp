#pragma once
// Which users may connect to an endpoint of a backplane.

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/policy/policy.hpp"
#include "core/topic/pattern.hpp"

namespace backplane::broker {

/// The rule of one endpoint. Every user of the policy may connect to an endpoint that publishes nothing; to
/// one that does, those who may read all of it, because a ZeroMQ subscriber receives whatever it subscribes
/// to. Immutable: any number of threads can use it.
class EndpointRule {
 public:
  /// @param domain     the endpoint's ZAP domain, and its name in the log
  /// @param published  the patterns of the topics that are published there
  explicit EndpointRule(std::string domain, std::vector<Pattern> published = {})
      : domain_(std::move(domain)), published_(std::move(published)) {}

  [[nodiscard]] const std::string& domain() const noexcept { return domain_; }

  /// Whether a user of this policy may connect.
  [[nodiscard]] bool admits(const policy::Policy& policy, const policy::User& user) const {
    return first_hidden(policy, user) == nullptr;
  }
  /// The first pattern of which the user may not read everything; nullptr: the user may connect.
  [[nodiscard]] const Pattern* first_hidden(const policy::Policy& policy, const policy::User& user) const;

 private:
  std::string domain_;
  std::vector<Pattern> published_;
};

using UserNames = std::set<std::string, std::less<>>;

/// The users whose connections to the endpoint must end when `now` replaces `before`: those who are gone, may
/// no longer connect, or have lost one of their keys. Those who may still connect do it again, by a key that
/// is left.
[[nodiscard]] UserNames users_to_disconnect(const EndpointRule& rule, const policy::Policy& before,
                                            const policy::Policy& now);

}  // namespace backplane::broker
