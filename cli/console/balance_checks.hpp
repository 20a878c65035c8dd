#pragma once
// The books of brokers, gateways and publishers, added up.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "follower/control/broker_info.hpp"

namespace backplane::cli {

/// One sum that must come out: `received 12 = published 10 + rejected 2`.
struct BalanceCheck {
  using Entry = std::pair<std::string, std::uint64_t>;
  Entry whole;
  std::vector<Entry> parts;
  /// How much more the whole may be than its parts: of things that are counted while others go on.
  std::uint64_t slack{};

  /// What the whole is above the sum of the parts (below it: negative), slack apart; 0: it balances.
  [[nodiscard]] std::int64_t difference() const;
  [[nodiscard]] bool balances() const { return difference() == 0; }
  [[nodiscard]] std::string str() const;
};

/// All that is known of one participant.
struct Account {
  std::string whose;  ///< `broker default`, `gateway gateway@host7`
  std::vector<BalanceCheck> checks;
  std::vector<std::string> notes;  ///< what the sums don't say: losses, and books that are not kept
};

/// What the events of a broker's topics come to, and between which two positions that was read.
struct TopicsTotal {
  std::uint64_t topics{};
  std::uint64_t events{};
  std::uint64_t first_position{};
  std::uint64_t last_position{};
};

/// A broker's own books, then those of each participant that is up and tells counters.
[[nodiscard]] std::vector<Account> accounts(const BrokerStats& stats, const TopicsTotal& topics);

/// How the report is written: the accounts with their books, `ok` or `OFF BY n` behind each, and a last
/// line that says whether all balance.
[[nodiscard]] std::vector<std::string> report(const std::vector<Account>& accounts);

[[nodiscard]] bool all_balance(const std::vector<Account>& accounts);

/// The counter of that name; 0 where there is none.
[[nodiscard]] std::uint64_t counter(const std::map<std::string, std::uint64_t>& counters,
                                    const std::string& name);
/// The sum of `name` and of all `name.…`: a counter with labels.
[[nodiscard]] std::uint64_t counter_sum(const std::map<std::string, std::uint64_t>& counters,
                                        const std::string& name);

}  // namespace backplane::cli
