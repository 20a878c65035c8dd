#include "publishers/sources/clock.hpp"

#include "backplane/events/v1/clock_tick.pb.h"
#include "publishers/sources/pace.hpp"
#include "publishers/sources/runner.hpp"
#include "publishers/sources/timestamp.hpp"

namespace backplane::sources {

void tick_on(std::chrono::nanoseconds every, const TickTime& time,
             const std::function<bool(const events::v1::ClockTick& tick, std::int64_t due_ns)>& publish) {
  events::v1::ClockTick tick;
  tick.set_interval_seconds(std::chrono::duration<double>(every).count());
  for (std::uint64_t number = 1;;) {
    const std::int64_t due_ns = next_tick(time.now_ns(), every);
    if (!time.wait_until(due_ns)) return;
    if (time.now_ns() < due_ns) continue;  // the clock was set back meanwhile
    tick.set_tick(number++);
    set_time(*tick.mutable_time(), due_ns);
    if (!publish(tick, due_ns)) return;
  }
}

ExitCode run_clock(const SourceOptions& options, Signals& signals) {
  const std::string topic = options.topic.empty() ? "clock" : options.topic;
  const std::chrono::nanoseconds every = options.every.value_or(std::chrono::seconds{1});
  if (auto usable = check_source_topic(topic); !usable) return wrong_usage(usable.error().text);
  if (auto usable = check_every(every); !usable) return wrong_usage(usable.error().text);

  return run_source(options, "clock", signals, [&](Runner& runner) {
    Timer timer(CLOCK_REALTIME);
    const TickTime time{.now_ns = [&] { return timer.now_ns(); },
                        .wait_until =
                            [&](std::int64_t due_ns) {
                              timer.set(due_ns);
                              return runner.wait({timer.fd()});
                            }};
    tick_on(every, time, [&](const events::v1::ClockTick& tick, std::int64_t due_ns) {
      return runner.publish("clock", topic, tick, {.time_ns = due_ns, .attributes = {}});
    });
    return runner.finish();
  });
}

}  // namespace backplane::sources
