#pragma once
// Reads one slice from the events in memory. Private to the store.

#include <cstddef>
#include <cstdint>

#include "broker/state/history_store.hpp"
#include "broker/state/kept_events.hpp"
#include "broker/state/read_cursor.hpp"

namespace backplane::broker {

/// Reads one slice of one read; does not change the store. Lives on the loop thread while it reads. Owns
/// nothing.
class SliceReader {
 public:
  /// `incarnation` is what the store puts into its cursors.
  SliceReader(const KeptEvents& events, const ReadRequest& request, std::uint32_t incarnation);

  /// `all_expired`: the store contains nothing that is too old. If false, the slice is empty and ends in
  /// `more`.
  [[nodiscard]] ReadSlice read(bool all_expired);

 private:
  enum class Check : std::uint8_t { nothing_lost, lost, unfinished };

  ReadSlice read_retained();
  bool add_retained(ReadSlice& slice, const KeptTopic& topic);
  [[nodiscard]] bool begin_history();

  ReadSlice read_topic();
  [[nodiscard]] const KeptEvent* start_of_topic(const KeptTopic& topic);
  [[nodiscard]] const KeptEvent* start_by_offset(const KeptTopic& topic);
  [[nodiscard]] const KeptEvent* start_by_position(const KeptTopic& topic);
  ReadSlice read_pattern();
  [[nodiscard]] const KeptEvent* start_of_all() const;

  [[nodiscard]] Check check();
  [[nodiscard]] Check check_topics();
  void check_drops();
  void check_topic(const KeptTopic& topic);
  [[nodiscard]] bool has_lost(const KeptTopic& topic) const;
  [[nodiscard]] bool wants(const KeptEvent& event) const;

  // Adds `event` to the slice if the request includes it. @returns false if that ends the slice, whose end is
  // then set.
  bool give(ReadSlice& slice, const KeptEvent& event);
  bool fits(ReadSlice& slice, const KeptEvent& event);
  [[nodiscard]] ReadSlice complete(ReadSlice slice) const;
  [[nodiscard]] ReadSlice more(ReadSlice slice) const;

  const KeptEvents& events_;
  const ReadRequest& request_;
  const std::uint32_t incarnation_;
  const std::uint32_t hash_;
  const std::uint64_t until_;
  HistoryCursor at_;        // how far the read has come
  std::size_t scans_left_;  // events that may still be examined
  std::size_t bytes_{0};    // of the events in the slice
};

}  // namespace backplane::broker
