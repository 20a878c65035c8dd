#include "cli/sub_options.hpp"

#include <gmock/gmock.h>

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;

TEST(Since, IsADurationAnOffsetOrAToken) {
  EXPECT_EQ(std::get<std::chrono::nanoseconds>(parse_since("10m").value()), 10min);
  EXPECT_EQ(std::get<std::uint64_t>(parse_since("17").value()), 17u);
  EXPECT_EQ(std::get<std::uint64_t>(parse_since("0").value()), 0u);
  const std::string token = "00000000000000ab:12,00000000000000cd:3";
  EXPECT_EQ(std::get<std::string>(parse_since(token).value()), token);
}

TEST(Since, AnythingElseIsAnError) {
  for (const char* bad : {"", "yesterday", "-1", "99999999999999999999", "1.5", "10 m"}) {
    EXPECT_EQ(
        parse_since(bad).error().text,
        std::string(
            "--since: expected a duration such as 10m, an offset such as 17, or a resume token, got \"") +
            bad + "\"");
  }
  EXPECT_FALSE(parse_since("zz:1").has_value());
  EXPECT_FALSE(parse_since("00000000000000ab:").has_value());
}

}  // namespace
}  // namespace backplane::cli
