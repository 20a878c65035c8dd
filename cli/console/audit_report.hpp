#pragma once
// What `backplane audit` prints: the ledgers of brokers, gateways and publishers.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "follower/control/broker_info.hpp"

namespace backplane::cli {

/// A sum that must be correct: `received 12 = published 10 + rejected 2`. A value.
struct Equation {
  using Term = std::pair<std::string, std::uint64_t>;
  Term whole;
  std::vector<Term> parts;
  /// How much larger the whole may be than its parts, if other events are counted while it is read.
  std::uint64_t slack{};

  /// By how much the whole exceeds the sum of its parts and the slack; negative if the parts are larger; 0 if
  /// the equation balances.
  [[nodiscard]] std::int64_t difference() const;
  [[nodiscard]] bool balances() const { return difference() == 0; }
  [[nodiscard]] std::string str() const;
};

/// The equations of one broker, gateway or publisher. A value.
struct Ledger {
  std::string name;  ///< `broker default`, `gateway gateway@host7`
  std::vector<Equation> equations;
  std::vector<std::string> notes;  ///< losses, and what has no equation
};

/// The sum of the events of a broker's topics.
struct TopicsTotal {
  std::uint64_t topics{};
  std::uint64_t events{};
  // The broker's position before the first topic was read, and after the last one.
  std::uint64_t first_position{};
  std::uint64_t last_position{};
};

/// The ledger of a broker, then those of the gateways and publishers that are up.
[[nodiscard]] std::vector<Ledger> ledgers(const BrokerStats& stats, const TopicsTotal& topics);

/// The lines of the report: each ledger with its equations, marked `ok` or `OFF BY n`, then a line that says
/// whether all of them balance.
[[nodiscard]] std::vector<std::string> report(const std::vector<Ledger>& ledgers);

[[nodiscard]] bool all_balance(const std::vector<Ledger>& ledgers);

}  // namespace backplane::cli
