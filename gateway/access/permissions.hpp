#pragma once
// The decisions of the gateway's policy, for its hub.

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/policy/decision_cache.hpp"
#include "core/policy/policy.hpp"
#include "gateway/access/rights.hpp"

namespace backplane::gateway {

/// How a client has proved who it is.
struct Identity {
  enum class Kind : std::uint8_t {
    anonymous,
    token,        ///< `proof` is the hash in the policy to which its token belongs
    certificate,  ///< `proof` is the common name of its certificate, which TLS has verified
  };
  Kind kind{Kind::anonymous};
  std::string user{};
  std::string proof{};
};

/// Decides by one policy at a time. Lives on the hub's thread.
class Permissions {
 public:
  explicit Permissions(std::shared_ptr<const policy::Policy> policy);

  /// Users of the policy before are invalid from now on.
  void set_policy(std::shared_ptr<const policy::Policy> policy);

  /// The user that the identity belongs to; nullptr if the policy does not accept it any more.
  [[nodiscard]] const policy::User* find(const Identity& identity) const;
  [[nodiscard]] const policy::User& anonymous() const { return policy_->anonymous(); }
  /// The user of a client certificate; nullptr if there is none.
  [[nodiscard]] const policy::User* user_of_certificate(std::string_view name) const {
    return policy_->user_of_certificate(name);
  }
  /// The same object for all users that may read the same patterns, also across policies.
  [[nodiscard]] ReadViewPtr view(const policy::User& user);
  [[nodiscard]] bool may_publish(const policy::User& user, std::string_view topic) {
    return decisions_->may_publish(user, topic);
  }
  [[nodiscard]] Rights rights(const policy::User& user);

 private:
  std::shared_ptr<const policy::Policy> policy_;
  std::optional<policy::DecisionCache> decisions_;
  std::vector<ReadViewPtr> by_user_;  // by the user's id; nullptr: not needed yet
  std::map<std::vector<std::string>, std::weak_ptr<const ReadView>> views_;  // by their patterns
  std::size_t views_checked_{64};  // above this number, those that have ended are removed
};

}  // namespace backplane::gateway
