#pragma once
// The reference of all settings as a page.

#include <string>

#include "core/config/section.hpp"

namespace backplane::config {

/// Prints what `describe` describes as Markdown: for each table of the file, a heading and a table of its
/// keys, with their current values as defaults, their limits and their meanings. The values of the struct
/// that `describe` describes may change: use one of its own.
[[nodiscard]] std::string print_reference(const Describe& describe);

}  // namespace backplane::config
