#include "gateway/access/permissions.hpp"

#include <algorithm>
#include <utility>

namespace backplane::gateway {

Permissions::Permissions(std::shared_ptr<const policy::Policy> policy) {
  set_policy(std::move(policy));
}

void Permissions::set_policy(std::shared_ptr<const policy::Policy> policy) {
  policy_ = std::move(policy);
  decisions_.emplace(policy_);
  by_user_.assign(policy_->users().size(), nullptr);
}

const policy::User* Permissions::find(const Identity& identity) const {
  if (identity.kind == Identity::Kind::anonymous) return &policy_->anonymous();
  const policy::User* const user = policy_->user(identity.user);
  if (user == nullptr) return nullptr;
  const auto& proofs = identity.kind == Identity::Kind::token ? user->tokens : user->certificates;
  return std::find(proofs.begin(), proofs.end(), identity.proof) == proofs.end() ? nullptr : user;
}

ReadViewPtr Permissions::view(const policy::User& user) {
  ReadViewPtr& of_user = by_user_.at(user.id);
  if (of_user) return of_user;
  std::vector<Pattern> patterns = readable_patterns(*policy_, user);
  std::vector<std::string> key;
  key.reserve(patterns.size());
  for (const Pattern& each : patterns) key.push_back(each.str());
  std::weak_ptr<const ReadView>& known = views_[std::move(key)];
  of_user = known.lock();
  if (of_user) return of_user;
  of_user = std::make_shared<const ReadView>(std::move(patterns));
  known = of_user;
  if (views_.size() > views_checked_) {
    std::erase_if(views_, [](const auto& each) { return each.second.expired(); });
    views_checked_ = std::max<std::size_t>(64, 2 * views_.size());
  }
  return of_user;
}

Rights Permissions::rights(const policy::User& user) {
  return {user.name, &user == &policy_->anonymous(), user.admin, view(user)};
}

}  // namespace backplane::gateway
