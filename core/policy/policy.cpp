#include "core/policy/policy.hpp"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "core/config/section.hpp"
#include "core/config/source.hpp"
#include "core/credentials/protected_file.hpp"
#include "core/credentials/token_hash.hpp"
#include "core/log/escape.hpp"
#include "core/topic/topic.hpp"

namespace backplane::policy {
namespace {

using config::Section;

constexpr std::size_t name_bytes_max = 64;
constexpr std::size_t certificate_bytes_max = 255;

/// A role as the file has it.
struct RoleText {
  std::vector<std::string> publish;
  std::vector<std::string> subscribe;
  bool admin{};
};

struct UserText {
  std::vector<std::string> curve;
  std::vector<std::string> tokens;
  std::vector<std::string> certificates;
  std::vector<std::string> roles;
};

struct PolicyText {
  std::map<std::string, UserText, std::less<>> users;
  std::map<std::string, RoleText, std::less<>> roles;
};

tl::unexpected<Error> wrong(std::string_view where, std::string_view expected, std::string_view got) {
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: expected {}, got {}", where, expected, log::escape(got)));
}

std::string quoted(std::string_view text) {
  return fmt::format("\"{}\"", text);
}

Result<void> check_name(std::string_view name, std::string_view where) {
  const bool good = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  if (good && !name.empty() && name.size() <= name_bytes_max) return {};
  return wrong(where, fmt::format("a name of 1..{} letters, digits, - and _", name_bytes_max),
               name.size() > name_bytes_max ? fmt::format("{} bytes", name.size()) : quoted(name));
}

Result<void> check_key(std::string_view text, std::string_view where) {
  return parse_public_key(text, where).map([](const PublicKey&) {});
}

Result<void> check_certificate(std::string_view name, std::string_view where) {
  if (!name.empty() && name.size() <= certificate_bytes_max) return {};
  return wrong(where, fmt::format("a certificate's name of 1..{} bytes", certificate_bytes_max),
               fmt::format("{} bytes", name.size()));
}

Result<void> check_readable(std::string_view pattern, std::string_view where) {
  const TopicFault fault = check_pattern(pattern);
  if (fault == TopicFault::none) return {};
  return fail(ErrorCode::invalid_argument, fmt::format("{}: {}", where, backplane::describe(fault, pattern)));
}

Result<void> check_publishable(std::string_view pattern, std::string_view where) {
  if (auto checked = check_readable(pattern, where); !checked) return checked;
  if (!is_system_topic(pattern)) return {};
  return wrong(where, "a pattern of topics that clients can publish", quoted(pattern));
}

void check_count(Section& section, std::string_view key, std::size_t count, std::size_t max,
                 std::string_view what) {
  if (count <= max) return;
  section.error(key, fmt::format("expected at most {} {}, got {}", max, what, count));
}

/// Finds credentials that belong to two users.
class Owners {
 public:
  void claim(Section& section, std::string_view key, const std::vector<std::string>& values,
             const std::string& user) {
    for (const std::string& each : values) {
      const auto [found, is_new] = owners_.try_emplace(fmt::format("{} {}", key, each), user);
      if (is_new) continue;
      section.error(key, fmt::format("expected credentials that nobody else has, got those of {}",
                                     found->second == user ? "this user again" : found->second));
    }
  }

 private:
  std::map<std::string, std::string> owners_;
};

void describe_user(Section& section, const std::string& name, UserText& user, const PolicyText& policy,
                   Owners& owners) {
  section.one_or_more("curve", user.curve, "Public keys in Z85.", check_key);
  section.one_or_more("token", user.tokens, "Hashes of tokens, from `backplane policy hash`.",
                      check_token_hash);
  section.one_or_more("certificate", user.certificates, "Common names of client certificates.",
                      check_certificate);
  section.field("roles", user.roles, "Names of roles.");
  for (const auto& [key, values] :
       {std::pair<std::string_view, const std::vector<std::string>&>{"curve", user.curve},
        {"token", user.tokens},
        {"certificate", user.certificates}}) {
    check_count(section, key, values.size(), credentials_per_user_max, "values");
    owners.claim(section, key, values, name);
    if (name == anonymous_name && !values.empty()) {
      section.error(key, "expected no credentials for the user without credentials, got some");
    }
  }
  check_count(section, "roles", user.roles.size(), roles_per_user_max, "roles");
  for (const std::string& role : user.roles) {
    if (policy.roles.contains(role)) continue;
    section.error("roles", fmt::format("expected the name of a role, got \"{}\"", log::escape(role)));
  }
  const bool has_credentials =
      section.given("curve") || section.given("token") || section.given("certificate");
  if (name != anonymous_name && !has_credentials) {
    section.error("curve", "expected curve, token or certificate, got none");
  }
}

void describe_role(Section& section, RoleText& role) {
  section.field("publish", role.publish, "Patterns of topics that may be published.", check_publishable);
  section.field("subscribe", role.subscribe, "Patterns of topics that may be read.", check_readable);
  section.field("admin", role.admin, "Whether drain, statistics and types are permitted.");
  check_count(section, "publish", role.publish.size(), patterns_per_role_max, "patterns");
  check_count(section, "subscribe", role.subscribe.size(), patterns_per_role_max, "patterns");
}

void describe(Section& root, PolicyText& policy) {
  // Roles come first: users name them.
  root.named_tables(
      "roles", policy.roles, "Roles.", check_name,
      [](Section& section, const std::string&, RoleText& role) { describe_role(section, role); });
  Owners owners;
  root.named_tables("users", policy.users, "Users.", check_name,
                    [&](Section& section, const std::string& name, UserText& user) {
                      describe_user(section, name, user, policy, owners);
                    });
  check_count(root, "roles", policy.roles.size(), roles_max, "roles");
  check_count(root, "users", policy.users.size(), users_max, "users");
}

std::vector<Pattern> patterns_of(const std::vector<std::string>& texts) {
  std::vector<Pattern> patterns;
  for (const std::string& each : texts) {
    auto pattern = Pattern::parse(each);
    CHECK(pattern.has_value(), "a policy's pattern was checked when it was read");
    patterns.push_back(std::move(*pattern));
  }
  return patterns;
}

bool match(const std::vector<Pattern>& patterns, std::string_view topic) noexcept {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const Pattern& each) { return each.matches(topic); });
}

}  // namespace

