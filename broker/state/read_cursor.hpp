#pragma once
// Where a read goes on: what a store in memory writes into a slice's cursor.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace backplane::broker {

struct ReadRequest;

/// How far a read of history has come, in terms that stay true whatever the store does meanwhile.
struct HistoryCursor {
  enum class Phase : std::uint8_t {
    unchecked,  ///< nothing is known of what was lost
    checking,   ///< the topics of the first `next_block` blocks have been looked at
    checked,    ///< when drop number `drops_seen` was the next, nothing was lost
  };
  Phase phase{Phase::unchecked};
  std::uint8_t restarts{};                                       ///< how often the check had to begin anew
  std::uint64_t position{};                                      ///< all up to it has been given
  std::int64_t since{std::numeric_limits<std::int64_t>::min()};  ///< on the store's clock
  std::uint64_t drops_seen{};
  std::uint64_t next_block{};
  std::uint64_t lost_position{};  ///< the highest found lost so far
};

/// The beginning of every cursor: which store and which request it belongs to.
[[nodiscard]] std::uint32_t request_hash(const ReadRequest& request);

[[nodiscard]] std::string encode(const HistoryCursor& cursor, std::uint32_t incarnation,
                                 std::uint32_t request);
/// @returns nothing where `text` is not a cursor of that store and request. Its numbers may still be forged.
[[nodiscard]] std::optional<HistoryCursor> decode_history(std::string_view text, std::uint32_t incarnation,
                                                          std::uint32_t request);

/// A cursor of a read of values: the last name looked at.
[[nodiscard]] std::string encode(std::string_view name, std::uint32_t incarnation, std::uint32_t request);
/// @returns the name, within `text`; nothing where it is not such a cursor.
[[nodiscard]] std::optional<std::string_view> decode_retained(std::string_view text,
                                                              std::uint32_t incarnation,
                                                              std::uint32_t request);

}  // namespace backplane::broker
