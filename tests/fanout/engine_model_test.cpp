// Random runs of a shard against a model. However much the sockets accept, and whenever, each client's bytes
// are well-formed, and each matched message is received, announced as lost, or conflated exactly once.

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fanout/shard_fixture.hpp"

namespace backplane::fanout {
namespace {

constexpr std::uint32_t topics = 4;
constexpr std::uint32_t streams = 2;

/// What was queued for a client: messages as (topic, offset), replies as (reply_mark, number).
constexpr std::uint32_t reply_mark = 99;
using Item = std::pair<std::uint32_t, std::uint64_t>;

struct ModelMessage {
  Item item;
  std::uint64_t position{};
  [[nodiscard]] std::uint32_t topic() const { return item.first; }
  /// All messages of a topic are of one stream.
  [[nodiscard]] std::uint32_t stream() const { return item.first % streams; }
};

/// What a replay contained: the positions up to which messages of a topic, or of a stream, are skipped.
struct ModelSkip {
  std::map<std::uint32_t, std::uint64_t> topics;
  std::map<std::uint32_t, std::uint64_t> streams;

  [[nodiscard]] bool has_topic(const ModelMessage& message) const {
    const auto found = topics.find(message.topic());
    return found != topics.end() && message.position <= found->second;
  }
  [[nodiscard]] bool has_stream(const ModelMessage& message) const {
    const auto found = streams.find(message.stream());
    return found != streams.end() && message.position <= found->second;
  }
};

struct ModelBuffered {
  ModelMessage message;
  std::set<std::uint32_t> audiences;
  bool released{};
};

struct ModelClient {
  std::shared_ptr<Peer> peer;
  Policy policy{};
  std::vector<Item> queued;
  std::set<std::uint32_t> joined;
  std::set<std::uint32_t> buffering;
  std::set<std::uint32_t> full;  ///< the join buffer is discarded; the handler has not been notified
  std::vector<ModelBuffered> buffered;
  std::multimap<std::uint32_t, ModelSkip> skips;  ///< by audience
  bool vanished{};
  std::uint64_t next_reply{};
  std::uint64_t skipped{};

  static bool goes_through(std::uint32_t audience, std::uint32_t topic) {
    return audience == topic || audience == topics;
  }
  [[nodiscard]] bool skips_now(const ModelMessage& message) const {
    return std::any_of(skips.begin(), skips.end(), [&](const auto& each) {
      return each.second.has_topic(message) ||
             (each.second.has_stream(message) && goes_through(each.first, message.topic()));
    });
  }
  void take(const ModelMessage& message) {
    const auto is_for = [&](const std::set<std::uint32_t>& audiences) {
      return audiences.contains(message.topic()) || audiences.contains(topics);
    };
    const bool through_active = is_for(joined);
    if (through_active && skips_now(message)) {
      ++skipped;
      return;
    }
    const bool behind = std::any_of(buffered.begin(), buffered.end(), [&](const ModelBuffered& each) {
      return each.message.topic() == message.topic();
    });
    if (through_active && !behind) {
      queued.push_back(message.item);
      return;
    }
    ModelBuffered entry{message, {}, through_active};
    for (const std::uint32_t audience : buffering) {
      if (goes_through(audience, message.topic())) entry.audiences.insert(audience);
    }
    if (through_active || !entry.audiences.empty()) buffered.push_back(entry);
  }
  /// Queues messages that are released and have no earlier one of their topic before them.
  void queue_released() {
    std::set<std::uint32_t> waiting;
    std::erase_if(buffered, [&](const ModelBuffered& each) {
      const bool leaves = each.released && !waiting.contains(each.message.topic());
      if (leaves) {
        queued.push_back(each.message.item);
      } else {
        waiting.insert(each.message.topic());
      }
      return leaves;
    });
  }
  void release(std::uint32_t audience, const ModelSkip& skip) {
    buffering.erase(audience);
    joined.insert(audience);
    std::erase_if(buffered, [&](ModelBuffered& each) {
      if (each.audiences.erase(audience) == 0) return false;
      const bool skips_it = skip.has_topic(each.message) || skip.has_stream(each.message);
      skipped += skips_it ? 1 : 0;
      each.released = true;
      return skips_it;
    });
    skips.emplace(audience, skip);
    queue_released();
  }
  void discard(std::uint32_t audience) {
    buffering.erase(audience);
    std::erase_if(buffered, [&](ModelBuffered& each) {
      return each.audiences.erase(audience) > 0 && each.audiences.empty() && !each.released;
    });
    queue_released();
  }
};

/// What a run tests. The model cannot follow join buffers message by message if messages come in runs and
/// limits are tight: a run tests one or the other.
enum class Kind : std::uint8_t { no_joins, joins_in_runs, tight_joins };

class RandomRun {
 public:
  RandomRun(std::uint32_t seed, Kind kind)
      : random_(seed), kind_(kind), rig_(shard_options(), log_options()) {
    for (std::uint32_t topic = 0; topic < topics; ++topic) {
      rig_.shard.set_route(RouteId{topic}, {AudienceId{topic}, AudienceId{topics}});
    }
    const std::uint64_t count = 1 + below(4);
    for (std::uint64_t id = 1; id <= count; ++id) {
      ModelClient& client = clients_[id];
      client.peer = rig_.add(id);
      client.peer->stream.room = below(40);
      client.peer->stream.keeps_max = below(2) == 0 ? below(60) : 0;
      client.policy = static_cast<Policy>(below(8) < 5 ? 0 : below(3));
      rig_.client(id).set_policy(client.policy);
    }
  }

