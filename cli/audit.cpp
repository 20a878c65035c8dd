// backplane audit: adds the books up, and says what does not balance.

#include <algorithm>
#include <iterator>
#include <memory>

#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/connection/broker_requests.hpp"
#include "cli/console/balance_checks.hpp"
#include "cli/console/messages.hpp"
#include "cli/console/output.hpp"
#include "cli/subcommands.hpp"

namespace backplane::cli {
namespace {

/// A broker may have a million topics, which are read in pages of 512.
constexpr std::chrono::minutes reply_limit{1};
constexpr std::chrono::seconds first_reply_limit{5};
constexpr std::size_t topics_max = 20'000'000;
constexpr int readings_max = 3;
/// Gateways and publishers tell their figures once a second.
constexpr std::chrono::milliseconds between_readings{1200};

struct AuditOptions {
  AddressFlags addresses;
};

Result<TopicsTotal> add_up_topics(BrokerRequests& requests) {
  TopicsTotal total;
  bool first = true;
  // No one pattern means both everybody's topics and the system's own, and positions count them all.
  for (const std::string_view pattern : {">", "$SYS.>"}) {
    const auto found = requests.topics(pattern, topics_max, reply_limit);
    if (!found) return tl::unexpected(found.error());
    if (std::exchange(first, false)) total.first_position = found->first_position;
    total.last_position = found->last_position;
    total.topics += found->topics.size();
    for (const TopicInfo& topic : found->topics) total.events += topic.events;
  }
  return total;
}

/// One broker's books, and of those that say Hello to it. Read again where they don't balance: what others
/// tell is up to a second old, and counted while they work; what is really wrong stays so.
Result<std::vector<Account>> audit(BrokerRequests& requests, Waiter& waiter) {
  for (int readings = 1;; ++readings) {
    const auto stats = requests.stats(first_reply_limit);
    if (!stats) return tl::unexpected(stats.error());
    const auto topics = add_up_topics(requests);
    if (!topics) return tl::unexpected(topics.error());
    auto found = accounts(*stats, *topics);
    if (all_balance(found) || readings == readings_max) return found;
    const auto until = Waiter::Clock::now() + between_readings;
    while (waiter.wait({}, until) && Waiter::Clock::now() < until) {
    }
  }
}

ExitCode run_audit(const AuditOptions& options) {
  const auto brokers = resolve(options.addresses);
  if (!brokers) return print_error("audit", brokers.error());
  Waiter waiter;
  mq::Context context;
  std::vector<Account> all;
  // Each of them, unlike elsewhere: their books are different ones.
  for (const BrokerEndpoints& broker : *brokers) {
    BrokerRequests requests(context, {broker}, waiter);
    auto found = audit(requests, waiter);
    if (!found) return print_error("audit", found.error());
    std::move(found->begin(), found->end(), std::back_inserter(all));
  }
  Output output;
  for (const std::string& line : report(all)) output.line(line);
  output.flush();
  if (!output.problem().empty()) print_message("audit", output.problem());
  return all_balance(all) && output.problem().empty() ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_audit(const Command& program) {
  auto options = std::make_shared<AuditOptions>();
  const Command command = program.add_command(
      "audit", "Add up the books of brokers, gateways and publishers; code 1 where they do not balance");
  add_address_flags(command, options->addresses);
  command.set_footer(
      "Example:\n"
      "  backplane audit\n"
      "  backplane audit --broker host7,host8");
  command.set_run([options] { return run_audit(*options); });
}

}  // namespace backplane::cli
