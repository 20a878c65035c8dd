#include "cli/program.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::cli {
namespace {

using testing::HasSubstr;

struct Ended {
  ExitCode code;
  std::string output;
  std::string errors;
};

Ended run(const std::vector<const char*>& arguments) {
  std::vector<const char*> argv{"backplane"};
  for (const char* each : arguments) argv.push_back(each);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const ExitCode code = run_program(static_cast<int>(argv.size()), argv.data());
  return {code, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

/// Expects wrong usage, told in exactly this line.
void expect_usage(const std::vector<const char*>& arguments, const std::string& line) {
  const Ended ended = run(arguments);
  EXPECT_EQ(ended.code, ExitCode::usage) << line;
  EXPECT_EQ(ended.errors, line + "\n");
  EXPECT_EQ(ended.output, "");
}

TEST(Program, WrongUsageIsOneLine) {
  expect_usage({"sub", "x", "--bogus"},
               "backplane sub: The following argument was not expected: --bogus (see backplane sub --help)");
  expect_usage({"sub"}, "backplane sub: PATTERN is required (see backplane sub --help)");
  expect_usage({}, "backplane: wanted a subcommand (see backplane --help)");
  expect_usage({"nope"}, "backplane: there is no subcommand \"nope\" (see backplane --help)");
  expect_usage({"publish", "nope"},
               "backplane publish: there is no subcommand \"nope\" (see backplane publish --help)");
  expect_usage({"publish", "quotes"},
               "backplane publish quotes: --file is required (see backplane publish quotes --help)");
}

TEST(Program, WhatCannotBeUsedIsToldWithWhatWasWanted) {
  expect_usage({"sub", "a..b"}, "backplane sub: PATTERN: a token is empty: \"a..b\"");
  expect_usage({"sub", "a", "--count", "0"}, "backplane sub: --count: wanted 1 or more, got 0");
  expect_usage({"sub", "a", "--timeout", "5"},
               "backplane sub: --timeout: wanted a duration such as 250ms, 5s or 10m, got \"5\"");
  expect_usage({"sub", "a", "--format", "xml"},
               "backplane sub: --format: wanted text, text+offset, json, proto or value, got \"xml\"");
  expect_usage({"pub", "$SYS.x", "t"},
               "backplane pub: TOPIC: \"$SYS.x\" is the system's own and cannot be published to");
  expect_usage({"publish", "clock", "--every", "0"},
               "backplane publish clock: --every: wanted more than 0, got \"0\"");
  expect_usage({"broker", "--config", "/nowhere.toml"},
               "backplane broker: /nowhere.toml: there is no such configuration file");
  expect_usage({"broker", "--ingress", "here"},
               "--ingress: wanted tcp://HOST:PORT, ipc://PATH or inproc://NAME, got \"here\"");
}

TEST(Program, OptionsThatExcludeEachOtherAreTold) {
  expect_usage({"sub", "a", "--last", "--since", "1m"},
               "backplane sub: --since: wanted without --last, as the last values are not what came since");
  expect_usage(
      {"sub", "a.>", "--since", "17"},
      "backplane sub: --since: an offset goes with one topic, as each has its own; wanted a duration or a "
      "resume token");
  expect_usage({"sub", "a", "--gateway", "127.0.0.1:1601", "--broker", "b"},
               "backplane sub: --gateway: wanted without a broker's addresses");
  expect_usage(
      {"sub", "a", "--gateway", "127.0.0.1"},
      "backplane sub: --gateway: wanted HOST:PORT, as 127.0.0.1:1601 or [::1]:1601, got \"127.0.0.1\"");
  expect_usage({"pub", "t"}, "backplane pub: wanted one of TEXT, --file, --stdin and --clear, got none");
  expect_usage({"pub", "t", "{}", "--json", "Quote", "--gateway", "h:1"},
               "backplane pub: --json: wanted a broker, as a gateway takes text alone");
  expect_usage({"pub", "t", "x", "--every", "0s"}, "backplane pub: --every: wanted 1ms to 24h, got \"0s\"");
  expect_usage({"replay", "a"},
               "backplane replay: wanted PATTERN --to FILE, or --from FILE (see backplane replay --help)");
  expect_usage({"topics", "--sort", "size"},
               "backplane topics: --sort: wanted name, rate, bytes, offset or age, got \"size\"");
  expect_usage({"top", "--every", "1ms"}, "backplane top: --every: wanted 100ms to 24h, got \"1ms\"");
  expect_usage({"broker", "drain", "--broker", "a,b"},
               "backplane broker drain: --broker: wanted one host, as one broker is ended at a time");
}

TEST(Program, ConfigChecksAndPrintsFiles) {
  EXPECT_EQ(run({"config", "print"}).code, ExitCode::done);
  expect_usage({"config", "check", "/nowhere.toml"},
               "backplane config check: /nowhere.toml: there is no such configuration file");
  expect_usage({"config", "nonsense"},
               "backplane config: there is no subcommand \"nonsense\" (see backplane config --help)");
}

TEST(Program, ArgumentsAreNotEchoedRawToTheTerminal) {
  EXPECT_THAT(run({"sub", "x", "--a\x1b[2J"}).errors, HasSubstr("\\x1B[2J"));
}

TEST(Program, EachSubcommandsHelpShowsAnExample) {
  const std::vector<std::vector<const char*>> all{{"--help"},
                                                  {"up", "--help"},
                                                  {"broker", "--help"},
                                                  {"gateway", "--help"},
                                                  {"sub", "--help"},
                                                  {"pub", "--help"},
                                                  {"publish", "--help"},
                                                  {"publish", "clock", "--help"},
                                                  {"publish", "thermometer", "--help"},
                                                  {"publish", "quotes", "--help"},
                                                  {"publish", "lines", "--help"},
                                                  {"get", "--help"},
                                                  {"topics", "--help"},
                                                  {"top", "--help"},
                                                  {"replay", "--help"},
                                                  {"audit", "--help"},
                                                  {"config", "--help"},
                                                  {"config", "check", "--help"},
                                                  {"config", "print", "--help"},
                                                  {"broker", "drain", "--help"}};
  for (const auto& arguments : all) {
    const Ended ended = run(arguments);
    EXPECT_EQ(ended.code, ExitCode::done);
    EXPECT_THAT(ended.output, HasSubstr("Example:\n")) << arguments.front();
    EXPECT_EQ(ended.errors, "");
  }
}

TEST(Program, TellsItsVersion) {
  const Ended ended = run({"--version"});
  EXPECT_EQ(ended.code, ExitCode::done);
  EXPECT_THAT(ended.output, testing::MatchesRegex("backplane [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST(Program, ChecksAndPrintsTheConfigurationWithoutStartingAnything) {
  EXPECT_EQ(run({"broker", "--check-config"}).code, ExitCode::done);
  const Ended printed = run({"broker", "--print-config", "--name", "other", "--log-level", "debug"});
  EXPECT_EQ(printed.code, ExitCode::done);
  EXPECT_THAT(printed.output, HasSubstr("name = \"other\""));
  EXPECT_THAT(printed.output, HasSubstr("level = \"debug\""));
}

}  // namespace
}  // namespace backplane::cli
