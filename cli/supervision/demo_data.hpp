#pragma once
// Where the demo's real data are.

#include <filesystem>
#include <string>

#include "core/error/error.hpp"

namespace backplane::cli {

/// The folder with stocks.csv and seattle-hourly.csv: `given` where that is not empty, else config/demo
/// beside or above the executable (a build tree), or where it was installed. @returns not_found with the
/// folders that were looked into.
Result<std::filesystem::path> find_demo_data(const std::string& given,
                                             const std::filesystem::path& executable);

}  // namespace backplane::cli
