#include "publishers/sources/sensors.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

namespace backplane::sources {
namespace {

namespace fs = std::filesystem;

/// The first line of a small file.
Result<std::string> first_line(const fs::path& file) {
  errno = 0;
  std::ifstream in(file);
  std::string line;
  if (!in || !std::getline(in, line)) {
    const int error = errno;  // a sensor that is switched off can be opened but not read
    return fail(ErrorCode::io,
                fmt::format("{}: {}", file.string(),
                            error != 0 ? std::strerror(error) : "expected a line, got nothing"));
  }
  return line;
}

std::vector<fs::path> sorted_entries(const fs::path& directory) {
  std::vector<fs::path> entries;
  std::error_code none;
  for (fs::directory_iterator entry(directory, none), end; !none && entry != end; entry.increment(none)) {
    entries.push_back(entry->path());
  }
  // hwmon10 comes after hwmon9.
  std::sort(entries.begin(), entries.end(), [](const fs::path& a, const fs::path& b) {
    const std::string x = a.filename().string();
    const std::string y = b.filename().string();
    return x.size() != y.size() ? x.size() < y.size() : x < y;
  });
  return entries;
}

/// Collects readings and makes their names unique: two disks of one kind have the same chip and label.
class Collector {
 public:
  void add(const std::string& sensor, const fs::path& file) {
    const int number = ++names_[sensor];
    const auto line = first_line(file);
    if (!line) {
      found_.problems.push_back(line.error().text);
      return;
    }
    long millidegrees = 0;
    const char* const end = line->data() + line->size();
    const auto [stop, error] = std::from_chars(line->data(), end, millidegrees);
    if (error != std::errc{} || stop != end) {
      found_.problems.push_back(
          fmt::format("{}: expected thousandths of a degree, got \"{}\"", file.string(), *line));
      return;
    }
    found_.readings.push_back({number == 1 ? sensor : fmt::format("{}#{}", sensor, number),
                               static_cast<double>(millidegrees) / 1000});
  }

  SensorReadings take() { return std::move(found_); }

 private:
  std::map<std::string, int> names_;
  SensorReadings found_;
};

void read_hwmon(const fs::path& chip, Collector& collector) {
  const std::string name = first_line(chip / "name").value_or(chip.filename().string());
  for (const fs::path& file : sorted_entries(chip)) {
    constexpr std::string_view suffix = "_input";
    const std::string filename = file.filename().string();
    if (!filename.starts_with("temp") || !filename.ends_with(suffix)) continue;
    const std::string input = filename.substr(0, filename.size() - suffix.size());
    collector.add(name + "/" + first_line(chip / (input + "_label")).value_or(input), file);
  }
}

}  // namespace

SensorReadings read_sensors(const fs::path& sysfs) {
  Collector collector;
  for (const fs::path& chip : sorted_entries(sysfs / "class" / "hwmon")) read_hwmon(chip, collector);
  for (const fs::path& zone : sorted_entries(sysfs / "class" / "thermal")) {
    const std::string filename = zone.filename().string();
    if (!filename.starts_with("thermal_zone")) continue;  // cooling devices are listed there too
    collector.add("thermal/" + first_line(zone / "type").value_or(filename), zone / "temp");
  }
  return collector.take();
}

Result<Load> read_load(const fs::path& file) {
  const auto line = first_line(file);
  if (!line) return tl::unexpected(line.error());
  Load load;
  const char* at = line->data();
  const char* const end = at + line->size();
  for (double* value : {&load.one_minute, &load.five_minutes, &load.fifteen_minutes}) {
    while (at != end && *at == ' ') ++at;
    const auto [stop, error] = std::from_chars(at, end, *value);
    if (error != std::errc{}) {
      return fail(ErrorCode::protocol,
                  fmt::format("{}: expected three numbers, got \"{}\"", file.string(), *line));
    }
    at = stop;
  }
  return load;
}

Result<Memory> read_memory(const fs::path& file) {
  errno = 0;
  std::ifstream in(file);
  if (!in) return fail(ErrorCode::io, fmt::format("{}: {}", file.string(), std::strerror(errno)));
  Memory memory;
  std::map<std::string, std::uint64_t*, std::less<>> missing{{"MemTotal:", &memory.total_bytes},
                                                             {"MemAvailable:", &memory.available_bytes},
                                                             {"SwapTotal:", &memory.swap_total_bytes},
                                                             {"SwapFree:", &memory.swap_free_bytes}};
  for (std::string line; !missing.empty() && std::getline(in, line);) {
    std::istringstream fields(line);
    std::string name;
    std::uint64_t kib = 0;
    if (!(fields >> name >> kib)) continue;
    const auto found = missing.find(name);
    if (found == missing.end()) continue;
    *found->second = kib * 1024;
    missing.erase(found);
  }
  if (missing.empty()) return memory;
  return fail(ErrorCode::protocol, fmt::format("{}: expected a line with {} and a number, got none",
                                               file.string(), missing.begin()->first));
}

}  // namespace backplane::sources
