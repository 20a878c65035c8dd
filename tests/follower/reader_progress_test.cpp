// A reader of a gateway, cut off at any moment: each event arrives once, and none is missing.
#include "follower/order/reader_progress.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/topic/pattern.hpp"
#include "follower/order/delivery.hpp"

namespace backplane {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t stream_a = 0x1'00000001;
constexpr std::uint64_t stream_b = 0x2'00000001;

TEST(ReaderProgress, AnEventArrivesOnce) {
  ReaderProgress progress;
  EXPECT_TRUE(progress.admit("a", stream_a, 10, 1));
  EXPECT_TRUE(progress.admit("b", stream_a, 5, 1)) << "another topic, an earlier position";
  EXPECT_FALSE(progress.admit("a", stream_a, 10, 1));
  EXPECT_TRUE(progress.admit("a", stream_b, 3, 1)) << "another broker has its own numbers";
  EXPECT_TRUE(progress.admit("$SYS.live", stream_a, 10, 0));
  EXPECT_TRUE(progress.admit("$SYS.live", stream_a, 10, 0)) << "not numbered";
}

TEST(ReaderProgress, EventsDoNotShowWhereToResume) {
  ReaderProgress progress;
  EXPECT_TRUE(progress.admit("a", stream_a, 10, 1));
  EXPECT_THAT(progress.resume_at(), IsEmpty());
  progress.complete({{stream_a, 7}});
  EXPECT_THAT(progress.resume_at(), ElementsAre(StreamPosition{stream_a, 7}));
  EXPECT_EQ(progress.topics(), 1u) << "this one may come again";
  progress.complete({{stream_a, 5}, {stream_b, 3}});
  EXPECT_THAT(progress.resume_at(), ElementsAre(StreamPosition{stream_a, 7}, StreamPosition{stream_b, 3}));
  progress.complete({{stream_a, 10}});
  EXPECT_EQ(progress.topics(), 0u);
}

TEST(ReaderProgress, AnEventThatWasReportedAsLostDoesNotArriveLater) {
  ReaderProgress progress;
  progress.lose("a", stream_a, 4);
  progress.complete({{stream_a, 100}});
  EXPECT_FALSE(progress.admit("a", stream_a, 101, 4)) << "its position was unknown";
  EXPECT_TRUE(progress.admit("a", stream_a, 102, 5));
}

TEST(ReaderProgress, OffsetsShowWhatIsMissingOfATopicThatIsKnown) {
  ReaderProgress progress;
  EXPECT_TRUE(progress.follows("a", stream_a, 5)) << "reading may begin anywhere";
  EXPECT_TRUE(progress.admit("a", stream_a, 10, 5));
  EXPECT_TRUE(progress.follows("a", stream_a, 4)) << "it comes again";
  EXPECT_TRUE(progress.follows("a", stream_a, 6));
  EXPECT_FALSE(progress.follows("a", stream_a, 7));
  EXPECT_TRUE(progress.follows("a", stream_b, 7)) << "another broker has its own numbers";
  progress.lose("a", stream_a, 8);
  EXPECT_TRUE(progress.follows("a", stream_a, 9)) << "what was announced is not missing";
}

TEST(ReaderProgress, ANewIncarnationIsReadFromItsBeginning) {
  ReaderProgress progress;
  progress.complete({{stream_a, 7}, {stream_b, 3}});
  constexpr std::uint64_t next = stream_a + 1;
  progress.restart(next);
  EXPECT_THAT(progress.resume_at(), ElementsAre(StreamPosition{stream_b, 3}, StreamPosition{next, 0}));
  EXPECT_TRUE(progress.admit("a", next, 1, 1));
  progress.restart(next);
  EXPECT_FALSE(progress.admit("a", next, 1, 1)) << "a reset comes for each topic";
}

TEST(ReaderProgress, AStreamThatHasNotReachedThePositionBeginsAgain) {
  ReaderProgress progress;
  EXPECT_TRUE(progress.admit("a", stream_a, 9, 9));
  progress.complete({{stream_a, 8}});
  progress.on_disconnected();
  progress.restart(stream_a);
  EXPECT_TRUE(progress.admit("a", stream_a, 1, 1));
  EXPECT_THAT(progress.resume_at(), ElementsAre(StreamPosition{stream_a, 0}));
}

TEST(ReaderProgress, NamesAtMost64Streams) {
  ReaderProgress progress;
  for (std::uint64_t i = 1; i <= 100; ++i) progress.complete({{i << 32, 1}});
  EXPECT_EQ(progress.resume_at().size(), 64u);
  EXPECT_EQ(progress.resume_at().back().stream, std::uint64_t{100} << 32);
}

// ---- a model of brokers, a gateway and its client ----

struct Event {
  std::string topic;
  std::uint64_t stream{};
  std::uint64_t position{};
  std::uint64_t offset{};
  friend auto operator<=>(const Event&, const Event&) = default;
};

struct Broker {
  std::uint64_t stream{};
  std::vector<Event> history;
  std::map<std::string, std::uint64_t> offsets;

