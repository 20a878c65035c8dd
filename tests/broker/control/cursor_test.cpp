#include "broker/control/cursor.hpp"

#include <gtest/gtest.h>

namespace backplane::broker {
namespace {

TEST(Cursor, OpensToWhatWasSealed) {
  const std::string cursor = seal_cursor(CursorKind::topics, 0x0123456789abcdef, "stock.MSFT");
  const OpenedCursor opened = open_cursor(CursorKind::topics, 0x0123456789abcdef, cursor);
  EXPECT_EQ(opened.fault, CursorFault::none);
  EXPECT_EQ(opened.place, "stock.MSFT");
}

TEST(Cursor, OfAnotherRequestIsRefused) {
  const std::string cursor = seal_cursor(CursorKind::topics, 7, "x");
  EXPECT_EQ(open_cursor(CursorKind::tails, 7, cursor).fault, CursorFault::not_ours);
}

TEST(Cursor, OfAnotherIncarnationIsRecognised) {
  const std::string cursor = seal_cursor(CursorKind::topics, 7, "x");
  EXPECT_EQ(open_cursor(CursorKind::topics, 8, cursor).fault, CursorFault::other_stream);
}

TEST(Cursor, TooShortOrTooLongIsRefused) {
  const std::string cursor = seal_cursor(CursorKind::topics, 7, "x");
  for (std::size_t bytes = 0; bytes < cursor.size(); ++bytes) {
    EXPECT_EQ(open_cursor(CursorKind::topics, 7, cursor.substr(0, bytes)).fault, CursorFault::not_ours)
        << bytes;
  }
  EXPECT_EQ(open_cursor(CursorKind::topics, 7, cursor + std::string(2000, 'x')).fault, CursorFault::not_ours);
}

TEST(Cursor, NumbersAreParsedCompletelyOrNotAtAll) {
  EXPECT_EQ(read_number("18446744073709551615"), 18446744073709551615u);
  for (const char* text : {"", "x", "1x", "-1", " 1", "18446744073709551616", "1.5"}) {
    EXPECT_EQ(read_number(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace backplane::broker
