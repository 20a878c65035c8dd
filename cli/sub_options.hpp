#pragma once
// The options of `backplane sub`, and what its two ways of reading share.

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "cli/connection/gateway_endpoint.hpp"
#include "cli/connection/waiter.hpp"
#include "cli/console/colours.hpp"
#include "cli/console/event_writer.hpp"
#include "cli/console/output.hpp"
#include "core/process/exit_code.hpp"
#include "follower/control/since.hpp"

namespace backplane::cli {

/// Reads --since. An error names the option.
[[nodiscard]] Result<Since> since_option(const std::string& text);

struct SubOptions {
  std::vector<std::string> patterns;
  bool last{};
  Since since{};
  std::chrono::milliseconds every{0};  ///< 0: every event
  OutputFormat format{};
  std::uint64_t count = std::numeric_limits<std::uint64_t>::max();
  std::string timeout_text;  ///< --timeout as it was given
  Waiter::Clock::time_point deadline = Waiter::Clock::time_point::max();
  bool strict{};
};

/// Prints events until --count or --timeout is reached. Lives on the main thread; owns the output.
class SubPrinter {
 public:
  SubPrinter(const SubOptions& options, Waiter& waiter);

  [[nodiscard]] EventWriter& writer() noexcept { return writer_; }
  [[nodiscard]] Output& output() noexcept { return output_; }

  /// On a terminal, paints the topic of the event, or the whole notice, that was appended to the output at
  /// `begin`. Only text is painted.
  void paint_event(std::size_t begin, std::string_view topic);
  void paint_notice(std::size_t begin);
  /// Counts an event that was appended to the output.
  void count_event();
  /// Notes a gap, a reset, or events that were missed without being named.
  void count_miss() noexcept { missed_ = true; }
  /// Whether --count is reached, or nobody reads the output any more.
  [[nodiscard]] bool done() const noexcept { return output_.closed() || seen_ >= options_.count; }
  [[nodiscard]] bool timed_out() const noexcept { return Waiter::Clock::now() >= options_.deadline; }

  /// Writes the rest, and reports an error if there is one.
  /// @param never_connected  why there never was a connection; empty if there was one. At --timeout, that is
  /// an
  ///                         error.
  [[nodiscard]] ExitCode finish(const std::string& never_connected = {});

 private:
  const SubOptions& options_;
  Output output_;
  Colours colours_;
  EventWriter writer_;
  std::uint64_t seen_{};
  bool missed_{};
};

/// Reads from a gateway. Reports on standard error when the connection is lost or back. Blocks until the
/// printer is done, --timeout is reached or the waiter is stopped.
[[nodiscard]] ExitCode sub_through_gateway(const SubOptions& options, const GatewayEndpoint& gateway,
                                           SubPrinter& printer, Waiter& waiter);

}  // namespace backplane::cli
