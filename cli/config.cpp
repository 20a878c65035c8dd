// backplane config check|print: what is wrong with a configuration, and what it comes to.

#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/configuration.hpp"

namespace backplane::cli {
namespace {

ExitCode run_config(const ConfigurationFlags& flags) {
  const Result<config::Source> source = open_source(flags);
  if (!source) return complain(flags.check ? "config check" : "config print", source.error());
  const ConfigurationResult configuration = read_configuration(*source);
  if (!configuration) return complain(configuration.error());
  (void)tell_configuration(flags, *configuration);
  return ExitCode::done;
}

}  // namespace

Run add_config(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("config", "Check or print the configuration, without starting anything");
  app->require_subcommand(1);
  app->footer(
      "Example:\n"
      "  backplane config check backplane.toml\n"
      "  backplane config print                  every key with its meaning and its default");
  auto flags = std::make_shared<ConfigurationFlags>();
  CLI::App* check = app->add_subcommand("check", "Tell all that is wrong with a file, by line; code 2 then");
  check->add_option("FILE", flags->file, "The configuration file")->required()->type_name("");
  check->footer("Example:\n  backplane config check backplane.toml");
  CLI::App* print = app->add_subcommand("print", "Print what is in force, explained");
  print->add_option("FILE", flags->file, "The configuration file; none: the defaults")->type_name("");
  print->footer("Example:\n  backplane config print >backplane.toml");
  return [flags, check] {
    flags->check = check->parsed();
    flags->print = !flags->check;
    return run_config(*flags);
  };
}

}  // namespace backplane::cli
