#include "publishers/sources/line_splitter.hpp"

#include <vector>

#include <gmock/gmock.h>

namespace backplane::sources {
namespace {

using ::testing::ElementsAre;

/// The lines of `text`, fed `step` bytes at a time. A line that is too long is "<number> too long".
std::vector<std::string> split(std::string_view text, std::size_t step, std::size_t line_bytes_max = 100) {
  LineSplitter splitter(line_bytes_max);
  std::vector<std::string> lines;
  const auto take = [&] {
    lines.push_back(splitter.too_long() ? std::to_string(splitter.number()) + " too long"
                                        : std::string(splitter.text()));
  };
  for (std::size_t at = 0; at < text.size(); at += step) {
    splitter.feed(text.substr(at, step));
    while (splitter.take_line()) take();
  }
  if (splitter.take_rest()) take();
  return lines;
}

TEST(LineSplitter, LinesDoNotDependOnHowTheBytesArrive) {
  for (std::size_t step : {1U, 2U, 3U, 7U, 100U}) {
    EXPECT_THAT(split("one\ntwo\r\n\nfour", step), ElementsAre("one", "two", "", "four")) << step;
  }
}

TEST(LineSplitter, AFinalLineEndDoesNotStartAnotherLine) {
  EXPECT_THAT(split("one\n", 1), ElementsAre("one"));
}

TEST(LineSplitter, TooLongLinesAreCountedAndReadingContinues) {
  for (std::size_t step : {1U, 3U, 100U}) {
    EXPECT_THAT(split("12345\n123456\n12345\r\n123456789\nx\n1234567", step, 5),
                ElementsAre("12345", "2 too long", "12345", "4 too long", "x", "6 too long"))
        << step;
  }
}

TEST(LineSplitter, AByteOrderMarkIsNotPartOfTheFirstLine) {
  for (std::size_t step : {1U, 2U, 100U}) {
    EXPECT_THAT(split("\xef\xbb\xbf"
                      "12345\r\n\xef\xbb\xbfx\n",
                      step, 5),
                ElementsAre("12345", "\xef\xbb\xbfx"))
        << step;
  }
}

}  // namespace
}  // namespace backplane::sources
