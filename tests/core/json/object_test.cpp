#include "core/json/object.hpp"

#include <gtest/gtest.h>

namespace backplane::json {
namespace {

TEST(JsonObject, MembersKeepTheirOrderAndTheirForm) {
  const auto object = parse_object(R"({"text":"a\"b","number":1.5,"none":null,"list":[1,"2"]})");
  ASSERT_TRUE(object.has_value()) << object.error().text;
  EXPECT_EQ(to_text(*object), R"({"text":"a\"b","number":1.5,"none":null,"list":[1,"2"]})");
  const auto text_of = [&](std::string_view name) {
    const Value* const value = object->find(name);
    return value == nullptr ? std::string("(none)") : value->text;
  };
  EXPECT_EQ(text_of("text"), "a\"b");
  EXPECT_EQ(text_of("number"), "1.5");
  EXPECT_EQ(text_of("none"), "(none)") << "null is as good as absent";
  EXPECT_EQ(text_of("other"), "(none)");
}

TEST(JsonObject, ANumberThatIsTooLargeIsAnError) {
  for (const char* text :
       {R"({"a":1e400})", R"({"a":-1e400})", R"({"a":-0e400})", R"({"a":[{"b":[1,1e400]}]})"}) {
    const auto object = parse_object(text);
    ASSERT_FALSE(object.has_value()) << to_text(*object);
    EXPECT_EQ(object.error().text, "expected a JSON object, got one with a number that is too large");
  }
  EXPECT_TRUE(parse_object(R"({"a":1e308,"b":"1e400","c":1e-400})").has_value());
}

TEST(JsonObject, OtherTextIsAnError) {
  EXPECT_EQ(parse_object("[1]").error().text, "expected a JSON object, got another JSON value");
  EXPECT_FALSE(parse_object("{\"a\":").has_value());
  EXPECT_FALSE(parse_object(std::string(100, '[')).has_value());
}

TEST(JsonObject, OnlyNumbersInJsonsFormAreNumbers) {
  for (const char* number : {"0", "-0.5", "12", "1e9", "1.25E-3"}) EXPECT_TRUE(is_number(number)) << number;
  for (const char* other : {"", "-", "01", "+1", ".5", "1.", "1e", "NaN", "1 ", "0x1"}) {
    EXPECT_FALSE(is_number(other)) << other;
  }
}

}  // namespace
}  // namespace backplane::json
