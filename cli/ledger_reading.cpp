#include "cli/ledger_reading.hpp"

#include <chrono>
#include <utility>

namespace backplane::cli {
namespace {

/// For all pages of the list of topics: a broker may have a million topics, and a page has 512.
constexpr std::chrono::minutes topics_limit{1};
constexpr std::chrono::seconds stats_limit{5};
constexpr std::size_t topics_max = 20'000'000;
constexpr int readings_max = 3;
/// Longer than the second after which gateways and publishers report again.
constexpr std::chrono::milliseconds reading_interval{1200};

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

}  // namespace

Result<std::vector<Ledger>> read_ledgers(BrokerRequests& requests, Waiter& waiter) {
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

}  // namespace backplane::cli
