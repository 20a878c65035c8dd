#include "publishers/sources/topic_token.hpp"

#include <gtest/gtest.h>

namespace backplane::sources {
namespace {

TEST(TopicToken, AnyNameBecomesATokenOfATopic) {
  EXPECT_EQ(topic_token("coretemp/Core 0"), "coretemp_Core_0");
  EXPECT_EQ(topic_token("BRK.B"), "BRK_B");
  EXPECT_EQ(topic_token(">*"), "__");
  EXPECT_EQ(topic_token("köln"), "köln");
  EXPECT_EQ(topic_token("a\xff"), "a_");
  EXPECT_EQ(topic_token(""), "_");
}

}  // namespace
}  // namespace backplane::sources