  void go() {
    const std::uint64_t steps = 20 + below(150);
    for (std::uint64_t i = 0; i < steps; ++i) {
      step();
      check_ledger();
      if (i % 8 == 0) check_delivered();
    }
    drain();
    check_ledger();
    check_delivered();
    ASSERT_EQ(ledger().pending, 0u);
    for (auto& [id, client] : clients_) check(client);
    check_counters();
    check_memory();
  }
  [[nodiscard]] const ShardCounters& counters() const { return rig_.shard.counters(); }
  [[nodiscard]] const DeliveryLedger& ledger() { return rig_.shard.ledger(); }
  [[nodiscard]] std::uint64_t evicted() const { return rig_.log.evicted(); }

 private:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  ShardOptions shard_options() {
    ShardOptions options;
    options.client.backlog_bytes_max = kind_ == Kind::joins_in_runs ? 1 << 20 : 20 + below(400);
    // A buffered message counts more than its bytes.
    if (kind_ == Kind::tight_joins) options.client.backlog_bytes_max *= 4;
    return options;
  }
  LogOptions log_options() {
    LogOptions options;
    options.segment_bytes = 40 + below(300);
    options.segment_messages = 2 + below(20);
    options.bytes_max = kind_ != Kind::joins_in_runs && below(4) == 0 ? 400 + below(2000) : 1 << 20;
    options.spare_segments_max = below(3);
    return options;
  }

  std::uint64_t any_client() { return 1 + below(clients_.size()); }
  /// nullptr if the client accepts nothing any more.
  Client* open(std::uint64_t id) {
    Client* const client = rig_.shard.find(ClientId{id});
    return client != nullptr && client->open() ? client : nullptr;
  }

  void step() {
    switch (below(kind_ == Kind::no_joins ? 12 : 16)) {
      case 0:
        return change_audience();
      case 1:
        return reply();
      case 2:
        return vanish();
      case 3:
      case 4:
        return flush();
      case 5:
      case 6:
      case 7:
        return give_room();
      case 12:
      case 13:
        return join_buffered();
      case 14:
      case 15:
        return release();
      default:
        return append();
    }
  }

  void append() {
    const std::uint64_t count = 1 + below(12);
    std::vector<ModelMessage> messages;
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto topic = static_cast<std::uint32_t>(below(topics));
      messages.push_back({{topic, ++offsets_[topic]}, ++positions_[topic % streams]});
      const auto stream = static_cast<StreamId>(topic % streams);
      rig_.append_at(topic, offsets_[topic], stream, positions_[topic % streams],
                     below(20) == 0 ? below(600) : below(20));
      if (kind_ != Kind::tight_joins) continue;
      publish(messages);
      messages.clear();
    }
    if (!messages.empty()) publish(messages);
  }

  void publish(const std::vector<ModelMessage>& messages) {
    std::vector<ModelClient*> takers;
    for (auto& [id, client] : clients_) {
      if (open(id) != nullptr) takers.push_back(&client);
    }
    rig_.read_log();
    note_full_join_buffers();
    for (const ModelMessage& message : messages) {
      for (ModelClient* const client : takers) client->take(message);
    }
  }

  /// Audiences whose join buffers the engine has discarded are not buffering any longer. Their clients leave
  /// them in the next flush.
  void note_full_join_buffers() {
    for (auto& [id, client] : clients_) {
      const Client* const real = rig_.shard.find(ClientId{id});
      for (const std::uint32_t audience : std::set<std::uint32_t>(client.buffering)) {
        if (real != nullptr && real->is_buffering(AudienceId{audience})) continue;
        client.discard(audience);
        client.full.insert(audience);
      }
    }
  }
  void flush() {
    rig_.shard.flush(rig_.now);
    note_full_join_buffers();
    for (auto& [id, client] : clients_) {
      for (const AudienceId audience : client.peer->full_join_buffers) {
        client.full.erase(static_cast<std::uint32_t>(audience));
      }
      client.peer->full_join_buffers.clear();
    }
  }

