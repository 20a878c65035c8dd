#include <string>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/protocols/line/command.hpp"
#include "gateway/protocols/line/line_reader.hpp"

namespace backplane::gateway::line {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

std::vector<std::string> lines_of(std::string_view bytes, std::size_t piece, LineReader::Limits limits = {}) {
  LineReader reader(limits);
  std::vector<std::string> lines;
  const auto on_line = [&](std::string_view line, bool too_long) {
    lines.push_back((too_long ? "(too long)" : "") + std::string(line));
    return true;
  };
  for (std::size_t at = 0; at < bytes.size(); at += piece) reader.feed(bytes.substr(at, piece), on_line);
  reader.finish(on_line);
  return lines;
}

TEST(LineReader, GivesTheSameLinesHoweverTheBytesCome) {
  const std::string_view all("SUB clock\r\n\nPUB a \r b\nPI\0NG\nhalf", 32);
  for (std::size_t piece = 1; piece <= all.size(); ++piece) {
    EXPECT_THAT(lines_of(all, piece),
                ElementsAre("SUB clock", "", "PUB a \r b", std::string("PI\0NG", 5), "half"));
  }
}

TEST(LineReader, CutsALineThatIsTooLongAndPassesOverTheRest) {
  const LineReader::Limits limits{.line_bytes_max = 10, .publish_bytes_max = 20};
  const std::string bytes = "PING\n" + std::string(50, 'x') +
                            "\n0123456789\r\n0123456789a\nPUB 0123456789abcdef\nPUB " + std::string(30, 'y') +
                            "\nPING\n" + std::string(100, 'z');
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    EXPECT_THAT(
        lines_of(bytes, piece, limits),
        ElementsAre("PING", "(too long)xxxxxxxxxx", "0123456789", "(too long)0123456789",
                    "PUB 0123456789abcdef", "(too long)PUB yyyyyyyyyyyyyyyy", "PING", "(too long)zzzzzzzzzz"))
        << piece;
  }
}

TEST(LineReader, TellsOfALineWithoutEndBeforeItEnds) {
  LineReader reader({.line_bytes_max = 10, .publish_bytes_max = 20});
  int told = 0;
  for (int i = 0; i < 1000; ++i) {
    reader.feed("x", [&](std::string_view, bool too_long) {
      told += too_long ? 1 : 0;
      return true;
    });
  }
  EXPECT_EQ(told, 1);
}

TEST(LineReader, StopsWhereItIsTold) {
  LineReader reader({});
  int lines = 0;
  reader.feed("a\nb\nc\n", [&](std::string_view, bool) { return ++lines < 2; });
  EXPECT_EQ(lines, 2);
}

std::string shown(const Command& command) {
  struct Show {
    std::string operator()(const Nothing&) const { return "nothing"; }
    std::string operator()(const Subscribe& each) const {
      return "sub " + each.pattern.str() + (each.last ? " last" : "");
    }
    std::string operator()(const Unsubscribe& each) const { return "unsub " + each.pattern; }
    std::string operator()(const Publish& each) const { return "pub " + each.topic + " [" + each.text + "]"; }
    std::string operator()(const SetFormat& each) const { return "format " + std::string(name(each.format)); }
    std::string operator()(const SetPolicy& each) const {
      return each.overflow == fanout::Overflow::disconnect ? "disconnect" : "gap";
    }
    std::string operator()(const Ping&) const { return "ping"; }
    std::string operator()(const Help&) const { return "help"; }
    std::string operator()(const Quit&) const { return "quit"; }
    std::string operator()(const BadCommand& each) const { return "-" + each.code + " " + each.text; }
  };
  return std::visit(Show{}, command);
}

