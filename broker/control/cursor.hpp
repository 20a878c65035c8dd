#pragma once
// Where an answer goes on: given out with `more`, brought back with the next request.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace backplane::broker {

/// Which request a cursor belongs to.
enum class CursorKind : char {
  retained = 'r',
  replay = 'h',
  tails = 't',
  topics = 'n',
  types = 'd',
  participants = 'p',
};

/// What became of a cursor that somebody brought.
enum class CursorFault : std::uint8_t {
  none,
  not_ours,      ///< too short, too long, or of another request
  other_stream,  ///< from another broker, or from an earlier incarnation of this one
};

struct OpenedCursor {
  CursorFault fault{CursorFault::none};
  std::string_view place;  ///< as it was sealed; what it means is not checked
};

/// A cursor for `place` in this incarnation of the backplane: in another, places mean something else.
[[nodiscard]] std::string seal_cursor(CursorKind kind, std::uint64_t stream, std::string_view place);

/// Any bytes may be given.
[[nodiscard]] OpenedCursor open_cursor(CursorKind kind, std::uint64_t stream, std::string_view cursor);

/// A place that is a number. @returns nothing where it is none.
[[nodiscard]] std::optional<std::uint64_t> read_number(std::string_view place);

}  // namespace backplane::broker
