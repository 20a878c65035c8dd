// backplane audit: checks that the ledgers of brokers, gateways and publishers balance.

#include <iterator>
#include <memory>

#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/connection/broker_requests.hpp"
#include "cli/console/audit_report.hpp"
#include "cli/console/colours.hpp"
#include "cli/console/messages.hpp"
#include "cli/console/output.hpp"
#include "cli/ledger_reading.hpp"
#include "cli/subcommands.hpp"

namespace backplane::cli {
namespace {

struct AuditOptions {
  AddressFlags addresses;
};

ExitCode run_audit(const AuditOptions& options) {
  const auto brokers = resolve(options.addresses);
  if (!brokers) return print_error("audit", brokers.error());
  Waiter waiter;
  mq::Context context;
  std::vector<Ledger> all;
  // All brokers of the list, not the first that replies: each has a ledger of its own.
  for (const BrokerEndpoints& broker : *brokers) {
    BrokerRequests requests(context, {broker}, waiter);
    auto found = read_ledgers(requests, waiter);
    if (!found) return print_error("audit", found.error());
    std::move(found->begin(), found->end(), std::back_inserter(all));
  }
  Output output;
  const Colours colours(output.fd());
  for (const std::string& line : report(all)) output.line(paint_result(colours, line));
  output.flush();
  if (!output.problem().empty()) print_message("audit", output.problem());
  return all_balance(all) && output.problem().empty() ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_audit(const Command& program) {
  auto options = std::make_shared<AuditOptions>();
  const Command command = program.add_command(
      "audit", "Check that the ledgers of brokers, gateways and publishers balance (exit code 1 if not)");
  add_address_flags(command, options->addresses);
  command.set_footer(
      "Examples:\n"
      "  backplane audit\n"
      "  backplane audit --broker host7,host8\n"
      "  backplane audit --broker host7 --key me.key --server-key broker.pub");
  command.set_run([options] { return run_audit(*options); });
}

}  // namespace backplane::cli
