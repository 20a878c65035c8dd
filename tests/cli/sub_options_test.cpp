#include "cli/sub_options.hpp"

#include <gmock/gmock.h>

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;

TEST(SinceOption, IsADurationAnOffsetOrAToken) {
  EXPECT_EQ(std::get<std::chrono::nanoseconds>(since_option("10m").value()), 10min);
  EXPECT_EQ(std::get<AfterOffset>(since_option("17").value()).offset, 17u);
  const StreamPositions token = {{0xab, 12}, {0xcd, 3}};
  EXPECT_EQ(
      std::get<AfterPositions>(since_option("00000000000000ab:12,00000000000000cd:3").value()).positions,
      token);
}

TEST(SinceOption, AnErrorNamesTheOption) {
  for (const char* bad : {"", "yesterday", "-1", "1.5", "10 m", "0s", "3651d", "zz:1"}) {
    const auto since = since_option(bad);
    ASSERT_FALSE(since) << bad;
    EXPECT_TRUE(since.error().text.starts_with("--since: ")) << since.error().text;
  }
}

}  // namespace
}  // namespace backplane::cli
