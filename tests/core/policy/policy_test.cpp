#include "core/policy/policy.hpp"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace backplane::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view hash =
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
constexpr std::string_view key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";

/// The example of the documentation.
std::string example() {
  return fmt::format(R"([users.sensor7]
curve = "{}"
roles = ["sensors"]
[users.dashboard]
token = "{}"
certificate = ["dashboard.example.org", "wall"]
roles = ["readers"]
[users.operator]
token = ["{}A"]
roles = ["readers", "operators"]
[users.anonymous]
roles = []
[roles.sensors]
publish = ["sensor.>"]
[roles.readers]
subscribe = ["sensor.>", "stock.*"]
[roles.operators]
subscribe = ["$SYS.>", "*.private"]
admin = true
)",
                     key, hash, hash.substr(0, hash.size() - 1));
}

Policy policy_of(std::string_view toml) {
  auto policy = Policy::parse(toml, "policy.toml");
  if (!policy) throw std::runtime_error(policy.error().front());
  return std::move(*policy);
}

std::vector<std::string> errors_of(std::string_view toml) {
  auto policy = Policy::parse(toml, "policy.toml");
  return policy ? std::vector<std::string>{} : policy.error();
}

Pattern pattern(std::string_view text) {
  return Pattern::parse(text).value();
}

TEST(Policy, PermitsWhatARoleOfTheUserHasAndNothingElse) {
  const Policy policy = policy_of(example());
  const User& sensor = *policy.user("sensor7");
  EXPECT_TRUE(policy.may_publish(sensor, "sensor.7.temperature"));
  EXPECT_FALSE(policy.may_publish(sensor, "sensor"));
  EXPECT_FALSE(policy.may_publish(sensor, "stock.MSFT"));
  EXPECT_FALSE(policy.may_subscribe(sensor, "sensor.7.temperature"));
  const User& dashboard = *policy.user("dashboard");
  EXPECT_TRUE(policy.may_subscribe(dashboard, "stock.MSFT"));
  EXPECT_FALSE(policy.may_subscribe(dashboard, "stock.MSFT.us"));
  EXPECT_FALSE(policy.may_publish(dashboard, "stock.MSFT"));
}

TEST(Policy, PermissionsOfAllRolesAddUp) {
  const Policy policy = policy_of(example());
  const User& user = *policy.user("operator");
  EXPECT_TRUE(policy.may_subscribe(user, "stock.MSFT"));
  EXPECT_TRUE(policy.may_subscribe(user, "news.private"));
  EXPECT_TRUE(user.admin);
  EXPECT_FALSE(policy.user("dashboard")->admin);
}

TEST(Policy, SystemTopicsAreReadOnlyByRolesThatNameThemAndPublishedByNobody) {
  const Policy policy = policy_of(
      "[users.anonymous]\nroles = [\"all\"]\n[roles.all]\npublish = [\">\"]\nsubscribe = [\">\"]\n");
  EXPECT_TRUE(policy.may_subscribe(policy.anonymous(), "a.b"));
  EXPECT_FALSE(policy.may_subscribe(policy.anonymous(), "$SYS.stats"));
  EXPECT_TRUE(policy.may_publish(policy.anonymous(), "a.b"));
  EXPECT_FALSE(policy.may_publish(policy.anonymous(), "$SYS.stats"));
  const Policy other = policy_of(example());
  EXPECT_TRUE(other.may_subscribe(*other.user("operator"), "$SYS.broker.default.stats"));
}

TEST(Policy, WithoutAnythingPermitsNothing) {
  const Policy policy = policy_of("");
  EXPECT_EQ(policy.users().size(), 1U);
  EXPECT_FALSE(policy.may_subscribe(policy.anonymous(), "a"));
  EXPECT_FALSE(policy.may_publish(policy.anonymous(), "a"));
  EXPECT_EQ(policy.visibility(policy.anonymous(), pattern(">")), Visibility::none);
  EXPECT_FALSE(policy.anonymous().admin);
}

