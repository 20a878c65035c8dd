#include "core/config/section.hpp"

#include <filesystem>
#include <fstream>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace backplane::config {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

enum class Policy { gap, latest, disconnect };

struct Feed {
  std::string name = "feed";
  std::vector<std::string> topics;
  friend bool operator==(const Feed&, const Feed&) = default;
};

struct Gateway {
  std::string host = "127.0.0.1";
  std::uint16_t port = 1601;
  bool tls = false;
  double rate = 1.5;
  std::size_t line_bytes_max = 64u << 10;
  std::chrono::milliseconds idle{10'000};
  std::vector<std::string> allow{"127.0.0.1"};
  Policy policy = Policy::gap;
  std::optional<std::chrono::seconds> ttl;
  std::vector<Feed> feeds;
  friend bool operator==(const Gateway&, const Gateway&) = default;
};

Result<void> no_blank(std::string_view value, std::string_view where) {
  if (value.find(' ') == std::string_view::npos) return {};
  return fail(ErrorCode::invalid_argument, std::string(where) + ": expected no blank");
}

void describe(Section& root, Gateway& gateway) {
  root.table("gateway", "The gateway.", [&](Section& section) {
    section.tables("feed", gateway.feeds, "Ports that need no command.", [](Section& feed, Feed& each) {
      feed.field("name", each.name, "What it is called.");
      feed.field("topics", each.topics, "What it gives.", no_blank);
    });
    section.field("host", gateway.host, "Where to listen.", no_blank);
    section.field("port", gateway.port, 1, 65'535, "The port.");
    section.field("tls", gateway.tls, "Whether to encrypt.");
    section.field("rate", gateway.rate, 0.0, 100.0, "How often.");
    section.bytes("line_bytes_max", gateway.line_bytes_max, 64, 16u << 20, "Longest line.");
    section.field("idle", gateway.idle, 1ms, 1h, "How long to wait.");
    section.field("allow", gateway.allow, "Who may come.");
    section.choice("policy", gateway.policy,
                   {{"gap", Policy::gap}, {"latest", Policy::latest}, {"disconnect", Policy::disconnect}},
                   "What to do with slow ones.");
    section.optional("ttl", gateway.ttl, 1s, 24h, "How long a value stands.");
  });
}

Source source_of(std::string_view toml) {
  auto source = Source::parse(toml, "backplane.toml");
  EXPECT_TRUE(source.has_value()) << source.error().text;
  return source ? std::move(*source) : Source{};
}

std::vector<std::string> errors_of(const Source& source) {
  Gateway gateway;
  return read(source, [&](Section& section) { describe(section, gateway); });
}

std::vector<std::string> errors_of(std::string_view toml) {
  return errors_of(source_of(toml));
}

Gateway gateway_of(const Source& source) {
  Gateway gateway;
  EXPECT_THAT(read(source, [&](Section& section) { describe(section, gateway); }), IsEmpty());
  return gateway;
}

constexpr std::string_view full = R"(
[gateway]
host = "::1"
port = 1700
tls = true
rate = 3
line_bytes_max = "1MiB"
idle = "1m"
allow = ["a", "b"]
policy = "latest"
ttl = "10s"

[[gateway.feed]]
name = "one"
topics = ["clock"]

[[gateway.feed]]
)";

TEST(Config, EveryKindOfValueIsRead) {
  Gateway expected{"::1", 1700,       true,           3.0, 1u << 20,
                   60s,   {"a", "b"}, Policy::latest, 10s, {{"one", {"clock"}}, {}}};
  EXPECT_EQ(gateway_of(source_of(full)), expected);
}

TEST(Config, WhatIsNotGivenKeepsItsDefault) {
  EXPECT_EQ(gateway_of(Source{}), Gateway{});
  EXPECT_EQ(gateway_of(source_of("[gateway]\nport = 5\n")).host, "127.0.0.1");
}

TEST(Config, SizesAreNumbersOrHaveUnits) {
  EXPECT_EQ(gateway_of(source_of("[gateway]\nline_bytes_max = 100\n")).line_bytes_max, 100u);
  EXPECT_EQ(gateway_of(source_of("[gateway]\nline_bytes_max = \"2KiB\"\n")).line_bytes_max, 2048u);
}

TEST(Config, AnEmptyArrayReplacesTheDefaultTables) {
  Gateway gateway;
  gateway.feeds.resize(3);
  EXPECT_THAT(read(source_of("[gateway]\nfeed = []\n"), [&](Section& s) { describe(s, gateway); }),
              IsEmpty());
  EXPECT_THAT(gateway.feeds, IsEmpty());
}

TEST(Config, AnErrorSaysWhereWhatWasExpectedAndWhatWasThere) {
  EXPECT_THAT(errors_of("\n\n[gateway]\nport = \"99999\"\n"),
              ElementsAre("backplane.toml:4 [gateway].port: expected 1..65535, got \"99999\""));
  EXPECT_THAT(errors_of("[gateway]\nport = 99999\n"),
              ElementsAre("backplane.toml:2 [gateway].port: expected 1..65535, got \"99999\""));
}

TEST(Config, AllErrorsOfAFileComeAtOnceInTheOrderOfItsLines) {
  EXPECT_THAT(
      errors_of(R"([gateway]
policy = "none"
ttl = "5m30s"
allow = ["a", 5]
idle = 5
line_bytes_max = "1 MB"
rate = "x"
tls = 1
port = 0
host = "a b"
feed = 3
)"),
      ElementsAre("backplane.toml:2 [gateway].policy: expected one of gap, latest, disconnect, got \"none\"",
                  "backplane.toml:3 [gateway].ttl: expected a duration of 1s..1d, got \"5m30s\"",
                  "backplane.toml:4 [gateway].allow: expected a list of strings, got \"5\" in it",
                  "backplane.toml:5 [gateway].idle: expected a duration of 1ms..1h, got \"5\"",
                  "backplane.toml:6 [gateway].line_bytes_max: expected a size of 64..16MiB, got \"1 "
                  "MB\"",
                  "backplane.toml:7 [gateway].rate: expected 0..100, got \"x\"",
                  "backplane.toml:8 [gateway].tls: expected true or false, got \"1\"",
                  "backplane.toml:9 [gateway].port: expected 1..65535, got \"0\"",
                  "backplane.toml:10 [gateway].host: expected no blank",
                  "backplane.toml:11 [gateway].feed: expected tables [[gateway.feed]], got \"3\""));
}

TEST(Config, UnknownKeysAndTablesAreErrorsThatGuessWhatWasMeant) {
  EXPECT_THAT(errors_of("[gateway]\nprot = 5\nzebra = 1\n\n[gatway]\n[other]\n[[gateway.fed]]\n"),
              ElementsAre("backplane.toml:2 [gateway].prot: unknown key; did you mean \"port\"?",
                          "backplane.toml:3 [gateway].zebra: unknown key",
                          "backplane.toml:5 [gatway]: unknown table; did you mean \"gateway\"?",
                          "backplane.toml:6 [other]: unknown table",
                          "backplane.toml:7 [gateway.fed]: unknown table; did you mean \"feed\"?"));
}

TEST(Config, KeysInTablesOfAnArrayAreCheckedToo) {
  EXPECT_THAT(errors_of("[[gateway.feed]]\n[[gateway.feed]]\ntopic = []\ntopics = ['a b', 'c d']\n"),
              ElementsAre("backplane.toml:3 [gateway.feed].topic: unknown key; did you mean \"topics\"?",
                          "backplane.toml:4 [gateway.feed].topics: expected no blank",
                          "backplane.toml:4 [gateway.feed].topics: expected no blank"));
}

TEST(Config, ATableInsteadOfAValueAndTheReverseAreErrors) {
  EXPECT_THAT(errors_of("gateway = 5\n"),
              ElementsAre("backplane.toml:1 gateway: expected a table [gateway], got \"5\""));
  EXPECT_THAT(errors_of("[gateway.port]\n"),
              ElementsAre("backplane.toml:1 [gateway.port]: expected 1..65535, got a table"));
  EXPECT_THAT(errors_of("[gateway.feed]\nname = 'x'\n"),
              ElementsAre("backplane.toml:1 [gateway.feed]: expected tables [[gateway.feed]], got a table"));
}

TEST(Config, ControlCharactersInTextAreRefusedAndNeverEchoed) {
  const auto errors = errors_of("[gateway]\nhost = \"a\\u001b[31m\"\n");
  EXPECT_THAT(errors,
              ElementsAre("backplane.toml:2 [gateway].host: expected UTF-8 without control characters, "
                          "got \"a\\x1B[31m\""));
}

TEST(Config, TextThatIsNotTomlIsReportedWithItsLine) {
  const auto source = Source::parse("[gateway]\nport = \n", "backplane.toml");
  ASSERT_FALSE(source.has_value());
  EXPECT_THAT(source.error().text, HasSubstr("backplane.toml:2: "));
  EXPECT_THAT(Source::parse("a = 1\na = 2\n", "f").error().text, HasSubstr("f:2: "));
}

TEST(Config, AFlagOverridesTheFile) {
  Source source = source_of("[gateway]\nport = 5\nallow = ['x']\n");
  source.set_flag("gateway.port", "--port", {"7"});
  source.set_flag("gateway.allow", "--allow", {"y", "z"});
  source.set_flag("gateway.tls", "--tls", {"true"});
  source.set_flag("gateway.idle", "--idle", {"2s"});
  source.set_flag("gateway.line_bytes_max", "--line-bytes-max", {"4KiB"});
  const Gateway gateway = gateway_of(source);
  EXPECT_EQ(gateway.port, 7);
  EXPECT_THAT(gateway.allow, ElementsAre("y", "z"));
  EXPECT_TRUE(gateway.tls);
  EXPECT_EQ(gateway.idle, 2s);
  EXPECT_EQ(gateway.line_bytes_max, 4096u);
}

TEST(Config, AnErrorInAFlagNamesTheFlag) {
  Source source = source_of("[gateway]\nport = 5\n");
  source.set_flag("gateway.port", "--port", {"99999"});
  source.set_flag("gateway.host", "--host", {"a b"});
  source.set_flag("gateway.line_bytes_max", "--line-bytes-max", {"1"});
  EXPECT_THAT(errors_of(source),
              ElementsAre("--host: expected no blank", "--port: expected 1..65535, got \"99999\"",
                          "--line-bytes-max: expected a size of 64..16MiB, got \"1\""));
}

TEST(Config, AFlagCanSetAValueInATableThatTheFileDoesNotHave) {
  Source source;
  source.set_flag("gateway.feed[0].name", "--feed-name", {"news"});
  const Gateway gateway = gateway_of(source);
  ASSERT_EQ(gateway.feeds.size(), 1u);
  EXPECT_EQ(gateway.feeds[0].name, "news");
}

TEST(ConfigDeathTest, AFlagForAKeyThatIsNotDescribedIsABrokenPromise) {
  Source source;
  source.set_flag("gateway.colour", "--colour", {"red"});
  EXPECT_DEATH(static_cast<void>(errors_of(source)), "a flag sets a value that is described");
}

TEST(Config, ThePlaceOfAValueIsKnownLater) {
  Source source = source_of(full);
  EXPECT_EQ(source.place("gateway.port").str(), "backplane.toml:4 [gateway].port");
  EXPECT_EQ(source.place("gateway.feed[0].topics").spot(), "backplane.toml:15");
  EXPECT_EQ(source.place("gateway.feed[1].name").spot(), "backplane.toml:17") << "its table's line";
  EXPECT_EQ(source.place("gateway").str(), "backplane.toml:2 [gateway]");
  EXPECT_EQ(source.table_count("gateway.feed"), 2u);
  source.set_flag("gateway.port", "--port", {"1"});
  EXPECT_EQ(source.place("gateway.port").str(), "--port");
  EXPECT_EQ(Source{}.place("gateway.port").str(), "[gateway].port");
  EXPECT_EQ(Source{}.place("gateway.port").spot(), "the default");
}

TEST(Config, ADescriptionCanNameBothLinesOfADuplicate) {
  const Source source = source_of("[[gateway.feed]]\nname = 'a'\n[[gateway.feed]]\nname = 'a'\n");
  Gateway gateway;
  std::map<std::string, Place> seen;
  const auto errors = read(source, [&](Section& root) {
    root.table("gateway", "", [&](Section& section) {
      section.tables("feed", gateway.feeds, "", [&](Section& feed, Feed& each) {
        feed.field("name", each.name, "");
        const auto [first, is_new] = seen.try_emplace(each.name, feed.place("name"));
        if (!is_new) feed.error("name", "the name is taken, see " + first->second.spot());
      });
    });
  });
  EXPECT_THAT(errors,
              ElementsAre("backplane.toml:4 [gateway.feed].name: the name is taken, see backplane.toml:2"));
}

struct Named {
  std::vector<std::string> words;
};

std::vector<std::string> read_named(std::string_view toml, std::map<std::string, Named, std::less<>>& named) {
  return read(Source::parse(toml, "test.toml").value(), [&](Section& root) {
    root.named_tables("users", named, "Users.", no_blank,
                      [](Section& section, const std::string&, Named& each) {
                        section.one_or_more("words", each.words, "Words.");
                      });
  });
}

TEST(Config, TablesCanHaveNamesThatTheFileChooses) {
  std::map<std::string, Named, std::less<>> named;
  EXPECT_THAT(read_named("[users.a-1]\nwords = \"x\"\n[users.b]\nwords = [\"y\", \"z\"]\n", named),
              IsEmpty());
  ASSERT_EQ(named.size(), 2U);
  EXPECT_THAT(named["a-1"].words, ElementsAre("x"));
  EXPECT_THAT(named["b"].words, ElementsAre("y", "z"));
}

TEST(Config, AnErrorInANamedTableSaysWhereItIs) {
  std::map<std::string, Named, std::less<>> named;
  EXPECT_THAT(
      read_named("[users.a]\nword = 1\nwords = 2\n[users.\"b c\"]\n[users.\"d.e\"]\n[users]\nf = 5\n", named),
      ElementsAre("test.toml:2 [users.a].word: unknown key; did you mean \"words\"?",
                  "test.toml:3 [users.a].words: expected a string or a list of strings, got \"2\"",
                  "test.toml:4 [users.b c]: expected no blank",
                  "test.toml:5 [users.d.e]: expected a name of letters, digits, - and _, got \"d.e\"",
                  "test.toml:7 [users].f: expected a table [users.f], got \"5\""));
}

TEST(ConfigPrint, ReadsBackEqual) {
  Gateway odd{
      "q\"b\\", 1, true, 0.1, 1000, 1500ms, {"x\"y", ""}, Policy::disconnect, 24h, {{"f", {"a", "b"}}, {}}};
  odd.host = "é\"\\";
  for (Gateway gateway : {Gateway{}, gateway_of(source_of(full)), odd}) {
    for (const Comments comments : {Comments::none, Comments::about}) {
      const std::string text = print([&](Section& section) { describe(section, gateway); }, comments);
      EXPECT_EQ(gateway_of(source_of(text)), gateway) << text;
    }
  }
}

TEST(ConfigPrint, EmptiedDefaultsReadBackEmpty) {
  Gateway gateway;
  gateway.allow.clear();
  const std::string text = print([&](Section& section) { describe(section, gateway); });
  EXPECT_EQ(gateway_of(source_of(text)), gateway) << text;
}

TEST(ConfigPrint, IsTomlAsPeopleWriteIt) {
  Gateway gateway = gateway_of(source_of(full));
  EXPECT_EQ(print([&](Section& section) { describe(section, gateway); }), R"([gateway]
host = "::1"
port = 1700
tls = true
rate = 3.0
line_bytes_max = "1MiB"
idle = "1m"
allow = ["a", "b"]
policy = "latest"
ttl = "10s"

[[gateway.feed]]
name = "one"
topics = ["clock"]

[[gateway.feed]]
name = "feed"
topics = []
)");
}

TEST(ConfigPrint, TheReferenceSaysWhatEachValueMeansAndItsLimits) {
  Gateway gateway;
  const std::string text = print([&](Section& section) { describe(section, gateway); }, Comments::about);
  EXPECT_THAT(text, HasSubstr("# The gateway.\n[gateway]\n"));
  EXPECT_THAT(text, HasSubstr("# The port. 1..65535.\nport = 1601\n"));
  EXPECT_THAT(text, HasSubstr("# How long to wait. 1ms..1h.\nidle = \"10s\"\n"));
  EXPECT_THAT(text, HasSubstr("# What to do with slow ones. One of gap, latest, disconnect.\n"));
}

TEST(ConfigPrint, TheReferenceShowsAnExampleOfATable) {
  Gateway gateway;
  std::string text = print([&](Section& section) { describe(section, gateway); }, Comments::about);
  EXPECT_THAT(text, HasSubstr(R"(# Ports that need no command. None is configured. Example:
#[[gateway.feed]]
# What it is called.
#name = "feed"
# What it gives.
#topics = []
)"));
  // Without the # before its TOML it is a real table.
  for (const std::string_view sign : {"#[[", "#name", "#topics"}) text.erase(text.find(sign), 1);
  gateway.feeds.push_back({});
  EXPECT_EQ(gateway_of(source_of(text)), gateway) << text;
}

class ConfigFile : public testing::Test {
 protected:
  std::filesystem::path file_ = std::filesystem::path(testing::TempDir()) /
                                ("backplane-config-" + std::to_string(::getpid()) + ".toml");
  void TearDown() override { std::filesystem::remove(file_); }
  void write(std::string_view text) { std::ofstream(file_) << text; }
};

TEST_F(ConfigFile, IsReadAndNamedInErrors) {
  write("[gateway]\nport = 0\n");
  auto source = Source::load(file_);
  ASSERT_TRUE(source.has_value());
  EXPECT_THAT(errors_of(*source),
              ElementsAre(file_.string() + ":2 [gateway].port: expected 1..65535, got \"0\""));
}

TEST_F(ConfigFile, AMissingOneIsNamed) {
  const auto source = Source::load("/nowhere/backplane.toml");
  ASSERT_FALSE(source.has_value());
  EXPECT_EQ(source.error().code, ErrorCode::not_found);
  EXPECT_EQ(source.error().text, "cannot read /nowhere/backplane.toml: no such file");
}

TEST_F(ConfigFile, ADirectoryIsNamed) {
  EXPECT_EQ(Source::load("/tmp").error().text, "cannot read /tmp: it is a directory");
}

TEST_F(ConfigFile, ALargeOneIsRefused) {
  write(std::string((1u << 20) + 1, '#'));
  EXPECT_THAT(Source::load(file_).error().text, HasSubstr("expected at most 1 MiB"));
}

TEST_F(ConfigFile, DeepNestingIsAnErrorAndNotACrash) {
  EXPECT_FALSE(Source::parse("a = " + std::string(100'000, '['), "f").has_value());
}

}  // namespace
}  // namespace backplane::config
