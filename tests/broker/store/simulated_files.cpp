#include "tests/broker/store/simulated_files.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace backplane::broker::testing {

namespace {
tl::unexpected<Error> dead() {
  return fail(ErrorCode::io, "the simulated process is dead");
}
constexpr std::size_t sector_bytes = 512;
}  // namespace

class SimulatedFile final : public store::File {
 public:
  SimulatedFile(SimulatedDisk& disk, std::uint64_t process, std::shared_ptr<SimulatedDisk::Inode> inode)
      : disk_(disk), process_(process), inode_(std::move(inode)) {}

  Result<void> append(std::span<const std::byte> bytes) override {
    disk_.call_hook();
    const MutexLock lock(disk_.mutex_);
    bool dies = false;
    if (!disk_.begin(process_, dies)) return dead();
    std::size_t count = bytes.size();
    if (dies) count = count == 0 ? 0 : disk_.random_() % (count + 1);
    const std::uint64_t room = disk_.room_ - std::min(disk_.room_, disk_.used());
    const bool full = count > room;
    count = std::min<std::size_t>(count, room);
    inode_->bytes.append(reinterpret_cast<const char*>(bytes.data()), count);
    disk_.bytes_written_ += count;
    if (dies) return dead();
    if (full) return fail(ErrorCode::exhausted, "cannot write: No space left on device");
    return {};
  }
  Result<std::size_t> read(std::uint64_t at, std::span<std::byte> into) const override {
    const MutexLock lock(disk_.mutex_);
    if (process_ != disk_.process_ || disk_.dead_) return dead();
    if (at >= inode_->bytes.size()) return std::size_t{0};
    const std::size_t count = std::min<std::size_t>(into.size(), inode_->bytes.size() - at);
    std::memcpy(into.data(), inode_->bytes.data() + at, count);
    return count;
  }
  Result<std::uint64_t> size() const override {
    const MutexLock lock(disk_.mutex_);
    if (process_ != disk_.process_ || disk_.dead_) return dead();
    return inode_->bytes.size();
  }
  Result<void> truncate(std::uint64_t bytes) override {
    const MutexLock lock(disk_.mutex_);
    bool dies = false;
    if (!disk_.begin(process_, dies) || dies) return dead();
    inode_->bytes.resize(bytes);
    // As on a real disk, the cut itself is not durable yet; the shorter of both is a possible outcome, too.
    return {};
  }
  Result<void> sync() override {
    disk_.call_hook();
    const MutexLock lock(disk_.mutex_);
    bool dies = false;
    if (!disk_.begin(process_, dies) || dies) return dead();
    if (disk_.fail_syncs_) return fail(ErrorCode::io, "cannot sync: Input/output error");
    inode_->synced = inode_->bytes;
    return {};
  }

 private:
  SimulatedDisk& disk_;
  std::uint64_t process_;
  std::shared_ptr<SimulatedDisk::Inode> inode_;
};

class SimulatedFiles final : public store::Files {
 public:
  SimulatedFiles(SimulatedDisk& disk, std::uint64_t process) : disk_(disk), process_(process) {}

  std::string path() const override { return "/simulated"; }
  Result<void> open() override { return {}; }
  Result<std::vector<std::string>> list() const override { return disk_.names(); }

  Result<std::shared_ptr<store::File>> create(std::string_view name) override {
    const MutexLock lock(disk_.mutex_);
    bool dies = false;
    if (!disk_.begin(process_, dies) || dies) return dead();
    auto inode = std::make_shared<SimulatedDisk::Inode>();
    disk_.change_names([&](auto& names) { names.insert_or_assign(std::string(name), inode); });
    return std::make_shared<SimulatedFile>(disk_, process_, inode);
  }
  Result<std::shared_ptr<store::File>> open(std::string_view name) override {
    const MutexLock lock(disk_.mutex_);
    if (process_ != disk_.process_ || disk_.dead_) return dead();
    const auto found = disk_.names_.find(name);
    if (found == disk_.names_.end()) return fail(ErrorCode::not_found, "cannot open: no such file");
    return std::make_shared<SimulatedFile>(disk_, process_, found->second);
  }
  Result<void> rename(std::string_view from, std::string_view to) override {
    const MutexLock lock(disk_.mutex_);
    bool dies = false;
    if (!disk_.begin(process_, dies) || dies) return dead();
    if (!disk_.names_.contains(from)) return fail(ErrorCode::not_found, "cannot rename: no such file");
    disk_.change_names([&](auto& names) {
      auto inode = names.find(from)->second;
      names.erase(names.find(from));
      names.insert_or_assign(std::string(to), std::move(inode));
    });
    return {};
  }
  Result<void> remove(std::string_view name) override {
    const MutexLock lock(disk_.mutex_);
    bool dies = false;
    if (!disk_.begin(process_, dies) || dies) return dead();
    if (!disk_.names_.contains(name)) return fail(ErrorCode::not_found, "cannot remove: no such file");
    disk_.change_names([&](auto& names) { names.erase(names.find(name)); });
    return {};
  }
  Result<void> sync_names() override {
    disk_.call_hook();
    const MutexLock lock(disk_.mutex_);
    bool dies = false;
    if (!disk_.begin(process_, dies) || dies) return dead();
    if (disk_.fail_syncs_) return fail(ErrorCode::io, "cannot sync: Input/output error");
    disk_.unsynced_names_.clear();
    return {};
  }
  std::string boot() const override {
    const MutexLock lock(disk_.mutex_);
    return "boot-" + std::to_string(disk_.boot_);
  }

