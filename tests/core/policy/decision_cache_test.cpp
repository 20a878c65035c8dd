#include "core/policy/decision_cache.hpp"

#include <random>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/topic/topic.hpp"

namespace backplane::policy {
namespace {

/// User uN may publish a.N and read b.N, in any depth.
std::shared_ptr<const Policy> policy_of_users(std::size_t count) {
  std::string text;
  for (std::size_t at = 0; at < count; ++at) {
    text += fmt::format("[users.u{0}]\ncertificate = \"{0}\"\nroles = [\"r{0}\"]\n", at);
    text += fmt::format("[roles.r{0}]\npublish = [\"a.{0}.>\"]\nsubscribe = [\"b.{0}.>\"]\n", at);
  }
  return std::make_shared<const Policy>(Policy::parse(text, "policy.toml").value());
}

TEST(DecisionCache, DecidesAsThePolicyEachTime) {
  const auto policy = policy_of_users(3);
  DecisionCache cache(policy);
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(cache.may_publish(*policy->user("u1"), "a.1.x"));
    EXPECT_FALSE(cache.may_subscribe(*policy->user("u1"), "a.1.x"));
    EXPECT_FALSE(cache.may_publish(*policy->user("u2"), "a.1.x"));
    EXPECT_TRUE(cache.may_subscribe(*policy->user("u2"), "b.2.x"));
    EXPECT_FALSE(cache.may_publish(policy->anonymous(), "a.1.x"));
  }
}

TEST(DecisionCache, TopicsOfEveryLengthAreTold) {
  const auto policy = policy_of_users(1);
  DecisionCache cache(policy);
  const User& user = *policy->user("u0");
  EXPECT_FALSE(cache.may_publish(user, ""));
  for (int round = 0; round < 2; ++round) {
    for (std::size_t bytes = 5; bytes <= topic_bytes_max; ++bytes) {
      ASSERT_TRUE(cache.may_publish(user, "a.0." + std::string(bytes - 4, 'x'))) << bytes;
      ASSERT_FALSE(cache.may_publish(user, "b.0." + std::string(bytes - 4, 'x'))) << bytes;
    }
  }
}

// With few entries, decisions replace each other all the time.
TEST(DecisionCache, AgreesWithThePolicyWhateverItReplaces) {
  const auto policy = policy_of_users(5);
  for (const std::size_t entries : {1U, 8U, 64U, 4096U}) {
    DecisionCache cache(policy, entries);
    std::mt19937 random{7};
    for (int round = 0; round < 100'000; ++round) {
      const User& user = policy->users()[random() % policy->users().size()];
      const std::string topic =
          fmt::format("{}.{}.{}", random() % 2 == 0 ? "a" : "b", random() % 5, random() % 40);
      if (random() % 2 == 0) {
        ASSERT_EQ(cache.may_publish(user, topic), policy->may_publish(user, topic)) << user.name << topic;
      } else {
        ASSERT_EQ(cache.may_subscribe(user, topic), policy->may_subscribe(user, topic)) << user.name << topic;
      }
    }
  }
}

}  // namespace
}  // namespace backplane::policy
