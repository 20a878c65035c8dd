#pragma once
// What `backplane sub` was asked for, and how it ends.

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cli/connection/waiter.hpp"
#include "cli/console/event_writer.hpp"
#include "cli/console/output.hpp"
#include "core/process/exit_code.hpp"

namespace backplane::cli {

/// Where a reading begins: now, so long ago, after an offset, or where a resume token says.
using Since = std::variant<std::monostate, std::chrono::nanoseconds, std::uint64_t, std::string>;

/// Reads `10m`, `17` or `00000000000000ab:12,…`.
[[nodiscard]] Result<Since> parse_since(const std::string& text);

struct SubOptions {
  std::vector<std::string> patterns;
  bool last{};
  Since since{};
  std::chrono::milliseconds every{0};  ///< 0: all events
  OutputFormat format{};
  std::uint64_t count = std::numeric_limits<std::uint64_t>::max();
  std::string timeout_text;  ///< as it was given
  Waiter::Clock::time_point deadline = Waiter::Clock::time_point::max();
  bool strict{};
};

/// What is printed, and when that is enough. Lives on the main thread; owns the output.
class SubPrinter {
 public:
  SubPrinter(const SubOptions& options, Waiter& waiter);

  [[nodiscard]] EventWriter& writer() noexcept { return writer_; }
  [[nodiscard]] Output& output() noexcept { return output_; }

  /// An event was appended to the output.
  void count_event();
  /// A gap or a reset was; or events were missed without a word of which.
  void count_miss() noexcept { missed_ = true; }
  /// Whether there is nothing more to print.
  [[nodiscard]] bool done() const noexcept { return output_.closed() || seen_ >= options_.count; }
  [[nodiscard]] bool late() const noexcept { return Waiter::Clock::now() >= options_.deadline; }

  /// Writes the rest, and says what there is to say at the end.
  [[nodiscard]] ExitCode finish();

 private:
  const SubOptions& options_;
  Output output_;
  EventWriter writer_;
  std::uint64_t seen_{};
  bool missed_{};
};

/// Reads from a gateway: see gateway_connection.hpp. Says on standard error when the connection goes and
/// comes. Blocks until the printer is done, the time is over or the waiter is stopped.
[[nodiscard]] ExitCode sub_through_gateway(const SubOptions& options, const std::string& gateway,
                                           SubPrinter& printer, Waiter& waiter);

}  // namespace backplane::cli
