#pragma once
// A broker with history, whose live events, replies and losses reach the hub at any pace.

#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/topic/pattern.hpp"
#include "gateway/hub/hub.hpp"
#include "tests/gateway/fake_reader.hpp"

namespace backplane::gateway {

/// Each method does one step. Events may be lost on the way to the hub and recovered later, before the next
/// event of their topic: then they come late, above the low watermark.
class BrokerModel {
 public:
  BrokerModel(Hub& hub, FakeReader& reader, NumberedEvents& events, std::mt19937& random, bool loses_events)
      : hub_(hub), reader_(reader), events_(events), random_(random), loses_events_(loses_events) {}

  std::size_t pick(std::size_t below) {
    return std::uniform_int_distribution<std::size_t>(0, below - 1)(random_);
  }
  [[nodiscard]] const std::deque<NumberedEvents::Event>& history() const { return history_; }

  void publish(const std::string& topic) {
    history_.push_back(events_.publish(topic, "x"));
    auto& lost = lost_[topic];
    if (loses_events_ && (!lost.empty() || pick(6) == 0)) return lost.push_back(&history_.back());
    live_.push_back({&history_.back(), 0, 0});
  }
  void recover(const std::string& topic) {
    for (const auto* event : std::exchange(lost_[topic], {})) live_.push_back({event, 0, 0});
  }
  /// Subscriptions so far will be confirmed, in order with the live events.
  void confirm_soon() {
    if (reader_.tickets == asked_ticket_) return;
    asked_ticket_ = reader_.tickets;
    live_.push_back({nullptr, asked_ticket_, events_.position()});
  }
  void arrive() {
    if (live_.empty()) return;
    const Live next = live_.front();
    live_.pop_front();
    if (next.event != nullptr) return hub_.on_event(next.event->delivery());
    reader_.live_position_now = {events_.stream(), next.position};
    hub_.on_live(next.ticket);
  }
  void find_low_watermark() {
    std::uint64_t first = events_.position() + 1;
    for (const Live& live : live_) {
      if (live.event != nullptr) first = std::min(first, live.event->stamp.position);
    }
    for (const auto& [topic, lost] : lost_) {
      if (!lost.empty()) first = std::min(first, lost.front()->stamp.position);
    }
    reader_.low_watermark_now = {events_.stream(), first - 1};
  }
  /// The broker handles all requests; its replies are on their way from then on.
  void handle_requests() {
    std::set<std::uint64_t> replays;
    for (const FakeReader::Replay& replay : reader_.replays) {
      replays.insert(replay.request);
      int& done = handled_[replay.request];
      if (done < replay.asked) replies_.push_back(slice_of(replay, done == 0));
      done = std::max(done, replay.asked);
    }
    for (; retained_ < reader_.requests;) {
      if (replays.contains(++retained_)) continue;
      Reply reply{retained_, false, {}, {}, events_.position()};
      std::map<std::string, const NumberedEvents::Event*> newest;
      for (const auto& event : history_) newest[event.topic] = &event;
      for (const auto& [topic, event] : newest) reply.events.push_back(event);
      replies_.push_back(std::move(reply));
    }
  }
  void reply() {
    if (replies_.empty()) return;
    const Reply reply = std::move(replies_.front());
    replies_.pop_front();
    for (const auto* event : reply.events) {
      if (reply.is_replay) {
        hub_.on_replayed(reply.request, event->delivery());
      } else {
        hub_.on_retained(reply.request, event->delivery());
      }
    }
    if (reply.is_replay) return hub_.on_replay_slice(reply.request, reply.slice);
    hub_.on_retained_end(reply.request, RetainedEnd{{{events_.stream(), reply.as_of}}, std::nullopt});
  }
  void settle() {
    for (auto& [topic, lost] : lost_) {
      for (const auto* event : std::exchange(lost, {})) live_.push_back({event, 0, 0});
    }
    confirm_soon();
    while (!live_.empty()) arrive();
    handle_requests();
    while (!replies_.empty()) reply();
    find_low_watermark();
  }

 private:
  /// Either an event on egress, or a live reply.
  struct Live {
    const NumberedEvents::Event* event{};
    std::uint64_t ticket{};
    std::uint64_t position{};
  };
  struct Reply {
    std::uint64_t request{};
    bool is_replay{};
    std::vector<const NumberedEvents::Event*> events;
    ReplaySlice slice;
    std::uint64_t as_of{};
  };

  Reply slice_of(const FakeReader::Replay& replay, bool first) {
    std::uint64_t& through = through_[replay.request];
    if (const auto* after = std::get_if<AfterPositions>(&replay.from); first && after != nullptr) {
      through = position_in(after->positions, events_.stream()).value_or(0);
    }
    Reply reply{replay.request, true, {}, {}, 0};
    const std::size_t most = 1 + pick(8);
    const auto pattern = Pattern::parse(replay.pattern);
    for (const auto& event : history_) {
      if (event.stamp.position <= through || !pattern->matches(event.topic)) continue;
      if (reply.events.size() == most) break;
      reply.events.push_back(&event);
    }
    reply.slice.complete = reply.events.size() < most;
    through = reply.slice.complete ? events_.position() : reply.events.back()->stamp.position;
    reply.slice.through = {{events_.stream(), through}};
    return reply;
  }

  Hub& hub_;
  FakeReader& reader_;
  NumberedEvents& events_;
  std::mt19937& random_;
  bool loses_events_;
  std::deque<NumberedEvents::Event> history_;
  std::deque<Live> live_;
  std::map<std::string, std::vector<const NumberedEvents::Event*>> lost_;
  std::deque<Reply> replies_;
  std::uint64_t asked_ticket_{};
  std::uint64_t retained_{};
  std::map<std::uint64_t, int> handled_;
  std::map<std::uint64_t, std::uint64_t> through_;
};

}  // namespace backplane::gateway
