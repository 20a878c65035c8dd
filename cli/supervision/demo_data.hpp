#pragma once
// Finds the files that the demo publishes.

#include <filesystem>
#include <string>

#include "core/error/error.hpp"

namespace backplane::cli {

/// The folder with stocks.csv and seattle-hourly.csv: `given` if that is not empty, else config/demo next to
/// or above the executable (in a build tree), or the folder in which they were installed. @returns not_found
/// with the folders that were searched.
Result<std::filesystem::path> find_demo_data(const std::string& given,
                                             const std::filesystem::path& executable);

}  // namespace backplane::cli
