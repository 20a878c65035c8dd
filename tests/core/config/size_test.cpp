#include "core/config/size.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace backplane::config {
namespace {

TEST(Size, IsReadWithAndWithoutUnit) {
  EXPECT_EQ(parse_size("0", "x").value(), 0u);
  EXPECT_EQ(parse_size("1048576", "x").value(), 1u << 20);
  EXPECT_EQ(parse_size("64KiB", "x").value(), 64u << 10);
  EXPECT_EQ(parse_size("1MiB", "x").value(), 1u << 20);
  EXPECT_EQ(parse_size("2GiB", "x").value(), std::uint64_t{2} << 30);
}

TEST(Size, OtherTextIsRefusedWithTheExpectedForm) {
  EXPECT_EQ(parse_size("1 MB", "--max").error().text,
            "--max: expected a size such as 1048576 or 1MiB, got \"1 MB\"");
  for (const char* text :
       {"", "MiB", "-1", "1.5MiB", "1mib", "99999999999999999999", "18446744073709551615KiB"}) {
    EXPECT_FALSE(parse_size(text, "x").has_value()) << text;
  }
}

TEST(Size, PrintedOnesReadBackEqual) {
  EXPECT_EQ(format_size(1u << 20), "1MiB");
  EXPECT_EQ(format_size(1000), "1000");
  EXPECT_EQ(format_size(0), "0");
  for (const std::uint64_t bytes : {std::uint64_t{1}, std::uint64_t{1536}, std::uint64_t{1} << 40,
                                    std::numeric_limits<std::uint64_t>::max()}) {
    EXPECT_EQ(parse_size(format_size(bytes), "x").value(), bytes);
  }
}

}  // namespace
}  // namespace backplane::config
