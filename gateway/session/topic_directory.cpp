#include "gateway/session/topic_directory.hpp"

#include <utility>

namespace backplane::gateway {

fanout::TopicId TopicDirectory::add(Entry entry) {
  // Ids are reused after 2^32; those still known are skipped.
  while (true) {
    const fanout::TopicId id{++last_};
    if (entries_.contains(id)) continue;
    entries_.emplace(id, std::move(entry));
    return id;
  }
}

fanout::TopicId TopicDirectory::add_topic(Name name, std::uint64_t stream) {
  const MutexLock lock(mutex_);
  return add(Topic{std::move(name), stream});
}

fanout::TopicId TopicDirectory::add_notice(Notice notice) {
  auto kept = std::make_unique<const Notice>(std::move(notice));
  const MutexLock lock(mutex_);
  const fanout::TopicId id = add(std::move(kept));
  retire_locked(id);
  return id;
}

void TopicDirectory::retire(fanout::TopicId id) {
  const MutexLock lock(mutex_);
  retire_locked(id);
}

void TopicDirectory::retire_locked(fanout::TopicId id) {
  retired_.push_back(id);
  if (retired_.size() <= retired_max_) return;
  entries_.erase(retired_.front());
  retired_.pop_front();
}

void TopicDirectory::report(Format format, std::span<const fanout::Loss> losses, std::string& out,
                            const std::function<bool(std::string_view topic)>& wanted) const {
  bool unknown = false;
  const MutexLock lock(mutex_);
  for (const fanout::Loss& loss : losses) {
    const auto found = entries_.find(loss.topic);
    if (found == entries_.end()) {
      unknown = true;
    } else if (const auto* notice = std::get_if<std::unique_ptr<const Notice>>(&found->second)) {
      if (wanted && !wanted((*notice)->topic)) continue;
      append_notice(format, **notice, out);
    } else {
      const Topic& topic = std::get<Topic>(found->second);
      if (wanted && !wanted(*topic.name)) continue;
      append_notice(format,
                    {.kind = Notice::Kind::gap,
                     .topic = *topic.name,
                     .stream = topic.stream,
                     .first = loss.first,
                     .last = loss.last,
                     .reason = "slow_consumer"},
                    out);
    }
  }
  if (unknown && (!wanted || wanted(">"))) {
    append_notice(format, {.kind = Notice::Kind::gap, .topic = ">", .reason = "slow_consumer"}, out);
  }
}

}  // namespace backplane::gateway