 private:
  SimulatedDisk& disk_;
  std::uint64_t process_;
};

std::unique_ptr<store::Files> SimulatedDisk::files() {
  const MutexLock lock(mutex_);
  dead_ = false;
  operations_left_ = ~std::uint64_t{0};
  return std::make_unique<SimulatedFiles>(*this, ++process_);
}

void SimulatedDisk::kill() {
  const MutexLock lock(mutex_);
  ++process_;
  dead_ = true;
}

void SimulatedDisk::power_loss() {
  const MutexLock lock(mutex_);
  ++process_;
  ++boot_;
  dead_ = true;
  if (!unsynced_names_.empty()) {
    const std::size_t kept = random_() % (unsynced_names_.size() + 1);
    if (kept < unsynced_names_.size()) names_ = unsynced_names_[kept];
    unsynced_names_.clear();
  }
  for (auto& [name, inode] : names_) {
    const std::string written = inode->bytes;
    std::string& left = inode->bytes;
    left = inode->synced;
    if (written.size() > left.size() && written.starts_with(left)) {
      // Sectors that were not synced: each is there, zero or absent, in any order.
      const std::size_t end = left.size() + random_() % (written.size() - left.size() + 1);
      const std::size_t synced = left.size();
      left.resize(end, '\0');
      for (std::size_t at = synced; at < end; at = (at / sector_bytes + 1) * sector_bytes) {
        const std::size_t stop = std::min(end, (at / sector_bytes + 1) * sector_bytes);
        if (random_() % 4 != 0) left.replace(at, stop - at, written, at, stop - at);
      }
    } else if (written != left && random_() % 2 == 0) {
      left = written;
    }
    inode->synced = left;
  }
}

void SimulatedDisk::clear() {
  const MutexLock lock(mutex_);
  names_.clear();
  unsynced_names_.clear();
  room_ = ~std::uint64_t{0};
  fail_syncs_ = false;
}

void SimulatedDisk::die_after(std::uint64_t operations) {
  const MutexLock lock(mutex_);
  operations_left_ = operations;
}
bool SimulatedDisk::is_dead() const {
  const MutexLock lock(mutex_);
  return dead_;
}
void SimulatedDisk::set_room(std::uint64_t bytes) {
  const MutexLock lock(mutex_);
  room_ = bytes;
}
void SimulatedDisk::fail_syncs(bool fail) {
  const MutexLock lock(mutex_);
  fail_syncs_ = fail;
}
void SimulatedDisk::set_hook(std::function<void()> hook) {
  const MutexLock lock(mutex_);
  hook_ = std::move(hook);
}
void SimulatedDisk::flip_bit(const std::string& name, std::uint64_t byte) {
  const MutexLock lock(mutex_);
  char& at = names_.at(name)->bytes.at(byte);
  at = static_cast<char>(static_cast<unsigned char>(at) ^ 0x10u);
}
void SimulatedDisk::cut(const std::string& name, std::uint64_t bytes) {
  const MutexLock lock(mutex_);
  names_.at(name)->bytes.resize(bytes);
}
void SimulatedDisk::remove(const std::string& name) {
  const MutexLock lock(mutex_);
  names_.erase(name);
}
std::vector<std::string> SimulatedDisk::names() const {
  const MutexLock lock(mutex_);
  std::vector<std::string> all;
  for (const auto& [name, inode] : names_) all.push_back(name);
  return all;
}
std::string SimulatedDisk::content(const std::string& name) const {
  const MutexLock lock(mutex_);
  return names_.at(name)->bytes;
}
void SimulatedDisk::set_content(const std::string& name, const std::string& bytes) {
  const MutexLock lock(mutex_);
  auto inode = std::make_shared<Inode>();
  inode->bytes = inode->synced = bytes;
  names_.insert_or_assign(name, std::move(inode));
}
std::uint64_t SimulatedDisk::bytes_written() const {
  const MutexLock lock(mutex_);
  return bytes_written_;
}

bool SimulatedDisk::begin(std::uint64_t process, bool& dies) {
  if (process != process_ || dead_) return false;
  if (operations_left_ == 0) {
    dies = true;
    dead_ = true;
  } else {
    --operations_left_;
  }
  return true;
}

std::uint64_t SimulatedDisk::used() const {
  std::uint64_t bytes = 0;
  for (const auto& [name, inode] : names_) bytes += inode->bytes.size();
  return bytes;
}

void SimulatedDisk::change_names(const std::function<void(Names&)>& change) {
  unsynced_names_.push_back(names_);
  change(names_);
}

void SimulatedDisk::call_hook() {
  std::function<void()> hook;
  {
    const MutexLock lock(mutex_);
    hook = hook_;
  }
  if (hook) hook();
}

}  // namespace backplane::broker::testing
