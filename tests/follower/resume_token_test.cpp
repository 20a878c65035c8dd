#include "follower/order/resume_token.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::testing {
namespace {

using ::testing::HasSubstr;

TEST(ResumeToken, IsTheStreamsHexDigitsAndThePosition) {
  EXPECT_EQ(resume_token({{0x1f, 42}}), "000000000000001f:42");
  EXPECT_EQ(resume_token({{1, 2}, {0xffff'ffff'ffff'ffff, 3}}), "0000000000000001:2,ffffffffffffffff:3");
  EXPECT_EQ(resume_token({}), "");
}

TEST(ResumeToken, IsReadBackAsItWas) {
  const std::vector<StreamPosition> places{{1, 0}, {0xabcdef0123456789, 18'446'744'073'709'551'615u}};
  const auto read = parse_resume_token(resume_token(places));
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(*read, places);
}

TEST(ResumeToken, AnythingElseIsRefusedWithTheText) {
  for (const char* text :
       {"", ":", "1:2", "000000000000001f", "000000000000001f:", "000000000000001f:-1", "000000000000001f:+1",
        "000000000000001f:1,", ",000000000000001f:1", "000000000000001f:1 ", "00000000000000xf:1",
        "+00000000000001f:1", "0x0000000000001f:1", "000000000000001f:18446744073709551616",
        "000000000000001f:1,000000000000001f:2", "000000000000001f;1", "\x01\xff"}) {
    const auto read = parse_resume_token(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(read.error().text, HasSubstr("resume token: expected"));
  }
}

TEST(ResumeToken, HasAtMost64Places) {
  std::vector<StreamPosition> places;
  for (std::uint64_t stream = 1; stream <= 64; ++stream) places.push_back({stream, 1});
  EXPECT_TRUE(parse_resume_token(resume_token(places)));
  places.push_back({65, 1});
  EXPECT_FALSE(parse_resume_token(resume_token(places)));
}

}  // namespace
}  // namespace backplane::testing
