#include "cli/console/messages.hpp"

#include <chrono>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/console/colours.hpp"
#include "core/log/escape.hpp"
#include "core/log/line_writer.hpp"

namespace backplane::cli {
namespace {

/// Long enough for any reader that reads. The line is then in its place among what the command prints next.
constexpr std::chrono::milliseconds written_within{100};

}  // namespace

void print_error_line(std::string_view line) {
  log::LineWriter& errors = log::standard_error();
  // If earlier lines could not be written, do not wait again.
  const bool reader_reads = errors.idle();
  errors.write(std::string(line) + '\n');
  if (reader_reads) errors.flush(written_within);
}

void print_message(std::string_view command, std::string_view text) {
  const std::string place =
      Colours(STDERR_FILENO).paint(Style::heading, fmt::format("backplane {}:", command));
  print_error_line(fmt::format("{} {}", place, log::escape(text)));
}

ExitCode print_error(std::string_view command, const Error& error) {
  print_message(command, error.text);
  return error.code == ErrorCode::invalid_argument ? ExitCode::usage : ExitCode::failed;
}

ExitCode print_errors(const std::vector<std::string>& configuration_errors) {
  for (const std::string& error : configuration_errors) print_error_line(error);
  return ExitCode::usage;
}

}  // namespace backplane::cli
