#include "publishers/sources/random_walk.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "backplane/events/v1/quote.pb.h"
#include "core/time/duration.hpp"
#include "publishers/sources/pace.hpp"
#include "publishers/sources/runner.hpp"
#include "publishers/sources/timestamp.hpp"

namespace backplane::sources {

RandomWalk::RandomWalk(std::uint64_t seed, std::uint64_t symbols) : random_(seed) {
  std::size_t letters = 3;
  for (std::uint64_t names = 17'576; names < symbols; names *= 26) ++letters;
  for (std::uint64_t number = 0; number < symbols; ++number) {
    std::string symbol(letters, 'A');
    std::uint64_t rest = number;
    for (auto letter = symbol.rbegin(); rest > 0; ++letter, rest /= 26) {
      *letter = static_cast<char>('A' + rest % 26);
    }
    quotes_.push_back({std::move(symbol), static_cast<std::int64_t>(1'000 + random_() % 50'000)});
  }
}

const RandomWalk::Quote& RandomWalk::next() {
  // The engine's numbers are the same everywhere; those of the library's distributions may differ.
  Quote& quote = quotes_[random_() % quotes_.size()];
  const auto step_max = static_cast<std::uint64_t>(quote.cents / 200 + 1);  // half a per cent
  quote.cents +=
      static_cast<std::int64_t>(random_() % (2 * step_max + 1)) - static_cast<std::int64_t>(step_max);
  quote.cents = std::max<std::int64_t>(quote.cents, 1);
  return quote;
}

ExitCode run_random_walk(const SourceOptions& options, const RandomWalkOptions& walk, Signals& signals) {
  constexpr std::uint64_t symbols_max = 1'000'000;
  const std::string topic = options.topic.empty() ? "walk" : options.topic;
  if (auto usable = check_source_topic(topic); !usable) return wrong_usage(usable.error().text);
  const auto rate = even_rate(options, walk.rate);
  if (!rate) return wrong_usage(rate.error().text);
  if (walk.symbols < 1 || walk.symbols > symbols_max) {
    return wrong_usage(fmt::format("--symbols: expected 1 to {}, got {}", symbols_max, walk.symbols));
  }
  return run_source(options, "random-walk", signals, [&](Runner& runner) {
    RandomWalk prices(walk.seed, walk.symbols);
    Timer timer(CLOCK_MONOTONIC);
    EvenPace pace(rate->value_or(1), timer.now_ns());
    events::v1::Quote quote;
    for (std::uint64_t number = 0; walk.count == 0 || number < walk.count; ++number) {
      if (!runner.wait_until(timer, pace.next(timer.now_ns()))) break;
      const RandomWalk::Quote& next = prices.next();
      quote.set_symbol(next.symbol);
      quote.set_price(static_cast<double>(next.cents) / 100);
      set_time(*quote.mutable_time(), unix_now_ns());
      if (!runner.publish("random-walk", topic + "." + next.symbol, quote)) break;
    }
    return runner.finish();
  });
}

}  // namespace backplane::sources
