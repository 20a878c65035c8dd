#include <chrono>
#include <string>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/commands/line_grammar.hpp"
#include "gateway/session/line_reader.hpp"

namespace backplane::gateway {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::StartsWith;

std::vector<std::string> lines_of(std::string_view bytes, std::size_t piece, LineReader::Limits limits = {}) {
  LineReader reader(limits);
  std::vector<std::string> lines;
  const auto on_line = [&](std::string_view line, bool too_long) {
    lines.push_back((too_long ? "(too long)" : "") + std::string(line));
    return true;
  };
  for (std::size_t at = 0; at < bytes.size(); at += piece) reader.read(bytes.substr(at, piece), on_line);
  reader.finish(on_line);
  return lines;
}

TEST(LineReader, ReadsTheSameLinesFromPiecesOfAnySize) {
  const std::string_view all("SUB clock\r\n\nPUB a  b\nPI\0NG\nhalf", 31);
  for (std::size_t piece = 1; piece <= all.size(); ++piece) {
    EXPECT_THAT(lines_of(all, piece),
                ElementsAre("SUB clock", "", "PUB a  b", std::string("PI\0NG", 5), "half"));
  }
}

TEST(LineReader, ALineEndsInLfOrCrOrBothOrCrNul) {
  const std::string all = "a\nb\rc\r\nd\r\0e\r\r\nf\n\rg\r\0\0h\r"s;
  for (std::size_t piece = 1; piece <= all.size(); ++piece) {
    EXPECT_THAT(lines_of(all, piece),
                ElementsAre("a", "b", "c", "d", "e", "", "f", "", "g", std::string("\0h", 2)))
        << piece;
  }
}

TEST(LineReader, ALineThatEndsInCrIsCompleteBeforeTheNextByte) {
  LineReader reader({});
  int lines = 0;
  const auto count = [&](std::string_view line, bool) {
    EXPECT_EQ(line, "PING");
    return ++lines > 0;
  };
  reader.read("PING\r", count);
  EXPECT_EQ(lines, 1);
  reader.read("\n", count);
  reader.read("PING\r", count);
  reader.read(std::string_view("\0", 1), count);
  EXPECT_EQ(lines, 2);
}

TEST(LineReader, RemovesTelnetCommandsAndRefusesEachOption) {
  // WILL 31, DO 3, WONT 1, DONT 5, NOP, a terminal type with an escaped 255, AYT in a line, DO TIMING-MARK,
  // and between CR and LF.
  const std::string all =
      "\xff\xfb\x1f\xff\xfd\x03\xff\xfc\x01\xff\xfe\x05\xff\xf1PI\xff\xfa\x18\0\xff\xff\nx\xff\xf0NG\r\n"
      "SUB\xff\xf6 a\xff\xfd\x06\r\xff\xf1\nPING\r\0"s;
  for (std::size_t piece = 1; piece <= all.size(); ++piece) {
    LineReader reader({});
    std::vector<std::string> lines;
    std::string replies;
    for (std::size_t at = 0; at < all.size(); at += piece) {
      reader.read(all.substr(at, piece), [&](std::string_view line, bool) {
        lines.emplace_back(line);
        return true;
      });
      replies += reader.take_telnet_replies();
    }
    EXPECT_THAT(lines, ElementsAre("PING", "SUB a", "PING")) << piece;
    EXPECT_EQ(replies, "\xff\xfe\x1f\xff\xfc\x03\xff\xfc\x06") << piece;
  }
}

TEST(LineReader, Byte255IsDataIfNoTelnetCommandFollows) {
  // A client that sends Latin-1, or 255 escaped as telnet does, gets an error instead of other text.
  for (const std::string_view text : {"PUB a \xff\n", "PUB a \xff\xff\n", "PUB a \xff\xff"}) {
    EXPECT_THAT(lines_of(text, 1), ElementsAre("PUB a \xff"));
    EXPECT_THAT(lines_of(text, 100), ElementsAre("PUB a \xff"));
  }
  EXPECT_THAT(lines_of("\xff"
                       "A\r\n",
                       1),
              ElementsAre("\xff"
                          "A"));
  EXPECT_THAT(lines_of(std::string("\xff\0\0\n", 4), 2), ElementsAre(std::string("\xff\0\0", 3)));
}

TEST(LineReader, AnySequenceOfBytesGivesTheSameLinesInPiecesOfAnySize) {
  const LineReader::Limits limits{.line_bytes_max = 8, .publish_bytes_max = 12};
  constexpr std::string_view alphabet("\n\r\0\xff\xff\xff\xfa\xf0\xfb\xfd\xf1PUBpub xyz", 21);
  unsigned state = 7;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes;
    for (int i = 0; i < 40; ++i) {
      state = state * 1'664'525u + 1'013'904'223u;
      bytes += alphabet[(state >> 16) % alphabet.size()];
    }
    const auto whole = lines_of(bytes, bytes.size(), limits);
    for (const std::size_t piece : {1u, 2u, 3u, 7u}) ASSERT_EQ(lines_of(bytes, piece, limits), whole);
    for (const std::string& line : whole) {
      ASSERT_LE(line.size(), limits.publish_bytes_max + std::string_view("(too long)").size());
      ASSERT_EQ(line.find_first_of("\r\n"), std::string::npos);
    }
  }
}

