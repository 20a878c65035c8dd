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
               "backplane publish quotes: --csv is required (see backplane publish quotes --help)");
}

TEST(Program, WhatCannotBeUsedIsToldWithWhatWasWanted) {
  expect_usage({"sub", "a..b"}, "backplane sub: PATTERN: a token is empty: \"a..b\"");
  expect_usage({"sub", "a", "--count", "0"}, "backplane sub: --count: wanted 1 or more, got 0");
  expect_usage({"sub", "a", "--timeout", "5"},
               "backplane sub: --timeout: wanted a duration such as 250ms, 5s or 10m, got \"5\"");
  expect_usage({"sub", "a", "--format", "xml"},
               "backplane sub: --format: wanted text, text+offset or json, got \"xml\"");
  expect_usage({"pub", "$SYS.x", "t"},
               "backplane pub: TOPIC: \"$SYS.x\" is the system's own and cannot be published to");
  expect_usage({"publish", "clock", "--every", "0"},
               "backplane publish clock: --every: wanted more than 0, got \"0\"");
  expect_usage({"broker", "--config", "/nowhere.toml"},
               "backplane broker: /nowhere.toml: there is no such configuration file");
  expect_usage({"broker", "--ingress", "here"},
               "--ingress: wanted tcp://HOST:PORT, ipc://PATH or inproc://NAME, got \"here\"");
  expect_usage({"gateway", "--broker", "a,b"},
               "backplane gateway: --broker: wanted one host, as a gateway follows one broker, got 2");
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
                                                  {"publish", "lines", "--help"}};
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