  void change_audience() {
    const std::uint64_t id = any_client();
    if (open(id) == nullptr) return;
    const auto audience = static_cast<std::uint32_t>(below(topics + 1));
    ModelClient& client = clients_[id];
    const bool was_buffering = client.buffering.contains(audience) || client.full.contains(audience);
    if (client.joined.erase(audience) > 0 || (was_buffering && below(2) == 0)) {
      client.skips.erase(audience);
      client.full.erase(audience);
      client.discard(audience);
      return rig_.shard.leave(ClientId{id}, AudienceId{audience});
    }
    if (!was_buffering) client.joined.insert(audience);
    rig_.shard.join(ClientId{id}, AudienceId{audience});
  }

  void join_buffered() {
    const std::uint64_t id = any_client();
    if (open(id) == nullptr) return;
    const auto audience = static_cast<std::uint32_t>(below(topics + 1));
    ModelClient& client = clients_[id];
    if (!client.full.contains(audience)) client.buffering.insert(audience);
    client.joined.erase(audience);
    rig_.shard.join_buffered(ClientId{id}, AudienceId{audience});
  }

  void release() {
    const std::uint64_t id = any_client();
    const auto audience = static_cast<std::uint32_t>(below(topics + 1));
    ModelClient& client = clients_[id];
    if (open(id) == nullptr) return;
    if (!client.buffering.contains(audience)) {
      return rig_.shard.release_join_buffer(ClientId{id}, AudienceId{audience}, nullptr);
    }
    ModelSkip skip;
    auto real = std::make_shared<Skip>();
    // Positions that are long past, up to those of messages that are yet to come.
    for (std::uint64_t i = below(4); i > 0; --i) {
      const auto topic = static_cast<std::uint32_t>(below(topics));
      const std::uint64_t position = below(positions_[topic % streams] + 6);
      if (!ModelClient::goes_through(audience, topic))
        continue;  // a replay contains only messages of its audience
      skip.topics[topic] = std::max(skip.topics[topic], position);
      real->add_topic(TopicId{topic}, static_cast<StreamId>(topic % streams), position);
    }
    for (std::uint32_t stream = 0; stream < streams; ++stream) {
      if (below(3) > 0) continue;
      skip.streams[stream] = below(positions_[stream] + 6);
      real->add_stream(static_cast<StreamId>(stream), skip.streams[stream]);
    }
    client.release(audience, skip);
    rig_.shard.release_join_buffer(ClientId{id}, AudienceId{audience}, std::move(real));
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
    clients_[id].peer->stream.error = ECONNRESET;
    if (Client* const client = rig_.shard.find(ClientId{id})) client->on_writable();
  }

  void give_room() {
    const std::uint64_t id = any_client();
    clients_[id].peer->stream.room += below(3) == 0 ? below(400) : below(8);
    if (Client* const client = rig_.shard.find(ClientId{id})) client->on_writable();
    if (below(2) == 0) flush();
  }

  void drain() {
    for (auto& [id, client] : clients_) {
      for (const std::uint32_t audience : std::set<std::uint32_t>(client.buffering)) {
        if (open(id) == nullptr) break;
        client.release(audience, {});
        rig_.shard.release_join_buffer(ClientId{id}, AudienceId{audience}, nullptr);
      }
      client.peer->stream.room = SimulatedStream::no_limit;
      if (Client* const each = rig_.shard.find(ClientId{id})) each->on_writable();
    }
    rig_.turn();
  }

