#pragma once
// The grammar of the command line: commands, their options, and what each command runs. Only command_line.cpp
// includes CLI11, which takes several seconds to compile in each file.

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

/// An option or a positional argument of a Command. A handle: copies refer to the same option, which lives as
/// long as its CommandLine.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  /// Shows the value as `name` in the help (`DURATION`), or not at all if `name` is empty. Without a call,
  /// the help shows the value's type.
  Option value_name(const std::string& name) const;
  /// Shows the option under this heading of the help.
  Option group(const std::string& heading) const;
  /// Shows the variable's present value as the default in the help.
  Option show_default() const;
  /// Makes parsing fail if the option is missing.
  Option required() const;
  /// Takes one value for each time that the option is given. Without a call, a vector's option also takes all
  /// words that follow it.
  Option one_value_each() const;
  /// Makes parsing fail if the value is not in min..max.
  Option range(std::uint64_t min, std::uint64_t max) const;

 private:
  CLI::Option* option_;
};

/// What a command does once its options are parsed. Called at most once, on the thread that runs the
/// CommandLine.
using Run = std::function<ExitCode()>;

/// One command: the program itself, a subcommand, or a subcommand's subcommand. A handle: copies refer to the
/// same command, which lives as long as its CommandLine. Names that begin with `-` are options'
/// (`--file,--csv` are two for one option), others are positional arguments'. `about` is the help's line.
/// Parsing writes to `value`, which must live as long as the CommandLine.
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
  /// The text below the options in the help.
  void set_footer(const std::string& text) const;
  void set_run(Run run) const;

 private:
  friend class CommandLine;
  struct Runs;
  Command(CLI::App& app, Runs& runs) : app_(&app), runs_(&runs) {}

  CLI::App* app_;
  Runs* runs_;
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
  /// @returns command: run() can be called next; help: --help or --version was given, and its text is on
  ///          standard output; or an error such as `backplane sub: PATTERN is required (see …)`, in which
  ///          control characters are not escaped.
  [[nodiscard]] Result<Parsed> parse(int argc, const char* const* argv);

  /// Runs the innermost command that was given. Blocks until it ends.
  [[nodiscard]] ExitCode run() const;

 private:
  std::unique_ptr<CLI::App> app_;
  std::unique_ptr<Command::Runs> runs_;
};

}  // namespace backplane::cli
