#include "core/policy/explanation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::policy {
namespace {

using testing::ElementsAre;

constexpr std::string_view text = R"(
[users.dashboard]
certificate = "wall"
roles = ["readers", "writers"]
[roles.readers]
subscribe = ["sensor.>", "stock.*"]
[roles.writers]
publish = ["note.*"]
)";

std::vector<std::string> explained(std::string_view user, std::string_view topics) {
  const Policy policy = Policy::parse(text, "policy.toml").value();
  return explain(policy, *policy.user(user), Pattern::parse(topics).value());
}

TEST(Explanation, NamesTheRoleAndThePattern) {
  EXPECT_THAT(explained("dashboard", "stock.MSFT"),
              ElementsAre("may not publish: no role of dashboard has a pattern that matches",
                          "may subscribe: role readers has stock.*"));
  EXPECT_THAT(explained("dashboard", "note.1"),
              ElementsAre("may publish: role writers has note.*",
                          "may not subscribe: no role of dashboard has a pattern that matches"));
}

TEST(Explanation, OfAUserWithoutRolesSaysSo) {
  EXPECT_THAT(explained("anonymous", "stock.MSFT"), ElementsAre("may not publish: anonymous has no roles",
                                                                "may not subscribe: anonymous has no roles"));
}

TEST(Explanation, OfAPatternIsAboutReadingOnly) {
  EXPECT_THAT(explained("dashboard", "sensor.7.*"), ElementsAre("may subscribe: role readers has sensor.>"));
  EXPECT_THAT(
      explained("dashboard", "stock.>"),
      ElementsAre(
          "may subscribe in part: role readers has stock.*; topics that no pattern matches are hidden"));
  EXPECT_THAT(explained("dashboard", "news.>"),
              ElementsAre("may not subscribe: no role of dashboard has a pattern that matches"));
}

TEST(Explanation, OfASystemTopicSaysThatNobodyPublishesIt) {
  EXPECT_THAT(explained("dashboard", "$SYS.drain"),
              ElementsAre("may not publish: $SYS topics belong to the system",
                          "may not subscribe: no role of dashboard has a pattern that matches"));
}

}  // namespace
}  // namespace backplane::policy
