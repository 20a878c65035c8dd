// What the policy permits publishers.

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backplane/v1/event.pb.h"
#include "broker/pipeline.hpp"
#include "core/log/line_writer.hpp"
#include "tests/broker/access/policy_text.hpp"
#include "tests/broker/state/manual_history.hpp"

namespace backplane::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::policy_of;
using testing::two_worlds;

/// Remembers the topics of what is published.
class Published final : public EgressSink {
 public:
  void publish(zmq::message_t& topic, zmq::message_t& event) override {
    topics.push_back(topic.to_string());
    topic.rebuild();
    event.rebuild();
  }
  std::vector<std::string> topics;
};

class PipelinePermission : public ::testing::Test {
 protected:
  static constexpr std::uint64_t session = 77;

  PipelinePermission() {
    state.stream = 1;
    state.max_event_bytes = 1000;
    log::set_level(log::Level::off);
  }

  /// `sequence` 0: the event is not numbered.
  void take(const std::string& user, const std::string& topic, std::uint64_t sequence = 0,
            std::uint64_t of_session = session) {
    v1::Event event;
    event.set_source("tester");
    event.set_session(of_session);
    event.set_sequence(sequence);
    event.set_text("hello");
    zmq::message_t first(topic);
    zmq::message_t second(event.SerializeAsString());
    pipeline.take(first, second, nullptr, access.user_of_name(user));
    EXPECT_TRUE(pipeline.flush());
    expect_balance();
  }
  void take_raw(const std::string& user, const std::string& topic) {
    zmq::message_t first(topic);
    zmq::message_t second(std::string("hello"));
    pipeline.take_raw(first, second, access.user_of_name(user));
    EXPECT_TRUE(pipeline.flush());
    expect_balance();
  }
  /// The session as the broker knows it.
  const SessionEntry& entry() { return *state.sessions.find("tester", session); }
  /// As after a restart from a store.
  void restore_session(std::uint64_t sequence, const std::string& user = {}) {
    bool is_new = false;
    SessionEntry& restored = state.sessions.use("tester", session, is_new);
    restored.sequence = sequence;
    if (!user.empty()) restored.user = access.number_of_name(user);
  }

  std::uint64_t rejected(Refusal refusal) {
    return state.counters.rejected_total[static_cast<std::size_t>(refusal)];
  }
  void expect_balance() {
    std::uint64_t refused = 0;
    for (const std::uint64_t count : state.counters.rejected_total) refused += count;
    EXPECT_EQ(state.counters.received_total, state.counters.published_total + refused);
  }

  Published published;
  BackplaneState state{"test", 10, 16, std::make_unique<ManualHistory>()};
  ManualHistory& store{static_cast<ManualHistory&>(*state.history)};
  Access access{policy_of(two_worlds)};
  Pipeline pipeline{state, access, published, [] { return std::int64_t{1}; }};
};

TEST_F(PipelinePermission, AUserPublishesItsTopicsOnly) {
  take("sensor", "sensor.1", 1);
  take("sensor", "news.uk", 2);
  take("sensor", "sensor.2", 3);
  EXPECT_THAT(published.topics, ElementsAre("sensor.1", "sensor.2"));
  EXPECT_EQ(rejected(Refusal::not_permitted), 1u);
  EXPECT_EQ(state.counters.publish_permitted_total, 2u);
}

TEST_F(PipelinePermission, ARefusalIsConfirmedToThePublisher) {
  take("sensor", "sensor.1", 1);
  take("sensor", "news.uk", 2);
  EXPECT_EQ(entry().sequence, 1u);
  EXPECT_EQ(entry().refused_sequence, 2u);
  EXPECT_EQ(entry().refused, 1u);
  EXPECT_EQ(name(static_cast<Refusal>(entry().refused_reason)), "not_permitted");
  EXPECT_EQ(state.counters.lost_before_total, 0u);
}

TEST_F(PipelinePermission, AForbiddenTopicIsNotCreated) {
  take("sensor", "news.uk", 1);
  take_raw("sensor", "news.us");
  EXPECT_EQ(state.topics.size(), 0u);
}

