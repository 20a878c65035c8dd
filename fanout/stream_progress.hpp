#pragma once
// How far each stream of the log has come.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fanout/log/ids.hpp"
#include "fanout/skip.hpp"

namespace backplane::fanout {

/// For each stream, the highest position that a shard has dispatched, and the low watermark: the position up
/// to which nothing more can arrive, not even late. Owned by the shard, on its thread.
class StreamProgress {
 public:
  /// Notes a message that is dispatched. @returns whether it is late: a later message of its stream was
  /// dispatched before it.
  bool note(StreamId stream, std::uint64_t position) {
    if (stream == no_stream) return false;
    std::uint64_t& reached = at(reached_, stream);
    if (position < reached) return true;
    reached = position;
    return false;
  }
  void set_low_watermark(StreamId stream, std::uint64_t position) { at(low_watermarks_, stream) = position; }

  /// Whether no later message is in `skip`, except late ones.
  [[nodiscard]] bool has_passed(const Skip& skip) const noexcept;
  /// Whether no later message is in `skip`, not even a late one.
  [[nodiscard]] bool is_below_low_watermark(const Skip& skip) const noexcept;

 private:
  using Positions = std::vector<std::uint64_t>;  ///< by stream

  static std::uint64_t& at(Positions& positions, StreamId stream) {
    const auto index = static_cast<std::size_t>(stream);
    if (index >= positions.size()) positions.resize(index + 1);
    return positions[index];
  }
  [[nodiscard]] static bool cover(const Positions& positions, const Skip& skip) noexcept;

  Positions reached_;
  Positions low_watermarks_;
};

}  // namespace backplane::fanout
