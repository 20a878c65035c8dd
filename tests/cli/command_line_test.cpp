#include "cli/command_line.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::cli {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;

/// What a shell may hand to a program, all of it ordinary text.
const std::vector<std::string> awkward{"[a,b]",      "[]",         "[",          "]",       "[[a]]",
                                       "[a",         "a]",         "{}",         "{a,b}",   "%%",
                                       "a,b",        ",",          "\"a\"",      "'a'",     "`a`",
                                       "\\n",        "\\",         "a\\,b",      "$HOME",   "~",
                                       "*",          ">",          "#",          " ",       "  a  ",
                                       "\t",         "a\nb",       "\xff\xfe",   "@file",   "/h",
                                       "/help",      "true",       "false",      "0x10",    "010",
                                       "1e3",        "-1",         "-0.5",       "-.5",     "-",
                                       "+",          "a=b",        "=",          "help",    "sub",
                                       "--help",     "-h",         "-hello",     "--",      "--count",
                                       "",           "日本",       "a --b",      "[1,2] 3", "{\"a\":[1,2]}",
                                       "[\"x\",{}]", "--count=-1", "–not a dash"};

/// One command with every kind of option.
struct Fixture {
  std::string text;
  std::string first;
  std::optional<std::string> second;
  std::vector<std::string> each;
  std::vector<std::string> rest;
  std::vector<std::string> patterns;
  std::uint64_t count = 7;
  std::optional<double> rate;
  bool strict{};

  std::string error;
  CommandLine::Parsed parsed{};

  explicit Fixture(const std::vector<std::string>& words) {
    CommandLine line("prog", "About", "prog 1.2.3");
    const Command command = line.program().add_command("do", "Does it");
    command.add_option("FIRST", first, "First").required();
    command.add_option("SECOND", second, "Second").may_be_empty();
    add_named(command);
    const Command run = line.program().add_command("run", "Runs a command");
    run.add_option("COMMAND", rest, "Command").takes_rest().required();
    add_named(run);
    const Command list = line.program().add_command("list", "Lists");
    list.add_option("PATTERN", patterns, "Patterns").required();
    add_named(list);
    line.program().require_command();
    line.program().add_help_command();
    std::vector<const char*> argv{"prog"};
    for (const std::string& word : words) argv.push_back(word.c_str());
    testing::internal::CaptureStdout();
    const auto result = line.parse(static_cast<int>(argv.size()), argv.data());
    output = testing::internal::GetCapturedStdout();
    if (result) {
      parsed = *result;
    } else {
      error = result.error().text;
    }
  }

  std::string output;

 private:
  void add_named(const Command& command) {
    command.add_option("-t,--text,--words", text, "Text");
    command.add_option("--each", each, "Each");
    command.add_option("-n,--count", count, "Count").range(1);
    command.add_option("--rate", rate, "Rate");
    command.add_flag("-s,--strict", strict, "Strict");
  }
};

std::string error_of(const std::vector<std::string>& words) {
  return Fixture(words).error;
}

TEST(CommandLine, EveryValueArrivesAsTyped) {
  for (const std::string& word : awkward) {
    const Fixture arguments({"do", "--", "x", word});
    EXPECT_EQ(arguments.error, "") << word;
    EXPECT_EQ(arguments.second, word);
    const Fixture rest({"run", "--", "echo", word, word});
    EXPECT_EQ(rest.error, "") << word;
    EXPECT_THAT(rest.rest, ElementsAre("echo", word, word));
    if (word.empty()) continue;
    EXPECT_EQ(Fixture({"do", "x", "--text=" + word}).text, word);
    EXPECT_THAT(Fixture({"do", "x", "--each=" + word, "--each=b"}).each, ElementsAre(word, "b"));
    EXPECT_THAT(Fixture({"list", "--", word, word}).patterns, ElementsAre(word, word));
    EXPECT_EQ(Fixture({"do", "--", word}).first, word);
  }
}

