#include "cli/console/colours.hpp"

#include <map>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/process/descriptor.hpp"

namespace backplane::cli {
namespace {

/// A terminal that nobody looks at.
class ColoursTest : public testing::Test {
 protected:
  ColoursTest() : master_(::posix_openpt(O_RDWR | O_NOCTTY)) {
    ::grantpt(master_.get());
    ::unlockpt(master_.get());
    terminal_ = Descriptor(::open(::ptsname(master_.get()), O_RDWR | O_NOCTTY));
  }
  Colours colours(std::map<std::string, std::string> environment) {
    return Colours(terminal_.get(), [&](const char* name) -> const char* {
      const auto found = environment.find(name);
      return found == environment.end() ? nullptr : found->second.c_str();
    });
  }

  Descriptor master_;
  Descriptor terminal_;
};

TEST_F(ColoursTest, ATerminalHasThem) {
  EXPECT_TRUE(colours({{"TERM", "xterm"}}).on());
  EXPECT_TRUE(colours({{"TERM", "xterm"}, {"NO_COLOR", ""}}).on());
}

TEST_F(ColoursTest, NoColorAndADumbTerminalHaveNone) {
  EXPECT_FALSE(colours({{"TERM", "xterm"}, {"NO_COLOR", "1"}}).on());
  EXPECT_FALSE(colours({{"TERM", "dumb"}}).on());
  EXPECT_FALSE(colours({}).on());
}

TEST_F(ColoursTest, APipeHasNone) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Descriptor read(ends[0]);
  const Descriptor write(ends[1]);
  const Colours none(write.get(), [](const char*) { return "xterm"; });
  EXPECT_FALSE(none.on());
  EXPECT_EQ(none.paint(Style::error, "text"), "text");
}

TEST_F(ColoursTest, TextIsPaintedInPlace) {
  const Colours on = colours({{"TERM", "xterm"}});
  EXPECT_EQ(on.paint(Style::topic, "a.b"), "\x1b[36ma.b\x1b[0m");
  EXPECT_EQ(on.paint(Style::plain, "a.b"), "a.b");
  EXPECT_EQ(on.paint(Style::topic, ""), "");
  std::string line = "x a.b text\n";
  on.paint(Style::topic, line, 2, 3);
  EXPECT_EQ(line, "x \x1b[36ma.b\x1b[0m text\n");
}

TEST_F(ColoursTest, HeadingsOfAHelpAreBold) {
  const Colours on = colours({{"TERM", "xterm"}});
  EXPECT_EQ(
      paint_help(on, "About\nUsage: prog x\n\nOptions:\n  -h text:\n\nExamples:\n  prog\n"),
      "About\n\x1b[1mUsage:\x1b[0m prog x\n\n\x1b[1mOptions:\x1b[0m\n  -h text:\n\n\x1b[1mExamples:\x1b[0m\n"
      "  prog\n");
  EXPECT_EQ(paint_help(Colours(), "Options:\n"), "Options:\n");
}

TEST_F(ColoursTest, ResultsArePainted) {
  const Colours on = colours({{"TERM", "xterm"}});
  EXPECT_EQ(paint_result(on, "  ok        a 1 = b 1"), "  \x1b[32mok\x1b[0m        a 1 = b 1");
  EXPECT_EQ(paint_result(on, "  OFF BY 12  a = b"), "  \x1b[1;31mOFF BY 12\x1b[0m  a = b");
  EXPECT_EQ(paint_result(on, "  WARNING  clock"), "  \x1b[33mWARNING\x1b[0m  clock");
  EXPECT_EQ(paint_result(on, "ok then"), "ok then");
  EXPECT_EQ(paint_result(on, ""), "");
}

}  // namespace
}  // namespace backplane::cli
