#include "cli/command_line.hpp"

#include <map>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace backplane::cli {

Option Option::value_name(const std::string& name) const {
  option_->type_name(name);
  return *this;
}

Option Option::group(const std::string& heading) const {
  option_->group(heading);
  return *this;
}

Option Option::show_default() const {
  option_->capture_default_str();
  return *this;
}

Option Option::required() const {
  option_->required();
  return *this;
}

Option Option::one_value_each() const {
  option_->allow_extra_args(false);
  return *this;
}

Option Option::range(std::uint64_t min, std::uint64_t max) const {
  option_->check(CLI::Range(min, max));
  return *this;
}

struct Command::Runs {
  std::map<const CLI::App*, Run> by_command;
};

Command Command::add_command(const std::string& name, const std::string& about) const {
  return {*app_->add_subcommand(name, about), *runs_};
}

Option Command::add_flag(const std::string& name, bool& value, const std::string& about) const {
  return Option(app_->add_flag(name, value, about));
}

Option Command::add_option(const std::string& name, std::string& value, const std::string& about) const {
  return Option(app_->add_option(name, value, about));
}

Option Command::add_option(const std::string& name, std::uint64_t& value, const std::string& about) const {
  return Option(app_->add_option(name, value, about));
}

Option Command::add_option(const std::string& name, std::filesystem::path& value,
                           const std::string& about) const {
  return Option(app_->add_option(name, value, about));
}

Option Command::add_option(const std::string& name, std::vector<std::string>& value,
                           const std::string& about) const {
  return Option(app_->add_option(name, value, about));
}

Option Command::add_option(const std::string& name, std::optional<std::string>& value,
                           const std::string& about) const {
  return Option(app_->add_option(name, value, about));
}

Option Command::add_option(const std::string& name, std::optional<std::uint64_t>& value,
                           const std::string& about) const {
  return Option(app_->add_option(name, value, about));
}

Option Command::add_option(const std::string& name, std::optional<double>& value,
                           const std::string& about) const {
  return Option(app_->add_option(name, value, about));
}

Option Command::option(const std::string& name) const {
  return Option(app_->get_option(name));
}

void Command::require_command() const {
  app_->require_subcommand(1);
}

void Command::set_footer(const std::string& text) const {
  app_->footer(text);
}

void Command::set_run(Run run) const {
  runs_->by_command[app_] = std::move(run);
}

namespace {

/// The innermost command that was given, with its full name (`backplane broker drain`).
std::pair<const CLI::App*, std::string> innermost(const CLI::App& program) {
  const CLI::App* command = &program;
  std::string name = program.get_name();
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    name += ' ' + command->get_name();
  }
  return {command, name};
}

Error usage_error(const CLI::App& program, const CLI::ParseError& error) {
  const auto [command, name] = innermost(program);
  std::string text = error.what();
  if (error.get_name() == "RequiredError" && command == &program) text = "expected a subcommand, got none";
  // CLI11 only says that a subcommand is missing. If there is a word in its place, that word is the mistake.
  const std::vector<std::string> rest = command->remaining();
  const bool takes_subcommand = command->get_require_subcommand_min() > 0;
  if (takes_subcommand && !rest.empty() && !rest.front().starts_with('-')) {
    text = fmt::format("expected a subcommand, got \"{}\"", rest.front());
  }
  return {ErrorCode::invalid_argument, fmt::format("{}: {} (see {} --help)", name, text, name)};
}

}  // namespace

CommandLine::CommandLine(const std::string& name, const std::string& about, const std::string& version)
    : app_(std::make_unique<CLI::App>(about, name)), runs_(std::make_unique<Command::Runs>()) {
  app_->set_version_flag("--version", version, "Print the version and exit");
}

CommandLine::~CommandLine() = default;

Command CommandLine::program() {
  return {*app_, *runs_};
}

Result<CommandLine::Parsed> CommandLine::parse(int argc, const char* const* argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help or --version
    app_->exit(asked);
    return Parsed::help;
  } catch (const CLI::ParseError& error) {
    return tl::unexpected(usage_error(*app_, error));
  }
  return Parsed::command;
}

ExitCode CommandLine::run() const {
  const auto run = runs_->by_command.find(innermost(*app_).first);
  CHECK(run != runs_->by_command.end(), "each command has something to run, or requires a subcommand");
  return run->second();
}

}  // namespace backplane::cli