TEST(CommandLine, AnotherCommandsArgumentsNeedNoDashes) {
  std::vector<std::string> words{"run", "--strict", "df"};
  words.insert(words.end(), awkward.begin(), awkward.end());
  const Fixture fixture(words);
  EXPECT_EQ(fixture.error, "");
  EXPECT_TRUE(fixture.strict);
  EXPECT_THAT(fixture.rest, ElementsAreArray(words.begin() + 2, words.end()));
}

TEST(CommandLine, OptionsMayComeBeforeAndAfterArguments) {
  const Fixture fixture({"do", "--text", "t", "a", "--count=3", "b", "--strict", "--rate", "0.5"});
  EXPECT_EQ(fixture.error, "");
  EXPECT_EQ(fixture.first, "a");
  EXPECT_EQ(fixture.second, "b");
  EXPECT_EQ(fixture.text, "t");
  EXPECT_EQ(fixture.count, 3u);
  EXPECT_EQ(fixture.rate, 0.5);
  EXPECT_TRUE(fixture.strict);
}

TEST(CommandLine, ANegativeNumberIsAValue) {
  for (const std::string word : {"-1", "-0.5", "-.5", "-1e3", "-5°"}) {
    EXPECT_EQ(Fixture({"do", "x", word}).second, word);
  }
}

TEST(CommandLine, AWordThatBeginsWithADashIsNeverHelpInDisguise) {
  for (const std::string word : {"-hello", "-hh", "-x", "-", "-version", "---", "-h1", "-sn", "-xs"}) {
    const Fixture fixture({"do", "x", word});
    if (word == "-") {
      EXPECT_EQ(fixture.second, word);
      continue;
    }
    EXPECT_EQ(fixture.error, "prog do: unknown option \"" + word +
                                 "\"; if it is SECOND, put -- before it (see prog do --help)");
    EXPECT_EQ(fixture.output, "");
  }
  for (const std::string word : {"-help", "--help=x", "--Help", "--helpme"}) {
    const Fixture fixture({"do", "x", word});
    EXPECT_EQ(fixture.error,
              "prog do: unknown option \"" + word +
                  "\"; did you mean --help? If it is SECOND, put -- before it (see prog do --help)");
    EXPECT_EQ(fixture.output, "");
  }
  EXPECT_EQ(error_of({"do", "x", "y", "--bogus"}),
            "prog do: unknown option \"--bogus\" (see prog do --help)");
  EXPECT_EQ(error_of({"do", "x", "y", "--bogus=3"}),
            "prog do: unknown option \"--bogus=3\" (see prog do --help)");
}

TEST(CommandLine, HelpAndVersionArePrinted) {
  for (const std::string word : {"-h", "--help"}) {
    const Fixture fixture({"do", word});
    EXPECT_EQ(fixture.parsed, CommandLine::Parsed::help);
    EXPECT_THAT(fixture.output, HasSubstr("Usage: prog do [OPTIONS] FIRST [SECOND]\n"));
  }
  EXPECT_THAT(Fixture({"--help"}).output, HasSubstr("Usage: prog [OPTIONS] SUBCOMMAND\n"));
  EXPECT_THAT(Fixture({"run", "--help"}).output, HasSubstr("Usage: prog run [OPTIONS] COMMAND...\n"));
  EXPECT_EQ(Fixture({"--version"}).output, "prog 1.2.3\n");
  EXPECT_EQ(error_of({"do", "x", "--version"}),
            "prog do: unknown option \"--version\"; if it is SECOND, put -- before it (see prog do --help)");
}

