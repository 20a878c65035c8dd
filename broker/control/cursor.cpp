#include "broker/control/cursor.hpp"

#include <charconv>

namespace backplane::broker {
namespace {

// A topic name or a few numbers.
constexpr std::size_t place_bytes_max = 1024;
constexpr std::size_t stream_bytes = sizeof(std::uint64_t);

}  // namespace

std::string seal_cursor(CursorKind kind, std::uint64_t stream, std::string_view place) {
  std::string cursor(1, static_cast<char>(kind));
  for (std::size_t byte = 0; byte < stream_bytes; ++byte) {
    cursor += static_cast<char>(stream >> (8 * byte) & 0xff);
  }
  cursor += place;
  return cursor;
}

OpenedCursor open_cursor(CursorKind kind, std::uint64_t stream, std::string_view cursor) {
  constexpr std::size_t head = 1 + stream_bytes;
  const bool sized = cursor.size() > head && cursor.size() <= head + place_bytes_max;
  if (!sized || cursor.front() != static_cast<char>(kind)) return {CursorFault::not_ours, {}};
  const std::string_view place = cursor.substr(head);
  if (cursor.substr(0, head) != seal_cursor(kind, stream, {})) return {CursorFault::other_stream, {}};
  return {CursorFault::none, place};
}

std::optional<std::uint64_t> read_number(std::string_view place) {
  std::uint64_t number{};
  const char* end = place.data() + place.size();
  const auto [stopped, error] = std::from_chars(place.data(), end, number);
  if (error != std::errc{} || stopped != end) return std::nullopt;
  return number;
}

}  // namespace backplane::broker
