#include "core/spelling/closest_name.hpp"

#include <gtest/gtest.h>

namespace backplane {
namespace {

const std::vector<std::string_view> names{"sub", "pub", "publish", "topics", "top", "replay"};

TEST(ClosestName, FindsWhatWasMistyped) {
  for (const auto& [typed, meant] : {std::pair{"sbu", "sub"},
                                     {"suv", "sub"},
                                     {"topisc", "topics"},
                                     {"pubilsh", "publish"},
                                     {"repaly", "replay"},
                                     {"tops", "top"}}) {
    EXPECT_EQ(closest_name(typed, names), meant) << typed;
  }
}

TEST(ClosestName, FindsNothingIfNothingIsClose) {
  for (const char* typed : {"", "x", "nonsense", "subscribers", "audit"}) {
    EXPECT_EQ(closest_name(typed, names), "") << typed;
  }
  EXPECT_EQ(closest_name(std::string(1000, 's'), names), "");
  EXPECT_EQ(closest_name("sub", {}), "");
}

}  // namespace
}  // namespace backplane
