#pragma once

#include <span>
#include <string_view>

namespace backplane::gateway::web {

/// One file of the page, as it is served. All that it names is part of the program and lives as long.
struct Asset {
  std::string_view path;          ///< where it is served: "/", "/app.js", "/vendor/uPlot.esm.js"
  std::string_view content_type;  ///< "text/html; charset=utf-8"
  std::string_view etag;          ///< quoted; another one for each content
  std::string_view body;
  std::string_view gzip;  ///< the body as `Content-Encoding: gzip`, compressed when the program was built
};

/// All of the page's files, by path.
[[nodiscard]] std::span<const Asset> assets() noexcept;

/// The file that is served at `path` (no query, percent-decoding is the caller's), or null. Never blocks; any
/// thread.
[[nodiscard]] const Asset* find_asset(std::string_view path) noexcept;

}  // namespace backplane::gateway::web
