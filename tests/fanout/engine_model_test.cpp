// Random runs of a shard against a model: whatever the sockets take and whenever, each stream is well-formed
// and each message that was matched is received, or announced as lost, or conflated, exactly once.

#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fanout/shard_fixture.hpp"

namespace backplane::fanout {
namespace {

constexpr std::uint32_t topics = 4;

/// What was queued for a client: messages as (topic, offset), replies as (reply_mark, number).
constexpr std::uint32_t reply_mark = 99;
using Item = std::pair<std::uint32_t, std::uint64_t>;

struct ModelClient {
  std::shared_ptr<Played> played;
  Policy policy{};
  std::vector<Item> queued;
  std::set<std::uint32_t> joined;
  bool vanished{};
  std::uint64_t next_reply{};
};

class RandomRun {
 public:
  explicit RandomRun(std::uint32_t seed) : random_(seed), stage_(shard_options(), log_options()) {
    for (std::uint32_t topic = 0; topic < topics; ++topic) {
      stage_.shard.set_route(RouteId{topic}, {AudienceId{topic}, AudienceId{topics}});
    }
    const std::uint64_t count = 1 + below(4);
    for (std::uint64_t id = 1; id <= count; ++id) {
      ModelClient& client = clients_[id];
      client.played = stage_.add(id);
      client.played->stream.room = below(40);
      client.policy = static_cast<Policy>(below(8) < 5 ? 0 : below(3));
      stage_.client(id).set_policy(client.policy);
    }
  }

  void go() {
    const std::uint64_t steps = 20 + below(150);
    for (std::uint64_t i = 0; i < steps; ++i) step();
    drain();
    for (auto& [id, client] : clients_) check(client);
    check_counters();
    check_memory();
  }
  [[nodiscard]] const ShardCounters& counters() const { return stage_.shard.counters(); }
  [[nodiscard]] std::uint64_t evicted() const { return stage_.log.evicted(); }

 private:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  ShardOptions shard_options() {
    ShardOptions options;
    options.client.backlog_bytes_max = 20 + below(400);
    return options;
  }
  LogOptions log_options() {
    LogOptions options;
    options.segment_bytes = 40 + below(300);
    options.segment_messages = 2 + below(20);
    options.bytes_max = below(4) == 0 ? 400 + below(2000) : 1 << 20;
    options.spare_segments_max = below(3);
    return options;
  }

  std::uint64_t any_client() { return 1 + below(clients_.size()); }
  /// nullptr where it takes nothing more.
  Client* open(std::uint64_t id) {
    Client* const client = stage_.shard.find(ClientId{id});
    return client != nullptr && client->open() ? client : nullptr;
  }

  void step() {
    switch (below(12)) {
      case 0:
        return change_audience();
      case 1:
        return reply();
      case 2:
        return vanish();
      case 3:
      case 4:
        stage_.shard.flush(stage_.now);
        return;
      case 5:
      case 6:
      case 7:
        return give_room();
      default:
        return append();
    }
  }

  void append() {
    const std::uint64_t count = 1 + below(12);
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto topic = static_cast<std::uint32_t>(below(topics));
      const std::uint64_t offset = ++offsets_[topic];
      stage_.append(topic, offset, below(20) == 0 ? below(600) : below(20));
      for (auto& [id, client] : clients_) {
        if (open(id) == nullptr) continue;
        if (client.joined.contains(topic) || client.joined.contains(topics)) {
          client.queued.emplace_back(topic, offset);
        }
      }
    }
    stage_.catch_up();
  }

  void change_audience() {
    const std::uint64_t id = any_client();
    if (stage_.shard.find(ClientId{id}) == nullptr) return;
    const auto audience = static_cast<std::uint32_t>(below(topics + 1));
    if (clients_[id].joined.erase(audience) > 0)
      return stage_.shard.leave(ClientId{id}, AudienceId{audience});
    clients_[id].joined.insert(audience);
    stage_.shard.join(ClientId{id}, AudienceId{audience});
  }

  void reply() {
    const std::uint64_t id = any_client();
    Client* const client = open(id);
    if (client == nullptr) return;
    const std::uint64_t number = ++clients_[id].next_reply;
    client->reply("+" + std::to_string(number) + "\n");
    clients_[id].queued.emplace_back(reply_mark, number);
  }

  void vanish() {
    if (below(6) != 0) return;
    const std::uint64_t id = any_client();
    clients_[id].vanished = true;
    clients_[id].played->stream.error = ECONNRESET;
    if (Client* const client = stage_.shard.find(ClientId{id})) client->on_writable();
  }

  void give_room() {
    const std::uint64_t id = any_client();
    clients_[id].played->stream.room += below(3) == 0 ? below(400) : below(8);
    if (Client* const client = stage_.shard.find(ClientId{id})) client->on_writable();
    if (below(2) == 0) stage_.shard.flush(stage_.now);
  }

  void drain() {
    for (auto& [id, client] : clients_) {
      client.played->stream.room = SimulatedStream::no_limit;
      if (Client* const each = stage_.shard.find(ClientId{id})) each->on_writable();
    }
    stage_.turn();
  }

