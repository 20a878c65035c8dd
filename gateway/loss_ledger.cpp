#include "gateway/loss_ledger.hpp"

#include "gateway/notice.hpp"

namespace backplane::gateway {

void LossLedger::add(const EventLine& dropped) {
  std::vector<Range>& ranges = topics_[dropped.topic()];
  // A topic's events come in the order of their offsets; a hole between two belongs to somebody else.
  if (!ranges.empty() && ranges.back().stream == dropped.stream() &&
      ranges.back().last + 1 == dropped.offset()) {
    ranges.back().last = dropped.offset();
    return;
  }
  ranges.push_back({dropped.stream(), dropped.offset(), dropped.offset()});
  ++ranges_;
}

void LossLedger::report(Format format, std::string& out) {
  for (const auto& [topic, ranges] : topics_) {
    for (const Range& range : ranges) {
      append_notice(format,
                    {.kind = Notice::Kind::gap,
                     .topic = topic,
                     .stream = range.stream,
                     .first = range.first,
                     .last = range.last,
                     .reason = "slow_consumer"},
                    out);
    }
  }
  topics_.clear();
  ranges_ = 0;
}

}  // namespace backplane::gateway