  void check(const ModelClient& client) {
    std::string output = client.peer->stream.output;
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
      ASSERT_TRUE(place.contains(item)) << item.first << " " << item.second << " was not queued for it";
      ASSERT_TRUE(accounted.insert(item).second) << item.first << " " << item.second << " came twice";
      ASSERT_LT(reached[item.first], item.second) << "out of order";
      reached[item.first] = item.second;
    };
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream in(line.substr(line[0] == '!' || line[0] == '+' ? 1 : 0));
      std::uint64_t first = 0;
      std::uint64_t second = 0;
      if (line.starts_with("!BYE")) {
        ASSERT_EQ(client.peer->goodbyes.size(), 1u);
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
          ASSERT_EQ(line, ShardRig::text(static_cast<std::uint32_t>(first), second, padding.size())
                              .substr(0, line.size()));
        }
        const Item item{is_reply ? reply_mark : static_cast<std::uint32_t>(first), second};
        account(item);
        // When the log evicts, the model does not know which messages were queued just before and just after.
        if (kind_ == Kind::tight_joins && evicted() > 0) continue;
        ASSERT_GE(place.at(item), next_place) << "not in the order in which it was queued";
        next_place = place.at(item) + 1;
      }
    }
    if (client.vanished) return;
    std::map<std::uint32_t, std::uint64_t> newest;
    for (const Item& item : client.queued) newest[item.first] = item.second;
    bool ended = false;
    for (const Item& item : client.queued) {
      if (!client.peer->goodbyes.empty()) {
        // It ended within a run of messages and gets none of the others. The model only sees the state
        // between runs.
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
    std::uint64_t matched = 0;
    for (const auto& [id, client] : clients_) {
      for (const Item& item : client.queued) matched += item.first == reply_mark ? 0 : 1;
    }
    ASSERT_LE(ledger().delivered + ledger().conflated + ledger().dropped, matched);
    std::uint64_t skipped = 0;
    for (const auto& [id, client] : clients_) skipped += client.skipped;
    ASSERT_LE(ledger().skipped, skipped);
    ASSERT_EQ(counters().unsent_clients.get(), 0u);
  }

  /// Holds after each step, even if messages are partly written or wait.
  void check_ledger() {
    const DeliveryLedger& all = ledger();
    ASSERT_EQ(all.matched, all.delivered + all.conflated + all.dropped + all.client_gone + all.unsubscribed +
                               all.join_buffer_full + all.skipped + all.pending);
  }

  /// No message is delivered before its last byte is sent, whatever streams keep.
  void check_delivered() {
    std::uint64_t sent = 0;
    bool kept = false;
    for (const auto& [id, client] : clients_) {
      const std::string& output = client.peer->stream.output;
      kept = kept || client.peer->stream.keeps_max > 0;
      for (std::size_t at = 0, end = 0; (end = output.find('\n', at)) != std::string::npos; at = end + 1) {
        sent += output[at] == '!' || output[at] == '+' ? 0u : 1u;
      }
    }
    ASSERT_LE(ledger().delivered, sent);
    if (!kept) {
      ASSERT_EQ(ledger().delivered, sent);
    }
  }

  void check_memory() {
    // Nothing is pinned: after the next segment, only that one is in use.
    for (int i = 0; i < 50; ++i) rig_.append(topics + 1, 1, 30);
    rig_.turn();
    rig_.append(topics + 1, 1, 2000);
    rig_.turn();
    rig_.append(topics + 1, 1);
    rig_.turn();
    rig_.append(topics + 1, 1, 2000);
    ASSERT_LE(rig_.log.bytes_in_use(), 3000u);
  }

  std::mt19937 random_;
  const Kind kind_;
  ShardRig rig_;
  std::map<std::uint64_t, ModelClient> clients_;
  std::map<std::uint32_t, std::uint64_t> offsets_;
  std::map<std::uint32_t, std::uint64_t> positions_;  ///< by stream
};

/// In how many runs each of these occurred.
struct Seen {
  int dropped{};
  int conflated{};
  int client_gone{};
  int evicted{};
  int skipped{};
  int join_buffers_full{};
};

Seen run_all(Kind kind, std::uint32_t runs) {
  Seen seen;
  for (std::uint32_t seed = 1; seed <= runs; ++seed) {
    SCOPED_TRACE(seed);
    RandomRun run(seed, kind);
    run.go();
    if (::testing::Test::HasFatalFailure()) break;
    seen.dropped += run.ledger().dropped > 0 ? 1 : 0;
    seen.conflated += run.ledger().conflated > 0 ? 1 : 0;
    seen.client_gone += run.ledger().client_gone > 0 ? 1 : 0;
    seen.evicted += run.evicted() > 0 ? 1 : 0;
    seen.skipped += run.ledger().skipped > 0 ? 1 : 0;
    seen.join_buffers_full += run.counters().join_buffers_full.get() > 0 ? 1 : 0;
  }
  return seen;
}

TEST(EngineModel, EveryMessageIsReceivedOrAnnouncedHoweverSlowTheSocketsAre) {
  const Seen seen = run_all(Kind::no_joins, 4000);
  EXPECT_GT(seen.dropped, 1000);
  EXPECT_GT(seen.conflated, 300);
  EXPECT_GT(seen.client_gone, 300);
  EXPECT_GT(seen.evicted, 300);
}

TEST(EngineModel, BufferedMessagesAreSentOnceAndInOrder) {
  const Seen seen = run_all(Kind::joins_in_runs, 4000);
  EXPECT_GT(seen.skipped, 1000);
  EXPECT_EQ(seen.join_buffers_full, 0);
}

TEST(EngineModel, BufferedMessagesAreSentOrTheirJoinBufferIsReportedFull) {
  const Seen seen = run_all(Kind::tight_joins, 4000);
  EXPECT_GT(seen.skipped, 400);
  EXPECT_GT(seen.join_buffers_full, 500);
  EXPECT_GT(seen.dropped, 300);
  EXPECT_GT(seen.evicted, 100);
}

}  // namespace
}  // namespace backplane::fanout
