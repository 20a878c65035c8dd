// Clients that join with retained values or history at any moment, while the broker's live events and replies
// arrive at any pace: each client gets every event after its first one, once and in order.
#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/gateway/stage.hpp"

namespace backplane::gateway {
namespace {

constexpr int topics = 4;
const std::string rare_topic = "t.rare";  // its events end while clients still join

HubLimits small_slices() {
  HubLimits limits;
  limits.slice_bytes = 64;
  limits.values_idle = std::chrono::milliseconds{50};
  return limits;
}

class HubJoinModelTest : public Stage, public ::testing::WithParamInterface<int> {
 protected:
  HubJoinModelTest() : Stage(small_slices()), random_(static_cast<unsigned>(GetParam())) {
    upstream_.may_arrive_now = [this](std::string_view, const wire::Stamp& stamp) {
      return is_on_the_way(stamp.position);
    };
    come_up();
  }

  struct Client {
    Peer peer;
    bool from_the_start{};
    bool asks_twice{};  ///< it may receive the value of t.0 twice
    bool gets_rare{};   ///< it has requested the value of the rare topic
    bool renews{};      ///< it will request the values of its subscription once more
    bool renewed{};     ///< it has done so, and may receive each value twice
  };
  /// Events on the broker's egress, in order.
  struct Live {
    const NumberedEvents::Event* event{};
    std::uint64_t ticket{};
  };
  struct Answer {
    std::uint64_t request{};
    bool replay{};
    std::vector<const NumberedEvents::Event*> events;
    ReplaySlice slice;
  };

  std::size_t pick(std::size_t below) {
    return std::uniform_int_distribution<std::size_t>(0, below - 1)(random_);
  }