  static void check(const ModelClient& client) {
    std::string output = client.played->stream.output;
    if (client.vanished) {
      output.resize(output.rfind('\n') + 1);  // npos + 1 is 0
    } else {
      ASSERT_TRUE(output.empty() || output.back() == '\n');
    }
    std::map<Item, std::size_t> place;
    for (std::size_t i = 0; i < client.queued.size(); ++i) place[client.queued[i]] = i;
    std::set<Item> accounted;
    std::map<std::uint32_t, std::uint64_t> reached;  // by topic: the last offset received or lost
    std::size_t next_place = 0;
    const auto account = [&](Item item) {
      ASSERT_TRUE(place.contains(item)) << item.first << " " << item.second << " was never for it";
      ASSERT_TRUE(accounted.insert(item).second) << item.first << " " << item.second << " twice";
      ASSERT_LT(reached[item.first], item.second) << "out of order";
      reached[item.first] = item.second;
    };
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream in(line.substr(line[0] == '!' || line[0] == '+' ? 1 : 0));
      std::uint64_t first = 0;
      std::uint64_t second = 0;
      if (line.starts_with("!BYE")) {
        ASSERT_EQ(client.played->goodbyes.size(), 1u);
        ASSERT_EQ(lines.peek(), std::istringstream::traits_type::eof());
      } else if (line[0] == '!') {
        std::uint64_t last = 0;
        ASSERT_TRUE(in >> first >> second >> last) << line;
        for (std::uint64_t lost = second; lost <= last; ++lost) {
          account({static_cast<std::uint32_t>(first), lost});
        }
      } else {
        const bool is_reply = line[0] == '+';
        if (is_reply) {
          ASSERT_TRUE(in >> second) << line;
        } else {
          std::string padding;
          ASSERT_TRUE(in >> first >> second) << line;
          in >> padding;
          ASSERT_EQ(
              line,
              Stage::text(static_cast<std::uint32_t>(first), second, padding.size()).substr(0, line.size()));
        }
        const Item item{is_reply ? reply_mark : static_cast<std::uint32_t>(first), second};
        account(item);
        ASSERT_GE(place.at(item), next_place) << "in the order in which it was queued";
        next_place = place.at(item) + 1;
      }
    }
    if (client.vanished) return;
    std::map<std::uint32_t, std::uint64_t> newest;
    for (const Item& item : client.queued) newest[item.first] = item.second;
    bool ended = false;
    for (const Item& item : client.queued) {
      if (!client.played->goodbyes.empty()) {
        // It ended within a run of messages, and gets none of the rest; the model looks only between them.
        ended = ended || !accounted.contains(item);
        ASSERT_NE(ended, accounted.contains(item));
        continue;
      }
      if (client.policy == Policy::latest && item.first != reply_mark && newest[item.first] != item.second) {
        continue;  // may be conflated
      }
      ASSERT_TRUE(accounted.contains(item)) << item.first << " " << item.second << " is missing";
    }
  }

  void check_counters() {
    const ShardCounters& counters = stage_.shard.counters();
    std::uint64_t matched = 0;
    for (const auto& [id, client] : clients_) {
      for (const Item& item : client.queued) matched += item.first == reply_mark ? 0 : 1;
    }
    ASSERT_LE(counters.matched.get(), matched);
    ASSERT_EQ(counters.matched.get(), counters.delivered.get() + counters.conflated.get() +
                                          counters.dropped.get() + counters.abandoned.get());
    ASSERT_EQ(counters.unsent_clients.get(), 0u);
  }

  void check_memory() {
    // Nobody holds anything: after the next segment, that one is all that is left.
    for (int i = 0; i < 50; ++i) stage_.append(topics + 1, 1, 30);
    stage_.turn();
    stage_.append(topics + 1, 1, 2000);
    stage_.turn();
    stage_.append(topics + 1, 1);
    stage_.turn();
    stage_.append(topics + 1, 1, 2000);
    ASSERT_LE(stage_.log.held_bytes(), 3000u);
  }

  std::mt19937 random_;
  Stage stage_;
  std::map<std::uint64_t, ModelClient> clients_;
  std::map<std::uint32_t, std::uint64_t> offsets_;
};

TEST(EngineModel, EveryMessageIsReceivedOrAnnouncedWhateverTheSocketsTake) {
  // In how many runs each of these came to pass.
  int dropped = 0;
  int conflated = 0;
  int abandoned = 0;
  int evicted = 0;
  for (std::uint32_t seed = 1; seed <= 4000; ++seed) {
    SCOPED_TRACE(seed);
    RandomRun run(seed);
    run.go();
    if (HasFatalFailure()) return;
    dropped += run.counters().dropped.get() > 0 ? 1 : 0;
    conflated += run.counters().conflated.get() > 0 ? 1 : 0;
    abandoned += run.counters().abandoned.get() > 0 ? 1 : 0;
    evicted += run.evicted() > 0 ? 1 : 0;
  }
  EXPECT_GT(dropped, 1000);
  EXPECT_GT(conflated, 300);
  EXPECT_GT(abandoned, 300);
  EXPECT_GT(evicted, 300);
}

}  // namespace
}  // namespace backplane::fanout
