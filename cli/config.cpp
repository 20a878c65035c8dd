// backplane config check|print: lists the errors in a configuration, or prints the effective one.

#include <memory>

#include <fmt/format.h>

#include "cli/configuration.hpp"
#include "cli/console/messages.hpp"
#include "cli/subcommands.hpp"

namespace backplane::cli {
namespace {

ExitCode run_config(const ConfigurationFlags& flags) {
  const Result<config::Source> source = open_source(flags);
  if (!source) return print_error(flags.check ? "config check" : "config print", source.error());
  const ConfigurationResult configuration = read_configuration(*source);
  if (!configuration) return print_errors(configuration.error());
  if (flags.check) {
    const auto tls = gateway::read_tls(configuration->gateway);
    if (!tls) return print_error("config check", tls.error());
    if (*tls != nullptr) print_tls_warnings("config check", **tls);
  }
  (void)show_configuration(flags, *configuration);
  return ExitCode::done;
}

}  // namespace

void add_config(const Command& program) {
  const Command command =
      program.add_command("config", "Check or print the configuration without starting anything");
  command.require_command();
  command.set_footer(
      "Examples:\n"
      "  backplane config check backplane.toml\n"
      "  backplane config print                  print every key with its meaning and its default");
  auto flags = std::make_shared<ConfigurationFlags>();
  const Command check =
      command.add_command("check", "List every error in a file, by line (exit code 2 if it has any)");
  check.add_option("FILE", flags->file, "Configuration file").required().value_name("");
  check.set_footer("Examples:\n  backplane config check backplane.toml");
  check.set_run([flags] {
    flags->check = true;
    return run_config(*flags);
  });
  const Command print = command.add_command("print", "Print the effective configuration with explanations");
  print.add_option("FILE", flags->file, "Configuration file (default: built-in defaults)").value_name("");
  print.set_footer("Examples:\n  backplane config print >backplane.toml");
  print.set_run([flags] {
    flags->print = true;
    return run_config(*flags);
  });
  const Command reference =
      command.add_command("reference", "Print every key, its default, values and meaning, as Markdown");
  reference.set_footer("Examples:\n  backplane config reference >docs/settings.md");
  reference.set_run([] {
    fmt::print("{}", print_settings_page());
    return ExitCode::done;
  });
}

}  // namespace backplane::cli