TEST(LineCommands, AreReadAsTheProtocolSays) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"", "nothing"},
      {"   ", "nothing"},
      {"SUB clock", "sub clock"},
      {"SUB stock.> last", "sub stock.> last"},
      {"SUB  *.uk   last ", "sub *.uk last"},
      {"SUB $SYS.source.>", "sub $SYS.source.>"},
      {"UNSUB stock.>", "unsub stock.>"},
      {"PUB news.uk Hello  there ", "pub news.uk [Hello  there ]"},
      {"PUB news.uk ", "pub news.uk []"},
      {R"(PUB a one\ntwo\x41\q\\)", "pub a [one\ntwoA\\q\\]"},
      {"PUB a x\ty", "pub a [x\ty]"},
      {"FORMAT text", "format text"},
      {"FORMAT text+offset", "format text+offset"},
      {"FORMAT json", "format json"},
      {"POLICY gap", "gap"},
      {"POLICY disconnect", "disconnect"},
      {"PING", "ping"},
      {"PING ", "ping"},
      {"HELP", "help"},
      {"QUIT", "quit"},
  };
  for (const auto& [line, command] : table) EXPECT_EQ(shown(parse_command(line)), command) << line;
}

TEST(LineCommands, ThatAreWrongSayWhatWasWantedAndWhatWasThere) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"SUB stock..MSFT", "-bad_topic a token is empty: \"stock..MSFT\""},
      {"SUB", "-bad_argument wanted SUB <pattern> [last], as SUB stock.>"},
      {"SUB a every=5s", "-unsupported this gateway has no every yet: wanted last, got \"every=5s\""},
      {"SUB a since=10m", "-unsupported this gateway has no since yet: wanted last, got \"since=10m\""},
      {"SUB a policy=gap",
       "-unsupported the policy is the session's: wanted POLICY gap or POLICY disconnect"},
      {"SUB a b", "-bad_option wanted last, got \"b\""},
      {"UNSUB", "-bad_argument wanted UNSUB <pattern>, as UNSUB stock.>"},
      {"UNSUB a b", "-bad_argument wanted nothing behind the pattern, got \"b\""},
      {"PUB", "-bad_argument wanted PUB <topic> <text>, as PUB news.uk Hello"},
      {"PUB news.uk", "-bad_argument wanted PUB <topic> <text>, as PUB news.uk Hello"},
      {"PUB $SYS.live.1 x", "-bad_topic topics of the system can be read, not published: \"$SYS.live.1\""},
      {"FORMAT proto", "-unsupported this gateway has no format proto yet: wanted text, text+offset or json"},
      {"FORMAT xml", "-bad_format wanted text, text+offset or json, got \"xml\""},
      {"POLICY latest", "-unsupported this gateway has no policy latest yet: wanted gap or disconnect"},
      {"POLICY", "-bad_policy wanted gap or disconnect, got \"\""},
      {"PING x", "-bad_argument wanted nothing behind PING, got \"x\""},
      {"sub clock",
       "-unknown_command wanted one of SUB, UNSUB, PUB, FORMAT, POLICY, PING, HELP, QUIT, got \"sub\""},
      {" SUB clock",
       "-unknown_command wanted one of SUB, UNSUB, PUB, FORMAT, POLICY, PING, HELP, QUIT, got \"\""},
      {std::string("PI\0NG", 5), "-bad_byte wanted text without control characters, got byte 0x00 at 2"},
      {"SUB a\tb", "-bad_byte wanted text without control characters, got byte 0x09 at 5"},
      {"PUB a \x1b[2J", "-bad_byte wanted text without control characters, got byte 0x1b at 6"},
      {"\xff\xfd", "-not_utf8 wanted UTF-8, got \"\\xFF\\xFD\""},
  };
  for (const auto& [line, error] : table) EXPECT_EQ(shown(parse_command(line)), error) << line;
  EXPECT_THAT(shown(parse_command("PUB a..b x")), StartsWith("-bad_topic a token is empty"));
  EXPECT_THAT(shown(parse_command("PUB a.* x")), StartsWith("-bad_topic"));
  EXPECT_LT(shown(parse_command(std::string(60'000, 'x'))).size(), 250u);
}

TEST(LineCommands, HelpLinesAreTheSessionsOwn) {
  std::string_view rest = help();
  while (!rest.empty()) {
    EXPECT_TRUE(rest.starts_with("+HELP ")) << rest.substr(0, 20);
    rest.remove_prefix(rest.find('\n') + 1);
  }
}

}  // namespace
}  // namespace backplane::gateway::line
