#include "cli/sub_options.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "cli/console/messages.hpp"

namespace backplane::cli {

Result<Since> since_option(const std::string& text) {
  auto since = parse_since(text);
  if (!since) return fail(since.error().code, "--since: " + since.error().text);
  return since;
}

SubPrinter::SubPrinter(const SubOptions& options, Waiter& waiter)
    : options_(options), output_(STDOUT_FILENO, "standard output", &waiter), writer_(options.format) {
  using gateway::Format;
  const bool is_text = options.format.format == Format::text || options.format.format == Format::text_offset;
  if (is_text && !options.format.value_only) colours_ = Colours(STDOUT_FILENO);
  // The reader of the pipe has exited, as in `| head`.
  waiter.on_hangup(output_.fd(), [this, &waiter] {
    output_.close();
    waiter.stop();
  });
}

void SubPrinter::paint_event(std::size_t begin, std::string_view topic) {
  if (std::string_view(output_.buffer()).substr(begin).starts_with(topic)) {
    colours_.paint(Style::topic, output_.buffer(), begin, topic.size());
  }
}

void SubPrinter::paint_notice(std::size_t begin) {
  const std::size_t size = output_.buffer().size() - begin;
  if (size > 1) colours_.paint(Style::error, output_.buffer(), begin, size - 1);  // without the line end
}

void SubPrinter::count_event() {
  ++seen_;
  if (output_.full()) output_.flush();
}

ExitCode SubPrinter::finish(const std::string& never_connected) {
  output_.flush();
  if (!output_.problem().empty()) {
    print_message("sub", output_.problem());
    return ExitCode::failed;
  }
  if (timed_out() && !never_connected.empty()) {
    print_message("sub", never_connected);
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
