#pragma once
// A policy: which user may publish and read which topics. docs/security.md describes the file.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/credentials/key.hpp"
#include "core/error/error.hpp"
#include "core/topic/pattern.hpp"
#include "core/topic/string_hash.hpp"

namespace backplane::policy {

/// The limits of a policy. They bound what one decision can cost: a user has at most 32 × 256 patterns of
/// each kind.
inline constexpr std::size_t policy_bytes_max = 4u << 20;
inline constexpr std::size_t users_max = 10'000;
inline constexpr std::size_t roles_max = 1'000;
inline constexpr std::size_t patterns_per_role_max = 256;
inline constexpr std::size_t roles_per_user_max = 32;
inline constexpr std::size_t credentials_per_user_max = 16;  ///< of each kind

/// The user that a client without credentials is.
inline constexpr std::string_view anonymous_name = "anonymous";

/// What the users with this role may do.
struct Role {
  std::string name;
  std::vector<Pattern> publish;
  std::vector<Pattern> subscribe;
  bool admin{};  ///< drain, statistics of others, registering types
};

/// A name with its credentials and roles. Every kind of credential is sufficient on its own.
struct User {
  std::string name;
  std::uint32_t id{};  ///< 0, 1, 2, … within its policy
  std::vector<PublicKey> curve;
  std::vector<std::string> tokens;  ///< hashes (core/credentials/token_hash.hpp)
  std::vector<std::string> certificates;
  std::vector<std::uint32_t> roles;  ///< indices of Policy::roles()
  bool admin{};                      ///< one of the roles has it
};

/// How much of a subscription its user may read.
enum class Visibility : std::uint8_t {
  none,  ///< no topic that it matches
  part,  ///< some topics; the others must be hidden, topic by topic
  all,   ///< every topic that it matches
};

/// One policy file. What no role permits is denied. Immutable: any number of threads can use it.
class Policy {
 public:
  /// Every error of a policy, one line each.
  template <class T>
  using Checked = tl::expected<T, std::vector<std::string>>;

  /// Reads a policy file of at most 4 MiB. A file that other users can write is refused. @returns all errors
  /// in the order of the lines, each as `policy.toml:7 [users.sensor7].roles: expected …, got …`.
  static Checked<Policy> load(const std::filesystem::path& file);
  /// The same for text; errors use `name` as the file's name.
  static Checked<Policy> parse(std::string_view toml, std::string_view name);

  /// The user of that name, or nullptr.
  [[nodiscard]] const User* user(std::string_view name) const;
  /// The user that the key or the name of a certificate belongs to, or nullptr.
  [[nodiscard]] const User* user_of_key(const PublicKey& key) const;
  [[nodiscard]] const User* user_of_certificate(std::string_view name) const;
  /// The user without credentials. It exists, without roles, also if the file does not have it.
  [[nodiscard]] const User& anonymous() const { return users_[anonymous_]; }

  /// Sorted by name.
  [[nodiscard]] const std::vector<User>& users() const noexcept { return users_; }
  [[nodiscard]] const std::vector<Role>& roles() const noexcept { return roles_; }

  /// Whether a user of this policy may publish to, or read, a topic (already checked). The system's topics
  /// can be read by a role whose pattern begins with `$SYS.`, and published by nobody.
  [[nodiscard]] bool may_publish(const User& user, std::string_view topic) const noexcept;
  [[nodiscard]] bool may_subscribe(const User& user, std::string_view topic) const noexcept;

  /// How much of `subscription` the user may read. `part` is also returned if only several patterns together
  /// permit everything.
  [[nodiscard]] Visibility visibility(const User& user, const Pattern& subscription) const noexcept;

 private:
  Policy() = default;
  void index();

  std::vector<Role> roles_;
  std::vector<User> users_;
  std::size_t anonymous_{};
  std::unordered_map<std::string, std::uint32_t, StringHash, std::equal_to<>> by_name_;
  std::unordered_map<std::string, std::uint32_t, StringHash, std::equal_to<>> by_certificate_;
  std::map<PublicKey, std::uint32_t> by_key_;
};

}  // namespace backplane::policy
