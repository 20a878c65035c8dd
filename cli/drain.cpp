// backplane broker drain: stops a broker from elsewhere, as SIGTERM does.

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/connection/broker_requests.hpp"
#include "cli/console/messages.hpp"
#include "cli/subcommands.hpp"
#include "core/time/duration.hpp"

namespace backplane::cli {
namespace {

constexpr std::chrono::hours timeout_max{24 * 365};  // adding much more would overflow the clock

struct DrainOptions {
  std::string timeout = "15s";
  AddressFlags addresses;
};

ExitCode run_drain(const DrainOptions& options) {
  const auto timeout = parse_duration(options.timeout, "--timeout");
  if (!timeout) return print_error("broker drain", timeout.error());
  const auto brokers = resolve(options.addresses);
  if (!brokers) return print_error("broker drain", brokers.error());
  if (brokers->size() > 1) {
    print_message("broker drain", fmt::format("--broker: expected one host, got {}", brokers->size()));
    return ExitCode::usage;
  }
  Waiter waiter;
  mq::Context context;
  BrokerRequests requests(context, *brokers, waiter);
  const auto gone = requests.drain(std::chrono::ceil<std::chrono::milliseconds>(
      std::min<std::chrono::nanoseconds>(*timeout, timeout_max)));
  if (!gone) return print_error("broker drain", gone.error());
  if (*gone) return ExitCode::done;
  print_message("broker drain", fmt::format("the broker at {} is still draining after {}",
                                            requests.broker().control, format_duration(*timeout)));
  return ExitCode::failed;
}

}  // namespace

void add_drain(const Command& broker) {
  auto options = std::make_shared<DrainOptions>();
  const Command command = broker.add_command(
      "drain", "Stop a running broker without losing events, and wait until it has exited");
  command.add_option("-t,--timeout", options->timeout, "How long to wait for the broker to exit")
      .value_name("DURATION")
      .show_default();
  add_address_flags(command, options->addresses);
  command.set_footer(
      "Examples:\n"
      "  backplane broker drain\n"
      "  backplane broker drain --control tcp://host7:5572\n"
      "  backplane broker drain --broker host7 --key me.key --server-key broker.pub");
  command.set_run([options] { return run_drain(*options); });
}

}  // namespace backplane::cli
