#include "fanout/catch_up.hpp"

namespace backplane::fanout {

CatchUp::~CatchUp() {
  if (!buffers_) return;
  context_.ledger.client_gone += buffers_->count();
  context_.ledger.pending -= buffers_->count();
}

/// Runs change(), which adds to the join buffers or takes from them, and keeps the ledger's `pending` right.
template <class Change>
auto CatchUp::change_buffers(Change&& change) {
  const std::uint64_t before = buffers_->count();
  auto result = change();
  context_.ledger.pending += buffers_->count() - before;  // the difference may be negative, modulo 2^64
  return result;
}

void CatchUp::begin(AudienceId audience) {
  if (!buffers_) buffers_ = std::make_unique<JoinBuffers>(context_.reader);
  buffers_->begin(audience);
}

std::vector<CatchUp::Ready> CatchUp::release(AudienceId audience, bool throttled, SkipPtr skip) {
  std::vector<Ready> ready;
  if (!is_buffering(audience)) return ready;
  ready = change_buffers(
      [&] { return buffers_->release(audience, throttled, skip.get(), context_.ledger.skipped); });
  if (skip && !context_.progress.has_passed(*skip)) {
    skips_.add(audience, std::move(skip));
  } else if (skip && !context_.progress.is_below_low_watermark(*skip)) {
    past_skips_.add(audience, std::move(skip));
  }
  tidy();
  return ready;
}

std::vector<CatchUp::Ready> CatchUp::leave(AudienceId audience) {
  std::vector<Ready> ready;
  if (buffers_) {
    ready = change_buffers([&] { return buffers_->discard(audience, context_.ledger.unsubscribed); });
  }
  skips_.drop(audience);
  past_skips_.drop(audience);
  std::erase(full_, audience);
  tidy();
  return ready;
}

std::vector<CatchUp::Ready> CatchUp::begin_run(const Segment& segment, std::uint32_t first) {
  if (!buffers_ || !buffers_->begin_run(segment, first)) return {};
  return discard_over_limit();
}

bool CatchUp::contains(const SkipList& skips, const Segment& segment, std::uint32_t index) const {
  return skips.has(segment, index, [&](AudienceId audience) {
    return context_.routes.contains(segment.route(index), audience);
  });
}

bool CatchUp::admit(Segment& segment, std::uint32_t index, AudienceId via, bool throttled) {
  if (contains(skips_, segment, index)) {
    ++context_.ledger.skipped;
    return false;
  }
  if (!buffers_ || !buffers_->waits(segment.topic(index))) return true;
  return change_buffers([&] {
    buffers_->add_behind(segment, index, via, throttled);
    return false;
  });
}

void CatchUp::buffer(AudienceId audience, Segment& segment, std::uint32_t first, std::uint32_t last,
                     bool claimed) {
  if (!buffers_) return;
  context_.ledger.matched +=
      change_buffers([&] { return buffers_->add(audience, segment, first, last, claimed); });
}

bool CatchUp::skips_late(const Segment& segment, std::uint32_t index) const {
  return contains(past_skips_, segment, index);
}

void CatchUp::discard_full(AudienceId audience, std::vector<Ready>& ready) {
  full_.push_back(audience);
  context_.join_buffers_full.add(1);
  const std::vector<Ready> more =
      change_buffers([&] { return buffers_->discard(audience, context_.ledger.join_buffer_full); });
  ready.insert(ready.end(), more.begin(), more.end());
}

std::vector<CatchUp::Ready> CatchUp::discard_over_limit() {
  std::vector<Ready> ready;
  while (buffers_ && buffers_->bytes() > context_.join_buffers_bytes_max && buffers_->has_buffers()) {
    discard_full(buffers_->largest(), ready);
  }
  tidy();
  return ready;
}

std::vector<CatchUp::Ready> CatchUp::discard_before(std::uint64_t position) {
  std::vector<Ready> ready;
  if (!buffers_) return ready;
  for (const AudienceId audience : buffers_->pinning_before(position)) discard_full(audience, ready);
  tidy();
  return ready;
}

void CatchUp::end_skips() {
  skips_.erase_if([this](const SkipList::Entry& each) {
    if (!context_.progress.has_passed(*each.skip)) return false;
    past_skips_.add(each);
    return true;
  });
  past_skips_.erase_if(
      [this](const SkipList::Entry& each) { return context_.progress.is_below_low_watermark(*each.skip); });
}

void CatchUp::tidy() noexcept {
  if (buffers_ && buffers_->empty()) buffers_.reset();
}

}  // namespace backplane::fanout
