// The subscriptions of a client against a model of what they must deliver.
#include <random>

#include <gmock/gmock.h>

#include "tests/clients/subscriptions_fixture.hpp"

namespace backplane::testing {
namespace {

using ::testing::IsEmpty;

/// A broker whose egress and control are each in order, but not relative to each other.
class SubscriptionsModelTest : public SubscriptionsTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  struct LiveReply {
    std::uint64_t ticket{};
    std::uint64_t position{};
  };
  struct Reply {
    std::uint64_t request{};
    std::vector<FakeReader::Entry> events;
    ReplaySlice slice;
  };
  struct Reader {
    Pattern pattern;
    std::map<std::string, std::uint64_t> next;  // next offset of each topic
  };

  std::size_t pick(std::size_t count) {
    return std::uniform_int_distribution<std::size_t>(0, count - 1)(random);
  }

  void publish_one() { egress.emplace_back(broker.publish(topics[pick(topics.size())])); }

  void subscribe_one() {
    const auto pattern = Pattern::parse(patterns[pick(patterns.size())]);
    SubscribeOptions options;
    std::uint64_t after = broker.position;  // nothing arrives before the live reply
    if (pick(2) == 0) {
      after = pick(broker.position + 1);
      options.since_token = resume_token({{first_incarnation, after}});
    }
    const auto id = static_cast<std::uint64_t>(subscriptions->subscribe({pattern->str()}, options));
    Reader reader{*pattern, {}};
    for (const std::string& topic : topics) reader.next[topic] = 1;
    for (const auto& entry : broker.history) {
      if (entry.stamp.position <= after) reader.next[entry.topic] = entry.stamp.offset + 1;
    }
    readers.emplace(id, std::move(reader));
    egress.emplace_back(LiveReply{broker.tickets, broker.position});
  }

  void arrive_one() {
    if (egress.empty()) return;
    auto what = std::move(egress.front());
    egress.pop_front();
    if (const auto* entry = std::get_if<FakeReader::Entry>(&what)) return arrive(*entry);
    broker.live_position_now = {first_incarnation, std::get<LiveReply>(what).position};
    subscriptions->on_live(std::get<LiveReply>(what).ticket);
  }

  void make_reply() {
    for (auto& [request, pending] : broker.requests) {
      if (!pending.slice_due) continue;
      pending.slice_due = false;
      Reply reply{request, {}, ReplaySlice{true, {{first_incarnation, broker.position}}, {}, {}, {}}};
      const auto pattern = Pattern::parse(pending.pattern);
      for (const auto& entry : broker.history) {
        if (entry.stamp.position <= pending.through || !pattern->matches(entry.topic)) continue;
        if (reply.events.size() == 4) {
          reply.slice.complete = false;
          reply.slice.through.front().position = reply.events.back().stamp.position;
          break;
        }
        reply.events.push_back(entry);
      }
      pending.through = reply.slice.through.front().position;
      control.push_back(std::move(reply));
      return;
    }
  }

  void deliver_reply() {
    if (control.empty()) return;
    const Reply reply = std::move(control.front());
    control.pop_front();
    for (const auto& entry : reply.events) subscriptions->on_replayed(reply.request, delivery(entry));
    subscriptions->on_replay_slice(reply.request, reply.slice);
  }

  void take_some(std::size_t count) {
    for (; count > 0; --count) {
      const ItemQueue::Record* const record = queue.pop();
      if (record == nullptr) break;
      subscriptions->on_delivered(*record);
      if (record->notice != ItemQueue::no_notice) {
        ASSERT_FALSE(std::holds_alternative<Client::Gap>(queue.notice(*record)));
        continue;
      }
      Reader& reader = readers.at(static_cast<std::uint64_t>(record->subscription->group->id));
      const std::string topic(record->bytes.topic);
      ASSERT_TRUE(reader.pattern.matches(topic));
      ASSERT_EQ(record->stamp.offset, reader.next[topic]++) << topic;
      check_token(*record);
    }
    subscriptions->tick(now);
  }

  /// A reader that continues from the token gets everything that was not delivered yet.
  void check_token(const ItemQueue::Record& record) {
    if (readers.size() > 1) return;
    const auto positions = subscriptions->read_positions();
    ASSERT_EQ(positions.size(), 1u);
    EXPECT_EQ(positions.front().position, record.stamp.position);
  }

  std::mt19937 random{GetParam()};
  const std::vector<std::string> topics{"a", "b", "c.1", "c.2", "c.2.x"};
  const std::vector<std::string> patterns{"a", "b", "c.*", "c.>", "*", "c.2", ">"};
  std::map<std::uint64_t, Reader> readers;
  std::deque<std::variant<FakeReader::Entry, LiveReply>> egress;
  std::deque<Reply> control;
};

TEST_P(SubscriptionsModelTest, EverySubscriptionGetsExactlyTheEventsAfterItsStartInOrder) {
  make(pick(2) == 0 ? 150 : 1 << 20);
  const std::size_t readers_max = 1 + pick(5);
  for (int step = 0; step < 1500; ++step) {
    switch (pick(8)) {
      case 0:
      case 1:
        publish_one();
        break;
      case 2:
      case 3:
        arrive_one();
        break;
      case 4:
        make_reply();
        break;
      case 5:
        deliver_reply();
        break;
      case 6:
        take_some(pick(6));
        break;
      default:
        if (readers.size() < readers_max && pick(20) == 0) subscribe_one();
    }
    if (HasFatalFailure()) FAIL() << "at step " << step;
  }
  for (int i = 0; i < 3000; ++i) {
    arrive_one();
    make_reply();
    deliver_reply();
    take_some(100);
    if (HasFatalFailure()) FAIL() << "at the end";
  }
  EXPECT_THAT(broker.requests, IsEmpty());
  for (const auto& [id, reader] : readers) {
    for (const auto& [topic, next] : reader.next) {
      if (!reader.pattern.matches(topic)) continue;
      EXPECT_EQ(next, broker.tails[topic].first + 1) << id << " " << topic;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SubscriptionsModelTest, ::testing::Range(1u, 60u));

}  // namespace
}  // namespace backplane::testing
