#include "publishers/sources/replay.hpp"

namespace backplane::sources {

ExitCode run_earthquakes(const SourceOptions& options, const ReplayOptions& replay, Signals& signals) {
  ReplayPlan plan;
  plan.type = "Earthquake";
  // The second names are the ones in the tables of the USGS.
  plan.rules = {{"time", {"time"}, true},
                {"magnitude", {"magnitude", "mag"}, true},
                {"depth_km", {"depth_km", "depth"}, false}};
  plan.topic = options.topic.empty() ? "earthquake" : options.topic;
  plan.topic_field = "net";
  return run_replayed(options, "earthquakes", replay, plan, signals);
}

ExitCode run_replay(const SourceOptions& options, const ReplayOptions& replay, const ReplayAs& as,
                    Signals& signals) {
  if (options.topic.empty()) return wrong_usage("--topic: expected the topic of the records, got none");
  if (as.type.empty() && !replay.columns.empty()) {
    return wrong_usage("--map: expected a --type whose fields it names, got none");
  }
  ReplayPlan plan;
  plan.type = as.type;
  plan.time_field = as.time_field;
  plan.topic = options.topic;
  plan.topic_field = as.topic_field;
  return run_replayed(options, "replay", replay, plan, signals);
}

}  // namespace backplane::sources
