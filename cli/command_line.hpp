#pragma once
// The grammar of the command line: commands, their options, and what each command runs. Only command_line.cpp
// includes CLI11, which takes several seconds to compile in each file. CLI11 knows the options and formats
// the help; the words are parsed here, because CLI11 rewrites some of them (docs/decisions/0017).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error/error.hpp"
#include "core/process/exit_code.hpp"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace backplane::cli {

struct OptionSpec;
struct Grammar;

/// An option or a positional argument of a Command. A handle: copies refer to the same option, which lives as
/// long as its CommandLine.
class Option {
 public:
  Option(CLI::Option* option, OptionSpec& spec) : option_(option), spec_(&spec) {}

  /// Shows the value as `name` in the help (`DURATION`), or not at all if `name` is empty. Without a call,
  /// the help shows the value's type.
  Option value_name(const std::string& name) const;
  /// Shows the option under this heading of the help.
  Option group(const std::string& heading) const;
  /// Shows the variable's present value as the default in the help.
  Option show_default() const;
  /// Makes parsing fail if the option is missing.
  Option required() const;
  /// Makes parsing fail if the number is not in min..max. Without a call, every number of 64 bits is
  /// accepted.
  Option range(std::uint64_t min, std::uint64_t max = UINT64_MAX) const;
  /// Accepts an empty value. Without a call, that is an error: it is nearly always a variable that is not
  /// set.
  Option may_be_empty() const;
  /// A positional argument that takes its first word and all words that follow it, also if they look like
  /// options: another command with its arguments.
  Option takes_rest() const;

 private:
  CLI::Option* option_;
  OptionSpec* spec_;
};

/// What a command does once its options are parsed. Called at most once, on the thread that runs the
/// CommandLine.
using Run = std::function<ExitCode()>;

/// One command: the program itself, a subcommand, or a subcommand's subcommand. A handle: copies refer to the
/// same command, which lives as long as its CommandLine. Names that begin with `-` are options'
/// (`-f,--file,--csv` are three for one option), others are positional arguments'. A short name is `-` and a
/// letter. `about` is the help's line.
/// Parsing writes to `value`, which must live as long as the CommandLine. A named option of a vector can be
/// given several times; any other takes one value. Values arrive exactly as they were typed.
class Command {
 public:
  [[nodiscard]] Command add_command(const std::string& name, const std::string& about) const;

  Option add_flag(const std::string& name, bool& value, const std::string& about) const;
  Option add_option(const std::string& name, std::string& value, const std::string& about) const;
  Option add_option(const std::string& name, std::uint64_t& value, const std::string& about) const;
  Option add_option(const std::string& name, std::filesystem::path& value, const std::string& about) const;
  Option add_option(const std::string& name, std::vector<std::string>& value, const std::string& about) const;
  Option add_option(const std::string& name, std::optional<std::string>& value,
                    const std::string& about) const;
  Option add_option(const std::string& name, std::optional<std::uint64_t>& value,
                    const std::string& about) const;
  Option add_option(const std::string& name, std::optional<double>& value, const std::string& about) const;
  /// The option of that name, which has been added.
  [[nodiscard]] Option option(const std::string& name) const;

  /// Makes parsing fail without a subcommand.
  void require_command() const;
  /// Adds `help COMMAND…`, which prints what `COMMAND… --help` prints. Only for the program itself.
  void add_help_command() const;
  /// The text below the options in the help.
  void set_footer(const std::string& text) const;
  void set_run(Run run) const;

 private:
  friend class CommandLine;
  Command(CLI::App& app, Grammar& grammar) : app_(&app), grammar_(&grammar) {}
  Option add(const std::string& name, const std::string& about, OptionSpec spec) const;

  CLI::App* app_;
  Grammar* grammar_;
};

/// The whole command line. Belongs to one thread; owns all commands and options.
class CommandLine {
 public:
  /// @param version  what --version prints
  CommandLine(const std::string& name, const std::string& about, const std::string& version);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  /// The program itself, to add subcommands to.
  [[nodiscard]] Command program();

  enum class Parsed { command, help };
  /// A word that begins with `-` is an option. `--` ends the options; a negative number, a single `-` and the
  /// words that follow another command's name (Option::takes_rest()) are values also before it. The value of
  /// an option is the next word, or follows it after `=`; a value that begins with a digit may follow a short
  /// name directly (`-n5`). Short names cannot be combined.
  /// @returns command: run() can be called next; help: --help, --version or help was given, and its text is
  /// on
  ///          standard output; or an error such as `backplane sub: PATTERN is required (see …)`, in which
  ///          control characters are not escaped.
  [[nodiscard]] Result<Parsed> parse(int argc, const char* const* argv);

  /// Runs the innermost command that was given. Blocks until it ends.
  [[nodiscard]] ExitCode run() const;

 private:
  class Parser;

  std::unique_ptr<CLI::App> app_;
  std::unique_ptr<Grammar> grammar_;
  std::string version_;
  const CLI::App* command_{};  // the innermost command that was given
};

}  // namespace backplane::cli
