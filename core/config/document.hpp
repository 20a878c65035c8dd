#pragma once
// The content of a Source. Only core/config includes this header: it brings toml++ with it.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <toml++/toml.h>

#include "core/config/source.hpp"

namespace backplane::config {

struct Source::Document {
  struct Flag {
    std::string name;  ///< "--port"
    std::vector<std::string> values;
  };

  std::string file;  ///< as the user named it; empty: no file
  toml::table root;
  std::map<std::string, Flag, std::less<>> flags;  ///< by path

  /// The flag that sets the value at `path`, or nullptr.
  [[nodiscard]] const Flag* flag(std::string_view path) const;
};

/// "backplane[0].name" as an error shows it: "[backplane].name". A table's own path: "[backplane]".
[[nodiscard]] std::string shown_key(std::string_view path, bool is_table);

}  // namespace backplane::config
