#pragma once
// Decides what a user may do at the broker.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <zmq.hpp>

#include "broker/state/topic_filter.hpp"
#include "broker/state/user_number.hpp"
#include "core/policy/decision_cache.hpp"
#include "core/policy/policy.hpp"
#include "core/topic/pattern.hpp"
#include "core/topic/string_hash.hpp"

namespace backplane::broker {

/// Who has sent a message. Without a policy, all of it is empty.
struct Sender {
  const policy::User* user{};  ///< nullptr: without a policy, or the policy has no such user
  std::string name;            ///< the user's; also of one that the policy no longer has
  std::string address;         ///< IP address; "" if there is none (inproc, ipc)
};

/// The policy of a broker, and its decisions. Without a policy, everything is permitted, which costs one
/// branch; users are then nullptr. With a policy, a message of nobody, or of a user that the policy no longer
/// has, is one of the user nullptr, who may do nothing.
///
/// What comes by the broker's own endpoints within the process (LocalEndpoints) is of own_user(), who may do
/// everything: only a part of the same program can reach these, and that part decides about its clients
/// itself.
///
/// Lives on the loop thread. Owns a cache of decisions. Users are valid until the next set_policy().
class Access {
 public:
  /// nullptr: no policy.
  explicit Access(std::shared_ptr<const policy::Policy> policy = nullptr);

  /// Replaces the policy, which takes effect at once. `policy` is not nullptr. Users that were returned
  /// before are no longer valid: look them up again, by message or by name.
  void set_policy(std::shared_ptr<const policy::Policy> policy);
  [[nodiscard]] bool has_policy() const noexcept { return decisions_.has_value(); }
  /// Grows with each set_policy(): what was decided under another generation may be different now.
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }

  /// The user of a message that was received: the one whom ZAP authenticated (its property User-Id). Takes
  /// some 30 ns. The property can be trusted only if the socket has a ZAP handler, as all sockets of a broker
  /// with a policy have: elsewhere, a peer can claim any.
  [[nodiscard]] const policy::User* user_of(zmq::message_t& message);
  /// The same with name and address, for requests and log lines. Allocates.
  [[nodiscard]] Sender sender_of(zmq::message_t& message);
  /// The user of the program itself, who may do everything; nullptr without a policy. No policy can have a
  /// user of that name. Valid as long as this object.
  [[nodiscard]] const policy::User* own_user() const noexcept { return decisions_ ? &own_user_ : nullptr; }
  [[nodiscard]] Sender own_sender() const {
    return decisions_ ? Sender{&own_user_, own_user_.name, {}} : Sender{};
  }
  [[nodiscard]] const policy::User* user_of_name(std::string_view name) const;

  /// `user` is one of the current policy, or nullptr. `topic` is a topic (already checked).
  [[nodiscard]] bool may_publish(const policy::User* user, std::string_view topic) {
    return !decisions_ || user == &own_user_ || (user != nullptr && decisions_->may_publish(*user, topic));
  }
  [[nodiscard]] bool may_subscribe(const policy::User* user, std::string_view topic) {
    return !decisions_ || user == &own_user_ || (user != nullptr && decisions_->may_subscribe(*user, topic));
  }
  /// How much of a subscription the user may read.
  [[nodiscard]] policy::Visibility visibility(const policy::User* user, const Pattern& subscription) const;
  /// Whether the user may drain the broker, read statistics and register types.
  [[nodiscard]] bool is_admin(const policy::User* user) const noexcept {
    return !decisions_ || (user != nullptr && user->admin);
  }
  /// The topics that a user of the current policy may read: the filter for what visibility() calls `part`.
  [[nodiscard]] std::shared_ptr<const TopicFilter> readable_topics(const policy::User& user);

  /// The number of a user of the current policy; no_user for nullptr.
  [[nodiscard]] UserNumber number_of(const policy::User* user) const noexcept {
    return user == nullptr ? no_user : user == &own_user_ ? own_number_ : numbers_[user->id];
  }
  /// The number of a name, also of one that no policy has had so far. Names are remembered as long as this
  /// object lives.
  UserNumber number_of_name(std::string_view name);
  /// The name with this number, valid as long as this object; "" for no_user.
  [[nodiscard]] std::string_view name_of(UserNumber number) const noexcept {
    return number == no_user ? std::string_view{} : names_[static_cast<std::uint32_t>(number) - 1];
  }

 private:
  // A message's properties belong to its connection, and a name is at the same address in all of them. After
  // the connection has closed, another name may be there: it is always compared, too.
  struct Seen {
    const char* name{};
    const policy::User* user{};
  };
  static constexpr std::size_t seen_bits = 10;

  void use(std::shared_ptr<const policy::Policy> policy);

  const policy::User own_user_;
  std::optional<policy::DecisionCache> decisions_;  ///< none: there is no policy
  std::uint64_t generation_{0};
  std::array<Seen, std::size_t{1} << seen_bits> seen_{};
  std::vector<UserNumber> numbers_;                           ///< by the policy's ids
  std::vector<std::shared_ptr<const TopicFilter>> readable_;  ///< the same; made when first used
  std::unordered_map<std::string, UserNumber, StringHash, std::equal_to<>>
      known_;                            ///< of all policies so far
  std::vector<std::string_view> names_;  ///< the keys of known_, by number
  UserNumber own_number_{no_user};
};

}  // namespace backplane::broker
