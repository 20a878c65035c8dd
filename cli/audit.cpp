// backplane audit: checks that the ledgers of brokers, gateways and publishers balance.

#include <algorithm>
#include <iterator>
#include <memory>

#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/connection/broker_requests.hpp"
#include "cli/console/audit_report.hpp"
#include "cli/console/colours.hpp"
#include "cli/console/messages.hpp"
#include "cli/console/output.hpp"
#include "cli/subcommands.hpp"

namespace backplane::cli {
namespace {

/// For all pages of the list of topics: a broker may have a million topics, and a page has 512.
constexpr std::chrono::minutes topics_limit{1};
constexpr std::chrono::seconds stats_limit{5};
constexpr std::size_t topics_max = 20'000'000;
constexpr int readings_max = 3;
/// Longer than the second after which gateways and publishers report again.
constexpr std::chrono::milliseconds reading_interval{1200};

struct AuditOptions {
  AddressFlags addresses;
};

Result<TopicsTotal> add_up_topics(BrokerRequests& requests) {
  TopicsTotal total;
  bool first = true;
  // Positions count the system's topics too, which > does not match.
  for (const std::string_view pattern : {">", "$SYS.>"}) {
    const auto found = requests.topics(pattern, topics_max, topics_limit);
    if (!found) return tl::unexpected(found.error());
    if (std::exchange(first, false)) total.first_position = found->first_position;
    total.last_position = found->last_position;
    total.topics += found->topics.size();
    for (const TopicInfo& topic : found->topics) total.events += topic.events;
  }
  return total;
}

/// The ledgers of one broker and of its gateways and publishers. If they do not balance, it reads them again:
/// what gateways and publishers report is up to a second old. A real error is still there in the next
/// reading.
Result<std::vector<Ledger>> audit(BrokerRequests& requests, Waiter& waiter) {
  for (int readings = 1;; ++readings) {
    const auto stats = requests.stats(stats_limit);
    if (!stats) return tl::unexpected(stats.error());
    const auto topics = add_up_topics(requests);
    if (!topics) return tl::unexpected(topics.error());
    auto found = ledgers(*stats, *topics);
    if (all_balance(found) || readings == readings_max) return found;
    const auto until = Waiter::Clock::now() + reading_interval;
    while (waiter.wait({}, until) && Waiter::Clock::now() < until) {
    }
  }
}

ExitCode run_audit(const AuditOptions& options) {
  const auto brokers = resolve(options.addresses);
  if (!brokers) return print_error("audit", brokers.error());
  Waiter waiter;
  mq::Context context;
  std::vector<Ledger> all;
  // All brokers of the list, not the first that replies: each has a ledger of its own.
  for (const BrokerEndpoints& broker : *brokers) {
    BrokerRequests requests(context, {broker}, waiter);
    auto found = audit(requests, waiter);
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
