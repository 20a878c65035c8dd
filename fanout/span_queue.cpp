#include "fanout/span_queue.hpp"

#include <utility>

namespace backplane::fanout {

std::unique_ptr<SpanPool::Chunk> SpanPool::take() {
  if (!spare_) return std::make_unique<Chunk>();
  auto chunk = std::move(spare_);
  spare_ = std::move(chunk->next);
  --spare_count_;
  return chunk;
}

void SpanPool::give_back(std::unique_ptr<Chunk> chunk) noexcept {
  if (spare_count_ >= spare_max) return;
  chunk->next = std::move(spare_);
  spare_ = std::move(chunk);
  ++spare_count_;
}

void SpanQueue::store_newest() {
  if (!head_) {
    head_ = pool_->take();
    tail_ = head_.get();
    begin_ = end_ = 0;
  } else if (end_ == tail_->spans.size()) {
    tail_->next = pool_->take();
    tail_ = tail_->next.get();
    end_ = 0;
  }
  tail_->spans[end_++] = newest_;
}

void SpanQueue::pop_stored() noexcept {
  ++begin_;
  const bool last_chunk = head_.get() == tail_;
  if (begin_ < (last_chunk ? end_ : head_->spans.size())) return;
  auto done = std::move(head_);
  head_ = std::move(done->next);
  if (last_chunk) tail_ = nullptr;
  begin_ = 0;
  pool_->give_back(std::move(done));
}

void SpanQueue::pop(std::uint32_t count) noexcept {
  Span& span = head_ ? head_->spans[begin_] : newest_;
  span.first += count;
  if (!span.empty()) return;
  Segment& segment = *span.segment;
  if (head_) {
    pop_stored();
  } else {
    newest_ = {};
  }
  reader_->unpin(segment);
}

void SpanQueue::clear() noexcept {
  while (!empty()) pop(front().last - front().first);
}

void SpanQueue::swap(SpanQueue& other) noexcept {
  std::swap(newest_, other.newest_);
  std::swap(head_, other.head_);
  std::swap(tail_, other.tail_);
  std::swap(begin_, other.begin_);
  std::swap(end_, other.end_);
}

}  // namespace backplane::fanout
