// The limits of a shard: backlogs, the log, replies, timeouts.
#include <chrono>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fanout/shard_fixture.hpp"

namespace backplane::fanout {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

class SmallBacklog : public ShardTest {
 protected:
  SmallBacklog() : ShardTest(options()) {}
  static ShardOptions options() {
    ShardOptions options;
    options.client.backlog_bytes_max = 32;  // 6 messages of 5 bytes
    return options;
  }
};

class SmallLog : public ShardTest {
 protected:
  SmallLog() : ShardTest({}, options()) {}
  static LogOptions options() {
    LogOptions options;
    options.segment_bytes = 100;
    options.bytes_max = 1000;
    return options;
  }
};

TEST_F(SmallBacklog, AFullBacklogDropsItsOldestMessagesAndAnnouncesThemWhenItDrains) {
  const auto client = add(1, {1, 2});
  client->stream.room = 2;
  rig_.append(1, 1);
  rig_.turn();  // partly written: it will be completed in any case
  for (std::uint64_t i = 2; i <= 10; ++i) {
    rig_.append(1, i);
    rig_.append(2, i);
    rig_.turn();
  }
  EXPECT_EQ(client->stream.output, "1 ");
  give_room(1, *client, SimulatedStream::no_limit);
  EXPECT_EQ(client->stream.output, "1 1 \n!1 2 7\n!2 2 7\n1 8 \n2 8 \n1 9 \n2 9 \n1 10 \n2 10 \n");
  EXPECT_EQ(ledger().matched, 19u);
  EXPECT_EQ(ledger().delivered, 7u);
  EXPECT_EQ(ledger().dropped, 12u);
}

TEST_F(SmallBacklog, PolicyLatestKeepsTheNewestOfEachTopicAndAnnouncesNothing) {
  const auto client = add(1, {1, 2});
  rig_.client(1).set_policy(Policy::latest);
  client->stream.room = 0;
  rig_.append(2, 1);
  for (std::uint64_t i = 1; i <= 9; ++i) rig_.append(1, i);
  rig_.turn();
  give_room(1, *client, SimulatedStream::no_limit);
  EXPECT_EQ(client->stream.output, "2 1 \n1 9 \n");
  EXPECT_EQ(ledger().conflated, 8u);
}

TEST_F(SmallBacklog, PolicyDisconnectAnnouncesTheLossesBeforeTheEnd) {
  const auto client = add(1, {1});
  rig_.client(1).set_policy(Policy::disconnect);
  client->stream.room = 0;
  for (std::uint64_t i = 1; i <= 9; ++i) rig_.append(1, i);
  rig_.turn();
  EXPECT_THAT(client->goodbyes, ElementsAre("slow_consumer"));
  give_room(1, *client, SimulatedStream::no_limit);
  EXPECT_EQ(client->stream.output, "!1 1 9\n!BYE slow_consumer\n");
  EXPECT_TRUE(client->stream.output_ended);
}

TEST_F(SmallLog, AStalledClientUnpinsTheLogWhenTooMuchIsInUse) {
  const auto stalled = add(1, {1, 2});
  const auto healthy = add(2, {2});
  stalled->stream.room = 2;
  rig_.append(1, 1);  // one partly written message pins a whole segment
  rig_.turn();
  for (std::uint64_t i = 1; i <= 100; ++i) {
    rig_.append(2, i, 50);
    rig_.turn();
  }
  EXPECT_LE(rig_.log.bytes_in_use(), 1200u);
  give_room(1, *stalled, SimulatedStream::no_limit);
  const std::string& output = stalled->stream.output;
  EXPECT_TRUE(output.starts_with("1 1 \n!2 1 ")) << output.substr(0, 40);
  EXPECT_TRUE(output.ends_with(ShardRig::text(2, 100, 50)));
  EXPECT_EQ(ledger().client_gone, 0u);
  EXPECT_EQ(ledger().matched, ledger().delivered + ledger().dropped);
}

TEST_F(SmallLog, PolicyDisconnectAlsoAppliesWhenTheLogIsFull) {
  const auto stalled = add(1, {2});
  rig_.client(1).set_policy(Policy::disconnect);
  stalled->stream.room = 0;
  for (std::uint64_t i = 1; i <= 100; ++i) {
    rig_.append(2, i, 50);
    rig_.turn();
  }
  EXPECT_THAT(stalled->goodbyes, ElementsAre("slow_consumer"));
  EXPECT_LE(rig_.log.bytes_in_use(), 1300u);
}

TEST_F(SmallLog, OfTwoStalledClientsTheOneWithTheOldestMessagesLosesThem) {
  const auto early = add(1, {1, 2});
  const auto late = add(2, {});
  early->stream.room = late->stream.room = 0;
  rig_.append(1, 1);
  rig_.turn();
  for (std::uint64_t i = 1; i <= 100; ++i) {
    if (i == 100) rig_.shard.join(ClientId{2}, AudienceId{2});
    rig_.append(2, i, 50);
    rig_.turn();
  }
  give_room(1, *early, SimulatedStream::no_limit);
  give_room(2, *late, SimulatedStream::no_limit);
  EXPECT_TRUE(early->stream.output.starts_with("!1 1 1\n!2 1 ")) << early->stream.output.substr(0, 40);
  EXPECT_EQ(late->stream.output, ShardRig::text(2, 100, 50));
}

class ShortTimeouts : public ShardTest {
 protected:
  ShortTimeouts() : ShardTest(options()) {}
  static ShardOptions options() {
    ShardOptions options;
    options.first_byte_timeout = 10s;
    options.idle_timeout = 60s;
    return options;
  }
  void pass(std::chrono::milliseconds time) {
    rig_.pass(time);
    rig_.flush();
  }
};

TEST_F(ShortTimeouts, AClientThatSendsNothingInTimeIsDisconnectedAndOneThatSendsAByteIsNot) {
  const auto silent = add(1, {});
  const auto speaking = add(2, {});
  speaking->stream.input = "S";
  rig_.client(2).on_readable();
  rig_.pass(10'020ms);
  rig_.flush();
  EXPECT_THAT(silent->goodbyes, ElementsAre("silent"));
  EXPECT_TRUE(speaking->goodbyes.empty());
}

TEST_F(ShortTimeouts, AClientThatHasSentSomethingAndIsThenIdleIsDisconnected) {
  const auto idle = add(1, {});
  const auto speaking = add(2, {});
  const auto listening = add(3, {1});
  for (const auto& each : {idle, speaking, listening}) each->stream.input = "S";
  for (const std::uint64_t id : {1u, 2u, 3u}) rig_.client(id).on_readable();
  for (std::uint64_t i = 1; i <= 3; ++i) {
    pass(30s);
    speaking->stream.input = "S";
    rig_.client(2).on_readable();
    rig_.append(1, i);
    rig_.turn();
  }
  EXPECT_THAT(idle->goodbyes, ElementsAre("idle"));
  EXPECT_TRUE(speaking->goodbyes.empty());
  EXPECT_TRUE(listening->goodbyes.empty());
  pass(60'020ms);
  EXPECT_THAT(speaking->goodbyes, ElementsAre("idle"));
  EXPECT_THAT(listening->goodbyes, ElementsAre("idle"));
  EXPECT_EQ(counters().timed_out.get(), 3u);
}

TEST_F(ShortTimeouts, AnExemptClientStaysUntilTheExemptionEnds) {
  const auto feed = add(1, {});
  rig_.client(1).exempt_from_timeouts(true);
  pass(1h);
  EXPECT_TRUE(feed->goodbyes.empty());
  feed->stream.input = "S";
  rig_.client(1).on_readable();
  rig_.client(1).exempt_from_timeouts(false);
  pass(59s);
  EXPECT_TRUE(feed->goodbyes.empty());
  pass(1020ms);
  EXPECT_THAT(feed->goodbyes, ElementsAre("idle"));
}

class SmallReplyLimits : public ShardTest {
 protected:
  SmallReplyLimits() : ShardTest(options()) {}
  static ShardOptions options() {
    ShardOptions options;
    options.client.replies_bytes_max = 1000;
    options.client.unread_bytes_max = 5000;
    return options;
  }
};

TEST_F(SmallReplyLimits, NoInputIsReadWhileTooManyRepliesAreUnwritten) {
  const auto client = add(1, {});
  client->stream.room = 0;
  rig_.client(1).reply(std::string(1001, 'a'));
  client->stream.input = "PING\n";
  rig_.client(1).on_readable();
  rig_.flush();
  EXPECT_EQ(client->received, "");
  give_room(1, *client, SimulatedStream::no_limit);
  EXPECT_EQ(client->received, "PING\n");
}

TEST_F(SmallReplyLimits, AClientThatNeverReadsItsRepliesIsAborted) {
  const auto client = add(1, {});
  client->stream.room = 0;
  for (int i = 0; i < 6; ++i) rig_.client(1).reply(std::string(1000, 'a'));
  rig_.flush();
  EXPECT_TRUE(client->handler_destroyed);
}

}  // namespace
}  // namespace backplane::fanout
