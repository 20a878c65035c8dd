#pragma once
// This machine's temperatures, load and memory, as the kernel reports them.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/error/error.hpp"

namespace backplane::sources {

struct SensorReading {
  std::string sensor;  ///< "coretemp/Core 0": the chip and the label; unique among the readings
  double celsius{};
};

struct SensorReadings {
  std::vector<SensorReading> readings;
  std::vector<std::string> problems;  ///< one line for each sensor that cannot be read now
};

/// Reads class/hwmon and class/thermal below `sysfs`, which is /sys on a real machine, in a stable order.
/// A machine without sensors yields no readings and no problems.
[[nodiscard]] SensorReadings read_sensors(const std::filesystem::path& sysfs);

struct Load {
  double one_minute{};
  double five_minutes{};
  double fifteen_minutes{};
};

/// Reads a file like /proc/loadavg.
[[nodiscard]] Result<Load> read_load(const std::filesystem::path& file);

struct Memory {
  std::uint64_t total_bytes{};
  std::uint64_t available_bytes{};
  std::uint64_t swap_total_bytes{};
  std::uint64_t swap_free_bytes{};
};

/// Reads a file like /proc/meminfo.
[[nodiscard]] Result<Memory> read_memory(const std::filesystem::path& file);

}  // namespace backplane::sources
