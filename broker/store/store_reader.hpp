#pragma once
// Reads a store's files without its broker, which may be running.

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/store/checkpoint.hpp"
#include "broker/store/files.hpp"
#include "broker/store/record.hpp"
#include "broker/store/segment.hpp"

namespace backplane::broker::store {

/// A place in a store's files that is not as it was written.
struct StoreDamage {
  std::string file;  ///< its name
  std::uint64_t at{};
  std::string text;  ///< "expected …, got …"
};

/// Events of a topic that were numbered, have not been removed, and are not in the files.
struct LostEvents {
  std::uint64_t stream{};
  std::string_view topic;
  std::uint64_t first{};  ///< offset
  std::uint64_t last{};
};

/// Receives what StoreReader::read() finds, in order of the log: of each incarnation in turn, the oldest
/// first. Views are valid during the call.
class StoreListener {
 public:
  virtual ~StoreListener() = default;
  /// A serialised FileDescriptorSet that publishers registered; before the events that use it.
  virtual void on_types(std::string_view descriptor_set) = 0;
  virtual void on_event(std::uint64_t stream, const Record& event) = 0;
  virtual void on_damage(const StoreDamage& damage) = 0;
  /// `next`: the topic's event that follows, whose on_event() is next; nullptr: there is none.
  virtual void on_lost(const LostEvents& lost, const Record* next) = 0;
  /// Called about every MiB. @returns false to end read().
  virtual bool on_progress(std::uint64_t bytes, std::uint64_t bytes_all) = 0;
};

/// Whether a store was closed.
enum class StoreEnd : std::uint8_t {
  closed,
  process_ended,  ///< it is open, or its process was killed. The stream continues.
  machine_crashed,
  unknown,  ///< the file `store` is damaged or missing
};

/// One incarnation of the stream.
struct StoredIncarnation {
  std::uint64_t stream{};
  bool is_current{};  ///< the one that the broker continues
  /// In order of positions, without those that the cleaner has replaced.
  std::vector<std::shared_ptr<Segment>> segments{};
  std::uint64_t bytes{};                   ///< of the segments
  std::optional<Checkpoint> checkpoint{};  ///< the newest intact one
  std::string checkpoint_name{};
  // Set by summarize().
  std::uint64_t events{};
  std::uint64_t topics{};
  std::uint64_t first_position{};  ///< of an event; 0: there is none
  std::uint64_t last_position{};
  std::int64_t oldest_ns{};  ///< when the broker received the first event
  std::int64_t newest_ns{};
};

/// A store as it was when open() returned. Owns the open files; what its broker writes, cleans or removes
/// afterwards does not matter. Changes nothing and takes no lock. Every method may block. One thread.
class StoreReader {
 public:
  explicit StoreReader(std::unique_ptr<Files> files);

  /// Opens the files. @returns `invalid_argument` if the directory is not a store, `protocol` if it has a
  /// version that this program does not know, or the error of the operating system.
  [[nodiscard]] Result<void> open();

  /// The file `store`, if it is intact.
  [[nodiscard]] const std::optional<StoreMark>& mark() const noexcept { return mark_; }
  [[nodiscard]] StoreEnd end() const noexcept { return end_; }
  /// At the end of the log, an incomplete write that the broker will complete, or remove when it starts.
  [[nodiscard]] const std::optional<StoreDamage>& unfinished() const noexcept { return unfinished_; }
  [[nodiscard]] const std::vector<StoredIncarnation>& incarnations() const noexcept { return incarnations_; }
  /// Of all files.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t files() const noexcept { return names_.size(); }
  /// What open() and summarize() have found: most damage is found only by read().
  [[nodiscard]] const std::vector<StoreDamage>& damage() const noexcept { return damage_; }

  /// Counts topics and events, from indexes and checkpoints where possible. Reads as much as a broker that
  /// starts. Call it once.
  [[nodiscard]] Result<void> summarize();

  /// Reads everything, and verifies every byte; of indexes, those that belong to the segments. Damage that
  /// open() found comes first. `since_ns`: segments with only older events may be skipped, and then losses
  /// before the first event of each topic are not found.
  /// @returns false if the listener ended it.
  [[nodiscard]] Result<bool> read(StoreListener& listener,
                                  std::int64_t since_ns = std::numeric_limits<std::int64_t>::min());

 private:
  class Reading;
  enum class Taken : std::uint8_t { complete, changed };

  [[nodiscard]] Result<Taken> take();
  [[nodiscard]] Result<void> take_mark();
  [[nodiscard]] Result<std::optional<StoreDamage>> read_mark();
  [[nodiscard]] Result<Taken> take_checkpoint(const std::string& name);
  [[nodiscard]] Result<Taken> take_segment(const std::string& name, bool is_last);
  [[nodiscard]] Result<void> find_end();
  [[nodiscard]] bool may_be_unfinished(const StoredIncarnation& incarnation, const Segment& segment,
                                       std::uint64_t from) const;
  [[nodiscard]] StoredIncarnation& incarnation_of(std::string_view name);
  [[nodiscard]] Result<void> summarize(StoredIncarnation& incarnation);
  [[nodiscard]] bool read_index(const Segment& segment, Segment& as_indexed,
                                std::optional<StoreDamage>& damage) const;

  std::unique_ptr<Files> files_;
  std::vector<std::string> names_;
  std::optional<StoreMark> mark_;
  StoreEnd end_{StoreEnd::unknown};
  std::vector<StoredIncarnation> incarnations_;
  std::optional<StoreDamage> unfinished_;
  std::vector<StoreDamage> damage_;
  std::uint64_t bytes_{0};
};

}  // namespace backplane::broker::store
