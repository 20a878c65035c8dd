#pragma once
// The cursors of the store in memory: where a read continues.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace backplane::broker {

struct ReadRequest;

/// How far a read of history has come, in terms that stay valid whatever the store does in between.
struct HistoryCursor {
  enum class Phase : std::uint8_t {
    unchecked,  ///< losses have not been checked
    checking,   ///< the topics of the first `next_block` blocks have been checked
    checked,    ///< nothing was lost before drop number `drops_seen`
  };
  Phase phase{Phase::unchecked};
  std::uint8_t restarts{};                                       ///< how often the check had to restart
  std::uint64_t position{};                                      ///< everything up to it has been returned
  std::int64_t since{std::numeric_limits<std::int64_t>::min()};  ///< on the store's clock
  std::uint64_t drops_seen{};
  std::uint64_t next_block{};
  std::uint64_t lost_position{};  ///< the highest position found lost so far
};

/// A hash of the request. Every cursor begins with the store's incarnation and this hash.
[[nodiscard]] std::uint32_t request_hash(const ReadRequest& request);

[[nodiscard]] std::string encode(const HistoryCursor& cursor, std::uint32_t incarnation,
                                 std::uint32_t request);
/// @returns nothing if `text` is not a cursor of that store and request. Its numbers may still be forged.
[[nodiscard]] std::optional<HistoryCursor> decode_history(std::string_view text, std::uint32_t incarnation,
                                                          std::uint32_t request);

/// The cursor of a read of values: the last name examined.
[[nodiscard]] std::string encode(std::string_view name, std::uint32_t incarnation, std::uint32_t request);
/// @returns the name, within `text`; nothing if it is not such a cursor.
[[nodiscard]] std::optional<std::string_view> decode_retained(std::string_view text,
                                                              std::uint32_t incarnation,
                                                              std::uint32_t request);

}  // namespace backplane::broker
