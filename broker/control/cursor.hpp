#pragma once
// Cursors: where a listing or a replay continues. A reply gives one with `more`, and the next request returns
// it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace backplane::broker {

/// The kind of request that a cursor belongs to.
enum class CursorKind : char {
  retained = 'r',
  replay = 'h',
  tails = 't',
  topics = 'n',
  types = 'd',
  participants = 'p',
};

/// The result of checking a cursor that a client sent.
enum class CursorFault : std::uint8_t {
  none,
  not_ours,      ///< too short, too long, or of another kind of request
  other_stream,  ///< from another broker, or from an earlier incarnation of this one
};

struct OpenedCursor {
  CursorFault fault{CursorFault::none};
  std::string_view place;  ///< as given to seal_cursor(); its meaning is not checked
};

/// Makes a cursor for `place`. It is valid only for this incarnation of the backplane: in another, places
/// mean something else.
[[nodiscard]] std::string seal_cursor(CursorKind kind, std::uint64_t stream, std::string_view place);

/// Checks a cursor of any bytes. The place points into `cursor`.
[[nodiscard]] OpenedCursor open_cursor(CursorKind kind, std::uint64_t stream, std::string_view cursor);

/// Parses a place that is a number. @returns nothing if it is not one.
[[nodiscard]] std::optional<std::uint64_t> read_number(std::string_view place);

}  // namespace backplane::broker