Policy::Checked<Policy> Policy::load(const std::filesystem::path& file) {
  const auto text = read_protected_file(file, OthersMay::read, policy_bytes_max);
  if (!text) return tl::unexpected(std::vector{text.error().text});
  return parse(*text, log::escape(file.string()));
}

Policy::Checked<Policy> Policy::parse(std::string_view toml, std::string_view name) {
  if (toml.size() > policy_bytes_max) {
    return tl::unexpected(
        std::vector{fmt::format("{}: expected at most {} bytes, got more", name, policy_bytes_max)});
  }
  const auto source = config::Source::parse(toml, name);
  if (!source) return tl::unexpected(std::vector{source.error().text});
  PolicyText text;
  std::vector<std::string> errors = config::read(*source, [&](Section& root) { describe(root, text); });
  if (!errors.empty()) return tl::unexpected(std::move(errors));

  text.users.try_emplace(std::string(anonymous_name));
  Policy policy;
  std::map<std::string, std::uint32_t, std::less<>> role_numbers;
  for (const auto& [role_name, role] : text.roles) {
    role_numbers.emplace(role_name, policy.roles_.size());
    policy.roles_.push_back({role_name, patterns_of(role.publish), patterns_of(role.subscribe), role.admin});
  }
  for (auto& [user_name, user] : text.users) {
    User& made = policy.users_.emplace_back();
    made.name = user_name;
    for (const std::string& each : user.curve) made.curve.push_back(parse_public_key(each, "curve").value());
    made.tokens = std::move(user.tokens);
    made.certificates = std::move(user.certificates);
    for (const std::string& each : user.roles) {
      const std::uint32_t role = role_numbers.at(each);
      made.roles.push_back(role);
      made.admin = made.admin || policy.roles_[role].admin;
    }
  }
  policy.index();
  return policy;
}

void Policy::index() {
  for (std::size_t at = 0; at < users_.size(); ++at) {
    User& user = users_[at];
    user.id = static_cast<std::uint32_t>(at);
    by_name_.emplace(user.name, user.id);
    for (const PublicKey& key : user.curve) by_key_.emplace(key, user.id);
    for (const std::string& each : user.certificates) by_certificate_.emplace(each, user.id);
    if (user.name == anonymous_name) anonymous_ = at;
  }
}

const User* Policy::user(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &users_[found->second];
}

const User* Policy::user_of_key(const PublicKey& key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : &users_[found->second];
}

const User* Policy::user_of_certificate(std::string_view name) const {
  const auto found = by_certificate_.find(name);
  return found == by_certificate_.end() ? nullptr : &users_[found->second];
}

bool Policy::may_publish(const User& user, std::string_view topic) const noexcept {
  if (is_system_topic(topic)) return false;
  return std::any_of(user.roles.begin(), user.roles.end(),
                     [&](std::uint32_t role) { return match(roles_[role].publish, topic); });
}

bool Policy::may_subscribe(const User& user, std::string_view topic) const noexcept {
  return std::any_of(user.roles.begin(), user.roles.end(),
                     [&](std::uint32_t role) { return match(roles_[role].subscribe, topic); });
}

Visibility Policy::visibility(const User& user, const Pattern& subscription) const noexcept {
  Visibility best = Visibility::none;
  for (const std::uint32_t role : user.roles) {
    for (const Pattern& each : roles_[role].subscribe) {
      if (each.covers(subscription)) return Visibility::all;
      if (each.overlaps(subscription)) best = Visibility::part;
    }
  }
  return best;
}

}  // namespace backplane::policy
