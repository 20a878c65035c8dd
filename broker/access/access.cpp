#include "broker/access/access.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "core/error/error.hpp"

namespace backplane::broker {
namespace {

const char* property(zmq::message_t& message, const char* name) noexcept {
  return zmq_msg_gets(message.handle(), name);
}

const char* user_id(zmq::message_t& message) noexcept {
  return property(message, "User-Id");
}

// Names of users consist of letters, digits, - and _.
policy::User make_own_user() {
  policy::User user;
  user.name = "$gateway";
  user.admin = true;
  return user;
}

}  // namespace

Access::Access(std::shared_ptr<const policy::Policy> policy) : own_user_(make_own_user()) {
  own_number_ = number_of_name(own_user_.name);
  if (policy != nullptr) use(std::move(policy));
}

void Access::set_policy(std::shared_ptr<const policy::Policy> policy) {
  CHECK(policy != nullptr, "a policy is replaced by another, never removed");
  use(std::move(policy));
  ++generation_;
}

void Access::use(std::shared_ptr<const policy::Policy> policy) {
  seen_ = {};  // before the users that it points to are gone
  const policy::Policy& now = decisions_.emplace(std::move(policy)).policy();
  numbers_.clear();
  for (const policy::User& user : now.users()) numbers_.push_back(number_of_name(user.name));
  readable_.assign(now.users().size(), nullptr);
}

UserNumber Access::number_of_name(std::string_view name) {
  if (const auto known = known_.find(name); known != known_.end()) return known->second;
  const auto next = UserNumber{static_cast<std::uint32_t>(known_.size() + 1)};
  names_.push_back(known_.emplace(name, next).first->first);
  return next;
}

const policy::User* Access::user_of(zmq::message_t& message) {
  if (!decisions_) return nullptr;
  const char* const name = user_id(message);
  if (name == nullptr) return nullptr;
  const std::uint64_t mixed = reinterpret_cast<std::uintptr_t>(name) * 0x9e37'79b9'7f4a'7c15ULL;
  Seen& seen = seen_[mixed >> (64 - seen_bits)];
  if (seen.name == name && seen.user->name == name) return seen.user;
  const policy::User* const user = decisions_->policy().user(name);
  if (user != nullptr) seen = {name, user};
  return user;
}

Sender Access::sender_of(zmq::message_t& message) {
  Sender sender;
  if (!decisions_) return sender;
  sender.user = user_of(message);
  if (const char* const name = user_id(message); name != nullptr) sender.name = name;
  if (const char* const address = property(message, "Peer-Address"); address != nullptr) {
    sender.address = address;
  }
  return sender;
}

const policy::User* Access::user_of_name(std::string_view name) const {
  return decisions_ ? decisions_->policy().user(name) : nullptr;
}

policy::Visibility Access::visibility(const policy::User* user, const Pattern& subscription) const {
  if (!decisions_) return policy::Visibility::all;
  if (user == &own_user_) return policy::Visibility::all;
  if (user == nullptr) return policy::Visibility::none;
  return decisions_->policy().visibility(*user, subscription);
}

std::shared_ptr<const TopicFilter> Access::readable_topics(const policy::User& user) {
  std::shared_ptr<const TopicFilter>& filter = readable_[user.id];
  if (filter == nullptr) {
    std::vector<Pattern> patterns;
    for (const std::uint32_t role : user.roles) {
      for (const Pattern& each : decisions_->policy().roles()[role].subscribe) {
        if (std::find(patterns.begin(), patterns.end(), each) == patterns.end()) patterns.push_back(each);
      }
    }
    filter = std::make_shared<const TopicFilter>(std::move(patterns));
  }
  return filter;
}

}  // namespace backplane::broker
