#include "broker/admission/endpoint_rule.hpp"

#include <stdexcept>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::string one_key = to_text(make_secret_key().public_key());
const std::string other_key = to_text(make_secret_key().public_key());
const std::string third_key = to_text(make_secret_key().public_key());

policy::Policy policy_of(const std::string& toml) {
  auto policy = policy::Policy::parse(toml, "policy.toml");
  if (!policy) throw std::runtime_error(policy.error().front());
  return std::move(*policy);
}

/// The user `a` with these keys (TOML) and a role that may read these patterns (TOML), and a user `b`.
policy::Policy with(const std::string& keys, const std::string& patterns) {
  return policy_of(
      fmt::format("[users.a]\ncurve = [{}]\nroles = ['r']\n[users.b]\ncurve = '{}'\n"
                  "[roles.r]\nsubscribe = [{}]\n",
                  keys, third_key, patterns));
}

EndpointRule egress(std::initializer_list<std::string_view> topics) {
  std::vector<Pattern> patterns;
  for (const std::string_view topic : topics) patterns.push_back(Pattern::parse(topic).value());
  return EndpointRule("egress", std::move(patterns));
}

TEST(EndpointRule, AdmitsEveryUserWhereNothingIsPublished) {
  const policy::Policy policy = with(fmt::format("'{}'", one_key), "");
  for (const policy::User& user : policy.users()) EXPECT_TRUE(EndpointRule("ingress").admits(policy, user));
}

TEST(EndpointRule, AdmitsThoseWhoMayReadAllThatIsPublished) {
  const policy::Policy policy = with(fmt::format("'{}'", one_key), "'sensor.>', 'stock.*'");
  const policy::User& a = *policy.user("a");
  EXPECT_TRUE(egress({"sensor.>"}).admits(policy, a));
  EXPECT_TRUE(egress({"sensor.x", "stock.*"}).admits(policy, a));
  EXPECT_FALSE(egress({">"}).admits(policy, a));
  EXPECT_FALSE(egress({"sensor.>", "stock.>"}).admits(policy, a));
  EXPECT_EQ(egress({"sensor.>", "stock.>"}).first_hidden(policy, a)->str(), "stock.>");
  EXPECT_FALSE(egress({"sensor.>"}).admits(policy, *policy.user("b")));
}

TEST(EndpointRule, AReaderOfEverythingMayNotReadSystemTopics) {
  const policy::Policy policy = with(fmt::format("'{}'", one_key), "'>'");
  EXPECT_TRUE(egress({">"}).admits(policy, *policy.user("a")));
  EXPECT_FALSE(egress({">", "$SYS.>"}).admits(policy, *policy.user("a")));
}

TEST(UsersToDisconnect, AreThoseWhoAreGone) {
  const policy::Policy before = with(fmt::format("'{}'", one_key), "'>'");
  const policy::Policy now = policy_of(fmt::format("[users.b]\ncurve = '{}'\n", third_key));
  EXPECT_THAT(users_to_disconnect(EndpointRule("ingress"), before, now), ElementsAre("a"));
  EXPECT_THAT(users_to_disconnect(egress({">"}), before, now), ElementsAre("a"));
}

TEST(UsersToDisconnect, AreThoseWhoMayReadLessThanIsPublished) {
  const policy::Policy before = with(fmt::format("'{}'", one_key), "'>'");
  const policy::Policy now = with(fmt::format("'{}'", one_key), "'sensor.>'");
  EXPECT_THAT(users_to_disconnect(egress({">"}), before, now), ElementsAre("a"));
  EXPECT_THAT(users_to_disconnect(egress({"sensor.x"}), before, now), IsEmpty());
  EXPECT_THAT(users_to_disconnect(EndpointRule("ingress"), before, now), IsEmpty());
}

TEST(UsersToDisconnect, AreThoseWhoHaveLostAKey) {
  const policy::Policy before = with(fmt::format("'{}'", one_key), "'>'");
  const policy::Policy both = with(fmt::format("'{}', '{}'", other_key, one_key), "'>'");
  const policy::Policy other = with(fmt::format("'{}'", other_key), "'>'");
  EXPECT_THAT(users_to_disconnect(egress({">"}), before, both), IsEmpty());
  EXPECT_THAT(users_to_disconnect(egress({">"}), both, other), ElementsAre("a"));
  EXPECT_THAT(users_to_disconnect(EndpointRule("ingress"), before, other), ElementsAre("a"));
}

TEST(UsersToDisconnect, AreNotThoseWhoCouldNotConnectBefore) {
  const policy::Policy before = with(fmt::format("'{}'", one_key), "'sensor.>'");
  const policy::Policy now = policy_of("");
  EXPECT_THAT(users_to_disconnect(egress({">"}), before, now), IsEmpty());
}

}  // namespace
}  // namespace backplane::broker
