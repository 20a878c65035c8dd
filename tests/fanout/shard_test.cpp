#include "fanout/shard.hpp"

#include <chrono>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fanout/shard_fixture.hpp"

namespace backplane::fanout {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_F(ShardTest, AClientGetsWhatItsAudiencesGet) {
  const auto one = add(1, {1});
  const auto both = add(2, {1, 2});
  const auto none = add(3, {});
  stage_.append(1, 1);
  stage_.append(2, 1);
  stage_.append(1, 2);
  stage_.turn();
  EXPECT_EQ(one->stream.output, "1 1 \n1 2 \n");
  EXPECT_EQ(both->stream.output, "1 1 \n2 1 \n1 2 \n");
  EXPECT_EQ(none->stream.output, "");
}

TEST_F(ShardTest, OneWriteCarriesATurnsMessages) {
  const auto client = add(1, {1, 2});
  for (std::uint64_t i = 1; i <= 100; ++i) stage_.append(1 + i % 2, i);
  stage_.turn();
  EXPECT_EQ(client->stream.writes, 1);
}

TEST_F(ShardTest, AMemberOfTwoAudiencesOfARouteGetsAMessageOnce) {
  stage_.shard.set_route(RouteId{1}, {AudienceId{1}, AudienceId{2}});
  const auto client = add(1, {1, 2});
  stage_.append(1, 1);
  stage_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n");
}

TEST_F(ShardTest, AReplyStandsBetweenTheMessagesBetweenWhichItWasMade) {
  const auto client = add(1, {1});
  client->stream.room = 0;
  stage_.append(1, 1);
  stage_.catch_up();
  stage_.client(1).reply("+OK\n");
  stage_.append(1, 2);
  stage_.turn();
  give_room(1, *client, SimulatedStream::no_limit);
  EXPECT_EQ(client->stream.output, "1 1 \n+OK\n1 2 \n");
}

TEST_F(ShardTest, ACommandTakesEffectBetweenTheMessagesBetweenWhichItWasPut) {
  const auto client = add(1, {});
  std::vector<Shard::Command> commands;
  stage_.append(1, 1);
  commands.push_back({stage_.log.appended(), [](Shard& shard) { shard.join(ClientId{1}, AudienceId{1}); }});
  stage_.append(1, 2);
  commands.push_back({stage_.log.appended(), [](Shard& shard) { shard.leave(ClientId{1}, AudienceId{1}); }});
  stage_.append(1, 3);
  stage_.shard.put_commands(commands);
  stage_.turn();
  EXPECT_EQ(client->stream.output, "1 2 \n");
}

TEST_F(ShardTest, EverySplitOfWhatIsWrittenGivesTheSameBytes) {
  std::string whole;
  for (std::size_t split = 0; split < 40; ++split) {
    Stage stage;
    stage.shard.set_route(RouteId{1}, {AudienceId{1}});
    const auto client = stage.add(1);
    stage.shard.join(ClientId{1}, AudienceId{1});
    client->stream.room = split;
    stage.append(1, 1);
    stage.catch_up();
    stage.client(1).reply("+OK\n");
    stage.append(1, 2, 3);
    stage.turn();
    EXPECT_EQ(client->stream.output.size(), std::min<std::size_t>(split, 17));
    // One byte at a time from here.
    for (int i = 0; i < 20; ++i) {
      client->stream.room = 1;
      stage.client(1).on_writable();
      stage.flush();
    }
    EXPECT_EQ(client->stream.output, "1 1 \n+OK\n1 2 ...\n") << split;
  }
}

/// Becomes another handler at its first byte, and once more at the second, with what is not used.
class Caterpillar final : public Handler {
 public:
  Caterpillar(Client& client, std::shared_ptr<Played> played, int changes)
      : client_(client), played_(std::move(played)), changes_(changes) {}
  ~Caterpillar() override { played_->goodbyes.push_back("gone " + std::to_string(changes_)); }
  void on_bytes(std::string_view bytes) override { change(bytes.substr(1)); }
  void on_input_end() override { change({}); }
  void report_losses(std::span<const Loss>, std::string&) override {}
  void say_goodbye(std::string_view) override {}
  void on_alarm() override { client_.reply("alarm"); }

