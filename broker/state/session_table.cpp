#include "broker/state/session_table.hpp"

#include <algorithm>
#include <deque>
#include <functional>
#include <string>

#include <boost/unordered/unordered_flat_set.hpp>

namespace backplane::broker {
namespace {

struct Key {
  std::string_view source;
  std::uint64_t session;
};

struct Slot {
  std::string source;
  std::uint64_t session{};
  SessionEntry entry;
  Slot* earlier{};  // used before this one
  Slot* later{};
  [[nodiscard]] Key key() const noexcept { return {source, session}; }
};

// Not StringHash: a key is a source and a session.
struct Hash {
  using is_transparent = void;
  std::size_t operator()(const Key& key) const {
    return std::hash<std::string_view>{}(key.source) ^ (key.session * 0x9e3779b97f4a7c15u);
  }
  std::size_t operator()(const Slot* slot) const { return (*this)(slot->key()); }
};

struct Equal {
  using is_transparent = void;
  static bool same(const Key& a, const Key& b) { return a.session == b.session && a.source == b.source; }
  bool operator()(const Slot* a, const Slot* b) const { return a == b; }
  bool operator()(const Key& a, const Slot* b) const { return same(a, b->key()); }
  bool operator()(const Slot* a, const Key& b) const { return same(a->key(), b); }
};

// A source name may be as long as an event, so their bytes are limited too: to this many per session on
// average.
constexpr std::size_t source_bytes_average_max = 256;
// A slot with a longer source name frees it before it is reused.
constexpr std::size_t source_capacity_kept = 64;

}  // namespace

class SessionTable::Impl {
 public:
  explicit Impl(std::size_t sessions_max)
      : sessions_max_(std::max<std::size_t>(sessions_max, 1)),
        source_bytes_max_(sessions_max_ * source_bytes_average_max) {}

  const Slot* find(const Key& key) const {
    const auto found = index_.find(key);
    return found == index_.end() ? nullptr : *found;
  }

  SessionEntry& use(const Key& key, bool& is_new) {
    // Events of one publisher come in runs.
    if (latest_ != nullptr && Equal::same(key, latest_->key())) {
      is_new = false;
      return latest_->entry;
    }
    const auto found = index_.find(key);
    is_new = found == index_.end();
    Slot& slot = is_new ? add(key) : **found;
    if (latest_ != &slot) {
      if (!is_new) unlink(slot);
      link_latest(slot);
    }
    return slot.entry;
  }

  void evict_first() {
    if (latest_ == nullptr || latest_ == earliest_) return;
    Slot& slot = *latest_;
    unlink(slot);
    slot.earlier = nullptr;
    slot.later = earliest_;
    earliest_->earlier = &slot;
    earliest_ = &slot;
  }

  void visit(const See& see) const {
    for (const Slot* slot = earliest_; slot != nullptr; slot = slot->later) {
      see(slot->source, slot->session, slot->entry);
    }
  }

  std::size_t size() const noexcept { return index_.size(); }
  std::uint64_t evicted() const noexcept { return evicted_; }

 private:
  Slot& add(const Key& key) {
    while (!index_.empty() &&
           (index_.size() >= sessions_max_ || source_bytes_ + key.source.size() > source_bytes_max_)) {
      evict_least_recent();
    }
    if (free_ == nullptr) free_ = &slots_.emplace_back();
    Slot& slot = *free_;
    free_ = slot.later;
    slot.source.assign(key.source);
    slot.session = key.session;
    slot.entry = {};
    slot.earlier = slot.later = nullptr;
    source_bytes_ += key.source.size();
    index_.insert(&slot);
    return slot;
  }

  void evict_least_recent() {
    Slot& slot = *earliest_;
    index_.erase(&slot);
    unlink(slot);
    source_bytes_ -= slot.source.size();
    if (slot.source.capacity() > source_capacity_kept) slot.source = std::string();
    slot.later = free_;
    free_ = &slot;
    ++evicted_;
  }

  void unlink(Slot& slot) {
    (slot.earlier == nullptr ? earliest_ : slot.earlier->later) = slot.later;
    (slot.later == nullptr ? latest_ : slot.later->earlier) = slot.earlier;
  }

  void link_latest(Slot& slot) {
    slot.earlier = latest_;
    slot.later = nullptr;
    (latest_ == nullptr ? earliest_ : latest_->later) = &slot;
    latest_ = &slot;
  }

  std::size_t sessions_max_;
  std::size_t source_bytes_max_;
  std::size_t source_bytes_{0};
  std::deque<Slot> slots_;
  Slot* free_{nullptr};  // linked by `later`
  Slot* earliest_{nullptr};
  Slot* latest_{nullptr};
  boost::unordered_flat_set<Slot*, Hash, Equal> index_;
  std::uint64_t evicted_{0};
};

SessionTable::SessionTable(std::size_t sessions_max) : impl_(std::make_unique<Impl>(sessions_max)) {}
SessionTable::~SessionTable() = default;

SessionEntry& SessionTable::use(std::string_view source, std::uint64_t session, bool& is_new) {
  return impl_->use({source, session}, is_new);
}

void SessionTable::evict_first() {
  impl_->evict_first();
}

const SessionEntry* SessionTable::find(std::string_view source, std::uint64_t session) const {
  const Slot* const slot = impl_->find({source, session});
  return slot == nullptr ? nullptr : &slot->entry;
}

void SessionTable::visit(const See& see) const {
  impl_->visit(see);
}

std::size_t SessionTable::size() const noexcept {
  return impl_->size();
}
std::uint64_t SessionTable::evicted() const noexcept {
  return impl_->evicted();
}

}  // namespace backplane::broker