TEST(CommandLine, NumbersAreStrict) {
  EXPECT_EQ(Fixture({"do", "x", "--count", "18446744073709551615"}).count, UINT64_MAX);
  for (const std::string word :
       {"-1", "0", "+1", "1.0", "1e3", "0x10", " 1", "1 ", "18446744073709551616", "many", "½"}) {
    EXPECT_EQ(error_of({"do", "x", "--count", word}),
              "prog do: --count: expected a whole number of 1 or more, got \"" + word + "\"");
    EXPECT_EQ(error_of({"do", "x", "--count=" + word}),
              "prog do: --count: expected a whole number of 1 or more, got \"" + word + "\"");
  }
  EXPECT_EQ(Fixture({"do", "x", "--rate", "1e3"}).rate, 1000);
  for (const std::string word : {"nan", "inf", "1e999", "0x10", "1,5", "1x", " 1"}) {
    EXPECT_EQ(error_of({"do", "x", "--rate", word}),
              "prog do: --rate: expected a number, got \"" + word + "\"");
  }
}

TEST(CommandLine, AnEmptyValueIsAnErrorThatNamesTheOption) {
  for (const std::string name : {"text", "each", "count", "rate"}) {
    const std::string line = "prog do: --" + name + ": expected a value, got an empty one";
    EXPECT_EQ(error_of({"do", "x", "--" + name, ""}), line);
    EXPECT_EQ(error_of({"do", "x", "--" + name + "="}), line);
  }
  EXPECT_EQ(error_of({"do", ""}), "prog do: FIRST: expected a value, got an empty one");
  EXPECT_EQ(error_of({"list", "a", ""}), "prog list: PATTERN: expected a value, got an empty one");
  EXPECT_EQ(error_of({"run", "--", ""}), "prog run: COMMAND: expected a value, got an empty one");
  EXPECT_EQ(Fixture({"do", "x", ""}).second, "");
}

TEST(CommandLine, AnOptionIsNotTakenForTheValueOfAnother) {
  EXPECT_EQ(error_of({"do", "x", "--text", "--strict"}),
            "prog do: --text: expected a value, got the option --strict (see prog do --help)");
  EXPECT_EQ(error_of({"do", "x", "--text", "--count=3"}),
            "prog do: --text: expected a value, got the option --count=3 (see prog do --help)");
  EXPECT_EQ(error_of({"run", "--text", "--", "df"}),
            "prog run: --text: expected a value, got the option -- (see prog run --help)");
  EXPECT_EQ(error_of({"do", "x", "--text"}),
            "prog do: --text: expected a value, got none (see prog do --help)");
  EXPECT_EQ(Fixture({"do", "x", "--text", "--other"}).text, "--other");
}

TEST(CommandLine, AShortNameStandsForItsOption) {
  const Fixture fixture({"do", "-t", "text", "x", "-n", "3", "-s"});
  EXPECT_EQ(fixture.error, "");
  EXPECT_EQ(fixture.text, "text");
  EXPECT_EQ(fixture.count, 3u);
  EXPECT_TRUE(fixture.strict);
  EXPECT_EQ(Fixture({"do", "x", "-n=3"}).count, 3u);
  EXPECT_EQ(Fixture({"do", "x", "-t=a=b"}).text, "a=b");
  EXPECT_EQ(Fixture({"do", "x", "-t", "-"}).text, "-");
  EXPECT_EQ(Fixture({"do", "x", "-t", "-7"}).text, "-7");
}

TEST(CommandLine, AValueThatBeginsWithADigitMayFollowAShortName) {
  EXPECT_EQ(Fixture({"do", "x", "-n3"}).count, 3u);
  EXPECT_EQ(Fixture({"do", "x", "-t10m"}).text, "10m");
  EXPECT_EQ(error_of({"do", "x", "-n3x"}),
            "prog do: --count: expected a whole number of 1 or more, got \"3x\"");
  EXPECT_EQ(error_of({"do", "x", "-s1"}), "prog do: -s: expected no value, got \"1\"");
  EXPECT_EQ(error_of({"do", "x", "y", "-tabc"}),
            "prog do: unknown option \"-tabc\"; did you mean -t abc? (see prog do --help)");
}

