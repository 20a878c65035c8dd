#include "cli/supervision/demo_data.hpp"

#include <vector>

#include <fmt/format.h>

namespace backplane::cli {
namespace {

namespace fs = std::filesystem;

/// How many folders above the executable are searched: build/dev/bin/backplane.
constexpr int levels_max = 4;

bool has_data(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / "stocks.csv", ignored) &&
         fs::is_regular_file(folder / "seattle-hourly.csv", ignored);
}

}  // namespace

Result<fs::path> find_demo_data(const std::string& given, const fs::path& executable) {
  if (!given.empty()) {
    if (has_data(given)) return given;
    return fail(
        ErrorCode::not_found,
        fmt::format("--demo-data: expected a folder with stocks.csv and seattle-hourly.csv, got \"{}\"",
                    given));
  }
  std::vector<fs::path> candidates;
  fs::path folder = executable.parent_path();
  for (int level = 0; level < levels_max; ++level) {
    candidates.push_back(folder / "config" / "demo");
    folder = folder.parent_path();
  }
  candidates.push_back(executable.parent_path().parent_path() / "share" / "backplane" / "demo");
  candidates.emplace_back(BACKPLANE_DEMO_DIR);
  for (const fs::path& each : candidates) {
    if (has_data(each)) return each;
  }
  return fail(ErrorCode::not_found,
              fmt::format("cannot find the demo's data (stocks.csv, seattle-hourly.csv) in {} or {}; give "
                          "their folder with --demo-data",
                          candidates.front().string(), candidates.back().string()));
}

}  // namespace backplane::cli