  void publish(const std::string& topic) {
    history.push_back({topic, stream, history.size() + 1, ++offsets[topic]});
  }
  void restart() {
    ++stream;
    history.clear();
    offsets.clear();
  }
};

class ReaderProgressModel : public ::testing::TestWithParam<int> {
 protected:
  struct Item {
    enum class Kind { event, reset, position } kind{Kind::event};
    Event event;
    std::uint64_t stream{};
    StreamPositions positions;
  };

  ReaderProgressModel() : random_(static_cast<unsigned>(GetParam())) {
    brokers_ = {{stream_a, {}, {}}, {stream_b, {}, {}}};
    if (pick(2) == 0) brokers_.pop_back();
    for (const char* text : {"x.>", "x.a", "*.b", "y.c"}) {
      if (pick(2) == 0) patterns_.push_back(*Pattern::parse(text));
    }
    if (patterns_.empty()) patterns_.push_back(*Pattern::parse(">"));
    mode_ = static_cast<Mode>(pick(3));
  }

  std::size_t pick(std::size_t below) {
    return std::uniform_int_distribution<std::size_t>(0, below - 1)(random_);
  }
  [[nodiscard]] bool is_wanted(const Event& event) const {
    return std::any_of(patterns_.begin(), patterns_.end(),
                       [&](const Pattern& pattern) { return pattern.matches(event.topic); });
  }

  void publish_some() {
    static const std::vector<std::string> topics{"x.a", "x.b", "y.b", "y.c", "z.z"};
    for (std::size_t count = pick(6); count > 0; --count) {
      Broker& to = brokers_[pick(brokers_.size())];
      to.publish(topics[pick(topics.size())]);
      if (is_wanted(to.history.back())) published_.insert(to.history.back());
      live_.push_back(to.history.back());
    }
  }

  /// What the client receives after it has connected, up to the end of its connection: the histories of its
  /// patterns, each in order, but interleaved; live events of which some come late; positions.
  std::deque<Item> connection() {
    std::deque<Item> items;
    const StreamPositions from = progress_.resume_at();
    std::vector<std::deque<Item>> parts;
    StreamPositions low;
    for (const Broker& broker : brokers_) low.push_back({broker.stream, broker.history.size()});
    for (const Pattern& pattern : patterns_) {
      auto& part = parts.emplace_back();
      for (const Broker& broker : brokers_) {
        std::uint64_t after = from.empty() ? start_.at(origin(broker.stream)) : 0;
        const bool is_reset = !from.empty() && !position_in(from, broker.stream) &&
                              std::any_of(from.begin(), from.end(), [&](const auto& each) {
                                return origin(each.stream) == origin(broker.stream);
                              });
        if (is_reset) part.push_back({Item::Kind::reset, {}, broker.stream, {}});
        if (const auto known = position_in(from, broker.stream)) after = *known;
        std::map<std::string, Event> last;
        for (const Event& event : broker.history) {
          if (event.position <= after || !pattern.matches(event.topic)) continue;
          part.push_back({Item::Kind::event, event, 0, {}});
        }
      }
    }
    while (!parts.empty()) {
      auto& part = parts[pick(parts.size())];
      if (part.empty()) {
        std::swap(part, parts.back());
        parts.pop_back();
        continue;
      }
      items.push_back(part.front());
      part.pop_front();
    }
    items.push_back({Item::Kind::position, {}, 0, low});
    // Live events. Some are lost on the way to the gateway, and come late: not before the low watermark.
    live_.clear();
    std::map<std::string, std::vector<Event>> late;
    for (int turn = 0; turn < 8; ++turn) {
      publish_some();
      for (const Event& event : std::exchange(live_, {})) {
        if (!is_wanted(event)) continue;
        auto& of_topic = late[std::to_string(event.stream) + event.topic];
        if (!of_topic.empty() || pick(5) == 0) {
          of_topic.push_back(event);
        } else {
          items.push_back({Item::Kind::event, event, 0, {}});
        }
      }
      if (pick(3) == 0) {
        for (auto& [topic, events] : late) {
          for (const Event& event : std::exchange(events, {}))
            items.push_back({Item::Kind::event, event, 0, {}});
        }
      }
      StreamPositions complete;
      for (const Broker& broker : brokers_) complete.push_back({broker.stream, broker.history.size()});
      for (const auto& [topic, events] : late) {
        for (const Event& event : events) {
          for (StreamPosition& each : complete) {
            if (each.stream == event.stream) each.position = std::min(each.position, event.position - 1);
          }
        }
      }
      if (pick(2) == 0) items.push_back({Item::Kind::position, {}, 0, complete});
    }
    for (auto& [topic, events] : late) {
      for (const Event& event : events) items.push_back({Item::Kind::event, event, 0, {}});
    }
    return items;
  }

