// backplane cluster: looks at brokers that share a log.

#include <memory>

#include "cli/address_flags.hpp"
#include "cli/connection/broker_requests.hpp"
#include "cli/console/cluster_view.hpp"
#include "cli/console/messages.hpp"
#include "cli/console/output.hpp"
#include "cli/subcommands.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds reply_limit = 5s;

struct ClusterFlags {
  bool json{};
  AddressFlags addresses;
};

ExitCode run_status(const ClusterFlags& flags) {
  const auto brokers = resolve(flags.addresses);
  if (!brokers) return print_error("cluster status", brokers.error());
  Waiter waiter;
  mq::Context context;
  BrokerRequests requests(context, *brokers, waiter);
  const auto stats = requests.stats(reply_limit);
  if (!stats) return print_error("cluster status", stats.error());
  if (!stats->cluster) {
    print_message("cluster status",
                  "the broker at " + requests.broker().control + " is alone: its log is \"local\"");
    return ExitCode::failed;
  }
  Output output;
  if (flags.json) {
    output.line(cluster_json(*stats));
  } else {
    for (const std::string& line : cluster_lines(*stats)) output.line(line);
  }
  output.flush();
  if (output.problem().empty()) return ExitCode::done;
  print_message("cluster status", output.problem());
  return ExitCode::failed;
}

}  // namespace

void add_cluster(const Command& program) {
  const Command command = program.add_command("cluster", "Look at brokers that share a log");
  command.require_command();
  command.set_footer(
      "Examples:\n"
      "  backplane cluster status --broker h1,h2");
  auto flags = std::make_shared<ClusterFlags>();
  const Command status = command.add_command(
      "status", "Show the brokers of a cluster, how far each has applied the log, and the log's servers");
  status.add_flag("-j,--json", flags->json, "Print one JSON object");
  add_address_flags(status, flags->addresses);
  status.set_footer(
      "The first broker of the list that replies shows what it knows. A broker is up if it has appended\n"
      "something to the log in the last 3 seconds.\n"
      "\n"
      "Examples:\n"
      "  backplane cluster status\n"
      "  backplane cluster status --broker h1,h2 --json");
  status.set_run([flags] { return run_status(*flags); });
}

}  // namespace backplane::cli
