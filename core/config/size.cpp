#include "core/config/size.hpp"

#include <array>
#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "core/log/escape.hpp"

namespace backplane::config {
namespace {

struct Unit {
  std::string_view name;
  int shift;
};
// Largest first: format_size() uses the first that divides.
constexpr std::array<Unit, 4> units{{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}}};

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text, std::string_view where) {
  std::uint64_t count = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, count);
  const std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  int shift = suffix.empty() ? 0 : -1;
  for (const Unit& unit : units) {
    if (unit.name == suffix) shift = unit.shift;
  }
  if (error != std::errc{} || shift < 0 || count > std::numeric_limits<std::uint64_t>::max() >> shift) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("{}: expected a size such as 1048576 or 1MiB, got \"{}\"", where, log::escape(text)));
  }
  return count << shift;
}

std::string format_size(std::uint64_t bytes) {
  for (const Unit& unit : units) {
    const std::uint64_t one = std::uint64_t{1} << unit.shift;
    if (bytes >= one && bytes % one == 0) return fmt::format("{}{}", bytes >> unit.shift, unit.name);
  }
  return fmt::format("{}", bytes);
}

}  // namespace backplane::config
