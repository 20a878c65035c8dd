#pragma once
// A disk in memory that loses, tears and reorders whatever was not synced, fails on demand, and dies at any
// operation.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "broker/store/files.hpp"
#include "core/thread/mutex.hpp"

namespace backplane::broker::testing {

/// The directory of a simulated machine. It outlives the stores that use it: each opens it through files().
/// Thread-safe.
class SimulatedDisk {
 public:
  explicit SimulatedDisk(unsigned seed = 1) : random_(seed) {}

  /// What one process sees of the disk. After kill() or power_loss(), every operation of earlier ones fails
  /// without effect.
  [[nodiscard]] std::unique_ptr<store::Files> files();

  /// The process ends: what it has written stays.
  void kill();
  /// The machine ends: of each file, what was synced stays; of the rest, any sectors may be there, be zero or
  /// be missing. Of the names changed since the last sync_names(), a part from the start stays.
  void power_loss();
  /// The process dies in the middle of the operation after `operations` more that change something.
  void die_after(std::uint64_t operations);
  [[nodiscard]] bool is_dead() const;

  /// Removes all files and faults.
  void clear();

  /// Faults.
  void set_room(std::uint64_t bytes);  ///< for all files
  void fail_syncs(bool fail);
  /// Called in each append() and each sync() of a file, before it takes effect, without a lock.
  void set_hook(std::function<void()> hook);
  void flip_bit(const std::string& name, std::uint64_t byte);
  void cut(const std::string& name, std::uint64_t bytes);
  void remove(const std::string& name);
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] std::string content(const std::string& name) const;
  void set_content(const std::string& name, const std::string& bytes);
  [[nodiscard]] std::uint64_t bytes_written() const;

 private:
  friend class SimulatedFile;
  friend class SimulatedFiles;
  struct Inode {
    std::string bytes;
    std::string synced;
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>, std::less<>>;

  // Whether an operation of process `process` takes effect; `dies`: it is the last one.
  bool begin(std::uint64_t process, bool& dies) REQUIRES(mutex_);
  [[nodiscard]] std::uint64_t used() const REQUIRES(mutex_);
  void change_names(const std::function<void(Names&)>& change) REQUIRES(mutex_);
  void call_hook();

  mutable Mutex mutex_;
  std::mt19937 random_ GUARDED_BY(mutex_);
  Names names_ GUARDED_BY(mutex_);
  std::vector<Names> unsynced_names_ GUARDED_BY(mutex_);  // the states before each change since the last sync
  std::uint64_t process_ GUARDED_BY(mutex_){0};
  std::uint64_t boot_ GUARDED_BY(mutex_){1};
  std::uint64_t operations_left_ GUARDED_BY(mutex_){~std::uint64_t{0}};
  bool dead_ GUARDED_BY(mutex_){false};
  std::uint64_t room_ GUARDED_BY(mutex_){~std::uint64_t{0}};
  std::uint64_t bytes_written_ GUARDED_BY(mutex_){0};
  bool fail_syncs_ GUARDED_BY(mutex_){false};
  std::function<void()> hook_ GUARDED_BY(mutex_);
};

}  // namespace backplane::broker::testing
