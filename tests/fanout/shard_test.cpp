#include "fanout/shard.hpp"

#include <chrono>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fanout/shard_fixture.hpp"

namespace backplane::fanout {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_F(ShardTest, AClientGetsTheMessagesOfItsAudiences) {
  const auto one = add(1, {1});
  const auto both = add(2, {1, 2});
  const auto none = add(3, {});
  rig_.append(1, 1);
  rig_.append(2, 1);
  rig_.append(1, 2);
  rig_.turn();
  EXPECT_EQ(one->stream.output, "1 1 \n1 2 \n");
  EXPECT_EQ(both->stream.output, "1 1 \n2 1 \n1 2 \n");
  EXPECT_EQ(none->stream.output, "");
}

TEST_F(ShardTest, AllMessagesOfATurnAreWrittenAtOnce) {
  const auto client = add(1, {1, 2});
  for (std::uint64_t i = 1; i <= 100; ++i) rig_.append(1 + i % 2, i);
  rig_.turn();
  EXPECT_EQ(client->stream.writes, 1);
}

TEST_F(ShardTest, AMemberOfTwoAudiencesOfARouteGetsAMessageOnce) {
  rig_.shard.set_route(RouteId{1}, {AudienceId{1}, AudienceId{2}});
  const auto client = add(1, {1, 2});
  rig_.append(1, 1);
  rig_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n");
}

TEST_F(ShardTest, RepliesAndMessagesAreWrittenInTheOrderInWhichTheyWereQueued) {
  const auto client = add(1, {1});
  client->stream.room = 0;
  rig_.append(1, 1);
  rig_.read_log();
  rig_.client(1).reply("+OK\n");
  rig_.append(1, 2);
  rig_.turn();
  give_room(1, *client, SimulatedStream::no_limit);
  EXPECT_EQ(client->stream.output, "1 1 \n+OK\n1 2 \n");
}

TEST_F(ShardTest, CommandsTakeEffectInOrderWithTheMessages) {
  const auto client = add(1, {});
  std::vector<Shard::Command> commands;
  rig_.append(1, 1);
  commands.push_back({rig_.log.appended(), [](Shard& shard) { shard.join(ClientId{1}, AudienceId{1}); }});
  rig_.append(1, 2);
  commands.push_back({rig_.log.appended(), [](Shard& shard) { shard.leave(ClientId{1}, AudienceId{1}); }});
  rig_.append(1, 3);
  rig_.shard.put_commands(commands);
  rig_.turn();
  EXPECT_EQ(client->stream.output, "1 2 \n");
}

TEST_F(ShardTest, AFloodOfCommandsIsRunInSeveralTurnsInOrderWithTheMessages) {
  const auto client = add(1, {1});
  std::vector<int> run;
  std::vector<Shard::Command> commands;
  rig_.append(1, 1);
  static constexpr int count = 4 * Shard::commands_per_look;
  for (int i = 0; i < count; ++i) {
    if (i == count / 2) rig_.append(1, 2);
    commands.push_back({rig_.log.appended(), [&run, i](Shard&) {
                          run.push_back(i);
                          const auto end =
                              std::chrono::steady_clock::now() + Shard::command_time_per_turn / 32;
                          while (std::chrono::steady_clock::now() < end) continue;
                        }});
  }
  rig_.append(1, 3);
  rig_.shard.put_commands(commands);
  rig_.turn();
  EXPECT_EQ(run.size(), Shard::commands_per_look);
  EXPECT_EQ(client->stream.output, "1 1 \n") << "it does not wait for the commands behind it";
  EXPECT_TRUE(rig_.shard.is_behind()) << "the others are run without another event";
  EXPECT_TRUE(rig_.shard.has_commands_left());
  commands.push_back({rig_.log.appended(), [&run](Shard&) { run.push_back(count); }});
  rig_.shard.put_commands(commands);
  rig_.turn();
  rig_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n1 2 \n");
  rig_.turn();
  rig_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n1 2 \n1 3 \n");
  EXPECT_FALSE(rig_.shard.is_behind());
  std::vector<int> all(count + 1);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(run, all);
}

void spend_the_time_of_a_turn() {
  const auto end = std::chrono::steady_clock::now() + Shard::input_time_per_turn;
  while (std::chrono::steady_clock::now() < end) continue;
}

TEST_F(ShardTest, WhoSendsFirstIsReadFirstAlsoIfItHadToWait) {
  std::vector<std::uint64_t> order;
  for (std::uint64_t id = 1; id <= 4; ++id) {
    const auto sender = add(id, {});
    sender->stream.input = "x";
    sender->on_bytes = [&order, id] {
      order.push_back(id);
      spend_the_time_of_a_turn();
    };
  }
  const auto turn = [&](const std::vector<std::uint64_t>& readable) {
    rig_.shard.begin_input();
    for (const std::uint64_t id : readable) rig_.client(id).on_readable();
    rig_.shard.flush(rig_.now);
  };
  turn({1, 2, 3});
  turn({4});
  turn({});
  turn({});
  EXPECT_THAT(order, ElementsAre(1, 2, 3, 4));
}

TEST_F(ShardTest, MessagesDoNotWaitForAllClientsThatSendWithoutAPauseAndTheseAreReadInTurn) {
  std::vector<std::shared_ptr<Peer>> senders;
  for (std::uint64_t id = 1; id <= 4; ++id) {
    senders.push_back(add(id, {}));
    senders.back()->stream.input.assign(100'000, 'x');
    senders.back()->stream.read_max = 1000;
    senders.back()->on_bytes = spend_the_time_of_a_turn;
  }
  const auto received = [&] {
    std::vector<std::size_t> result;
    for (const auto& sender : senders) result.push_back(sender->received.size());
    return result;
  };
  const auto reader = add(9, {1});
  rig_.append(1, 1);
  rig_.shard.begin_input();
  for (std::uint64_t id = 1; id <= 4; ++id) rig_.client(id).on_readable();
  EXPECT_THAT(received(), ElementsAre(1000, 0, 0, 0));
  rig_.read_log();
  rig_.shard.flush(rig_.now);
  EXPECT_EQ(reader->stream.output, "1 1 \n");
  EXPECT_THAT(received(), ElementsAre(1000, 1000, 0, 0));
  EXPECT_TRUE(rig_.shard.is_dirty()) << "the others are read without another event";
  rig_.shard.flush(rig_.now);
  EXPECT_THAT(received(), ElementsAre(1000, 1000, 1000, 0));
  rig_.shard.flush(rig_.now);
  rig_.shard.flush(rig_.now);
  EXPECT_THAT(received(), ElementsAre(2000, 1000, 1000, 1000));
  rig_.flush();
  EXPECT_THAT(received(), ElementsAre(100'000, 100'000, 100'000, 100'000));
}

TEST_F(ShardTest, TheBytesAreTheSameHoweverTheWriteIsSplit) {
  std::string whole;
  for (std::size_t split = 0; split < 40; ++split) {
    ShardRig rig;
    rig.shard.set_route(RouteId{1}, {AudienceId{1}});
    const auto client = rig.add(1);
    rig.shard.join(ClientId{1}, AudienceId{1});
    client->stream.room = split;
    rig.append(1, 1);
    rig.read_log();
    rig.client(1).reply("+OK\n");
    rig.append(1, 2, 3);
    rig.turn();
    EXPECT_EQ(client->stream.output.size(), std::min<std::size_t>(split, 17));
    // Then one byte at a time.
    for (int i = 0; i < 20; ++i) {
      client->stream.room = 1;
      rig.client(1).on_writable();
      rig.flush();
    }
    EXPECT_EQ(client->stream.output, "1 1 \n+OK\n1 2 ...\n") << split;
  }
}

TEST_F(ShardTest, WhatAStreamKeepsIsDeliveredWhenItIsSent) {
  const auto client = add(1, {1});
  client->stream.room = 7;  // the first message of 5 bytes, and a part of the second
  client->stream.keeps_max = 100;
  for (std::uint64_t i = 1; i <= 3; ++i) rig_.append(1, i);
  rig_.turn();
  EXPECT_EQ(client->stream.kept, "2 \n1 3 \n");
  EXPECT_EQ(ledger().delivered, 1u);
  EXPECT_EQ(ledger().pending, 2u);
  EXPECT_EQ(counters().unsent_clients.get(), 1u);
  give_room(1, *client, 7);  // all but the last byte of the third
  EXPECT_EQ(ledger().delivered, 1u);
  give_room(1, *client, SimulatedStream::no_limit);
  EXPECT_EQ(client->stream.output, "1 1 \n1 2 \n1 3 \n");
  EXPECT_EQ(ledger().delivered, 3u);
  EXPECT_EQ(ledger().pending, 0u);
  EXPECT_EQ(counters().unsent_clients.get(), 0u);
}

TEST_F(ShardTest, WhatAStreamKeepsIsNotDeliveredIfTheClientIsGone) {
  const auto client = add(1, {1});
  client->stream.room = 3;
  client->stream.keeps_max = 100;
  for (std::uint64_t i = 1; i <= 3; ++i) rig_.append(1, i);
  rig_.turn();
  rig_.client(1).abort();
  rig_.turn();
  EXPECT_EQ(ledger().delivered, 0u);
  EXPECT_EQ(ledger().client_gone, 3u);
  EXPECT_EQ(ledger().pending, 0u);
}

TEST_F(ShardTest, WhatAStreamKeepsIsNeverDropped) {
  const auto client = add(1, {1});
  client->stream.room = 1;
  client->stream.keeps_max = 9;
  for (std::uint64_t i = 1; i <= 4; ++i) rig_.append(1, i);
  rig_.turn();
  rig_.client(1).evict(rig_.log.appended());  // as if the log were full
  give_room(1, *client, SimulatedStream::no_limit);
  EXPECT_EQ(client->stream.output, "1 1 \n1 2 \n!1 3 4\n");
  EXPECT_EQ(ledger().delivered, 2u);
  EXPECT_EQ(ledger().dropped, 2u);
}

TEST_F(ShardTest, TheOutputEndsAfterWhatAStreamKeeps) {
  const auto client = add(1, {1});
  client->stream.room = 1;
  client->stream.keeps_max = 100;
  rig_.client(1).end("bye\n");
  rig_.flush();
  EXPECT_FALSE(client->stream.output_ended);
  give_room(1, *client, SimulatedStream::no_limit);
  EXPECT_EQ(client->stream.output, "bye\n");
  EXPECT_TRUE(client->stream.output_ended);
}

/// Switches to another handler at its first byte, and passes the rest on.
class SwitchingHandler final : public Handler {
 public:
  SwitchingHandler(Client& client, std::shared_ptr<Peer> peer, int switches)
      : client_(client), peer_(std::move(peer)), switches_(switches) {}
  ~SwitchingHandler() override { peer_->goodbyes.push_back("destroyed " + std::to_string(switches_)); }
  void on_bytes(std::string_view bytes) override { switch_to_next(bytes.substr(1)); }
  void on_input_end() override { switch_to_next({}); }
  void report_losses(std::span<const Loss>, std::string&) override {}
  void say_goodbye(std::string_view) override {}
  void on_alarm() override { client_.reply("alarm"); }

 private:
  void switch_to_next(std::string_view rest) {
    if (switches_ > 1) {
      client_.switch_handler(std::make_unique<SwitchingHandler>(client_, peer_, switches_ - 1), rest);
    } else {
      client_.switch_handler(std::make_unique<RecordingHandler>(client_, peer_), rest);
    }
    EXPECT_EQ(peer_->goodbyes.size(), 2u - static_cast<unsigned>(switches_))
        << "a handler outlives its own call";
  }
  Client& client_;
  std::shared_ptr<Peer> peer_;
  int switches_;
};

TEST_F(ShardTest, AHandlerIsReplacedAndTheNewOneGetsTheUnusedBytes) {
  for (const std::size_t piece : {1u, 2u, 100u}) {
    const std::uint64_t id = 10 + piece;
    auto peer = add(id, {});
    peer->stream.read_max = piece;
    Client& client = rig_.client(id);
    client.set_handler(std::make_unique<SwitchingHandler>(client, peer, 2));
    peer->goodbyes.clear();
    peer->stream.input = "abrest";
    client.on_readable();
    rig_.turn();
    EXPECT_EQ(peer->received, "rest");
    EXPECT_THAT(peer->goodbyes, ElementsAre("destroyed 2", "destroyed 1"));
    EXPECT_FALSE(peer->input_ended);
  }
}

TEST_F(ShardTest, AHandlerThatReplacesAnotherAtTheEndOfInputIsNotifiedOfIt) {
  auto peer = add(9, {});
  Client& client = rig_.client(9);
  client.set_handler(std::make_unique<SwitchingHandler>(client, peer, 2));
  peer->goodbyes.clear();
  peer->stream.input_ends = true;
  client.on_readable();
  rig_.turn();
  EXPECT_TRUE(peer->input_ended);
  EXPECT_THAT(peer->goodbyes, ElementsAre("destroyed 2", "destroyed 1"));
}

TEST_F(ShardTest, AnAlarmGoesOffOnceAtItsTimeAndEndsWithItsHandler) {
  auto peer = add(9, {});
  Client& client = rig_.client(9);
  client.set_handler(std::make_unique<SwitchingHandler>(client, peer, 2));
  client.set_alarm(rig_.now + 5s);
  client.set_alarm(rig_.now + 2s);
  rig_.pass(1900ms);
  rig_.turn();
  EXPECT_EQ(peer->stream.output, "");
  for (int i = 0; i < 5; ++i) {
    rig_.pass(2s);
    rig_.turn();
  }
  EXPECT_EQ(peer->stream.output, "alarm");
  client.set_alarm(rig_.now + 2s);
  client.switch_handler(std::make_unique<RecordingHandler>(client, peer), {});
  rig_.pass(3s);
  rig_.turn();
  EXPECT_EQ(peer->stream.output, "alarm");
}

TEST_F(ShardTest, AMessageLargerThanASegmentArrivesWhole) {
  const auto client = add(1, {1});
  rig_.append(1, 1);
  rig_.append(1, 2, 1u << 20);
  rig_.append(1, 3);
  rig_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n" + ShardRig::text(1, 2, 1u << 20) + "1 3 \n");
}

TEST_F(ShardTest, AThrottledAudienceSendsTheFirstMessageAtOnceAndThenTheLatestPerInterval) {
  rig_.shard.set_interval(AudienceId{1}, 5s);
  const auto client = add(1, {1});
  rig_.append(1, 1);
  rig_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n");
  rig_.append(1, 2);
  rig_.append(1, 3);
  rig_.turn();
  rig_.pass(4990ms);
  rig_.flush();
  EXPECT_EQ(client->stream.output, "1 1 \n");
  rig_.pass(20ms);
  rig_.flush();
  EXPECT_EQ(client->stream.output, "1 1 \n1 3 \n");
  EXPECT_EQ(ledger().conflated, 1u);
  rig_.pass(5020ms);
  rig_.flush();  // nothing new: nothing is sent
  EXPECT_EQ(client->stream.output, "1 1 \n1 3 \n");
  rig_.append(1, 4);
  rig_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n1 3 \n1 4 \n");
}

TEST_F(ShardTest, AThrottledMessageIsDeliveredWhenItsLastByteIsWritten) {
  rig_.shard.set_interval(AudienceId{1}, 100ms);
  const auto client = add(1, {1});
  client->stream.room = 4;
  rig_.append(1, 1);
  rig_.turn();
  EXPECT_EQ(client->stream.output, "1 1 ");
  EXPECT_EQ(ledger().pending, 1u);
  EXPECT_EQ(ledger().delivered, 0u);
  give_room(1, *client, 1);
  EXPECT_EQ(ledger().pending, 0u);
  EXPECT_EQ(ledger().delivered, 1u);
}

TEST_F(ShardTest, WhenAllRepliesExceedTheLimitTheClientWithMostIsDisconnected) {
  ShardOptions options;
  options.replies_total_bytes_max = 1000;
  ShardRig rig(options);
  std::vector<std::shared_ptr<Peer>> clients;
  for (std::uint64_t id = 1; id <= 3; ++id) {
    clients.push_back(rig.add(id));
    clients.back()->stream.room = id == 3 ? SimulatedStream::no_limit : 0;
  }
  for (int i = 0; i < 100; ++i) {
    rig.client(1).reply(std::string(4, 'a'));
    if (Client* const second = rig.shard.find(ClientId{2})) second->reply(std::string(9, 'b'));
    rig.client(3).reply(std::string(40, 'c'));
    rig.turn();
  }
  EXPECT_THAT(clients[1]->goodbyes, ElementsAre("replies_unread"));
  EXPECT_THAT(clients[0]->goodbyes, IsEmpty());
  EXPECT_THAT(clients[2]->goodbyes, IsEmpty()) << "it reads its replies";
  EXPECT_EQ(rig.shard.counters().replies_unread.get(), 1u);
  rig.pass(options.linger + 50ms);
  rig.flush();
  EXPECT_TRUE(clients[1]->handler_destroyed);
}

TEST_F(ShardTest, TheLatestThrottledMessageWaitsForAClientThatDoesNotRead) {
  rig_.shard.set_interval(AudienceId{1}, 100ms);
  const auto client = add(1, {1});
  client->stream.room = 0;
  for (std::uint64_t i = 1; i <= 200; ++i) {
    rig_.append(1, i, 10'000);
    rig_.turn();
    rig_.pass(200ms);
    rig_.flush();
  }
  EXPECT_LE(rig_.client(1).backlog().reply_bytes(), 80'000u);
  give_room(1, *client, SimulatedStream::no_limit);
  rig_.pass(200ms);
  rig_.flush();
  EXPECT_TRUE(client->stream.output.ends_with(ShardRig::text(1, 200, 10'000)));
  EXPECT_EQ(ledger().matched, ledger().delivered + ledger().conflated);
}

TEST_F(ShardTest, AMemberOfAnotherAudienceWithoutIntervalGetsAllMessagesAtOnce) {
  rig_.shard.set_interval(AudienceId{1}, 5s);
  rig_.shard.set_route(RouteId{1}, {AudienceId{1}, AudienceId{2}});
  const auto client = add(1, {1, 2});
  rig_.append(1, 1);
  rig_.append(1, 2);
  rig_.turn();
  rig_.pass(10s);
  rig_.flush();
  EXPECT_EQ(client->stream.output, "1 1 \n1 2 \n");
}

TEST_F(ShardTest, AClientThatLeavesGetsNoThrottledMessageAnyMore) {
  rig_.shard.set_interval(AudienceId{1}, 5s);
  const auto client = add(1, {1});
  rig_.append(1, 1);
  rig_.append(1, 2);
  rig_.turn();
  rig_.shard.leave(ClientId{1}, AudienceId{1});
  rig_.pass(10s);
  rig_.flush();
  EXPECT_EQ(client->stream.output, "1 1 \n");
  EXPECT_EQ(ledger().unsubscribed, 1u);
}

TEST_F(ShardTest, AClientThatVanishesLeavesNothingBehind) {
  const auto client = add(1, {1});
  client->stream.room = 3;
  rig_.append(1, 1);
  rig_.append(1, 2);
  rig_.turn();
  client->stream.error = ECONNRESET;
  give_room(1, *client, 100);
  EXPECT_TRUE(client->handler_destroyed);
  EXPECT_EQ(rig_.shard.find(ClientId{1}), nullptr);
  EXPECT_EQ(ledger().client_gone, 2u);
  EXPECT_EQ(counters().clients.get(), 0u);
  rig_.append(1, 3);
  rig_.turn();
  EXPECT_EQ(ledger().matched, 2u);
}

TEST_F(ShardTest, AHalfClosedConnectionStaysOpen) {
  const auto client = add(1, {1});
  client->stream.input = "SUB 1\n";
  client->stream.input_ends = true;
  rig_.client(1).on_readable();
  EXPECT_EQ(client->received, "SUB 1\n");
  EXPECT_TRUE(client->input_ended);
  rig_.append(1, 1);
  rig_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n");
  EXPECT_FALSE(client->handler_destroyed);
}

TEST_F(ShardTest, NothingIsReadWhileInputIsPaused) {
  const auto client = add(1, {});
  rig_.client(1).pause_input(true);
  client->stream.input = "PUB\n";
  rig_.client(1).on_readable();  // the kernel reports the input only once
  rig_.flush();
  EXPECT_EQ(client->received, "");
  rig_.client(1).pause_input(false);
  rig_.flush();
  EXPECT_EQ(client->received, "PUB\n");
}

TEST_F(ShardTest, AClientThatEndsGetsItsLastWordsAndIsDestroyedWhenItsPeerCloses) {
  const auto client = add(1, {1});
  rig_.append(1, 1);
  rig_.read_log();
  rig_.shard.say_goodbye("drain");
  rig_.append(1, 2);
  rig_.turn();
  EXPECT_EQ(client->stream.output, "1 1 \n!BYE drain\n");
  EXPECT_TRUE(client->stream.output_ended);
  EXPECT_FALSE(client->handler_destroyed);
  client->stream.input_ends = true;
  rig_.client(1).on_readable();
  rig_.flush();
  EXPECT_TRUE(client->handler_destroyed);
}

TEST_F(ShardTest, AClientThatEndsIsClosedAfterTheLingerTimeIfItsPeerDoesNotClose) {
  const auto client = add(1, {});
  rig_.client(1).end("bye\n");
  rig_.flush();
  rig_.pass(990ms);
  rig_.flush();
  EXPECT_FALSE(client->handler_destroyed);
  rig_.pass(30ms);
  rig_.flush();
  EXPECT_TRUE(client->handler_destroyed);
}

TEST_F(ShardTest, AClosedClientIsReportedOnce) {
  const auto client = add(1, {1, 2});
  const auto other = add(2, {1});
  rig_.client(1).abort();
  rig_.flush();
  rig_.flush();
  EXPECT_THAT(rig_.shard.closed_clients(), ElementsAre(ClientId{1}));
  rig_.append(1, 1);
  rig_.turn();
  EXPECT_EQ(other->stream.output, "1 1 \n");
}

TEST_F(ShardTest, MembersComeAndGoInAnyOrder) {
  std::vector<std::shared_ptr<Peer>> clients;
  for (std::uint64_t id = 1; id <= 9; ++id) clients.push_back(add(id, {1, 2}));
  for (const std::uint64_t id : {9u, 1u, 5u}) rig_.shard.leave(ClientId{id}, AudienceId{1});
  rig_.shard.leave(ClientId{5}, AudienceId{1});  // it has already left
  for (const std::uint64_t id : {2u, 3u}) rig_.shard.join_buffered(ClientId{id}, AudienceId{1});
  rig_.client(4).abort();
  rig_.flush();
  rig_.shard.join(ClientId{5}, AudienceId{1});
  rig_.append(1, 1);
  rig_.append(2, 1);
  rig_.turn();
  for (std::uint64_t id = 1; id <= 9; ++id) {
    const bool in_one = id == 5 || (id >= 6 && id <= 8);
    EXPECT_EQ(clients[id - 1]->stream.output, id == 4 ? "" : in_one ? "1 1 \n2 1 \n" : "2 1 \n") << id;
  }
}

}  // namespace
}  // namespace backplane::fanout