TEST_F(PipelinePermission, AnotherUsersTopicIsForbiddenAlsoIfItIsKnown) {
  take("news", "news.uk");
  take("sensor", "news.uk");
  zmq::message_t topic(std::string("news.uk"));
  zmq::message_t event(v1::Event().SerializeAsString());
  pipeline.take(topic, event, pipeline.find_topic("news.uk"), access.user_of_name("sensor"));
  EXPECT_TRUE(pipeline.flush());
  EXPECT_THAT(published.topics, ElementsAre("news.uk"));
  EXPECT_EQ(rejected(Refusal::not_permitted), 2u);
}

TEST_F(PipelinePermission, RawEventsAreDecidedTheSame) {
  take_raw("sensor", "sensor.1");
  take_raw("sensor", "news.uk");
  take_raw("nobody", "sensor.1");
  EXPECT_THAT(published.topics, ElementsAre("sensor.1"));
  EXPECT_EQ(rejected(Refusal::not_permitted), 2u);
}

TEST_F(PipelinePermission, NobodyPublishesSystemTopics) {
  pipeline.publish_system("$SYS.known", "");
  ASSERT_TRUE(pipeline.flush());
  published.topics.clear();
  for (const std::string user : {"sensor", "operator", "nobody"}) {
    take(user, "$SYS.drain");
    take(user, "$SYS.known");
    take_raw(user, "$SYS.drain");
  }
  EXPECT_THAT(published.topics, IsEmpty());
  EXPECT_EQ(rejected(Refusal::reserved_topic), 9u);
}

TEST_F(PipelinePermission, AConnectionWithoutAUserOfThePolicyPublishesNothing) {
  take("nobody", "sensor.1", 1);
  EXPECT_THAT(published.topics, IsEmpty());
  EXPECT_EQ(rejected(Refusal::not_permitted), 1u);
  EXPECT_EQ(state.sessions.size(), 0u);
}

TEST_F(PipelinePermission, AUserThatMayPublishNothingGetsItsRefusalsConfirmed) {
  take("reader", "sensor.1", 1);
  EXPECT_EQ(entry().refused_sequence, 1u);
  EXPECT_EQ(name(static_cast<Refusal>(entry().refused_reason)), "not_permitted");
}

TEST_F(PipelinePermission, SessionsOfRefusedEventsDoNotEvictOthers) {
  for (std::uint64_t at = 0; at < 15; ++at) take("sensor", "sensor.1", 1, at);
  for (std::uint64_t at = 100; at < 200; ++at) take("reader", "sensor.1", 1, at);
  EXPECT_EQ(state.sessions.size(), 16u);
  for (std::uint64_t at = 0; at < 15; ++at) EXPECT_NE(state.sessions.find("tester", at), nullptr) << at;
}

TEST_F(PipelinePermission, AnotherUsersEventInASessionIsRefusedAndDoesNotAdvanceIt) {
  take("sensor", "sensor.1", 1);
  take("news", "news.uk", 2);
  take("news", "news.uk", 900);
  EXPECT_EQ(rejected(Refusal::wrong_user), 2u);
  take("sensor", "sensor.1", 2);
  EXPECT_THAT(published.topics, ElementsAre("sensor.1", "sensor.1"));
  EXPECT_EQ(entry().sequence, 2u);
  EXPECT_EQ(entry().refused, 0u);
  EXPECT_EQ(state.counters.lost_before_total, 0u);
}

TEST_F(PipelinePermission, AnotherUsersForbiddenEventInASessionLeavesItAlone) {
  take("sensor", "sensor.1", 1);
  take("news", "sensor.1", 2);
  take("reader", "sensor.1", 3);
  EXPECT_EQ(rejected(Refusal::not_permitted), 2u);
  EXPECT_EQ(entry().refused, 0u);
  EXPECT_EQ(entry().refused_sequence, 0u);
}

TEST_F(PipelinePermission, ARefusedEventDoesNotClaimASession) {
  take("news", "sensor.1", 5);
  EXPECT_EQ(entry().refused, 1u);
  take("sensor", "sensor.1", 1);
  EXPECT_THAT(published.topics, ElementsAre("sensor.1"));
  EXPECT_EQ(entry().sequence, 1u);
  EXPECT_EQ(entry().refused, 0u);
  EXPECT_EQ(state.counters.lost_before_total, 0u);
  take("news", "news.uk", 6);
  EXPECT_EQ(rejected(Refusal::wrong_user), 1u);
}

