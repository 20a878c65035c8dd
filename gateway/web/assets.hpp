#pragma once
// The files of the page, compiled into the program.

#include <span>
#include <string_view>

namespace backplane::gateway::web {

/// One file of the page, as served. Points into the program's static data.
struct Asset {
  std::string_view path;          ///< in the URL: "/", "/app.js", "/vendor/uPlot.esm.js"
  std::string_view content_type;  ///< "text/html; charset=utf-8"
  std::string_view etag;          ///< quoted; unique for each content
  std::string_view body;
  std::string_view gzip;  ///< the body as `Content-Encoding: gzip`, compressed at build time
};

/// All files of the page, sorted by path.
[[nodiscard]] std::span<const Asset> assets() noexcept;

/// The file that is served at `path` (without a query, percent-decoded), or null. Never blocks; any thread.
[[nodiscard]] const Asset* find_asset(std::string_view path) noexcept;

}  // namespace backplane::gateway::web
