#include "cli/program.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/log/line_writer.hpp"

namespace backplane::cli {
namespace {

using testing::HasSubstr;

struct Outcome {
  ExitCode code;
  std::string output;
  std::string errors;
};

Outcome run(const std::vector<const char*>& arguments) {
  std::vector<const char*> argv{"backplane"};
  for (const char* each : arguments) argv.push_back(each);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const ExitCode code = run_program(static_cast<int>(argv.size()), argv.data());
  log::flush_standard_streams();
  return {code, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

/// Expects wrong usage, reported in exactly this line.
void expect_usage(const std::vector<const char*>& arguments, const std::string& line) {
  const Outcome result = run(arguments);
  EXPECT_EQ(result.code, ExitCode::usage) << line;
  EXPECT_EQ(result.errors, line + "\n");
  EXPECT_EQ(result.output, "");
}

TEST(Program, WrongUsageIsReportedInOneLine) {
  expect_usage(
      {"sub", "x", "--bogus"},
      "backplane sub: unknown option \"--bogus\"; if it is PATTERN, put -- before it (see backplane sub "
      "--help)");
  expect_usage({"sub"}, "backplane sub: PATTERN is required (see backplane sub --help)");
  expect_usage({}, "backplane: expected a subcommand, got none (see backplane --help)");
  expect_usage({"nope"}, "backplane: expected a subcommand, got \"nope\" (see backplane --help)");
  expect_usage({"publish", "nope"},
               "backplane publish: expected a subcommand, got \"nope\" (see backplane publish --help)");
  expect_usage({"publish", "quotes"},
               "backplane publish quotes: --file is required (see backplane publish quotes --help)");
}

TEST(Program, AnErrorInAnArgumentSaysWhatWasExpected) {
  expect_usage({"sub", "a..b"}, "backplane sub: PATTERN: a token is empty: \"a..b\"");
  expect_usage({"sub", "a", "--count", "0"},
               "backplane sub: --count: expected a whole number of 1 or more, got \"0\"");
  expect_usage({"sub", "a", "--timeout", "5"},
               "backplane sub: --timeout: expected a duration such as 250ms, 5s or 10m, got \"5\"");
  expect_usage({"sub", "a", "--format", "xml"},
               "backplane sub: --format: expected text, text+offset, json, proto or value, got \"xml\"");
  expect_usage({"pub", "$SYS.x", "t"},
               "backplane pub: TOPIC: cannot publish to \"$SYS.x\": $SYS topics belong to the system");
  expect_usage({"publish", "clock", "--every", "0"},
               "backplane publish clock: --every: expected more than 0, got \"0\"");
  expect_usage({"broker", "--config", "/nowhere.toml"},
               "backplane broker: cannot read /nowhere.toml: no such file");
  expect_usage({"broker", "--ingress", "here"},
               "--ingress: expected tcp://HOST:PORT, ipc://PATH or inproc://NAME, got \"here\"");
}

/// Every option of every command that takes a value, with the arguments that the command needs.
struct ValueOptions {
  std::vector<const char*> command;
  std::vector<const char*> options;
};
const std::vector<ValueOptions>& value_options() {
  static const std::vector<const char*> addresses{"--broker", "--ingress", "--egress", "--control",
                                                  "--context"};
  static const auto with_addresses = [](std::vector<const char*> options) {
    options.insert(options.end(), addresses.begin(), addresses.end());
    return options;
  };
  static const auto source = [](std::vector<const char*> options) {
    for (const char* each :
         {"--topic", "--every", "--source-name", "--on-error", "--max-event-bytes", "--log-level"})
      options.push_back(each);
    return with_addresses(options);
  };
  static const auto table = [](std::vector<const char*> options) {
    for (const char* each :
         {"--file", "--csv", "--format", "--separator", "--rate", "--speed", "--map", "--time-unit"})
      options.push_back(each);
    return source(options);
  };
  static const std::vector<ValueOptions> all{
      {{"up"}, {"--config", "--data"}},
      {{"broker"},
       {"--config", "--log-level", "--name", "--ingress", "--egress", "--control", "--raw", "--metrics"}},
      {{"broker", "drain"}, with_addresses({"--timeout"})},
      {{"gateway"},
       {"--config", "--log-level", "--listen", "--workers", "--metrics", "--broker", "--ingress", "--egress",
        "--control"}},
      {{"sub", "a"}, with_addresses({"--since", "--every", "--count", "--timeout", "--format", "--gateway"})},
      {{"pub", "a", "b"}, with_addresses({"--file", "--json", "--count", "--every", "--gateway"})},
      {{"get", "a"}, with_addresses({"--format"})},
      {{"topics"}, with_addresses({"--every", "--sort", "--limit"})},
      {{"top"}, with_addresses({"--every"})},
      {{"replay", "a"}, with_addresses({"--to", "--since", "--format", "--from", "--speed", "--under"})},
      {{"audit"}, with_addresses({})},
      {{"bench", "pub"}, with_addresses({"--topic", "--topics", "--size", "--rate", "--count", "--time"})},
      {{"bench", "sub"}, with_addresses({"--count", "--time"})},
      {{"bench", "latency"}, with_addresses({"--topic", "--size", "--rate", "--count", "--time"})},
      {{"context", "add", "x"},
       {"--broker", "--gateway", "--key", "--server-key", "--token-file", "--ca", "--tls-certificate",
        "--tls-key"}},
      {{"doctor"}, with_addresses({"--gateway"})},
      {{"publish", "clock"}, source({})},
      {{"publish", "thermometer"}, table({"--sysfs", "--load-average", "--memory"})},
      {{"publish", "quotes"}, table({})},
      {{"publish", "earthquakes"}, table({})},
      {{"publish", "replay"}, table({"--type", "--time-field", "--topic-field"})},
      {{"publish", "lines"}, source({})},
      {{"publish", "file"}, source({"--path", "--state", "--from"})},
      {{"publish", "exec"}, source({"--limit"})},
      {{"publish", "random-walk"}, source({"--seed", "--symbols", "--rate", "--count"})},
  };
  return all;
}

TEST(Program, AnEmptyValueIsAnErrorForEveryOptionOfEveryCommand) {
  for (const ValueOptions& each : value_options()) {
    for (const char* option : each.options) {
      std::vector<const char*> arguments = each.command;
      arguments.insert(arguments.end(), {option, ""});
      const Outcome result = run(arguments);
      EXPECT_EQ(result.code, ExitCode::usage) << option;
      EXPECT_THAT(result.errors, HasSubstr(": expected a value, got an empty one\n")) << option;
      EXPECT_THAT(result.errors, HasSubstr(option == std::string("--csv")    ? "--file"
                                           : option == std::string("--path") ? "--path"
                                                                             : option));
    }
  }
  expect_usage({"config", "check", ""}, "backplane config check: FILE: expected a value, got an empty one");
  expect_usage({"config", "print", ""}, "backplane config print: FILE: expected a value, got an empty one");
  expect_usage({"pub", "", "x"}, "backplane pub: TOPIC: expected a value, got an empty one");
  expect_usage({"get", ""}, "backplane get: TOPIC: expected a value, got an empty one");
  expect_usage({"sub", ""}, "backplane sub: PATTERN: expected a value, got an empty one");
  expect_usage({"replay", "", "--to", "x"}, "backplane replay: PATTERN: expected a value, got an empty one");
  expect_usage({"topics", ""}, "backplane topics: PATTERN: expected a value, got an empty one");
}

TEST(Program, NumbersTimesAndSizesThatAreNegativeOrTooLargeAreErrors) {
  struct Case {
    std::vector<const char*> arguments;
    const char* place;
  };
  const std::vector<Case> cases{
      {{"pub", "a", "b"}, "--count"},
      {{"sub", "a"}, "--count"},
      {{"bench", "pub"}, "--count"},
      {{"bench", "pub"}, "--rate"},
      {{"bench", "pub"}, "--topics"},
      {{"bench", "pub"}, "--size"},
      {{"bench", "pub"}, "--time"},
      {{"bench", "sub"}, "--count"},
      {{"bench", "sub"}, "--time"},
      {{"bench", "latency"}, "--rate"},
      {{"publish", "random-walk"}, "--seed"},
      {{"publish", "random-walk"}, "--symbols"},
      {{"publish", "random-walk"}, "--count"},
      {{"publish", "random-walk"}, "--rate"},
      {{"topics"}, "--limit"},
      {{"gateway", "--check-config"}, "--workers"},
      {{"pub", "a", "b"}, "--every"},
      {{"sub", "a"}, "--every"},
      {{"sub", "a"}, "--timeout"},
      {{"sub", "a"}, "--since"},
      {{"replay", "a", "--to", "/dev/null"}, "--since"},
      {{"topics"}, "--every"},
      {{"top"}, "--every"},
      {{"broker", "drain"}, "--timeout"},
      {{"publish", "clock"}, "--every"},
      {{"publish", "clock"}, "--max-event-bytes"},
      {{"publish", "quotes", "--file", "/dev/null"}, "--rate"},
      {{"publish", "quotes", "--file", "/dev/null"}, "--speed"},
      {{"replay", "--from", "/dev/null"}, "--speed"},
      {{"publish", "exec", "--topic", "t"}, "--limit"},
  };
  for (const Case& each : cases) {
    for (const char* value : {"-1", "-1s", "-5m", "-0.5", "99999999999999999999", "99999999999999999999d",
                              "1e400", "nan", "0x10", "1 s"}) {
      std::vector<const char*> arguments = each.arguments;
      arguments.insert(arguments.end(), {each.place, value});
      if (std::string(arguments[1]) == "exec") arguments.push_back("true");
      const Outcome result = run(arguments);
      EXPECT_EQ(result.code, ExitCode::usage) << each.place << " " << value;
      EXPECT_THAT(result.errors, HasSubstr(std::string(each.place) + ": expected ")) << value;
      EXPECT_THAT(result.errors, HasSubstr("got ")) << each.place;
    }
  }
}

TEST(Program, ATypoOfACommandGetsASuggestion) {
  expect_usage({"sbu"},
               "backplane: expected a subcommand, got \"sbu\"; did you mean sub? (see backplane --help)");
  expect_usage(
      {"subscribe", "x"},
      "backplane: expected a subcommand, got \"subscribe\"; did you mean sub? (see backplane --help)");
  expect_usage({"help", "pubish"},
               "backplane: help: expected a subcommand, got \"pubish\"; did you mean publish?");
  expect_usage(
      {"sub", "x", "--formt", "json"},
      "backplane sub: unknown option \"--formt\"; did you mean --format? If it is PATTERN, put -- before it "
      "(see backplane sub --help)");
}

TEST(Program, TheSizeOfAnEventIsLimited) {
  for (const char* size : {"0", "0MiB", "257MiB", "16TiB", "18446744073709551615"}) {
    expect_usage({"publish", "clock", "--max-event-bytes", size},
                 "backplane publish clock: --max-event-bytes: expected 1 to 256MiB, got \"" +
                     std::string(size) + "\"");
  }
}

TEST(Program, APayloadThatLooksLikeAnOptionIsAnError) {
  for (const char* text : {"-hello", "-h1", "-x", "--hello", "--help=x"}) {
    const Outcome result = run({"pub", "mood", text});
    EXPECT_EQ(result.code, ExitCode::usage) << text;
    EXPECT_EQ(result.output, "") << text;
    EXPECT_NE(result.errors, "") << text;
  }
  expect_usage(
      {"pub", "mood", "-hello"},
      "backplane pub: unknown option \"-hello\"; if it is TEXT, put -- before it (see backplane pub --help)");
}

TEST(Program, OptionsThatExcludeEachOtherAreReported) {
  expect_usage({"sub", "a", "--last", "--since", "1m"},
               "backplane sub: --since: cannot be combined with --last");
  expect_usage(
      {"sub", "a.>", "--since", "17"},
      "backplane sub: --since: expected a duration or a resume token for several topics, got an offset");
  expect_usage({"sub", "a", "--gateway", "127.0.0.1:1601", "--broker", "b"},
               "backplane sub: --gateway: cannot be combined with the addresses or keys of a broker");
  expect_usage(
      {"sub", "a", "--gateway", "127.0.0.1"},
      "backplane sub: --gateway: expected HOST:PORT such as 127.0.0.1:1601 or [::1]:1601, got \"127.0.0.1\"");
  expect_usage({"pub", "t"}, "backplane pub: expected one of TEXT, --file, --stdin and --clear, got none");
  expect_usage({"pub", "t", "{}", "--json", "Quote", "--gateway", "h:1"},
               "backplane pub: --json: cannot be combined with --gateway, which accepts text only");
  expect_usage({"pub", "t", "x", "--every", "0s"}, "backplane pub: --every: expected 1ms to 24h, got \"0s\"");
  expect_usage({"replay", "a"},
               "backplane replay: expected PATTERN --to FILE, or --from FILE (see backplane replay --help)");
  expect_usage({"topics", "--sort", "size"},
               "backplane topics: --sort: expected name, rate, bytes, offset or age, got \"size\"");
  expect_usage({"top", "--every", "1ms"}, "backplane top: --every: expected 100ms to 24h, got \"1ms\"");
  expect_usage({"broker", "drain", "--broker", "a,b"},
               "backplane broker drain: --broker: expected one host, got 2");
}

TEST(Program, ConfigChecksAndPrintsFiles) {
  EXPECT_EQ(run({"config", "print"}).code, ExitCode::done);
  expect_usage({"config", "check", "/nowhere.toml"},
               "backplane config check: cannot read /nowhere.toml: no such file");
  expect_usage({"config", "nonsense"},
               "backplane config: expected a subcommand, got \"nonsense\" (see backplane config --help)");
}

TEST(Program, ControlCharactersInArgumentsAreEscaped) {
  EXPECT_THAT(run({"sub", "x", "--a\x1b[2J"}).errors, HasSubstr("\\x1B[2J"));
}

TEST(Program, TheHelpOfEachSubcommandHasExamples) {
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
                                                  {"bench", "--help"},
                                                  {"bench", "pub", "--help"},
                                                  {"bench", "sub", "--help"},
                                                  {"bench", "latency", "--help"},
                                                  {"context", "--help"},
                                                  {"context", "list", "--help"},
                                                  {"context", "show", "--help"},
                                                  {"context", "add", "--help"},
                                                  {"context", "use", "--help"},
                                                  {"context", "remove", "--help"},
                                                  {"doctor", "--help"},
                                                  {"help", "--help"},
                                                  {"help", "publish", "clock"},
                                                  {"config", "--help"},
                                                  {"config", "check", "--help"},
                                                  {"config", "print", "--help"},
                                                  {"broker", "drain", "--help"}};
  for (const auto& arguments : all) {
    const Outcome result = run(arguments);
    EXPECT_EQ(result.code, ExitCode::done);
    EXPECT_THAT(result.output, HasSubstr("Examples:\n")) << arguments.front();
    EXPECT_EQ(result.errors, "");
  }
}

TEST(Program, PrintsItsVersion) {
  const Outcome result = run({"--version"});
  EXPECT_EQ(result.code, ExitCode::done);
  EXPECT_THAT(result.output, testing::MatchesRegex("backplane [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST(Program, ChecksAndPrintsTheConfigurationWithoutStartingAnything) {
  EXPECT_EQ(run({"broker", "--check-config"}).code, ExitCode::done);
  const Outcome printed = run({"broker", "--print-config", "--name", "other", "--log-level", "debug"});
  EXPECT_EQ(printed.code, ExitCode::done);
  EXPECT_THAT(printed.output, HasSubstr("name = \"other\""));
  EXPECT_THAT(printed.output, HasSubstr("level = \"debug\""));
}

}  // namespace
}  // namespace backplane::cli
