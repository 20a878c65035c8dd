// The feeds of a client against a model of what they are to give.
#include <random>

#include <gmock/gmock.h>

#include "tests/clients/subscriptions_fixture.hpp"

namespace backplane::testing {
namespace {

using ::testing::IsEmpty;

/// A broker whose egress and control are each in order, but not with each other.
class FeedsAgainstAModel : public FeedsOfAClient, public ::testing::WithParamInterface<unsigned> {
 protected:
  struct Proof {
    std::uint64_t ticket{};
    std::uint64_t position{};
  };
  struct Reply {
    std::uint64_t request{};
    std::vector<History::Entry> events;
    ReplaySlice slice;
  };
  struct Reader {
    Pattern pattern;
    std::map<std::string, std::uint64_t> next;  // offset, of each topic
  };

  std::size_t pick(std::size_t count) {
    return std::uniform_int_distribution<std::size_t>(0, count - 1)(random);
  }

  void publish_one() { egress.emplace_back(source.publish(topics[pick(topics.size())])); }

  void subscribe_one() {
    const auto pattern = Pattern::parse(patterns[pick(patterns.size())]);
    SubscribeOptions options;
    std::uint64_t after = source.position;  // nothing arrives before the proof
    if (pick(2) == 0) {
      after = pick(source.position + 1);
      options.since_token = resume_token({{first_life, after}});
    }
    const auto id = static_cast<std::uint64_t>(feeds->subscribe({pattern->str()}, options));
    Reader reader{*pattern, {}};
    for (const std::string& topic : topics) reader.next[topic] = 1;
    for (const auto& entry : source.history) {
      if (entry.stamp.position <= after) reader.next[entry.topic] = entry.stamp.offset + 1;
    }
    readers.emplace(id, std::move(reader));
    egress.emplace_back(Proof{source.tickets, source.position});
  }

  void arrive_one() {
    if (egress.empty()) return;
    auto what = std::move(egress.front());
    egress.pop_front();
    if (const auto* entry = std::get_if<History::Entry>(&what)) return arrive(*entry);
    source.live_position_now = {first_life, std::get<Proof>(what).position};
    feeds->on_live(std::get<Proof>(what).ticket);
  }

  void broker_answers() {
    for (auto& [request, asked] : source.asked) {
      if (!asked.wanted) continue;
      asked.wanted = false;
      Reply reply{request, {}, ReplaySlice{true, first_life, source.position, {}, {}, {}}};
      const auto pattern = Pattern::parse(asked.pattern);
      for (const auto& entry : source.history) {
        if (entry.stamp.position <= asked.through || !pattern->matches(entry.topic)) continue;
        if (reply.events.size() == 4) {
          reply.slice.complete = false;
          reply.slice.through_position = reply.events.back().stamp.position;
          break;
        }
        reply.events.push_back(entry);
      }
      asked.through = reply.slice.through_position;
      control.push_back(std::move(reply));
      return;
    }
  }

  void reply_one() {
    if (control.empty()) return;
    const Reply reply = std::move(control.front());
    control.pop_front();
    for (const auto& entry : reply.events) feeds->on_replayed(reply.request, delivery(entry));
    feeds->on_replay_slice(reply.request, reply.slice);
  }

  void take_some(std::size_t count) {
    for (; count > 0; --count) {
      const ItemQueue::Record* const record = queue.pop();
      if (record == nullptr) break;
      feeds->given(*record);
      if (record->notice != ItemQueue::no_notice) {
        ASSERT_FALSE(std::holds_alternative<Client::Gap>(queue.notice(*record)));
        continue;
      }
      Reader& reader = readers.at(static_cast<std::uint64_t>(record->feed->group->id));
      const std::string topic(record->bytes.topic);
      ASSERT_TRUE(reader.pattern.matches(topic));
      ASSERT_EQ(record->stamp.offset, reader.next[topic]++) << topic;
      check_token(*record);
    }
    feeds->tick(now);
  }

  /// Whoever goes on from the token gets all that this reader has not had yet.
  void check_token(const ItemQueue::Record& record) {
    if (readers.size() > 1) return;
    const auto places = feeds->places();
    ASSERT_EQ(places.size(), 1u);
    EXPECT_EQ(places.front().position, record.stamp.position);
  }

  std::mt19937 random{GetParam()};
  const std::vector<std::string> topics{"a", "b", "c.1", "c.2", "c.2.x"};
  const std::vector<std::string> patterns{"a", "b", "c.*", "c.>", "*", "c.2", ">"};
  std::map<std::uint64_t, Reader> readers;
  std::deque<std::variant<History::Entry, Proof>> egress;
  std::deque<Reply> control;
};

TEST_P(FeedsAgainstAModel, EverySubscriptionHasExactlyWhatCameBehindItsStartInOrder) {
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
        broker_answers();
        break;
      case 5:
        reply_one();
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
    broker_answers();
    reply_one();
    take_some(100);
    if (HasFatalFailure()) FAIL() << "at the end";
  }
  EXPECT_THAT(source.asked, IsEmpty());
  for (const auto& [id, reader] : readers) {
    for (const auto& [topic, next] : reader.next) {
      if (!reader.pattern.matches(topic)) continue;
      EXPECT_EQ(next, source.tails[topic].first + 1) << id << " " << topic;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, FeedsAgainstAModel, ::testing::Range(1u, 60u));

}  // namespace
}  // namespace backplane::testing
