#include "publishers/sources/replay.hpp"

namespace backplane::sources {

ExitCode run_quotes(const SourceOptions& options, const ReplayOptions& replay, Signals& signals) {
  ReplayPlan plan;
  plan.type = "Quote";
  plan.rules = {{"symbol", {"symbol"}, true}, {"time", {"date", "time"}, true}, {"price", {"price"}, true}};
  plan.topic = options.topic.empty() ? "stock" : options.topic;
  plan.topic_field = "symbol";
  plan.rate_default = 1;
  return run_replayed(options, "quotes", replay, plan, signals);
}

}  // namespace backplane::sources
