#include "cli/program.hpp"

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/console/messages.hpp"
#include "cli/subcommands.hpp"
#include "core/log/escape.hpp"
#include "core/log/line_writer.hpp"
#include "core/payload/payload_json.hpp"

namespace backplane::cli {
namespace {

ExitCode parse_and_run(int argc, const char* const* argv) {
  CommandLine command_line(
      "backplane",
      "Backplane is a publish/subscribe broker. Any number of sources publish events; any number of\n"
      "clients receive each event the moment it is published. To try it, run `backplane up`.",
      std::string("backplane ") + BACKPLANE_VERSION);
  const Command program = command_line.program();
  program.require_command();
  program.set_footer(
      "Examples:\n"
      "  backplane up                  run a broker, a gateway and demo publishers\n"
      "  backplane sub 'stock.>'       in another terminal, print what they publish\n"
      "  backplane help COMMAND        list the options of a command\n"
      "\n"
      "Exit codes: 0 done; 1 something failed at run time; 2 wrong usage or configuration;\n"
      "3 events were missed although --strict forbids it, or a store is damaged.");
  for (const auto add :
       {add_up,    add_broker, add_gateway, add_serve,  add_publish, add_sub,    add_pub,
        add_get,   add_topics, add_top,     add_replay, add_link,    add_store,  add_audit,
        add_bench, add_doctor, add_context, add_config, add_keys,    add_policy, add_cluster}) {
    add(program);
  }
  program.add_help_command();
  const auto parsed = command_line.parse(argc, argv);
  if (!parsed) {
    print_error_line(log::escape(parsed.error().text));
    return ExitCode::usage;
  }
  if (*parsed == CommandLine::Parsed::help) return ExitCode::done;
  route_protobuf_log();
  return command_line.run();
}

}  // namespace

ExitCode run_program(int argc, const char* const* argv) {
  ExitCode code = ExitCode::failed;
  try {
    code = parse_and_run(argc, argv);
  } catch (const std::exception& error) {
    print_error_line(fmt::format("backplane: {}", log::escape(error.what())));
  }
  log::flush_standard_streams();
  return code;
}

}  // namespace backplane::cli