TEST(CommandLine, AShortNameIsNotTakenForAValue) {
  EXPECT_EQ(error_of({"do", "x", "-t", "-n"}),
            "prog do: -t: expected a value, got the option -n (see prog do --help)");
  EXPECT_EQ(error_of({"do", "x", "-t", "-n3"}),
            "prog do: -t: expected a value, got the option -n3 (see prog do --help)");
  EXPECT_EQ(error_of({"do", "x", "-n"}), "prog do: -n: expected a value, got none (see prog do --help)");
  EXPECT_EQ(Fixture({"do", "x", "-t", "-q"}).text, "-q");
  EXPECT_EQ(error_of({"do", "x", "-n", "-1"}),
            "prog do: --count: expected a whole number of 1 or more, got \"-1\"");
  EXPECT_EQ(error_of({"do", "x", "-n", ""}), "prog do: --count: expected a value, got an empty one");
  EXPECT_EQ(error_of({"do", "x", "-n", "1", "--count", "2"}),
            "prog do: --count: expected one value, got several");
}

TEST(CommandLine, HelpOfACommandIsAlsoACommand) {
  EXPECT_EQ(Fixture({"help"}).output, Fixture({"--help"}).output);
  EXPECT_EQ(Fixture({"help", "do"}).output, Fixture({"do", "--help"}).output);
  EXPECT_EQ(Fixture({"help", "do"}).parsed, CommandLine::Parsed::help);
  EXPECT_EQ(Fixture({"help", "--", "do"}).output, Fixture({"do", "--help"}).output);
  EXPECT_THAT(Fixture({"help", "--help"}).output, HasSubstr("Usage: prog help [OPTIONS] [COMMAND...]\n"));
  EXPECT_EQ(error_of({"help", "nope"}), "prog: help: expected a subcommand, got \"nope\"");
  EXPECT_EQ(error_of({"help", "dp"}), "prog: help: expected a subcommand, got \"dp\"; did you mean do?");
  EXPECT_EQ(error_of({"help", "do", "it"}), "prog do: help: expected no subcommand of prog do, got \"it\"");
  // Only the program has it: elsewhere it is a word like any other.
  EXPECT_EQ(Fixture({"do", "help"}).first, "help");
}

TEST(CommandLine, ATypoGetsASuggestion) {
  EXPECT_EQ(error_of({"lsit"}),
            "prog: expected a subcommand, got \"lsit\"; did you mean list? (see prog --help)");
  EXPECT_EQ(error_of({"listing"}),
            "prog: expected a subcommand, got \"listing\"; did you mean list? (see prog --help)");
  EXPECT_EQ(error_of({"do", "x", "y", "--cuont", "3"}),
            "prog do: unknown option \"--cuont\"; did you mean --count? (see prog do --help)");
  EXPECT_EQ(error_of({"do", "x", "y", "--strcit=yes"}),
            "prog do: unknown option \"--strcit=yes\"; did you mean --strict? (see prog do --help)");
  EXPECT_EQ(error_of({"do", "x", "y", "-count"}),
            "prog do: unknown option \"-count\"; did you mean --count? (see prog do --help)");
}

TEST(CommandLine, MistakesAreReported) {
  EXPECT_EQ(error_of({}), "prog: expected a subcommand, got none (see prog --help)");
  EXPECT_EQ(error_of({"--"}), "prog: expected a subcommand, got none (see prog --help)");
  EXPECT_EQ(error_of({""}), "prog: expected a subcommand, got \"\" (see prog --help)");
  EXPECT_EQ(error_of({"nope"}), "prog: expected a subcommand, got \"nope\" (see prog --help)");
  EXPECT_EQ(error_of({"do"}), "prog do: FIRST is required (see prog do --help)");
  EXPECT_EQ(error_of({"do", "a", "b", "c"}),
            "prog do: expected no more arguments, got \"c\" (see prog do --help)");
  EXPECT_EQ(error_of({"do", "a", "--text", "b", "--words", "c"}),
            "prog do: --text: expected one value, got several");
  EXPECT_EQ(error_of({"do", "a", "--strict=no"}), "prog do: --strict: expected no value, got \"no\"");
  EXPECT_EQ(Fixture({"do", "a", "--strict", "--strict"}).error, "");
}

}  // namespace
}  // namespace backplane::cli
