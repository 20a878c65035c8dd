#include "cli/console/messages.hpp"

#include <cstdio>

#include <fmt/format.h>

#include "core/log/escape.hpp"

namespace backplane::cli {

void print_error_line(std::string_view line) {
  std::fputs((std::string(line) + '\n').c_str(), stderr);
}

void print_message(std::string_view command, std::string_view text) {
  print_error_line(fmt::format("backplane {}: {}", command, log::escape(text)));
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