TEST_F(PipelinePermission, ARestoredSessionBelongsToTheUserOfItsFirstAdmittedEvent) {
  restore_session(7);
  take("news", "sensor.1", 8);  // forbidden
  EXPECT_EQ(entry().refused_sequence, 0u);
  take("sensor", "sensor.1", 8);
  EXPECT_EQ(entry().sequence, 8u);
  take("news", "news.uk", 9);
  EXPECT_EQ(rejected(Refusal::wrong_user), 1u);
  EXPECT_EQ(entry().sequence, 8u);
}

TEST_F(PipelinePermission, ARestoredSessionStaysWithItsUser) {
  restore_session(7, "sensor");
  take("news", "news.uk", 8);
  EXPECT_EQ(rejected(Refusal::wrong_user), 1u);
  take("news", "sensor.1", 9);  // forbidden
  EXPECT_EQ(entry().refused_sequence, 0u);
  take("sensor", "news.uk",
       8);  // forbidden: confirmed as refused, because the session is known to be its own
  EXPECT_EQ(entry().refused_sequence, 8u);
  take("sensor", "sensor.1", 9);
  EXPECT_EQ(entry().sequence, 9u);
  EXPECT_THAT(published.topics, ElementsAre("sensor.1"));
}

TEST_F(PipelinePermission, ARestoredSessionOfAUserWhoIsGoneBelongsToNobodyElse) {
  restore_session(7, "gone");
  take("sensor", "sensor.1", 8);
  EXPECT_EQ(rejected(Refusal::wrong_user), 1u);
}

TEST_F(PipelinePermission, TheStoreGetsTheUserOfTheSession) {
  take("sensor", "sensor.1", 1);
  take("sensor", "sensor.1");  // of no session
  take("news", "news.uk", 1, /*of_session=*/78);
  pipeline.publish_system("$SYS.test", "");
  EXPECT_TRUE(pipeline.flush());
  EXPECT_THAT(store.users, ElementsAre("sensor", "", "news", ""));
}

TEST_F(PipelinePermission, ARefusalIsLoggedWithUserAndTopicAtMostOncePerSecond) {
  log::set_level(log::Level::warning);
  ::testing::internal::CaptureStderr();
  for (int times = 0; times < 50; ++times) take("sensor", "news.uk");
  EXPECT_TRUE(log::standard_error().flush(std::chrono::seconds{5}));
  const std::string lines = ::testing::internal::GetCapturedStderr();
  log::set_level(log::Level::off);
  EXPECT_EQ(std::ranges::count(lines, '\n'), 1) << lines;
  // A message that was made here has no address.
  EXPECT_THAT(lines, HasSubstr("test: refused an event of sensor from this machine on \"news.uk\": "
                               "not_permitted: the user may not publish this topic"));
}

TEST_F(PipelinePermission, ANewPolicyAppliesToTheNextEvent) {
  take("sensor", "sensor.1", 1);
  access.set_policy(policy_of(R"(
    [users.sensor]
    certificate = "sensor"
    roles = ["weather"]
    [roles.weather]
    publish = ["weather.>"]
  )"));
  take("sensor", "sensor.1", 2);
  take("sensor", "weather.1", 3);
  take("news", "news.uk");
  EXPECT_THAT(published.topics, ElementsAre("sensor.1", "weather.1"));
  EXPECT_EQ(rejected(Refusal::not_permitted), 2u);
  EXPECT_EQ(rejected(Refusal::wrong_user), 0u) << "the session is still of the same user";
}

TEST_F(PipelinePermission, ASessionStaysWithItsUserWhenThatUserIsGone) {
  take("sensor", "sensor.1", 1);
  access.set_policy(policy_of(R"(
    [users.news]
    certificate = "news"
    roles = ["news"]
    [roles.news]
    publish = [">"]
  )"));
  take("news", "sensor.1", 2);
  EXPECT_EQ(rejected(Refusal::wrong_user), 1u);
}

}  // namespace
}  // namespace backplane::broker
