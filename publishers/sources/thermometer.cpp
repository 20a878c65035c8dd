#include <fmt/format.h>

#include "backplane/events/v1/load_average.pb.h"
#include "backplane/events/v1/memory_use.pb.h"
#include "backplane/events/v1/temperature.pb.h"
#include "core/time/duration.hpp"
#include "publishers/sources/pace.hpp"
#include "publishers/sources/replay.hpp"
#include "publishers/sources/sensors.hpp"
#include "publishers/sources/timestamp.hpp"
#include "publishers/sources/topic_token.hpp"

namespace backplane::sources {
namespace {

constexpr std::string_view load_topic = "load";
constexpr std::string_view memory_topic = "memory";

ExitCode replay_readings(const SourceOptions& options, const std::string& prefix, const ReplayOptions& replay,
                         Signals& signals) {
  const std::string sensor = replay.file.stem().string();
  ReplayPlan plan;
  plan.type = "Temperature";
  plan.rules = {{"time", {"date", "time"}, true}, {"celsius", {"temperature", "celsius"}, true}};
  plan.topic = prefix + "." + topic_token(sensor);
  plan.finish = [&sensor](google::protobuf::Message& message) {
    static_cast<events::v1::Temperature&>(message).set_sensor(sensor);
  };
  plan.rate_default = 1;
  return run_replayed(options, "thermometer", replay, plan, signals);
}

/// Publishes one reading of each sensor. @returns false if the source is to stop.
bool publish_sensors(Runner& runner, const std::string& prefix, const SensorReadings& sensors,
                     std::int64_t now_ns) {
  for (const std::string& problem : sensors.problems) {
    if (!runner.bad_record(problem)) return false;
  }
  for (const SensorReading& reading : sensors.readings) {
    events::v1::Temperature temperature;
    temperature.set_sensor(reading.sensor);
    temperature.set_celsius(reading.celsius);
    set_time(*temperature.mutable_time(), now_ns);
    if (!runner.publish(reading.sensor, prefix + "." + topic_token(reading.sensor), temperature))
      return false;
  }
  return true;
}

bool publish_load(Runner& runner, const std::filesystem::path& file, std::int64_t now_ns) {
  const auto load = read_load(file);
  if (!load) return runner.bad_record(load.error().text);
  events::v1::LoadAverage average;
  average.set_one_minute(load->one_minute);
  average.set_five_minutes(load->five_minutes);
  average.set_fifteen_minutes(load->fifteen_minutes);
  set_time(*average.mutable_time(), now_ns);
  return runner.publish(load_topic, load_topic, average);
}

bool publish_memory(Runner& runner, const std::filesystem::path& file, std::int64_t now_ns) {
  const auto memory = read_memory(file);
  if (!memory) return runner.bad_record(memory.error().text);
  events::v1::MemoryUse use;
  use.set_total_bytes(memory->total_bytes);
  use.set_available_bytes(memory->available_bytes);
  use.set_swap_total_bytes(memory->swap_total_bytes);
  use.set_swap_free_bytes(memory->swap_free_bytes);
  set_time(*use.mutable_time(), now_ns);
  return runner.publish(memory_topic, memory_topic, use);
}

ExitCode measure(Runner& runner, const std::string& prefix, const ThermometerOptions& thermometer,
                 std::chrono::nanoseconds every) {
  Timer timer(CLOCK_REALTIME);
  // The first reading is immediate, the others are aligned to the clock. Sensors may come and go, so they are
  // searched for each time.
  for (bool first = true;; first = false) {
    timer.set(first ? 0 : next_tick(timer.now_ns(), every));
    if (!runner.wait({timer.fd()})) return runner.finish();
    const SensorReadings sensors = read_sensors(thermometer.sysfs);
    if (first && sensors.readings.empty() && sensors.problems.empty()) {
      log::info("no temperature sensors below {}; publishing only load and memory",
                thermometer.sysfs.string());
    }
    const std::int64_t now_ns = unix_now_ns();
    if (!publish_sensors(runner, prefix, sensors, now_ns) ||
        !publish_load(runner, thermometer.load_average, now_ns) ||
        !publish_memory(runner, thermometer.memory, now_ns)) {
      return runner.finish();
    }
  }
}

}  // namespace

ExitCode run_thermometer(const SourceOptions& options, const ThermometerOptions& thermometer,
                         Signals& signals) {
  const std::string prefix = options.topic.empty() ? "temperature" : options.topic;
  if (auto usable = check_source_topic(prefix); !usable) return wrong_usage(usable.error().text);
  if (thermometer.replay) return replay_readings(options, prefix, *thermometer.replay, signals);
  const std::chrono::nanoseconds every = options.every.value_or(std::chrono::seconds{5});
  if (auto usable = check_every(every); !usable) return wrong_usage(usable.error().text);
  return run_source(options, "thermometer", signals,
                    [&](Runner& runner) { return measure(runner, prefix, thermometer, every); });
}

}  // namespace backplane::sources