TEST(Policy, FindsUsersByTheirCredentials) {
  const Policy policy = policy_of(example());
  EXPECT_EQ(policy.user_of_key(parse_public_key(key, "").value()), policy.user("sensor7"));
  EXPECT_EQ(policy.user_of_key(PublicKey{}), nullptr);
  EXPECT_EQ(policy.user_of_certificate("wall"), policy.user("dashboard"));
  EXPECT_EQ(policy.user_of_certificate("Wall"), nullptr);
  EXPECT_THAT(policy.user("dashboard")->tokens, ElementsAre(hash));
  EXPECT_EQ(policy.user("nobody"), nullptr);
  EXPECT_EQ(policy.user("anonymous"), &policy.anonymous());
}

TEST(Policy, ASubscriptionIsVisibleEntirelyInPartOrNotAtAll) {
  const Policy policy = policy_of(example());
  const User& dashboard = *policy.user("dashboard");
  EXPECT_EQ(policy.visibility(dashboard, pattern("sensor.>")), Visibility::all);
  EXPECT_EQ(policy.visibility(dashboard, pattern("sensor.7.*")), Visibility::all);
  EXPECT_EQ(policy.visibility(dashboard, pattern("stock.MSFT")), Visibility::all);
  EXPECT_EQ(policy.visibility(dashboard, pattern("stock.>")), Visibility::part);
  EXPECT_EQ(policy.visibility(dashboard, pattern(">")), Visibility::part);
  EXPECT_EQ(policy.visibility(dashboard, pattern("*.private")), Visibility::part);
  EXPECT_EQ(policy.visibility(dashboard, pattern("news.>")), Visibility::none);
  EXPECT_EQ(policy.visibility(dashboard, pattern("$SYS.>")), Visibility::none);
  EXPECT_EQ(policy.visibility(dashboard, pattern("stock")), Visibility::none);
}

TEST(Policy, AnErrorSaysWhereWhatWasExpectedAndWhatWasThere) {
  const std::string text = fmt::format(R"([users.a]
curve = "short"
roles = ["readers", "raeders"]
[users.b]
token = "s3cret"
[users.c]
roles = ["readers"]
[users."d e"]
token = "{}"
[users.anonymous]
token = "{}"
[roles.readers]
subscribe = ["a..b"]
publish = ["$SYS.>"]
admin = "yes"
[role.x]
)",
                                       hash, hash);
  const std::vector<std::string> errors = errors_of(text);
  EXPECT_THAT(errors,
              testing::UnorderedElementsAre(
                  "policy.toml:2 [users.a].curve: expected a key of 40 Z85 characters, got 5 characters",
                  "policy.toml:3 [users.a].roles: expected the name of a role, got \"raeders\"",
                  "policy.toml:5 [users.b].token: expected a line of `backplane policy hash`, "
                  "$argon2id$v=19$m=..,t=..,p=1$..$.. of at most 256 MiB and 16 passes, got something else",
                  "policy.toml:6 [users.c].curve: expected curve, token or certificate, got none",
                  "policy.toml:8 [users.d e]: expected a name of 1..64 letters, digits, - and _, got \"d e\"",
                  "policy.toml:11 [users.anonymous].token: expected no credentials for the user without "
                  "credentials, got some",
                  "policy.toml:13 [roles.readers].subscribe: a token is empty: \"a..b\"",
                  "policy.toml:14 [roles.readers].publish: expected a pattern of topics that clients can "
                  "publish, got \"$SYS.>\"",
                  "policy.toml:15 [roles.readers].admin: expected true or false, got \"yes\"",
                  "policy.toml:16 [role]: unknown table; did you mean \"roles\"?"));
  EXPECT_THAT(errors.front(), HasSubstr("policy.toml:2 ")) << "errors come in the order of the lines";
}

