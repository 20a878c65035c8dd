#include "cli/console/table.hpp"

#include <algorithm>

#include <gmock/gmock.h>

namespace backplane::cli {
namespace {

using testing::ElementsAre;

Table prices() {
  Table table({{"TOPIC", Column::Align::left, true, 6},
               {"PRICE", Column::Align::right},
               {"FROM", Column::Align::left}});
  table.add({"stock.MSFT", "39.81", "quotes"});
  table.add({"stock.IBM", "100.5", "q"});
  return table;
}

TEST(Table, ColumnsAlignAndLinesEndWithoutSpaces) {
  EXPECT_THAT(prices().lines(80), ElementsAre("TOPIC       PRICE  FROM",    //
                                              "stock.MSFT  39.81  quotes",  //
                                              "stock.IBM   100.5  q"));
}

TEST(Table, AColumnShrinksIfTheTableIsTooWide) {
  EXPECT_THAT(prices().lines(22), ElementsAre("TOPIC    PRICE  FROM",    //
                                              "stock.…  39.81  quotes",  //
                                              "stock.…  100.5  q"));
}

TEST(Table, NoLineIsWiderThanTheGivenWidth) {
  for (std::size_t width = 0; width < 40; ++width) {
    for (const std::string& line : prices().lines(width)) EXPECT_LE(display_width(line), width) << line;
  }
}

TEST(Table, TheWidestOfSeveralColumnsShrinks) {
  Table table({{"A", Column::Align::left, true, 2}, {"B", Column::Align::left, true, 2}});
  table.add({"12345678", "1234"});
  EXPECT_THAT(table.lines(10), ElementsAre("A     B", "123…  1234"));
}

TEST(Table, WithoutRowsOnlyTitlesAreShown) {
  EXPECT_THAT(Table({{"A"}, {"B"}}).lines(80), ElementsAre("A  B"));
}

TEST(Table, WidthIsCountedInTerminalColumns) {
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("Zürich"), 6u);
  EXPECT_EQ(display_width("東京"), 4u);
  EXPECT_EQ(display_width("e\xcc\x81"), 1u) << "a combining accent";
  EXPECT_EQ(display_width("\xff\xfe"), 2u) << "each byte that is not UTF-8 counts";
}

TEST(Table, WideCharactersAreNotCutInTwo) {
  EXPECT_EQ(cut("東京都", 4), "東…");
  EXPECT_EQ(cut("東京都", 6), "東京都");
  EXPECT_EQ(cut("abc", 0), "");
  EXPECT_EQ(cut("abc", 1), "…");
}

}  // namespace
}  // namespace backplane::cli
