#pragma once
// Made-up prices.

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace backplane::sources {

/// Prices of a number of symbols. Each price changes by at most half a per cent per step. The same seed gives
/// the same prices on every machine. Belongs to one thread.
class RandomWalk {
 public:
  struct Quote {
    std::string symbol;  ///< AAA, AAB, …
    std::int64_t cents{};
  };

  /// @param symbols above 0
  RandomWalk(std::uint64_t seed, std::uint64_t symbols);

  /// The next price of one of the symbols. Valid until the next call.
  const Quote& next();

 private:
  std::mt19937_64 random_;
  std::vector<Quote> quotes_;
};

}  // namespace backplane::sources