  void publish_one() {
    const bool rare = history_.size() < 30 && pick(10) == 0;
    const std::string topic = rare ? rare_topic : "t." + std::to_string(pick(topics));
    history_.push_back(broker_.publish(topic, std::string(pick(40), 'x')));
    // Some are lost on the way and recovered: they arrive late, but before the next event of their topic.
    auto& lost = lost_[topic];
    if (!lost.empty() || pick(6) == 0) return lost.push_back(&history_.back());
    live_.push_back({&history_.back(), 0});
  }
  void recover(std::deque<const NumberedEvents::Event*>& lost) {
    for (const NumberedEvents::Event* const event : lost) live_.push_back({event, 0});
    lost.clear();
  }
  [[nodiscard]] bool is_on_the_way(std::uint64_t position) const {
    const auto is_it = [=](const NumberedEvents::Event* event) {
      return event != nullptr && event->stamp.position == position;
    };
    return std::any_of(live_.begin(), live_.end(), [&](const Live& live) { return is_it(live.event); }) ||
           std::any_of(lost_.begin(), lost_.end(), [&](const auto& lost) {
             return std::any_of(lost.second.begin(), lost.second.end(), is_it);
           });
  }
  /// The follower's low watermark.
  void note_settled() {
    std::uint64_t first = broker_.position() + 1;
    for (const Live& live : live_) {
      if (live.event != nullptr) first = std::min(first, live.event->stamp.position);
    }
    for (const auto& [topic, lost] : lost_) {
      if (!lost.empty()) first = std::min(first, lost.front()->stamp.position);
    }
    upstream_.low_watermark_now = {broker_.stream(), first - 1};
  }
  void live_one() {
    if (live_.empty()) return;
    const Live next = live_.front();
    live_.pop_front();
    if (next.event != nullptr) {
      hub_.on_event(next.event->delivery());
    } else {
      hub_.on_live(next.ticket);
    }
  }
  void prove_soon() {
    if (upstream_.tickets == asked_ticket_) return;
    asked_ticket_ = upstream_.tickets;
    live_.push_back({nullptr, asked_ticket_});
  }
  /// The broker handles a request; its reply is on its way from then on.
  void evaluate() {
    note_questions();
    for (; seen_retained_ < upstream_.asked.size(); ++seen_retained_) {
      // Both kinds of requests are numbered together.
      Answer answer;
      answer.request = retained_requests_.at(seen_retained_);
      std::map<std::string, const NumberedEvents::Event*> newest;
      for (const auto& event : history_) newest[event.topic] = &event;  // those that do not match are ignored
      for (const auto& [topic, event] : newest) answer.events.push_back(event);
      answers_.push_back(std::move(answer));
    }
    for (const FakeReader::Replay& replay : upstream_.replays) {
      int& done = evaluated_[replay.request];
      if (done == replay.asked) continue;
      ++done;
      Answer answer;
      answer.request = replay.request;
      answer.replay = true;
      std::uint64_t& cursor = cursors_[replay.request];
      const std::size_t most = 1 + pick(12);
      for (const auto& event : history_) {
        if (event.stamp.position <= cursor || answer.events.size() == most) continue;
        answer.events.push_back(&event);
      }
      if (!answer.events.empty()) cursor = answer.events.back()->stamp.position;
      answer.slice.complete = answer.events.size() < most;
      if (answer.slice.complete) cursor = broker_.position();
      answer.slice.through = {{broker_.stream(), 0}};
      answer.slice.through.front().position = cursor;
      answers_.push_back(std::move(answer));
    }
  }
  void answer_one() {
    if (answers_.empty()) return;
    const Answer answer = answers_.front();
    answers_.pop_front();
    for (const NumberedEvents::Event* const event : answer.events) {
      if (answer.replay) {
        hub_.on_replayed(answer.request, event->delivery());
      } else {
        hub_.on_retained(answer.request, event->delivery());
      }
    }
    if (answer.replay) return hub_.on_replay_slice(answer.request, answer.slice);
    hub_.on_retained_end(answer.request, RetainedEnd{{{broker_.stream(), broker_.position()}}, std::nullopt});
  }
  void join() {
    Client client{connect()};
    std::string commands = "FORMAT text+offset\n";
    switch (pick(6)) {
      case 0:
        commands += "SUB t.* since=10m\n";
        client.from_the_start = true;
        break;
      case 1:
        commands += "SUB t.* last\n";
        client.gets_rare = true;
        break;
      case 2:  // both may be in progress at the same time
        commands += "SUB t.0 last\nSUB t.* last\n";
        client.asks_twice = client.gets_rare = true;
        break;
      case 3:  // active before the values are requested, or not
        commands += "SUB t.*\nSUB " + rare_topic + " last\n";
        client.gets_rare = true;
        break;
      case 4:
        commands += "SUB t.*\n";
        client.renews = true;
        break;
      default:
        commands += "SUB t.*\n";
    }
    client.peer.stream->room = pick(3) == 0 ? pick(200) : fanout::SimulatedStream::no_limit;
    clients_.push_back(client);
    send(clients_.back().peer, commands);
    note_questions();
  }
  void renew() {
    for (Client& client : clients_) {
      if (!client.renews) continue;
      client.renews = false;
      client.renewed = client.gets_rare = true;
      send(client.peer, "SUB t.* last\n");
      return note_questions();
    }
  }
  void read_some() {
    if (clients_.empty()) return;
    Client& client = clients_[pick(clients_.size())];
    if (client.peer.stream->room != fanout::SimulatedStream::no_limit) client.peer.stream->room += pick(300);
    if (fanout::Client* const of = shard_.find(client.peer.id)) of->on_writable();
  }
  void note_questions() {
    // The fake numbers both kinds together: a request that is no replay is for retained values.
    std::vector<std::uint64_t> values;
    for (std::uint64_t request = 1; request <= upstream_.requests; ++request) {
      bool replay = false;
      for (const auto& each : upstream_.replays) replay = replay || each.request == request;
      if (!replay) values.push_back(request);
    }
    retained_requests_ = std::move(values);
  }
  void step() {
    note_settled();
    switch (pick(15)) {
      case 14:
        if (pick(4) == 0) renew();
        break;
      case 12:
      case 13:
        recover(lost_[pick(topics) == 0 ? rare_topic : "t." + std::to_string(pick(topics))]);
        break;
      case 0:
        if (clients_.size() < 25) join();
        break;
      case 1:
      case 2:
      case 3:
        publish_one();
        break;
      case 4:
      case 5:
      case 6:
        live_one();
        break;
      case 7:
        prove_soon();
        break;
      case 8:
        evaluate();
        break;
      case 9:
        answer_one();
        break;
      case 10:
        read_some();
        break;
      default:
        now_ += std::chrono::milliseconds{pick(30)};
    }
    if (pick(3) == 0) {
      turn();
      note_questions();
    }
  }
  void drain_all() {
    for (Client& client : clients_) client.peer.stream->room = fanout::SimulatedStream::no_limit;
    for (auto& [topic, lost] : lost_) recover(lost);
    for (int i = 0; i < 2000; ++i) {
      prove_soon();
      while (!live_.empty()) live_one();
      evaluate();
      while (!answers_.empty()) answer_one();
      for (Client& client : clients_) {
        if (fanout::Client* const of = shard_.find(client.peer.id)) of->on_writable();
      }
      turn();
      note_questions();
    }
  }
  void check(const Client& client) {
    std::map<std::string, std::uint64_t> next;
    std::set<std::string> again;
    std::istringstream lines(client.peer.stream->output);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with('+')) continue;
      std::istringstream words(line);
      std::string topic;
      std::uint64_t offset = 0;
      words >> topic >> offset;
      ASSERT_GT(offset, 0u) << line;
      if (client.from_the_start && !next.contains(topic)) {
        ASSERT_EQ(offset, 1u) << line;
      }
      const bool may_repeat = client.renewed || (client.asks_twice && topic == "t.0");
      if (may_repeat && next.contains(topic) && offset < next[topic] && again.insert(topic).second) continue;
      if (next.contains(topic) && next[topic] > 0) {
        ASSERT_EQ(offset, next[topic]) << line << "\n" << client.peer.stream->output;
      }
      next[topic] = offset + 1;
    }
    std::map<std::string, std::uint64_t> published;
    for (const auto& event : history_) published[event.topic] = event.stamp.offset;
    if (client.gets_rare && published.contains(rare_topic)) {
      ASSERT_TRUE(next.contains(rare_topic)) << client.peer.stream->output;
    }
    for (const auto& [topic, offset] : published) {
      if (client.from_the_start) {
        ASSERT_EQ(next[topic], offset + 1) << topic << "\n" << client.peer.stream->output;
      } else if (next.contains(topic)) {
        ASSERT_EQ(next[topic], offset + 1) << topic;
      }
    }
  }

  std::mt19937 random_;
  std::deque<NumberedEvents::Event> history_;
  std::deque<Live> live_;
  std::map<std::string, std::deque<const NumberedEvents::Event*>> lost_;
  std::deque<Answer> answers_;
  std::deque<Client> clients_;
  std::uint64_t asked_ticket_{};
  std::size_t seen_retained_{};
  std::vector<std::uint64_t> retained_requests_;
  std::map<std::uint64_t, int> evaluated_;
  std::map<std::uint64_t, std::uint64_t> cursors_;
};

TEST_P(HubJoinModelTest, EveryEventAfterTheFirstArrivesOnceAndInOrder) {
  for (int i = 0; i < 3000; ++i) step();
  drain_all();
  ASSERT_FALSE(clients_.empty());
  for (const Client& client : clients_) {
    check(client);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, HubJoinModelTest, ::testing::Range(1, 61));

}  // namespace
}  // namespace backplane::gateway
