#include "core/log/escape.hpp"

#include <string>

#include <gtest/gtest.h>

namespace backplane::log {
namespace {

TEST(Escape, LeavesPlainTextUnchanged) {
  EXPECT_EQ(escape("stock.MSFT 39.81 °C €"), "stock.MSFT 39.81 °C €");
}

TEST(Escape, KeepsALineOneLine) {
  EXPECT_EQ(escape("a\nb\rc\td"), "a\\nb\\rc\\td");
}

TEST(Escape, DoublesTheBackslashSoThatEscapesCannotBeForged) {
  EXPECT_EQ(escape("\\n"), "\\\\n");
}

TEST(Escape, EscapesTerminalControlSequences) {
  EXPECT_EQ(escape("\x1b[31m\x7f"), "\\x1B[31m\\x7F");
  EXPECT_EQ(escape("\xC2\x9B"), "\\xC2\\x9B") << "U+009B begins a control sequence as well";
  EXPECT_EQ(escape(std::string_view("\0", 1)), "\\x00");
}

TEST(Escape, EscapesBytesThatAreNotUtf8) {
  EXPECT_EQ(escape("\xFF"), "\\xFF");
  EXPECT_EQ(escape("\xE2\x82"), "\\xE2\\x82") << "cut off";
  EXPECT_EQ(escape("\xC0\xAF"), "\\xC0\\xAF") << "overlong";
  EXPECT_EQ(escape("\xED\xA0\x80"), "\\xED\\xA0\\x80") << "a surrogate";
  EXPECT_EQ(escape("\xF4\x90\x80\x80"), "\\xF4\\x90\\x80\\x80") << "above U+10FFFF";
  EXPECT_EQ(escape("\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80");
}

}  // namespace
}  // namespace backplane::log
