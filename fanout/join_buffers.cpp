#include "fanout/join_buffers.hpp"

#include <algorithm>
#include <utility>

namespace backplane::fanout {
namespace {

// The approximate memory of a node. It bounds the number of tiny messages as well.
constexpr std::size_t node_bytes = 64;

}  // namespace

JoinBuffers::~JoinBuffers() {
  for (const Node& node : nodes_) {
    if (node.segment != nullptr) reader_.unpin(*node.segment);
  }
}

std::size_t JoinBuffers::size_of(const Node& node) noexcept {
  return node.segment->size(node.index, node.index + 1);
}

bool JoinBuffers::begin_run(const Segment& segment, std::uint32_t first) {
  const std::uint64_t run = segment.base() + first;
  if (run == run_) return false;
  run_ = run;
  run_nodes_.clear();
  return true;
}

JoinBuffers::Index JoinBuffers::add_node(Segment& segment, std::uint32_t index) {
  Index at = static_cast<Index>(nodes_.size());
  if (free_.empty()) {
    nodes_.emplace_back();
  } else {
    at = free_.back();
    free_.pop_back();
  }
  nodes_[at] = {&segment, index, 0, none, AudienceId{}, State::buffered, false, true};
  reader_.pin(segment);
  bytes_ += size_of(nodes_[at]) + node_bytes;
  ++count_;
  const auto [chain, is_new] = chains_.try_emplace(segment.topic(index), Chain{at, at});
  if (!is_new) {
    nodes_[chain->second.tail].next = at;
    chain->second.tail = at;
  }
  return at;
}

void JoinBuffers::add_to(Buffer& buffer, Index node) {
  buffer.nodes.push_back(node);
  buffer.bytes += size_of(nodes_[node]) + node_bytes;
  ++nodes_[node].buffers;
}

void JoinBuffers::add_behind(Segment& segment, std::uint32_t index, AudienceId via, bool throttled) {
  const Index at = add_node(segment, index);
  nodes_[at].state = State::released;
  nodes_[at].via = via;
  nodes_[at].throttled = throttled;
  run_nodes_.push_back({index, at});
}

std::uint64_t JoinBuffers::add(AudienceId audience, Segment& segment, std::uint32_t first, std::uint32_t last,
                               bool claimed) {
  const auto found = buffers_.find(audience);
  if (found == buffers_.end()) return 0;  // discarded, because it was full
  Buffer& buffer = found->second;
  const bool known = claimed || !run_nodes_.empty();
  if (!known) {
    for (std::uint32_t i = first; i < last; ++i) run_nodes_.push_back({i, add_node(segment, i)});
  }
  for (const RunNode& each : run_nodes_) add_to(buffer, each.node);
  return known ? 0 : last - first;
}

void JoinBuffers::finish(Node& node) noexcept {
  bytes_ -= size_of(node);
  --count_;
  reader_.unpin(*std::exchange(node.segment, nullptr));
  node.state = State::done;
}

void JoinBuffers::free_if_unused(Index index) {
  const Node& node = nodes_[index];
  if (node.buffers > 0 || node.in_chain) return;
  bytes_ -= node_bytes;
  free_.push_back(index);
}

void JoinBuffers::collect_ready(TopicId topic, std::vector<Ready>& ready) {
  const auto found = chains_.find(topic);
  if (found == chains_.end()) return;
  Chain& chain = found->second;
  while (chain.head != none && nodes_[chain.head].state != State::buffered) {
    const Index at = chain.head;
    Node& node = nodes_[at];
    if (node.state == State::released) {
      ready.push_back({node.segment, node.index, node.via, node.throttled});
      reader_.pin(*node.segment);  // for the receiver
      finish(node);
    }
    chain.head = node.next;
    node.in_chain = false;
    free_if_unused(at);
  }
  if (chain.head == none) chains_.erase(found);
}

template <class Release>
std::vector<JoinBuffers::Ready> JoinBuffers::end(AudienceId audience, Release&& release) {
  std::vector<Ready> ready;
  const auto found = buffers_.find(audience);
  if (found == buffers_.end()) return ready;
  const Buffer buffer = std::move(found->second);
  buffers_.erase(found);
  run_nodes_.clear();
  std::vector<TopicId> topics;
  for (const Index at : buffer.nodes) {
    Node& node = nodes_[at];
    --node.buffers;
    if (node.state != State::done) {
      topics.push_back(node.segment->topic(node.index));
      release(node);
    }
    free_if_unused(at);
  }
  for (const TopicId topic : topics) collect_ready(topic, ready);
  std::sort(ready.begin(), ready.end(),
            [](const Ready& a, const Ready& b) { return a.number() < b.number(); });
  return ready;
}

std::vector<JoinBuffers::Ready> JoinBuffers::release(AudienceId audience, bool throttled, const Skip* skip,
                                                     std::uint64_t& skipped) {
  return end(audience, [&](Node& node) {
    const StreamId stream = node.segment->stream(node.index);
    const std::uint64_t position = node.segment->position(node.index);
    if (skip != nullptr && (skip->has_topic(node.segment->topic(node.index), stream, position) ||
                            skip->has_stream(stream, position))) {
      ++skipped;
      finish(node);
    } else if (node.state == State::buffered || (node.throttled && !throttled)) {
      node.state = State::released;
      node.via = audience;
      node.throttled = throttled;
    }
  });
}

std::vector<JoinBuffers::Ready> JoinBuffers::discard(AudienceId audience, std::uint64_t& discarded) {
  return end(audience, [&](Node& node) {
    if (node.state != State::buffered || node.buffers > 0) return;
    ++discarded;
    finish(node);
  });
}

AudienceId JoinBuffers::largest() const noexcept {
  AudienceId largest{};
  std::size_t most = 0;
  for (const auto& [audience, buffer] : buffers_) {
    if (buffer.bytes < most) continue;
    most = buffer.bytes;
    largest = audience;
  }
  return largest;
}

std::vector<AudienceId> JoinBuffers::pinning_before(std::uint64_t position) const {
  std::vector<AudienceId> found;
  for (const auto& [audience, buffer] : buffers_) {
    const auto waits = std::find_if(buffer.nodes.begin(), buffer.nodes.end(),
                                    [this](Index at) { return nodes_[at].segment != nullptr; });
    if (waits == buffer.nodes.end()) continue;
    if (nodes_[*waits].segment->base() + nodes_[*waits].index < position) found.push_back(audience);
  }
  return found;
}

}  // namespace backplane::fanout
