#include "publishers/sources/sensors.hpp"

#include <gmock/gmock.h>

#include "tests/publishers/temporary_directory.hpp"

namespace backplane::sources {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> names(const SensorReadings& sensors) {
  std::vector<std::string> names;
  for (const SensorReading& reading : sensors.readings) names.push_back(reading.sensor);
  return names;
}

TEST(Sensors, EveryTemperatureOfEveryChipIsRead) {
  const backplane::testing::TemporaryDirectory sys;
  sys.write("class/hwmon/hwmon0/name", "coretemp\n");
  sys.write("class/hwmon/hwmon0/temp1_input", "47500\n");
  sys.write("class/hwmon/hwmon0/temp1_label", "Package id 0\n");
  sys.write("class/hwmon/hwmon0/temp2_input", "-1250\n");
  sys.write("class/hwmon/hwmon0/fan1_input", "1200\n");
  sys.write("class/thermal/thermal_zone0/type", "x86_pkg_temp\n");
  sys.write("class/thermal/thermal_zone0/temp", "46000\n");
  sys.write("class/thermal/cooling_device0/type", "Processor\n");
  const SensorReadings sensors = read_sensors(sys.path());
  EXPECT_THAT(names(sensors), ElementsAre("coretemp/Package id 0", "coretemp/temp2", "thermal/x86_pkg_temp"));
  EXPECT_EQ(sensors.readings[0].celsius, 47.5);
  EXPECT_EQ(sensors.readings[1].celsius, -1.25);
  EXPECT_THAT(sensors.problems, IsEmpty());
}

TEST(Sensors, SensorsWithTheSameNameAreNumberedInAStableOrder) {
  const backplane::testing::TemporaryDirectory sys;
  for (const char* chip : {"hwmon10", "hwmon9"}) {
    sys.write(std::string("class/hwmon/") + chip + "/name", "nvme\n");
    sys.write(std::string("class/hwmon/") + chip + "/temp1_input",
              chip == std::string("hwmon9") ? "9000" : "10000");
  }
  const SensorReadings sensors = read_sensors(sys.path());
  EXPECT_THAT(names(sensors), ElementsAre("nvme/temp1", "nvme/temp1#2"));
  EXPECT_EQ(sensors.readings[0].celsius, 9.0);
}

TEST(Sensors, AnUnreadableSensorIsReportedAndTheOthersAreRead) {
  const backplane::testing::TemporaryDirectory sys;
  sys.write("class/hwmon/hwmon0/name", "chip\n");
  sys.write("class/hwmon/hwmon0/temp1_input", "warm\n");
  sys.write("class/hwmon/hwmon0/temp2_input", "");
  sys.write("class/hwmon/hwmon0/temp3_input", "1000\n");
  const SensorReadings sensors = read_sensors(sys.path());
  EXPECT_THAT(names(sensors), ElementsAre("chip/temp3"));
  EXPECT_THAT(sensors.problems,
              ElementsAre(EndsWith("temp1_input: expected thousandths of a degree, got \"warm\""),
                          EndsWith("temp2_input: expected a line, got nothing")));
}

TEST(Sensors, AMachineWithoutSensorsIsNoProblem) {
  const backplane::testing::TemporaryDirectory sys;
  const SensorReadings sensors = read_sensors(sys.path());
  EXPECT_THAT(sensors.readings, IsEmpty());
  EXPECT_THAT(sensors.problems, IsEmpty());
}

TEST(Sensors, TheLoadIsReadFromTheKernelsLine) {
  const backplane::testing::TemporaryDirectory proc;
  const auto load = read_load(proc.write("loadavg", "0.25 1.50 12.75 3/96 6013\n"));
  ASSERT_TRUE(load.has_value());
  EXPECT_EQ(load->one_minute, 0.25);
  EXPECT_EQ(load->five_minutes, 1.5);
  EXPECT_EQ(load->fifteen_minutes, 12.75);
  EXPECT_FALSE(read_load(proc.write("short", "0.25\n")).has_value());
  EXPECT_THAT(read_load(proc.path() / "none").error().text, HasSubstr("none"));
}

TEST(Sensors, TheMemoryIsReadFromTheKernelsTable) {
  const backplane::testing::TemporaryDirectory proc;
  const auto memory = read_memory(proc.write("meminfo",
                                             "MemTotal:       24684092 kB\nMemFree:        100 kB\n"
                                             "MemAvailable:   200 kB\nHugePages_Total:       0\n"
                                             "SwapTotal:      300 kB\nSwapFree:       0 kB\n"));
  ASSERT_TRUE(memory.has_value()) << memory.error().text;
  EXPECT_EQ(memory->total_bytes, std::uint64_t{24'684'092} * 1024);
  EXPECT_EQ(memory->available_bytes, 200U * 1024);
  EXPECT_EQ(memory->swap_total_bytes, 300U * 1024);
  EXPECT_EQ(memory->swap_free_bytes, 0U);
  EXPECT_THAT(read_memory(proc.write("short", "MemTotal: 1 kB\n")).error().text,
              HasSubstr("expected a line with MemAvailable:"));
  EXPECT_THAT(read_memory(proc.path() / "none").error().text, HasSubstr("none"));
}

}  // namespace
}  // namespace backplane::sources
