#pragma once
// What opening a store needs beside its last segments: the checkpoint, and the file `store`.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "broker/state/history_store.hpp"
#include "broker/store/record.hpp"

namespace backplane::broker::store {

/// The state of a store at a position of its log. The topics may be of a later moment: the events after the
/// position are applied again, each to a topic that is older than it.
struct Checkpoint {
  struct Topic {
    std::string name;
    std::uint32_t number{};
    std::uint64_t position{};
    std::uint64_t offset{};
    std::uint64_t bytes{};
    std::int64_t time{};
    std::uint32_t record_at{};
    std::uint32_t record_bytes{};
    bool has_value{};
    friend bool operator==(const Topic&, const Topic&) = default;
  };
  std::uint64_t stream{};
  std::uint64_t position{};
  std::uint64_t floor{};  ///< events up to it are no longer in history
  std::int64_t clock_now{};
  std::int64_t clock_shift{};
  std::vector<Topic> topics{};
  std::vector<HistoryStore::Session> sessions{};
  std::vector<std::string> types{};
};

[[nodiscard]] std::string encode(const Checkpoint& checkpoint);
[[nodiscard]] Result<Checkpoint> decode_checkpoint(std::string_view bytes, std::string_view name);

/// The file `store`: lines of text, of which the last has a checksum of the others.
struct StoreMark {
  std::uint16_t version{format_version};
  std::string backplane;
  std::uint64_t stream{};
  std::string boot;     ///< of the machine, when it was opened
  bool is_clean{};      ///< it was closed
  bool syncs_always{};  ///< how it was opened: what readers saw was on the disk
  std::vector<std::uint64_t>
      earlier{};  ///< incarnations of the stream that ended with the machine, oldest first
  friend bool operator==(const StoreMark&, const StoreMark&) = default;
};

[[nodiscard]] std::string encode(const StoreMark& mark);
[[nodiscard]] Result<StoreMark> decode_mark(std::string_view text, std::string_view name);

}  // namespace backplane::broker::store
