#include "broker/state/participants.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backplane/v1/system.pb.h"
#include "core/topic/topic.hpp"

namespace backplane::broker {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

class ParticipantsTest : public testing::Test {
 protected:
  using Clock = Participants::Clock;

  Participants make(Participants::Options options) {
    return Participants(
        [this](const std::string& topic, const v1::SourceStatus& status) {
          announced_.push_back(topic + (status.up() ? " up " : " down ") + std::to_string(status.session()) +
                               (status.reason().empty() ? "" : " " + status.reason()));
        },
        options);
  }
  /// What was announced since the last call.
  std::vector<std::string> announced() { return std::exchange(announced_, {}); }

  Result<void> hello(std::string_view who, std::uint64_t session, Role role = Role::publisher) {
    return participants_.hello({std::string(who), session, role, true, {}}, false, now_);
  }
  void close(std::string_view who, std::uint64_t session, Role role = Role::publisher) {
    EXPECT_TRUE(participants_.hello({std::string(who), session, role, true, {}}, true, now_));
  }
  void pass(Clock::duration time) {
    now_ += time;
    participants_.expire(now_);
  }

  std::vector<std::string> announced_;
  Clock::time_point now_ = Clock::time_point{} + 1h;
  Participants participants_ = make({});
};

TEST_F(ParticipantsTest, AnnouncesOnceThatAPublisherIsUp) {
  ASSERT_TRUE(hello("clock@host7", 1));
  pass(1s);
  ASSERT_TRUE(hello("clock@host7", 1));
  EXPECT_THAT(announced(), ElementsAre("$SYS.source.clock@host7 up 1"));
}

TEST_F(ParticipantsTest, AnnouncesThatAPublisherIsDownAfterThreeSilentSeconds) {
  ASSERT_TRUE(hello("clock", 1));
  announced();
  pass(2999ms);
  EXPECT_THAT(announced(), ElementsAre());
  pass(1ms);
  EXPECT_THAT(announced(), ElementsAre("$SYS.source.clock down 1 silent"));
  pass(1h);
  EXPECT_THAT(announced(), ElementsAre());
}

TEST_F(ParticipantsTest, EveryHelloRestartsTheTimeout) {
  ASSERT_TRUE(hello("clock", 1));
  announced();
  for (int i = 0; i < 10; ++i) {
    pass(2s);
    ASSERT_TRUE(hello("clock", 1));
  }
  EXPECT_THAT(announced(), ElementsAre());
}

TEST_F(ParticipantsTest, AClosingParticipantIsDownAtOnceAndOnce) {
  ASSERT_TRUE(hello("clock", 1));
  close("clock", 1);
  close("clock", 1);
  pass(1h);
  EXPECT_THAT(announced(), ElementsAre("$SYS.source.clock up 1", "$SYS.source.clock down 1 closed"));
}

TEST_F(ParticipantsTest, AGoodbyeOfAnUnknownParticipantIsIgnored) {
  close("clock", 1);
  EXPECT_THAT(announced(), ElementsAre());
  EXPECT_EQ(participants_.size(), 0u);
}

TEST_F(ParticipantsTest, ASilentParticipantIsUpAgainAfterAHello) {
  ASSERT_TRUE(hello("clock", 1));
  pass(3s);
  ASSERT_TRUE(hello("clock", 1));
  EXPECT_THAT(announced(), ElementsAre("$SYS.source.clock up 1", "$SYS.source.clock down 1 silent",
                                       "$SYS.source.clock up 1"));
}

TEST_F(ParticipantsTest, OfTwoSessionsTheNewerRepresentsTheNameAndTheEndOfTheOlderIsNotAnnounced) {
  ASSERT_TRUE(hello("clock", 1));
  ASSERT_TRUE(hello("clock", 2));
  EXPECT_THAT(announced(), ElementsAre("$SYS.source.clock up 1", "$SYS.source.clock up 2"));
  pass(2s);
  ASSERT_TRUE(hello("clock", 2));
  pass(1s);
  EXPECT_THAT(announced(), ElementsAre());  // 1 has been silent for 3 s
  EXPECT_EQ(participants_.figures().down[1], 1u);
}

TEST_F(ParticipantsTest, AnOlderSessionBesideANewerDoesNotTakeTheNameBack) {
  ASSERT_TRUE(hello("clock", 1));
  ASSERT_TRUE(hello("clock", 2));
  announced();
  for (int i = 0; i < 3; ++i) {
    pass(1s);
    ASSERT_TRUE(hello("clock", 1));
    ASSERT_TRUE(hello("clock", 2));
  }
  close("clock", 1);
  EXPECT_THAT(announced(), ElementsAre());
}

TEST_F(ParticipantsTest, AnOlderSessionRepresentsTheNameAgainWhenTheNewerHasGone) {
  ASSERT_TRUE(hello("clock", 1));
  ASSERT_TRUE(hello("clock", 2));
  announced();
  close("clock", 2);
  ASSERT_TRUE(hello("clock", 1));
  EXPECT_THAT(announced(), ElementsAre("$SYS.source.clock down 2 closed", "$SYS.source.clock up 1"));
}

TEST_F(ParticipantsTest, OnlyPublishersAreAnnounced) {
  ASSERT_TRUE(hello("gateway@host7", 1, Role::gateway));
  ASSERT_TRUE(hello("sub@host7", 1, Role::client));
  ASSERT_TRUE(hello("who", 1, Role::unspecified));
  pass(3s);
  EXPECT_THAT(announced(), ElementsAre());
  EXPECT_EQ(participants_.figures().down[2], 1u);
  EXPECT_EQ(participants_.figures().down[3], 1u);
}

TEST_F(ParticipantsTest, EvictsTheOneThatHasBeenDownLongestWhenFull) {
  participants_ = make({.participants_max = 3});
  ASSERT_TRUE(hello("a", 1));
  ASSERT_TRUE(hello("b", 1));
  ASSERT_TRUE(hello("c", 1));
  close("b", 1);
  close("a", 1);
  ASSERT_TRUE(hello("d", 1));
  std::vector<std::string> names;
  for (const auto* who : participants_.list(0, 10).participants) names.push_back(who->name);
  EXPECT_THAT(names, ElementsAre("a", "c", "d"));
  EXPECT_EQ(participants_.figures().up[1], 2u);
  EXPECT_EQ(participants_.figures().down[1], 1u);
}

TEST_F(ParticipantsTest, EvictingAnOldSessionLeavesTheNewerOneOfTheSameName) {
  participants_ = make({.participants_max = 2});
  ASSERT_TRUE(hello("clock", 1));
  ASSERT_TRUE(hello("clock", 2));
  close("clock", 1);
  ASSERT_TRUE(hello("other", 1));  // replaces clock's first session
  announced();
  ASSERT_TRUE(hello("clock", 2));
  close("clock", 2);
  EXPECT_THAT(announced(), ElementsAre("$SYS.source.clock down 2 closed"));
}

TEST_F(ParticipantsTest, RefusesNewOnesWhileTheLimitIsReachedByOnesThatAreUp) {
  participants_ = make({.participants_max = 2});
  ASSERT_TRUE(hello("a", 1));
  ASSERT_TRUE(hello("b", 1));
  announced();
  const auto refused = hello("c", 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
  EXPECT_THAT(announced(), ElementsAre());
  EXPECT_TRUE(hello("a", 1));
}

TEST_F(ParticipantsTest, AFloodOfSessionsIsBoundedByTheLimit) {
  participants_ = make({.participants_max = 100});
  for (std::uint64_t session = 1; session <= 10'000; ++session) {
    const std::string who = "source" + std::to_string(session % 300);
    ASSERT_TRUE(hello(who, session));
    close(who, session);
  }
  EXPECT_EQ(participants_.size(), 100u);
  const auto figures = participants_.figures();
  EXPECT_EQ(figures.down[1], 100u);
  EXPECT_EQ(figures.up[1], 0u);
}

TEST_F(ParticipantsTest, CountsLinksTheirLagAndTheirLosses) {
  participants_ = make({.participants_max = 2});
  const auto link = [&](std::uint64_t session, Role role, std::uint64_t lag, std::uint64_t lost,
                        bool closing = false) {
    EXPECT_TRUE(participants_.hello(
        {"link", session, role, true, {{"link_lag_positions", lag}, {"link_lost_total", lost}}}, closing,
        now_));
  };
  const auto figures = [&] {
    const auto all = participants_.figures();
    return std::vector<std::uint64_t>{all.links_up, all.links_down, all.link_lag_positions, all.link_lost};
  };
  link(1, Role::publisher, 100, 3);
  link(2, Role::client, 20, 4);
  EXPECT_THAT(figures(), ElementsAre(2, 0, 120, 7));
  link(1, Role::publisher, 50, 5);
  EXPECT_THAT(figures(), ElementsAre(2, 0, 70, 9));
  link(1, Role::publisher, 40, 6, /*closing=*/true);
  EXPECT_THAT(figures(), ElementsAre(1, 1, 20, 10));
  pass(3s);
  EXPECT_THAT(figures(), ElementsAre(0, 2, 0, 10));
  link(2, Role::client, 7, 4);
  EXPECT_THAT(figures(), ElementsAre(1, 1, 7, 10));
  ASSERT_TRUE(hello("clock", 9));  // takes the place of the link that is down
  EXPECT_THAT(figures(), ElementsAre(1, 0, 7, 4));
}

TEST_F(ParticipantsTest, RefusesNamesAndCountersAboveTheirLimits) {
  EXPECT_FALSE(hello("", 1));
  EXPECT_FALSE(hello(std::string(source_name_bytes_max + 1, 'x'), 1));
  EXPECT_TRUE(hello(std::string(source_name_bytes_max, 'x'), 1));
  Participant many{"a", 1, Role::publisher, true, {}};
  for (int i = 0; i < 65; ++i) many.counters.emplace_back(std::to_string(i), 1);
  EXPECT_THAT(participants_.hello(many, false, now_).error().text, HasSubstr("at most 64"));
  const Participant lengthy{"a", 1, Role::publisher, true, {{std::string(65, 'x'), 1}}};
  EXPECT_THAT(participants_.hello(lengthy, false, now_).error().text, HasSubstr("at most 64 bytes"));
}

TEST_F(ParticipantsTest, KeepsTheCountersOfTheLastHello) {
  ASSERT_TRUE(participants_.hello({"a", 1, Role::client, true, {{"seen", 1}}}, false, now_));
  ASSERT_TRUE(participants_.hello({"a", 1, Role::client, true, {{"seen", 7}}}, false, now_));
  ASSERT_TRUE(participants_.hello({"a", 1, Role::client, true, {{"seen", 9}}}, true, now_));
  const auto page = participants_.list(0, 10);
  ASSERT_EQ(page.participants.size(), 1u);
  EXPECT_EQ(page.participants[0]->counters, (decltype(Participant::counters){{"seen", 9}}));
  EXPECT_FALSE(page.participants[0]->up);
}

TEST_F(ParticipantsTest, ListsInPagesWithoutHolesOrDuplicates) {
  for (std::uint64_t session = 1; session <= 25; ++session) ASSERT_TRUE(hello("a", session));
  std::vector<std::uint64_t> seen;
  std::uint64_t after = 0;
  for (bool more = true; more;) {
    const auto page = participants_.list(after, 10);
    for (const auto* who : page.participants) seen.push_back(who->session);
    more = page.more;
    after = page.numbers.back();
  }
  ASSERT_EQ(seen.size(), 25u);
  for (std::uint64_t i = 0; i < 25; ++i) EXPECT_EQ(seen[i], i + 1);
}

TEST(SourceTopic, MakesALegalTopicOfAnyName) {
  EXPECT_EQ(source_topic("clock@host7"), "$SYS.source.clock@host7");
  EXPECT_EQ(source_topic("a.b"), "$SYS.source.a.b");
  EXPECT_EQ(source_topic("two words"), "$SYS.source.two_words");
  EXPECT_EQ(source_topic("*"), "$SYS.source._");
  EXPECT_EQ(source_topic("a>b"), "$SYS.source.a_b");
  EXPECT_EQ(source_topic("..."), "$SYS.source._._");
  EXPECT_EQ(source_topic("a."), "$SYS.source.a_");
  EXPECT_EQ(source_topic("a..b"), "$SYS.source.a._b");
  EXPECT_EQ(source_topic("n\xc3\xbcrnberg"), "$SYS.source.n\xc3\xbcrnberg");
  EXPECT_EQ(source_topic("a\xc2\x85"
                         "b"),
            "$SYS.source.a__b");
  EXPECT_EQ(source_topic("\xff\xc3"), "$SYS.source.__");
  EXPECT_EQ(source_topic(std::string("\0\n\x7f", 3)), "$SYS.source.___");
}

TEST_F(ParticipantsTest, PublishersThatAreUpAreAnnouncedAgainOnRequest) {
  ASSERT_TRUE(hello("a", 1));
  ASSERT_TRUE(hello("b", 2));
  ASSERT_TRUE(hello("c", 3));
  ASSERT_TRUE(hello("g", 4, Role::gateway));
  close("c", 3);
  announced();
  participants_.announce_again([](const std::string&, std::uint64_t session) { return session != 2; });
  EXPECT_THAT(announced(), ElementsAre("$SYS.source.a up 1"));
}

}  // namespace
}  // namespace backplane::broker
