#pragma once
// The messages of the log that are queued for one client.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "fanout/log/log.hpp"

namespace backplane::fanout {

/// Messages [first, last) of a segment.
struct Span {
  Segment* segment{};
  std::uint32_t first{};
  std::uint32_t last{};
  [[nodiscard]] bool empty() const noexcept { return first == last; }
};

/// The memory of all queues of one worker. Lives on the worker's thread.
class SpanPool {
 public:
  struct Chunk {
    std::array<Span, 15> spans;
    std::unique_ptr<Chunk> next;
  };

  [[nodiscard]] std::unique_ptr<Chunk> take();
  void give_back(std::unique_ptr<Chunk> chunk) noexcept;

 private:
  static constexpr std::size_t spare_max = 16'384;  // 4 MiB
  std::unique_ptr<Chunk> spare_;
  std::size_t spare_count_{};
};

/// A queue of spans. Adjacent ones are joined. Each span pins its segment once. Lives on its worker's thread.
/// Uses memory of the pool only if it has at least two spans.
class SpanQueue {
 public:
  /// Both outlive it.
  SpanQueue(LogReader& reader, SpanPool& pool) noexcept : reader_(&reader), pool_(&pool) {}
  ~SpanQueue() { clear(); }
  SpanQueue(const SpanQueue&) = delete;
  SpanQueue& operator=(const SpanQueue&) = delete;

  /// Appends messages [first, last) of `segment`, at least one.
  void push(Segment& segment, std::uint32_t first, std::uint32_t last) {
    if (newest_.segment == &segment && newest_.last == first && !newest_.empty()) {
      newest_.last = last;
      return;
    }
    if (!newest_.empty()) store_newest();
    reader_->pin(segment);
    newest_ = {&segment, first, last};
  }

  [[nodiscard]] LogReader& reader() const noexcept { return *reader_; }
  [[nodiscard]] SpanPool& pool() const noexcept { return *pool_; }
  [[nodiscard]] bool empty() const noexcept { return newest_.empty(); }
  /// The oldest span. Only if not empty().
  [[nodiscard]] const Span& front() const noexcept { return head_ ? head_->spans[begin_] : newest_; }
  /// Removes the first `count` messages of the oldest span, at most all of them.
  void pop(std::uint32_t count) noexcept;
  void clear() noexcept;
  void swap(SpanQueue& other) noexcept;

  /// Calls visit(span), oldest first, until it returns false.
  template <class Visit>
  void for_each(Visit&& visit) const {
    std::size_t at = begin_;
    for (const SpanPool::Chunk* chunk = head_.get(); chunk != nullptr; chunk = chunk->next.get(), at = 0) {
      const std::size_t end = chunk->next ? chunk->spans.size() : end_;
      for (; at < end; ++at) {
        if (!visit(chunk->spans[at])) return;
      }
    }
    if (!newest_.empty()) visit(newest_);
  }

 private:
  void store_newest();
  void pop_stored() noexcept;

  LogReader* reader_;
  SpanPool* pool_;
  Span newest_;
  // All older spans, in chunks. All chunks except the first and the last are full.
  std::unique_ptr<SpanPool::Chunk> head_;
  SpanPool::Chunk* tail_{};
  std::uint32_t begin_{};
  std::uint32_t end_{};
};

}  // namespace backplane::fanout
