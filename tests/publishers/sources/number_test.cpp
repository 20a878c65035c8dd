#include "publishers/sources/number.hpp"

#include <gtest/gtest.h>

namespace backplane::sources {
namespace {

TEST(ExactNumber, NumbersThatADoubleKeepsAreNumbers) {
  for (const char* text :
       {"0", "-0", "7", "4.0", "-0.50", "1016.6", "100", "9007199254740992", "0.1", "1.5e-3", "1e-05",
        "1.0E10", "1e+16", "39.81", "123456789012345.6", "0.00001", "1.7976931348623157e308"}) {
    EXPECT_TRUE(is_exact_number(text)) << text;
  }
}

TEST(ExactNumber, IdsAndNumbersThatWouldChangeStayText) {
  for (const char* text :
       {"39e1804", "39e18", "1e5", "1E5", "-1e9999", "1.5e400", "1e-400", "12345678901234567890",
        "9007199254740993", "0.10000000000000000555", "1.0e99999999999999999999"}) {
    EXPECT_FALSE(is_exact_number(text)) << text;
  }
}

TEST(ExactNumber, OtherFormsOfNumbersAreText) {
  for (const char* text : {"", "-", "007", "+1", ".5", "5.", "1,5", "0x10", "NaN", "Infinity", " 1", "1 "}) {
    EXPECT_FALSE(is_exact_number(text)) << text;
  }
}

}  // namespace
}  // namespace backplane::sources