TEST(Policy, CredentialsBelongToOneUser) {
  const std::string text = fmt::format(R"([users.a]
curve = "{0}"
token = "{1}"
certificate = "x"
[users.b]
curve = "{0}"
token = ["{1}"]
certificate = ["x", "y", "y"]
)",
                                       key, hash);
  EXPECT_THAT(
      errors_of(text),
      ElementsAre(
          "policy.toml:6 [users.b].curve: expected credentials that nobody else has, got those of a",
          "policy.toml:7 [users.b].token: expected credentials that nobody else has, got those of a",
          "policy.toml:8 [users.b].certificate: expected credentials that nobody else has, got those of a",
          "policy.toml:8 [users.b].certificate: expected credentials that nobody else has, got those of this "
          "user again"));
}

TEST(Policy, HasLimits) {
  const auto list = [](std::size_t count, std::string_view prefix) {
    std::string text;
    for (std::size_t at = 0; at < count; ++at) text += fmt::format("\"{}{}\", ", prefix, at);
    return text;
  };
  const auto roles = [](std::size_t count) {
    std::string text;
    for (std::size_t at = 0; at < count; ++at) text += fmt::format("[roles.r{}]\n", at);
    return text;
  };
  const auto users = [](std::size_t count) {
    std::string text;
    for (std::size_t at = 0; at < count; ++at)
      text += fmt::format("[users.u{}]\ncertificate = \"{}\"\n", at, at);
    return text;
  };
  EXPECT_THAT(errors_of(users(users_max)), ElementsAre());
  EXPECT_THAT(errors_of(users(users_max + 1)),
              ElementsAre("policy.toml:1 [users]: expected at most 10000 users, got 10001"));
  EXPECT_THAT(errors_of(roles(roles_max)), ElementsAre());
  EXPECT_THAT(errors_of(roles(roles_max + 1)),
              ElementsAre("policy.toml:1 [roles]: expected at most 1000 roles, got 1001"));
  EXPECT_THAT(errors_of("[roles.r]\npublish = [" + list(patterns_per_role_max, "a") + "]\n"), ElementsAre());
  EXPECT_THAT(errors_of("[roles.r]\npublish = [" + list(patterns_per_role_max + 1, "a") + "]\n"),
              ElementsAre("policy.toml:2 [roles.r].publish: expected at most 256 patterns, got 257"));
  EXPECT_THAT(errors_of("[roles.r]\nsubscribe = [" + list(patterns_per_role_max + 1, "a") + "]\n"),
              ElementsAre("policy.toml:2 [roles.r].subscribe: expected at most 256 patterns, got 257"));
  EXPECT_THAT(
      errors_of("[users.anonymous]\nroles = [" + list(roles_per_user_max + 1, "r") + "]\n" + roles(100)),
      ElementsAre("policy.toml:2 [users.anonymous].roles: expected at most 32 roles, got 33"));
  EXPECT_THAT(errors_of("[users.a]\ncertificate = [" + list(credentials_per_user_max + 1, "c") + "]\n"),
              ElementsAre("policy.toml:2 [users.a].certificate: expected at most 16 values, got 17"));
  EXPECT_THAT(errors_of(std::string(policy_bytes_max, '#')), ElementsAre());
  EXPECT_THAT(errors_of(std::string(policy_bytes_max + 1, '#')),
              ElementsAre("policy.toml: expected at most 4194304 bytes, got more"));
}

TEST(PolicyFile, IsReadAndNamedInErrorsAndRefusedIfOthersCanWriteIt) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / fmt::format("backplane-policy-{}.toml", ::getpid());
  std::ofstream(file) << "[user]\n";
  ::chmod(file.c_str(), 0644);
  EXPECT_THAT(Policy::load(file).error(),
              ElementsAre(file.string() + ":1 [user]: unknown table; did you mean \"users\"?"));
  ::chmod(file.c_str(), 0664);
  EXPECT_THAT(Policy::load(file).error(),
              ElementsAre(HasSubstr("expected a file that other users cannot write")));
  std::filesystem::remove(file);
  EXPECT_THAT(Policy::load(file).error(), ElementsAre("cannot read " + file.string() + ": no such file"));
}

}  // namespace
}  // namespace backplane::policy