  void receive(const Item& item) {
    switch (item.kind) {
      case Item::Kind::event: {
        const Event& event = item.event;
        if (!progress_.admit(event.topic, event.stream, event.position, event.offset)) return;
        EXPECT_TRUE(received_.insert(event).second) << event.topic << ' ' << event.offset << " came twice";
        auto& last = last_[std::to_string(event.stream) + event.topic];
        EXPECT_GT(event.offset, last) << "the order of " << event.topic;
        last = event.offset;
        return;
      }
      case Item::Kind::reset:
        return progress_.restart(item.stream);
      case Item::Kind::position:
        return progress_.complete(item.positions);
    }
  }

  enum class Mode { history, from_now, after_some };

  std::mt19937 random_;
  std::vector<Broker> brokers_;
  std::vector<Pattern> patterns_;
  Mode mode_{};
  std::map<std::uint32_t, std::uint64_t> start_;  // by origin: where the first request began
  std::vector<Event> live_;
  std::set<Event> published_;  // and wanted
  std::set<Event> received_;
  std::map<std::string, std::uint64_t> last_;
  ReaderProgress progress_;
};

TEST_P(ReaderProgressModel, NothingIsMissingOrTwiceWhereverTheConnectionIsCut) {
  for (int i = 0; i < 5; ++i) publish_some();
  for (const Broker& broker : brokers_) {
    start_[origin(broker.stream)] = mode_ == Mode::history    ? 0
                                    : mode_ == Mode::from_now ? broker.history.size()
                                                              : pick(broker.history.size() + 1);
  }
  std::erase_if(published_,
                [&](const Event& event) { return event.position <= start_.at(origin(event.stream)); });
  std::set<std::uint64_t> ended;
  std::map<std::uint64_t, std::uint64_t> ended_complete;
  for (int connections = 0; connections < 12; ++connections) {
    const bool last = connections == 11;
    std::deque<Item> items = connection();
    const std::size_t cut = last ? items.size() : pick(items.size() + 1);
    for (std::size_t i = 0; i < cut; ++i) receive(items[i]);
    progress_.on_disconnected();
    publish_some();
    if (!last && pick(6) == 0) {
      // What was not received of the old stream is lost with its broker, and the reset says so.
      Broker& broker = brokers_[pick(brokers_.size())];
      std::erase_if(published_, [&](const Event& event) {
        return event.stream == broker.stream && !received_.contains(event);
      });
      broker.restart();
      start_[origin(broker.stream)] = 0;
      publish_some();
    }
  }
  // The last connection lasted until everything had arrived, except what was published after it.
  std::deque<Item> items = connection();
  for (const Item& item : items) receive(item);
  EXPECT_EQ(received_, published_);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ReaderProgressModel, ::testing::Range(0, 300));

}  // namespace
}  // namespace backplane
