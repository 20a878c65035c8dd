#pragma once
// The subscriptions of a client, with a broker that the test plays.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "clients/lib/subscriptions.hpp"
#include "tests/follower/fake_broker.hpp"

namespace backplane::testing {

using namespace std::chrono_literals;
using client::ItemQueue;
using client::Subscriptions;

inline constexpr std::uint64_t first_incarnation = 0x0000'0007'0000'0001;
inline constexpr std::uint64_t second_incarnation = 0x0000'0007'0000'0002;
inline constexpr std::uint64_t other_broker_stream = 0x0000'0009'0000'0001;

/// A reader with the broker's history in memory. The test decides when its replies come.
class FakeReader final : public BrokerReader {
 public:
  struct Entry {
    std::string topic;
    std::string event;
    wire::Stamp stamp;
  };
  struct Request {
    std::string pattern;
    std::optional<ReplayFrom> from;  // none: retained values
    std::uint64_t through{};
    bool slice_due{true};  // the next slice has been requested
  };

  std::uint64_t subscribe(std::string_view prefix) override {
    prefixes.insert(std::string(prefix));
    return ++tickets;
  }
  void unsubscribe(std::string_view prefix) override { prefixes.erase(prefixes.find(std::string(prefix))); }
  std::uint64_t retained(std::string_view pattern) override {
    requests.emplace(++last_request, Request{std::string(pattern), std::nullopt});
    return last_request;
  }
  std::uint64_t replay(std::string_view pattern, const ReplayFrom& from) override {
    std::uint64_t after = 0;
    if (const auto* positions = std::get_if<AfterPositions>(&from))
      after = positions->positions.front().position;
    requests.emplace(++last_request, Request{std::string(pattern), from, after});
    return last_request;
  }
  void replay_more(std::uint64_t request) override { requests.at(request).slice_due = true; }
  void cancel(std::uint64_t request) override { requests.erase(request); }
  [[nodiscard]] StreamPositions live_positions() const override {
    return {live_position_now.value_or(StreamPosition{stream, position})};
  }
  void topics(std::string_view, std::string_view, std::function<void(Result<TopicsPage>)>) override {}
  void types(const std::vector<std::string>&, std::function<void(Result<TypesReply>)>) override {}
  [[nodiscard]] bool is_recovering() const override { return false; }
  [[nodiscard]] StreamPositions low_watermarks() const override { return {}; }
  [[nodiscard]] bool may_arrive(std::string_view, const wire::Stamp&) const override { return false; }
  [[nodiscard]] std::size_t broker() const override { return 0; }

  /// Stores an event as a broker does. The test decides whether it reaches the subscriptions.
  const Entry& publish(const std::string& topic) {
    auto& [offset, previous] = tails[topic];
    const wire::Stamp stamp{stream, ++position, ++offset, previous, 1};
    previous = position;
    history.push_back({topic, stamped_event(fmt::format("{}", stamp.offset), stamp), stamp});
    return history.back();
  }

  std::uint64_t stream = first_incarnation;
  std::optional<StreamPosition> live_position_now;  // of a live reply that arrives later than it was sent
  std::uint64_t position{};
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> tails;
  std::deque<Entry> history;
  std::multiset<std::string> prefixes;
  std::map<std::uint64_t, Request> requests;
  std::uint64_t tickets{};
  std::uint64_t last_request{};
};

class SubscriptionsTest : public ::testing::Test {
 protected:
  SubscriptionsTest() { make(1 << 20); }
  void make(std::size_t join_bytes_max) {
    queue = {};
    subscriptions.emplace(queue, join_bytes_max);
    subscriptions->attach(broker);
    now = Subscriptions::Clock::time_point{} + 1h;
    subscriptions->tick(now);
  }

  Client::Subscription subscribe(const std::string& pattern, const SubscribeOptions& options = {}) {
    return subscriptions->subscribe({pattern}, options);
  }
  void live() { subscriptions->on_live(broker.tickets); }
  void arrive(const FakeReader::Entry& entry) {
    subscriptions->on_event(Delivery{entry.topic, std::as_bytes(std::span(entry.event)), entry.stamp});
  }
  void publish(const std::string& topic) { arrive(broker.publish(topic)); }

  /// Replies to a request for history with at most `events_max` events. @returns whether it is complete.
  bool reply(std::uint64_t request, std::size_t events_max = 1000) {
    FakeReader::Request& pending = broker.requests.at(request);
    pending.slice_due = false;
    const auto pattern = Pattern::parse(pending.pattern);
    if (!pending.from) {
      std::map<std::string, const FakeReader::Entry*> values;
      for (const auto& entry : broker.history) {
        if (pattern->matches(entry.topic)) values[entry.topic] = &entry;
      }
      RetainedEnd end;
      end.as_of = {{broker.stream, broker.position}};
      broker.requests.erase(request);
      for (const auto& [topic, entry] : values) subscriptions->on_retained(request, delivery(*entry));
      subscriptions->on_retained_end(request, end);
      return true;
    }
    ReplaySlice slice;
    slice.complete = true;
    slice.through = {{broker.stream, broker.position}};
    std::size_t delivered = 0;
    for (std::size_t i = 0; i < broker.history.size(); ++i) {
      const auto entry = broker.history[i];
      if (entry.stamp.position <= pending.through || !pattern->matches(entry.topic)) continue;
      if (delivered++ == events_max) {
        slice.complete = false;
        slice.through.front().position = pending.through;
        break;
      }
      pending.through = entry.stamp.position;
      subscriptions->on_replayed(request, delivery(entry));
    }
    pending.through = slice.through.front().position;
    subscriptions->on_replay_slice(request, slice);
    return slice.complete;
  }
  static Delivery delivery(const FakeReader::Entry& entry) {
    return Delivery{entry.topic, std::as_bytes(std::span(entry.event)), entry.stamp};
  }

  /// Takes all records, a line each.
  std::vector<std::string> take() {
    std::vector<std::string> lines;
    while (const ItemQueue::Record* record = queue.pop()) {
      if (record->subscription != nullptr && record->subscription->ended) continue;
      subscriptions->on_delivered(*record);
      if (record->notice == ItemQueue::no_notice) {
        lines.push_back(fmt::format("{} {}{}", record->bytes.topic, text_of(record->bytes.event),
                                    record->from_history ? " (history)" : ""));
        continue;
      }
      std::visit([&](const auto& notice) { add(lines, notice); }, queue.notice(*record));
    }
    subscriptions->tick(now);
    return lines;
  }
  static void add(std::vector<std::string>& lines, const Client::Gap& gap) {
    lines.push_back(fmt::format("gap {} {} {} {}", gap.topic, gap.first, gap.last, name(gap.reason)));
  }
  static void add(std::vector<std::string>& lines, const ItemQueue::Restarted&) {
    lines.emplace_back("reset");
  }
  static void add(std::vector<std::string>& lines, const Client::Subscribed& what) {
    lines.push_back(fmt::format("subscribed {}", static_cast<std::uint64_t>(what.subscription)));
  }
  static void add(std::vector<std::string>& lines, const Client::Refused& what) {
    lines.push_back("refused " + what.text);
  }
  static void add(std::vector<std::string>& lines, const Client::Broker& change) {
    lines.emplace_back(change.up ? "up" : "down");
  }
  static void add(std::vector<std::string>&, const ItemQueue::Joined&) {}

  [[nodiscard]] std::string token() const { return resume_token(subscriptions->read_positions()); }

  FakeReader broker;
  ItemQueue queue;
  std::optional<Subscriptions> subscriptions;
  Subscriptions::Clock::time_point now;
};

}  // namespace backplane::testing
