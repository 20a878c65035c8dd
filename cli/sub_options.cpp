#include "cli/sub_options.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "cli/console/messages.hpp"
#include "core/time/duration.hpp"
#include "follower/order/resume_token.hpp"

namespace backplane::cli {

Result<Since> parse_since(const std::string& text) {
  const bool digits =
      !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (digits) {
    std::uint64_t offset = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), offset);
    if (error == std::errc{}) return Since{offset};
  } else if (text.find(':') != std::string::npos) {
    const auto token = parse_resume_token(text);
    if (!token) return fail(ErrorCode::invalid_argument, "--since: " + token.error().text);
    return Since{text};
  } else if (const auto duration = parse_duration(text, "--since")) {
    return Since{*duration};
  }
  return fail(
      ErrorCode::invalid_argument,
      fmt::format(
          "--since: expected a duration such as 10m, an offset such as 17, or a resume token, got \"{}\"",
          text));
}

SubPrinter::SubPrinter(const SubOptions& options, Waiter& waiter)
    : options_(options), writer_(options.format) {
  // The reader of the pipe has exited, as in `| head`.
  waiter.on_hangup(output_.fd(), [this, &waiter] {
    output_.close();
    waiter.stop();
  });
}

void SubPrinter::count_event() {
  ++seen_;
  if (output_.full()) output_.flush();
}

ExitCode SubPrinter::finish() {
  output_.flush();
  if (!output_.problem().empty()) {
    print_message("sub", output_.problem());
    return ExitCode::failed;
  }
  const bool incomplete =
      options_.count != std::numeric_limits<std::uint64_t>::max() && seen_ < options_.count;
  if (incomplete && !output_.closed() && timed_out()) {
    print_message("sub", fmt::format("expected {} events within {}, got {}", options_.count,
                                     options_.timeout_text, seen_));
    return ExitCode::failed;
  }
  return options_.strict && missed_ ? ExitCode::gaps : ExitCode::done;
}

}  // namespace backplane::cli
