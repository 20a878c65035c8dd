#include "cli/program.hpp"

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/command.hpp"
#include "core/log/escape.hpp"
#include "core/payload/payload_json.hpp"

namespace backplane::cli {
namespace {

/// On standard error. Unlike fmt::print, it doesn't throw where nobody reads that any more.
void write_line(const std::string& line) {
  std::fputs((line + '\n').c_str(), stderr);
}

/// Where a standard stream is closed, the next socket would have its number, and be written to in its place.
/// What takes its place here can be used the other way round alone: writing stays an error.
void fill_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) < 0) (void)::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

/// One line that says what was wrong and where help is.
ExitCode complain_about_usage(const CLI::App& program, const CLI::ParseError& error) {
  std::string name = program.get_name();
  const CLI::App* chosen = &program;
  while (!chosen->get_subcommands().empty()) {
    chosen = chosen->get_subcommands().front();
    name += ' ' + chosen->get_name();
  }
  std::string text = error.what();
  if (error.get_name() == "RequiredError" && chosen == &program) text = "wanted a subcommand";
  // A word that is no subcommand is what is wrong, and not that there is none.
  const std::vector<std::string> rest = chosen->remaining();
  const bool takes_subcommand = chosen->get_require_subcommand_min() > 0;
  if (takes_subcommand && !rest.empty() && !rest.front().starts_with('-')) {
    text = fmt::format("there is no subcommand \"{}\"", rest.front());
  }
  write_line(fmt::format("{}: {} (see {} --help)", name, log::escape(text), name));
  return ExitCode::usage;
}

ExitCode parse_and_run(int argc, const char* const* argv) {
  CLI::App program{
      "Backplane: any number of event sources publish, any number of clients are told the moment\n"
      "something happens. Begin with `backplane up`.",
      "backplane"};
  program.set_version_flag("--version", std::string("backplane ") + BACKPLANE_VERSION,
                           "Print the version and exit");
  program.require_subcommand(1);
  program.footer(
      "Example:\n"
      "  backplane up                  a broker, a gateway and demo publishers\n"
      "  backplane sub 'stock.>'       in another terminal: see what they publish\n"
      "\n"
      "Exit codes: 0 done, 1 something went wrong while running, 2 wrong usage or configuration,\n"
      "3 events were missed where --strict forbids that.");

  struct Choice {
    CLI::App* app;
    Run run;
  };
  std::vector<Choice> choices;
  for (const auto add : {add_up, add_broker, add_gateway, add_publish, add_sub, add_pub, add_get, add_topics,
                         add_top, add_replay, add_audit, add_config}) {
    Run run = add(program);
    choices.push_back({program.get_subcommands({}).back(), std::move(run)});
  }

  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help or --version
    program.exit(asked);
    return ExitCode::done;
  } catch (const CLI::ParseError& error) {
    return complain_about_usage(program, error);
  }
  route_protobuf_log();
  for (const Choice& choice : choices) {
    if (choice.app->parsed()) return choice.run();
  }
  return ExitCode::usage;
}

}  // namespace

ExitCode run_program(int argc, const char* const* argv) {
  fill_closed_streams();
  try {
    return parse_and_run(argc, argv);
  } catch (const std::exception& error) {
    write_line(fmt::format("backplane: {}", log::escape(error.what())));
    return ExitCode::failed;
  }
}

void complain(std::string_view subcommand, std::string_view text) {
  write_line(fmt::format("backplane {}: {}", subcommand, log::escape(text)));
}

ExitCode complain(std::string_view subcommand, const Error& error) {
  complain(subcommand, error.text);
  return error.code == ErrorCode::invalid_argument ? ExitCode::usage : ExitCode::failed;
}

ExitCode complain(const std::vector<std::string>& configuration_errors) {
  for (const std::string& error : configuration_errors) write_line(error);
  return ExitCode::usage;
}

}  // namespace backplane::cli
