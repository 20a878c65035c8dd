#include <array>

#include <fmt/format.h>

#include "backplane/events/v1/quote.pb.h"
#include "core/time/duration.hpp"
#include "publishers/sources/naming.hpp"
#include "publishers/sources/replay.hpp"
#include "publishers/sources/timestamp.hpp"

namespace backplane::sources {
namespace {

constexpr std::array<std::string_view, 3> columns{"symbol", "date", "price"};

Result<ReplayedEvent> make_quote(const std::string& topic, std::span<const std::string> values,
                                 std::string_view where) {
  const std::string& symbol = values[0];
  if (symbol.empty()) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: symbol: wanted one, got nothing", where));
  }
  const auto time_ns = parse_time(values[1], fmt::format("{}: date", where));
  if (!time_ns) return tl::unexpected(time_ns.error());
  const auto price = parse_number(values[2], fmt::format("{}: price", where));
  if (!price) return tl::unexpected(price.error());
  auto quote = std::make_unique<events::v1::Quote>();
  quote->set_symbol(symbol);
  quote->set_price(*price);
  set_time(*quote->mutable_time(), *time_ns);
  return ReplayedEvent{topic + "." + topic_token(symbol), std::move(quote)};
}

}  // namespace

ExitCode run_quotes(const SourceOptions& options, const ReplayOptions& replay, Signals& signals) {
  const std::string topic = options.topic.empty() ? "stock" : options.topic;
  if (auto usable = check_source_topic(topic); !usable) return wrong_usage(usable.error().text);
  if (auto usable = check_replay(replay, columns); !usable) return wrong_usage(usable.error().text);
  return run_source(options, "quotes", signals, [&](Runner& runner) {
    return replay_csv(runner, replay, columns,
                      [&](std::span<const std::string> values, std::string_view where) {
                        return make_quote(topic, values, where);
                      });
  });
}

}  // namespace backplane::sources