TEST(LineReader, CutsALineThatIsTooLongAndSkipsTheRest) {
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

TEST(LineReader, ReportsALineThatIsTooLongBeforeItsEnd) {
  LineReader reader({.line_bytes_max = 10, .publish_bytes_max = 20});
  int reports = 0;
  for (int i = 0; i < 1000; ++i) {
    reader.read("x", [&](std::string_view, bool too_long) {
      reports += too_long ? 1 : 0;
      return true;
    });
  }
  EXPECT_EQ(reports, 1);
}

TEST(LineReader, StopsWhenTheCallbackReturnsFalse) {
  LineReader reader({});
  int lines = 0;
  reader.read("a\nb\nc\n", [&](std::string_view, bool) { return ++lines < 2; });
  EXPECT_EQ(lines, 2);
}

std::string shown_since(const Since& since) {
  struct Show {
    std::string operator()(std::monostate) const { return ""; }
    std::string operator()(const AfterPositions& each) const {
      return " since=" + resume_token(each.positions);
    }
    std::string operator()(const AfterOffset& each) const {
      return " since=offset " + std::to_string(each.offset);
    }
    std::string operator()(std::chrono::nanoseconds each) const {
      return " since=" + std::to_string(each.count()) + "ns";
    }
  };
  return std::visit(Show{}, since);
}

std::string shown(const Command& command) {
  struct Show {
    std::string operator()(const Nothing&) const { return "nothing"; }
    std::string operator()(const Subscribe& each) const {
      std::string out = "sub " + each.pattern.str() + (each.last ? " last" : "");
      if (each.every.count() > 0) out += " every=" + std::to_string(each.every.count()) + "ms";
      out += shown_since(each.since);
      if (each.policy) out += " policy=" + std::string(name(*each.policy));
      return out;
    }
    std::string operator()(const Unsubscribe& each) const { return "unsub " + each.pattern; }
    std::string operator()(const Publish& each) const { return "pub " + each.topic + " [" + each.text + "]"; }
    std::string operator()(const SetFormat& each) const { return "format " + std::string(name(each.format)); }
    std::string operator()(const SetPolicy& each) const { return "policy " + std::string(name(each.policy)); }
    std::string operator()(const ListTopics& each) const { return "topics " + each.pattern; }
    std::string operator()(const ReportPosition&) const { return "position"; }
    std::string operator()(const Authenticate& each) const { return "auth " + each.token; }
    std::string operator()(const Ping&) const { return "ping"; }
    std::string operator()(const Help&) const { return "help"; }
    std::string operator()(const Quit&) const { return "quit"; }
    std::string operator()(const BadCommand& each) const { return "-" + each.code + " " + each.text; }
  };
  return std::visit(Show{}, command);
}

using Table = std::vector<std::pair<std::string, std::string>>;

TEST(LineCommands, AreParsedAsDocumented) {
  const Table table = {
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
      {"FORMAT proto", "format proto"},
      {"POLICY gap", "policy gap"},
      {"POLICY latest", "policy latest"},
      {"POLICY disconnect", "policy disconnect"},
      {"TOPICS", "topics >"},
      {"TOPICS stock.*", "topics stock.*"},
      {"TOPICS $SYS.>", "topics $SYS.>"},
      {"AUTH anna:secret", "auth anna:secret"},
      {"auth  a:b:c ", "auth a:b:c"},
      {"PING", "ping"},
      {"PING ", "ping"},
      {"HELP", "help"},
      {"QUIT", "quit"},
      {"help", "help"},
      {"Sub clock", "sub clock"},
      {"sub a EVERY=5s Last Policy=LATEST", "sub a last every=5000ms policy=latest"},
      {"unsub Stock.>", "unsub Stock.>"},
      {"pub News.UK Hello ", "pub News.UK [Hello ]"},
      {"pub a x\ty", "pub a [x\ty]"},
      {"format JSON", "format json"},
      {"policy Gap", "policy gap"},
      {"topics", "topics >"},
      {"ping", "ping"},
      {"quit", "quit"},
  };
  for (const auto& [line, command] : table) EXPECT_EQ(shown(parse_line(line)), command) << line;
}

TEST(LineCommands, TakeTheOptionsOfASubscriptionInAnyOrder) {
  const Table table = {
      {"SUB a every=5s", "sub a every=5000ms"},
      {"SUB a every=1ms", "sub a every=1ms"},
      {"SUB a every=1.5ms", "sub a every=2ms"},
      {"SUB a every=24h", "sub a every=86400000ms"},
      {"SUB a.> since=10m", "sub a.> since=600000000000ns"},
      {"SUB a since=0", "sub a since=offset 0"},
      {"SUB a since=18446744073709551615", "sub a since=offset 18446744073709551615"},
      {"SUB a.* since=00c0ffee0000002a:9", "sub a.* since=00c0ffee0000002a:9"},
      {"SUB > since=00c0ffee0000002a:9,0000000100000002:0",
       "sub > since=00c0ffee0000002a:9,0000000100000002:0"},
      {"SUB a policy=latest", "sub a policy=latest"},
      {"SUB a policy=gap since=1h last every=100ms",
       "sub a last every=100ms since=3600000000000ns policy=gap"},
  };
  for (const auto& [line, command] : table) EXPECT_EQ(shown(parse_line(line)), command) << line;
}

TEST(LineCommands, WithErrorsReportWhatWasExpectedAndWhatWasThere) {
  const std::string verbs =
      "expected one of SUB, UNSUB, PUB, AUTH, FORMAT, POLICY, TOPICS, POSITION, PING, HELP, QUIT, got ";
  const Table table = {
      {"SUB stock..MSFT", "-bad_topic a token is empty: \"stock..MSFT\""},
      {"SUB",
       "-bad_argument expected SUB <pattern> [every=5s] [last] [since=10m] [policy=latest] (such as SUB "
       "stock.>)"},
      {"UNSUB", "-bad_argument expected UNSUB <pattern> (such as UNSUB stock.>)"},
      {"UNSUB a b", "-bad_argument expected nothing after the pattern, got \"b\""},
      {"TOPICS a b", "-bad_argument expected nothing after the pattern, got \"b\""},
      {"TOPICS a..b", "-bad_topic a token is empty: \"a..b\""},
      {"PUB", "-bad_argument expected PUB <topic> <text> (such as PUB news.uk Hello)"},
      {"PUB news.uk", "-bad_argument expected PUB <topic> <text> (such as PUB news.uk Hello)"},
      {"PUB $SYS.live.1 x",
       "-bad_topic expected a topic outside $SYS, which is read-only, got \"$SYS.live.1\""},
      {"FORMAT xml", "-bad_format expected text, text+offset, json or proto, got \"xml\""},
      {"POLICY", "-bad_policy expected gap, latest or disconnect, got \"\""},
      {"PING x", "-bad_argument expected nothing after PING, got \"x\""},
      {"subscribe clock", "-unknown_command " + verbs + "\"subscribe\""},
      {"ping x", "-bad_argument expected nothing after PING, got \"x\""},
      {" SUB clock", "-unknown_command " + verbs + "\"\""},
      {std::string("PI\0NG", 5), "-bad_byte expected text without control characters, got byte 0x00 at 2"},
      {"SUB a\tb", "-bad_byte expected text without control characters, got byte 0x09 at 5"},
      {"PUB a \x1b[2J", "-bad_byte expected text without control characters, got byte 0x1b at 6"},
      {"\xff\xfd", "-not_utf8 expected UTF-8, got \"\\xFF\\xFD\""},
  };
  for (const auto& [line, error] : table) EXPECT_EQ(shown(parse_line(line)), error) << line;
  EXPECT_THAT(shown(parse_line("PUB a..b x")), StartsWith("-bad_topic a token is empty"));
  EXPECT_THAT(shown(parse_line("PUB a.* x")), StartsWith("-bad_topic"));
  EXPECT_LT(shown(parse_line(std::string(60'000, 'x'))).size(), 250u);
}

TEST(LineCommands, WithInvalidOptionsAreRefused) {
  const std::string options = "-bad_option expected last, every=…, since=… or policy=…, got ";
  const Table table = {
      {"SUB a b", options + "\"b\""},
      {"SUB a last=1", options + "\"last=1\""},
      {"SUB a every", options + "\"every\""},
      {"SUB a =", options + "\"=\""},
      {"SUB a last last", "-bad_option expected last only once, got \"last\""},
      {"SUB a every=1s every=2s", "-bad_option expected every only once, got \"every=2s\""},
      {"SUB a every=", "-bad_every expected 1ms to 24h (such as every=5s), got \"\""},
      {"SUB a every=5", "-bad_every expected 1ms to 24h (such as every=5s), got \"5\""},
      {"SUB a every=0", "-bad_every expected 1ms to 24h, got \"0\""},
      {"SUB a every=999us", "-bad_every expected 1ms to 24h, got \"999us\""},
      {"SUB a every=25h", "-bad_every expected 1ms to 24h, got \"25h\""},
      {"SUB a every=-1s", "-bad_every expected 1ms to 24h (such as every=5s), got \"-1s\""},
      {"SUB a.> since=17",
       "-offset_needs_exact_topic expected one topic, because each topic has its own offsets, or "
       "since=<duration>; got \"a.>\""},
      {"SUB a since=",
       "-bad_since expected a duration such as 10m, an offset such as 17 or a resume token, got \"\""},
      {"SUB a since=x",
       "-bad_since expected a duration such as 10m, an offset such as 17 or a resume token, got \"x\""},
      {"SUB a since=18446744073709551616",
       "-bad_since expected a duration such as 10m, an offset such as 17 or a resume token, got "
       "\"18446744073709551616\""},
      {"SUB a since=0s", "-bad_since expected a duration above 0 and of at most 3650d, got \"0s\""},
      {"SUB a since=3651d", "-bad_since expected a duration above 0 and of at most 3650d, got \"3651d\""},
      {"SUB a policy=", "-bad_policy expected gap, latest or disconnect, got \"\""},
      {"SUB a policy=drop", "-bad_policy expected gap, latest or disconnect, got \"drop\""},
  };
  for (const auto& [line, error] : table) EXPECT_EQ(shown(parse_line(line)), error) << line;
  for (const std::string token : {"1:2", "00c0ffee0000002a:", "00c0ffee0000002a:x", "00c0ffee0000002a:9,",
                                  ":", "00c0ffee0000002a:9,00c0ffee0000002a:10"}) {
    EXPECT_THAT(shown(parse_line("SUB a since=" + token)), StartsWith("-bad_since ")) << token;
  }
}

TEST(LineReader, ReturnsTheBytesAfterTheLineAtWhichItStops) {
  LineReader reader({});
  const auto stop_at_format = [](std::string_view line, bool) { return line != "FORMAT proto"; };
  EXPECT_EQ(reader.read("PING\nFORMAT pro", stop_at_format), "");
  EXPECT_EQ(reader.read("to\r\n\x02\"\n", stop_at_format), "\x02\"\n");
  // The LF may arrive later.
  EXPECT_EQ(reader.read("FORMAT proto\r", stop_at_format), "");
  EXPECT_EQ(reader.rest_of_line_end("\n\x02\"\n"), "\x02\"\n");
  EXPECT_EQ(reader.rest_of_line_end("\n"), "\n") << "only one";
}

TEST(LineCommands, HelpLinesBeginWithHelpAndAreAligned) {
  constexpr std::size_t width = 33;  // the column of the explanations
  for (std::string_view rest = help_lines(); !rest.empty(); rest.remove_prefix(rest.find('\n') + 1)) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    EXPECT_TRUE(line.starts_with("+HELP ")) << line;
    EXPECT_LE(line.size(), 100u) << line;
    if (line.find("* matches") != std::string_view::npos) continue;
    EXPECT_EQ(line.substr(width - 2, 2), "  ") << line;
    EXPECT_NE(line[width], ' ') << line;
  }
}

}  // namespace
}  // namespace backplane::gateway
