#include <array>

#include <fmt/format.h>

#include "backplane/events/v1/load_average.pb.h"
#include "backplane/events/v1/temperature.pb.h"
#include "core/time/duration.hpp"
#include "publishers/sources/naming.hpp"
#include "publishers/sources/pace.hpp"
#include "publishers/sources/replay.hpp"
#include "publishers/sources/sensors.hpp"
#include "publishers/sources/timestamp.hpp"

namespace backplane::sources {
namespace {

constexpr std::array<std::string_view, 2> columns{"date", "temperature"};
constexpr std::string_view load_topic = "load";

Result<ReplayedEvent> make_reading(const std::string& topic, const std::string& sensor,
                                   std::span<const std::string> values, std::string_view where) {
  const auto time_ns = parse_time(values[0], fmt::format("{}: date", where));
  if (!time_ns) return tl::unexpected(time_ns.error());
  const auto celsius = parse_number(values[1], fmt::format("{}: temperature", where));
  if (!celsius) return tl::unexpected(celsius.error());
  auto temperature = std::make_unique<events::v1::Temperature>();
  temperature->set_sensor(sensor);
  temperature->set_celsius(*celsius);
  set_time(*temperature->mutable_time(), *time_ns);
  return ReplayedEvent{topic, std::move(temperature)};
}

ExitCode replay_readings(Runner& runner, const std::string& prefix, const ReplayOptions& replay) {
  const std::string sensor = replay.csv.stem().string();
  const std::string topic = prefix + "." + topic_token(sensor);
  return replay_csv(runner, replay, columns,
                    [&](std::span<const std::string> values, std::string_view where) {
                      return make_reading(topic, sensor, values, where);
                    });
}

/// One round of all sensors. @returns false where the source is to end.
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

ExitCode measure(Runner& runner, const std::string& prefix, const ThermometerOptions& thermometer,
                 std::chrono::nanoseconds every) {
  Timer timer(CLOCK_REALTIME);
  // The first reading at once, the others aligned to the clock. Sensors may come and go: looked for each
  // time.
  for (bool first = true;; first = false) {
    timer.set(first ? 0 : next_tick(timer.now_ns(), every));
    if (!runner.wait(timer.fd())) return runner.finish();
    const SensorReadings sensors = read_sensors(thermometer.sysfs);
    if (first && sensors.readings.empty() && sensors.problems.empty()) {
      log::info("no temperature sensors below {}: publishes the load alone", thermometer.sysfs.string());
    }
    const std::int64_t now_ns = unix_now_ns();
    if (!publish_sensors(runner, prefix, sensors, now_ns) ||
        !publish_load(runner, thermometer.load_average, now_ns)) {
      return runner.finish();
    }
  }
}

}  // namespace

ExitCode run_thermometer(const SourceOptions& options, const ThermometerOptions& thermometer,
                         Signals& signals) {
  const std::string prefix = options.topic.empty() ? "temperature" : options.topic;
  const std::chrono::nanoseconds every = options.every.value_or(std::chrono::seconds{5});
  if (auto usable = check_source_topic(prefix); !usable) return wrong_usage(usable.error().text);
  if (auto usable = check_every(every); !usable) return wrong_usage(usable.error().text);
  if (thermometer.replay) {
    if (auto usable = check_replay(*thermometer.replay, columns); !usable) {
      return wrong_usage(usable.error().text);
    }
  }
  return run_source(options, "thermometer", signals, [&](Runner& runner) {
    return thermometer.replay ? replay_readings(runner, prefix, *thermometer.replay)
                              : measure(runner, prefix, thermometer, every);
  });
}

}  // namespace backplane::sources