 private:
  void change(std::string_view rest) {
    if (changes_ > 1) {
      client_.switch_handler(std::make_unique<Caterpillar>(client_, played_, changes_ - 1), rest);
    } else {
      client_.switch_handler(std::make_unique<PlayedHandler>(client_, played_), rest);
    }
    EXPECT_EQ(played_->goodbyes.size(), 2u - static_cast<unsigned>(changes_)) << "it outlives its own call";
  }
  Client& client_;
  std::shared_ptr<Played> played_;
  int changes_;
};

TEST_F(ShardTest, AHandlerBecomesAnotherWithTheBytesThatItDidNotUse) {
  for (const std::size_t piece : {1u, 2u, 100u}) {
    const std::uint64_t id = 10 + piece;
    auto played = add(id, {});
    played->stream.read_max = piece;
    Client& client = stage_.client(id);
    client.set_handler(std::make_unique<Caterpillar>(client, played, 2));
    played->goodbyes.clear();
    played->stream.input = "abrest";
    client.on_readable();
    stage_.turn();
    EXPECT_EQ(played->received, "rest");
    EXPECT_THAT(played->goodbyes, ElementsAre("gone 2", "gone 1"));
    EXPECT_FALSE(played->input_ended);
  }
}

TEST_F(ShardTest, WhoBecomesAnotherAtTheEndOfInputIsToldOfIt) {
  auto played = add(9, {});
  Client& client = stage_.client(9);
  client.set_handler(std::make_unique<Caterpillar>(client, played, 2));
  played->goodbyes.clear();
  played->stream.input_ends = true;
  client.on_readable();
  stage_.turn();
  EXPECT_TRUE(played->input_ended);
  EXPECT_THAT(played->goodbyes, ElementsAre("gone 2", "gone 1"));
}

TEST_F(ShardTest, AnAlarmRingsOnceAtItsTimeAndEndsWithItsHandler) {
  auto played = add(9, {});
  Client& client = stage_.client(9);
  client.set_handler(std::make_unique<Caterpillar>(client, played, 2));
  client.set_alarm(stage_.now + 5s);
  client.set_alarm(stage_.now + 2s);
  stage_.pass(1900ms);
  stage_.turn();
  EXPECT_EQ(played->stream.output, "");
  for (int i = 0; i < 5; ++i) {
    stage_.pass(2s);
    stage_.turn();
  }
  EXPECT_EQ(played->stream.output, "alarm");
  client.set_alarm(stage_.now + 2s);
  client.switch_handler(std::make_unique<PlayedHandler>(client, played), {});
  stage_.pass(3s);
  stage_.turn();
  EXPECT_EQ(played->stream.output, "alarm");
}

TEST_F(ShardTest, AMessageLargerThanASegmentArrivesWhole) {
  const auto client = add(1, {1});
  stage_.append(1, 1);
  stage_.append(1, 2, 1u << 20);
  stage_.append(1, 3);
  stage_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n" + Stage::text(1, 2, 1u << 20) + "1 3 \n");
}

TEST_F(ShardTest, EveryGivesTheFirstAtOnceAndThenTheLatestOnceAnInterval) {
  stage_.shard.set_interval(AudienceId{1}, 5s);
  const auto client = add(1, {1});
  stage_.append(1, 1);
  stage_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n");
  stage_.append(1, 2);
  stage_.append(1, 3);
  stage_.turn();
  stage_.pass(4990ms);
  stage_.flush();
  EXPECT_EQ(client->stream.output, "1 1 \n");
  stage_.pass(20ms);
  stage_.flush();
  EXPECT_EQ(client->stream.output, "1 1 \n1 3 \n");
  EXPECT_EQ(ledger().conflated, 1u);
  stage_.pass(5020ms);
  stage_.flush();  // nothing new: nothing is said
  EXPECT_EQ(client->stream.output, "1 1 \n1 3 \n");
  stage_.append(1, 4);
  stage_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n1 3 \n1 4 \n");
}

TEST_F(ShardTest, WhatComesAtAnIntervalIsDeliveredWhenItsLastByteIsWritten) {
  stage_.shard.set_interval(AudienceId{1}, 100ms);
  const auto client = add(1, {1});
  client->stream.room = 4;
  stage_.append(1, 1);
  stage_.turn();
  EXPECT_EQ(client->stream.output, "1 1 ");
  EXPECT_EQ(ledger().pending, 1u);
  EXPECT_EQ(ledger().delivered, 0u);
  give_room(1, *client, 1);
  EXPECT_EQ(ledger().pending, 0u);
  EXPECT_EQ(ledger().delivered, 1u);
}

TEST_F(ShardTest, WhereAllRepliesAreTooMuchWhoReadsLeastIsSentAway) {
  ShardOptions options;
  options.replies_total_bytes_max = 1000;
  Stage stage(options);
  std::vector<std::shared_ptr<Played>> clients;
  for (std::uint64_t id = 1; id <= 3; ++id) {
    clients.push_back(stage.add(id));
    clients.back()->stream.room = id == 3 ? SimulatedStream::no_limit : 0;
  }
  for (int i = 0; i < 100; ++i) {
    stage.client(1).reply(std::string(4, 'a'));
    if (Client* const second = stage.shard.find(ClientId{2})) second->reply(std::string(9, 'b'));
    stage.client(3).reply(std::string(40, 'c'));
    stage.turn();
  }
  EXPECT_THAT(clients[1]->goodbyes, ElementsAre("replies_unread"));
  EXPECT_THAT(clients[0]->goodbyes, IsEmpty());
  EXPECT_THAT(clients[2]->goodbyes, IsEmpty()) << "it reads as it gets it";
  EXPECT_EQ(stage.shard.counters().unread.get(), 1u);
  stage.pass(options.linger + 50ms);
  stage.flush();
  EXPECT_TRUE(clients[1]->gone);
}

TEST_F(ShardTest, EveryHoldsTheLatestForAClientThatDoesNotRead) {
  stage_.shard.set_interval(AudienceId{1}, 100ms);
  const auto client = add(1, {1});
  client->stream.room = 0;
  for (std::uint64_t i = 1; i <= 200; ++i) {
    stage_.append(1, i, 10'000);
    stage_.turn();
    stage_.pass(200ms);
    stage_.flush();
  }
  EXPECT_LE(stage_.client(1).backlog().reply_bytes(), 80'000u);
  give_room(1, *client, SimulatedStream::no_limit);
  stage_.pass(200ms);
  stage_.flush();
  EXPECT_TRUE(client->stream.output.ends_with(Stage::text(1, 200, 10'000)));
  EXPECT_EQ(ledger().matched, ledger().delivered + ledger().conflated);
}

TEST_F(ShardTest, WhoIsAlsoInAnAudienceWithoutIntervalGetsAllAtOnce) {
  stage_.shard.set_interval(AudienceId{1}, 5s);
  stage_.shard.set_route(RouteId{1}, {AudienceId{1}, AudienceId{2}});
  const auto client = add(1, {1, 2});
  stage_.append(1, 1);
  stage_.append(1, 2);
  stage_.turn();
  stage_.pass(10s);
  stage_.flush();
  EXPECT_EQ(client->stream.output, "1 1 \n1 2 \n");
}

TEST_F(ShardTest, WhoLeavesGetsNothingThatWasHeldForIt) {
  stage_.shard.set_interval(AudienceId{1}, 5s);
  const auto client = add(1, {1});
  stage_.append(1, 1);
  stage_.append(1, 2);
  stage_.turn();
  stage_.shard.leave(ClientId{1}, AudienceId{1});
  stage_.pass(10s);
  stage_.flush();
  EXPECT_EQ(client->stream.output, "1 1 \n");
  EXPECT_EQ(ledger().unsubscribed, 1u);
}

TEST_F(ShardTest, AClientThatVanishesLeavesNothingBehind) {
  const auto client = add(1, {1});
  client->stream.room = 3;
  stage_.append(1, 1);
  stage_.append(1, 2);
  stage_.turn();
  client->stream.error = ECONNRESET;
  give_room(1, *client, 100);
  EXPECT_TRUE(client->gone);
  EXPECT_EQ(stage_.shard.find(ClientId{1}), nullptr);
  EXPECT_EQ(ledger().client_gone, 2u);
  EXPECT_EQ(counters().clients.get(), 0u);
  stage_.append(1, 3);
  stage_.turn();
  EXPECT_EQ(ledger().matched, 2u);
}

TEST_F(ShardTest, HalfClosingIsNotLeaving) {
  const auto client = add(1, {1});
  client->stream.input = "SUB 1\n";
  client->stream.input_ends = true;
  stage_.client(1).on_readable();
  EXPECT_EQ(client->received, "SUB 1\n");
  EXPECT_TRUE(client->input_ended);
  stage_.append(1, 1);
  stage_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n");
  EXPECT_FALSE(client->gone);
}

TEST_F(ShardTest, InputIsHeldWhileTheProtocolCannotTakeMore) {
  const auto client = add(1, {});
  stage_.client(1).pause_input(true);
  client->stream.input = "PUB\n";
  stage_.client(1).on_readable();  // the only time that the kernel says so
  stage_.flush();
  EXPECT_EQ(client->received, "");
  stage_.client(1).pause_input(false);
  stage_.flush();
  EXPECT_EQ(client->received, "PUB\n");
}

TEST_F(ShardTest, WhoEndsGetsItsLastWordsAndIsGoneWhenItClosesToo) {
  const auto client = add(1, {1});
  stage_.append(1, 1);
  stage_.catch_up();
  stage_.shard.say_goodbye("drain");
  stage_.append(1, 2);
  stage_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n!BYE drain\n");
  EXPECT_TRUE(client->stream.output_ended);
  EXPECT_FALSE(client->gone);
  client->stream.input_ends = true;
  stage_.client(1).on_readable();
  stage_.flush();
  EXPECT_TRUE(client->gone);
}

TEST_F(ShardTest, WhoEndsAndIsNotClosedByItsOtherSideIsClosedAfterSomeTime) {
  const auto client = add(1, {});
  stage_.client(1).end("bye\n");
  stage_.flush();
  stage_.pass(990ms);
  stage_.flush();
  EXPECT_FALSE(client->gone);
  stage_.pass(30ms);
  stage_.flush();
  EXPECT_TRUE(client->gone);
}

TEST_F(ShardTest, WhoIsOverIsToldOfOnce) {
  const auto client = add(1, {1, 2});
  const auto other = add(2, {1});
  stage_.client(1).abort();
  stage_.flush();
  stage_.flush();
  EXPECT_THAT(stage_.shard.closed_clients(), ElementsAre(ClientId{1}));
  stage_.append(1, 1);
  stage_.turn();
  EXPECT_EQ(other->stream.output, "1 1 \n");
}

TEST_F(ShardTest, MembersComeAndGoInAnyOrder) {
  std::vector<std::shared_ptr<Played>> clients;
  for (std::uint64_t id = 1; id <= 9; ++id) clients.push_back(add(id, {1, 2}));
  for (const std::uint64_t id : {9u, 1u, 5u}) stage_.shard.leave(ClientId{id}, AudienceId{1});
  stage_.shard.leave(ClientId{5}, AudienceId{1});  // it has left already
  for (const std::uint64_t id : {2u, 3u}) stage_.shard.join_buffered(ClientId{id}, AudienceId{1});
  stage_.client(4).abort();
  stage_.flush();
  stage_.shard.join(ClientId{5}, AudienceId{1});
  stage_.append(1, 1);
  stage_.append(2, 1);
  stage_.turn();
  for (std::uint64_t id = 1; id <= 9; ++id) {
    const bool in_one = id == 5 || (id >= 6 && id <= 8);
    EXPECT_EQ(clients[id - 1]->stream.output, id == 4 ? "" : in_one ? "1 1 \n2 1 \n" : "2 1 \n") << id;
  }
}

}  // namespace
}  // namespace backplane::fanout
