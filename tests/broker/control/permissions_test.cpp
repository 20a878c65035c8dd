// What each kind of request shows to users with disjoint patterns.

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include "core/log/line_writer.hpp"
#include "core/log/log.hpp"
#include "tests/broker/access/policy_text.hpp"
#include "tests/broker/control/service_fixture.hpp"
#include "tests/broker/state/manual_history.hpp"

namespace backplane::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::policy_of;
using testing::two_worlds;

class RequestPermission : public ::testing::Test {
 protected:
  explicit RequestPermission(HistoryLimits limits = {}, std::unique_ptr<HistoryStore> history = nullptr)
      : broker(std::move(limits), std::move(history)) {
    log::set_level(log::Level::off);
    broker.access.set_policy(policy_of(two_worlds));
  }

  ServiceFixture& as(const std::string& user) {
    broker.user = user;
    return broker;
  }
  void publish_both_worlds() {
    for (const std::string topic : {"news.uk", "sensor.1", "news.us", "sensor.2", "weather"}) {
      broker.publish(topic, topic);
    }
  }
  /// The reply must be a refusal.
  void expect_forbidden(const v1::ControlReply& reply, const std::string& text) {
    ASSERT_TRUE(reply.has_error()) << reply.ShortDebugString();
    EXPECT_EQ(reply.error().code(), "not_permitted");
    EXPECT_THAT(reply.error().text(), HasSubstr(text));
    EXPECT_EQ(reply.reply_case(), v1::ControlReply::REPLY_NOT_SET);
  }

  ServiceFixture broker;
};

template <class Events>
std::vector<std::string> topics(const Events& events) {
  std::vector<std::string> all;
  for (const auto& each : events) all.push_back(each.topic());
  return all;
}
std::vector<std::string> names(const v1::TopicsReply& reply) {
  std::vector<std::string> all;
  for (const auto& each : reply.topics()) all.push_back(each.name());
  return all;
}

v1::ControlRequest after_offset(const std::string& topic, std::uint64_t offset) {
  v1::ControlRequest request;
  request.mutable_replay()->set_pattern(topic);
  request.mutable_replay()->set_after_offset(offset);
  return request;
}
v1::ControlRequest admitted(std::uint64_t session) {
  v1::ControlRequest request;
  request.mutable_admitted()->set_source("clock");
  request.mutable_admitted()->set_session(session);
  return request;
}
v1::ControlRequest hello(const std::string& name, std::uint64_t session, bool closing = false) {
  v1::ControlRequest request;
  request.mutable_hello()->set_name(name);
  request.mutable_hello()->set_session(session);
  request.mutable_hello()->set_role(v1::HelloRequest::ROLE_PUBLISHER);
  request.mutable_hello()->set_closing(closing);
  return request;
}

// ── reads ────────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(RequestPermission, AReplayShowsWhatTheUserMayRead) {
  publish_both_worlds();
  EXPECT_THAT(topics(as("sensor").replay(">", 0).replay().events()), ElementsAre("sensor.1", "sensor.2"));
  EXPECT_THAT(topics(as("news").replay(">", 0).replay().events()), ElementsAre("news.uk", "news.us"));
  EXPECT_THAT(topics(as("reader").replay("*.uk", 0).replay().events()), ElementsAre("news.uk"));
  EXPECT_THAT(topics(as("sensor").replay("sensor.1", 0).replay().events()), ElementsAre("sensor.1"));
  EXPECT_TRUE(as("sensor").replay(">", 0).has_complete());
  EXPECT_EQ(as("sensor").replay(">", 0).replay().through_position(), 5u);
}

TEST_F(RequestPermission, AForbiddenPatternIsRefusedByName) {
  publish_both_worlds();
  expect_forbidden(as("sensor").replay("news.uk", 0), "replay.pattern: sensor may not read \"news.uk\"");
  expect_forbidden(as("sensor").replay("news.>", 0), "sensor may not read \"news.>\"");
  expect_forbidden(as("sensor").retained("news.*"), "retained.pattern: sensor may not read \"news.*\"");
  expect_forbidden(as("sensor").topics("news.>"), "topics.pattern: sensor may not read \"news.>\"");
  expect_forbidden(as("sensor").tails({"news.>", "weather"}, 0),
                   "tails.patterns: sensor may not read \"news.>\"");
  expect_forbidden(as("visitor").replay(">", 0), "visitor may not read \">\"");
  expect_forbidden(as("operator").retained(">"), "operator may not read \">\"");
  expect_forbidden(as("sensor").replay("$SYS.>", 0), "sensor may not read \"$SYS.>\"");
}

TEST_F(RequestPermission, AReplayByOffsetDoesNotTellHowFarAForbiddenTopicIs) {
  publish_both_worlds();
  expect_forbidden(as("sensor").send(after_offset("news.uk", 0)), "news.uk");
  expect_forbidden(as("sensor").send(after_offset("news.uk", 99)), "news.uk");
  EXPECT_EQ(as("news").send(after_offset("news.uk", 99)).error().code(), "not_reached");
}

TEST_F(RequestPermission, RetainedValuesAreThoseThatTheUserMayRead) {
  publish_both_worlds();
  EXPECT_THAT(topics(as("sensor").retained(">").retained().events()), ElementsAre("sensor.1", "sensor.2"));
  EXPECT_THAT(topics(as("reader").retained(">").retained().events()), ElementsAre("news.uk", "news.us"));
}

TEST_F(RequestPermission, TailsAreThoseThatTheUserMayRead) {
  publish_both_worlds();
  EXPECT_THAT(topics(as("sensor").tails({">"}, 0).tails().tails()), ElementsAre("sensor.1", "sensor.2"));
  EXPECT_THAT(topics(as("sensor").tails({"news.>", "sensor.2"}, 0).tails().tails()), ElementsAre("sensor.2"));
  EXPECT_THAT(topics(as("news").tails({"*.us", "sensor.>"}, 0).tails().tails()), ElementsAre("news.us"));
}

TEST_F(RequestPermission, TopicsAreThoseThatTheUserMayRead) {
  publish_both_worlds();
  EXPECT_THAT(names(as("sensor").topics(">").topics()), ElementsAre("sensor.1", "sensor.2"));
  EXPECT_THAT(names(as("news").topics(">").topics()), ElementsAre("news.uk", "news.us"));
  EXPECT_THAT(names(as("news").topics("news.us").topics()), ElementsAre("news.us"));
}

TEST_F(RequestPermission, PagesAndTheirCursorsNeverShowAHiddenTopic) {
  for (int at = 0; at < 30'000; ++at) broker.publish("news." + std::to_string(100'000 + at), "secret");
  for (int at = 0; at < 700; ++at) broker.publish("sensor." + std::to_string(1000 + at), "shown");
  const auto check = [&](const auto& ask, const auto& shown) {
    std::string cursor;
    std::size_t count = 0;
    int pages = 0;
    do {
      const v1::ControlReply reply = ask(cursor);
      ASSERT_FALSE(reply.has_error()) << reply.error().text();
      for (const std::string& topic : shown(reply)) ASSERT_THAT(topic, HasSubstr("sensor."));
      count += shown(reply).size();
      EXPECT_THAT(reply.SerializeAsString(), Not(HasSubstr("news")));
      cursor = reply.has_more() ? reply.more().cursor() : "";
      ASSERT_LT(++pages, 100);
    } while (!cursor.empty());
    EXPECT_EQ(count, 700u);
    EXPECT_GT(pages, 2);
  };
  as("sensor");
  check([&](const std::string& cursor) { return broker.retained(">", cursor); },
        [](const v1::ControlReply& reply) { return topics(reply.retained().events()); });
  check([&](const std::string& cursor) { return broker.topics(">", cursor); },
        [](const v1::ControlReply& reply) { return names(reply.topics()); });
  check([&](const std::string& cursor) { return broker.tails({">"}, 0, cursor); },
        [](const v1::ControlReply& reply) { return topics(reply.tails().tails()); });
  check([&](const std::string& cursor) { return broker.replay(">", 0, cursor); },
        [](const v1::ControlReply& reply) { return topics(reply.replay().events()); });
}

TEST_F(RequestPermission, ACursorOfAUserThatMayReadMoreIsRefused) {
  for (int at = 0; at < 600; ++at) broker.publish("news." + std::to_string(1000 + at), "x");
  const v1::ControlReply all = as("news").topics("news.>");
  ASSERT_TRUE(all.has_more());
  EXPECT_EQ(as("news").topics(">", all.more().cursor()).error().code(), "bad_cursor");
}

class SmallHistoryPermission : public RequestPermission {
 protected:
  static HistoryLimits limits() {
    HistoryLimits limits;
    limits.otherwise.history_events = 2;
    return limits;
  }
  SmallHistoryPermission() : RequestPermission(limits()) {}
};

TEST_F(SmallHistoryPermission, WhatHiddenTopicsHaveLostIsNotReported) {
  broker.publish("sensor.1", "1");
  for (int at = 0; at < 10; ++at) broker.publish("news.uk", "x");
  const v1::ControlReply sensor = as("sensor").replay(">", 0);
  EXPECT_FALSE(sensor.has_gone());
  EXPECT_THAT(topics(sensor.replay().events()), ElementsAre("sensor.1"));
  const v1::ControlReply news = as("news").replay(">", 0);
  ASSERT_TRUE(news.has_gone());
  EXPECT_EQ(news.gone().first_available(), 10u);
}

// ── sessions and participants ────────────────────────────────────────────────────────────────────────────

TEST_F(RequestPermission, WhatWasAdmittedIsToldToTheSessionsUserOnly) {
  bool is_new = false;
  SessionEntry& session = broker.state.sessions.use("clock", 7, is_new);
  session.user = broker.access.number_of(broker.access.user_of_name("sensor"));
  session.sequence = 12;
  EXPECT_EQ(as("sensor").send(admitted(7)).admitted().sequence(), 12u);
  expect_forbidden(as("news").send(admitted(7)), "admitted: expected a session of news");
  EXPECT_EQ(as("news").send(admitted(8)).admitted().sequence(), 0u) << "unknown";
}

TEST_F(RequestPermission, ASessionWithNothingAdmittedIsUnknownToOthers) {
  bool is_new = false;
  SessionEntry& session = broker.state.sessions.use("clock", 7, is_new);
  session.user = broker.access.number_of(broker.access.user_of_name("sensor"));
  session.refused = session.refused_sequence = 1;
  session.refused_reason = static_cast<std::uint8_t>(Refusal::not_permitted);
  const v1::AdmittedReply own = as("sensor").send(admitted(7)).admitted();
  EXPECT_EQ(own.refused_sequence(), 1u);
  EXPECT_EQ(own.refused_reason(), "not_permitted");
  EXPECT_EQ(as("news").send(admitted(7)).admitted().refused_sequence(), 0u);
}

TEST_F(RequestPermission, ARestoredSessionIsToldToEveryUser) {
  bool is_new = false;
  broker.state.sessions.use("clock", 7, is_new).sequence = 12;
  EXPECT_EQ(as("sensor").send(admitted(7)).admitted().sequence(), 12u);
  EXPECT_EQ(as("news").send(admitted(7)).admitted().sequence(), 12u);
}

TEST_F(RequestPermission, EveryUserSaysHelloForItself) {
  EXPECT_TRUE(as("sensor").send(hello("clock", 7)).has_hello());
  EXPECT_TRUE(as("visitor").send(hello("other", 7)).has_hello());
  EXPECT_TRUE(as("sensor").send(hello("clock", 7)).has_hello());
  expect_forbidden(as("news").send(hello("clock", 7)), "\"clock\"");
  expect_forbidden(as("news").send(hello("clock", 7, true)), "\"clock\"");
  expect_forbidden(as("news").send(hello("clock", 8)), "\"clock\"");
  EXPECT_EQ(broker.announced.size(), 2u) << "both are up";
  EXPECT_TRUE(as("sensor").send(hello("clock", 7, true)).has_hello());
  EXPECT_EQ(broker.announced.size(), 3u);
  EXPECT_TRUE(as("news").send(hello("clock", 8)).has_hello()) << "the name is free";
}

// ── what needs admin ─────────────────────────────────────────────────────────────────────────────────────

TEST_F(RequestPermission, StatisticsDrainAndRegisteringTypesNeedAdmin) {
  v1::ControlRequest stats;
  stats.mutable_stats();
  v1::ControlRequest drain;
  drain.mutable_drain();
  v1::ControlRequest types;
  auto& file = *types.mutable_types()->mutable_register_files()->add_file();
  file.set_name("acme.proto");
  file.set_package("acme");
  file.add_message_type()->set_name("Thing");
  for (const std::string user : {"sensor", "visitor"}) {
    expect_forbidden(as(user).send(stats), user + " may not read statistics");
    expect_forbidden(as(user).send(drain), user + " may not drain the broker");
    expect_forbidden(as(user).send(types), user +
                                               " may not register types that the broker does not know: no "
                                               "role of this user has admin = true");
  }
  EXPECT_EQ(broker.drains, 0);
  EXPECT_TRUE(as("operator").send(stats).has_stats());
  EXPECT_TRUE(as("operator").send(types).has_types());
  EXPECT_TRUE(as("operator").send(drain).has_drain());
  EXPECT_EQ(broker.drains, 1);

  // A publisher registers its types on each connection.
  EXPECT_TRUE(as("sensor").send(types).has_types()) << "nothing is new";
  file.mutable_message_type(0)->add_field()->set_name("other");
  expect_forbidden(as("sensor").send(types), "sensor may not register types");
}

TEST_F(RequestPermission, AGatewayWithoutAdminGetsNoFiguresOfTheStore) {
  broker.state.store_kind = "file";
  v1::ControlRequest request = hello("gateway@host7", 7);
  request.mutable_hello()->set_role(v1::HelloRequest::ROLE_GATEWAY);
  const v1::ControlReply reply = as("news").send(request);
  EXPECT_TRUE(reply.has_hello()) << "it can serve its clients";
  EXPECT_TRUE(reply.hello().store().empty());
  request.mutable_hello()->set_session(8);
  EXPECT_FALSE(as("operator").send(request).hello().store().empty());
}

TEST_F(RequestPermission, EveryUserFetchesTypes) {
  v1::ControlRequest types;
  types.mutable_types()->add_names("some.Type");
  EXPECT_TRUE(as("reader").send(types).has_types());
}

// ── users ────────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(RequestPermission, AUserThatThePolicyDoesNotHaveIsRefusedEverything) {
  publish_both_worlds();
  v1::ControlRequest stats;
  stats.mutable_stats();
  v1::ControlRequest types;
  types.mutable_types();
  for (const std::string user : {"stranger", ""}) {
    const std::string text = user.empty() ? "the connection has no user" : "the policy has no user stranger";
    expect_forbidden(as(user).replay("sensor.1", 0), text);
    expect_forbidden(as(user).retained("sensor.1"), text);
    expect_forbidden(as(user).tails({"sensor.1"}, 0), text);
    expect_forbidden(as(user).topics("sensor.1"), text);
    expect_forbidden(as(user).send(admitted(7)), text);
    expect_forbidden(as(user).send(hello("clock", 7)), text);
    expect_forbidden(as(user).send(types), text);
    expect_forbidden(as(user).send(stats), text);
  }
}

TEST_F(RequestPermission, EveryDecisionIsCounted) {
  as("sensor").replay(">", 0);
  as("sensor").topics(">");
  as("sensor").topics("news.>");
  as("stranger").topics(">");
  EXPECT_EQ(broker.state.counters.control_permitted_total, 2u);
  EXPECT_EQ(broker.state.counters.control_not_permitted_total, 2u);
  EXPECT_EQ(broker.state.counters.control_refused_total, 2u);
}

TEST_F(RequestPermission, ARefusalIsLoggedWithUserAddressAndPatternAtMostOncePerSecond) {
  log::set_level(log::Level::warning);
  ::testing::internal::CaptureStderr();
  for (int times = 0; times < 50; ++times) as("sensor").topics("news.>");
  EXPECT_TRUE(log::standard_error().flush(std::chrono::seconds{5}));
  const std::string lines = ::testing::internal::GetCapturedStderr();
  log::set_level(log::Level::off);
  EXPECT_EQ(std::ranges::count(lines, '\n'), 1) << lines;
  EXPECT_THAT(lines,
              HasSubstr("default: refused a request of sensor from 192.0.2.7: topics.pattern: sensor may "
                        "not read \"news.>\""));
}

TEST_F(RequestPermission, ANewPolicyAppliesToTheNextRequest) {
  publish_both_worlds();
  EXPECT_THAT(topics(as("sensor").replay(">", 0).replay().events()), ElementsAre("sensor.1", "sensor.2"));
  broker.access.set_policy(policy_of(R"(
    [users.sensor]
    certificate = "sensor"
    roles = ["weather"]
    [roles.weather]
    subscribe = ["weather"]
  )"));
  EXPECT_THAT(topics(as("sensor").replay(">", 0).replay().events()), ElementsAre("weather"));
  EXPECT_THAT(topics(as("sensor").tails({">"}, 0).tails().tails()), ElementsAre("weather"));
  expect_forbidden(as("sensor").retained("sensor.1"), "sensor may not read");
  expect_forbidden(as("news").retained("news.uk"), "the policy has no user news");
}

class SlowHistoryPermission : public RequestPermission {
 protected:
  SlowHistoryPermission() : RequestPermission({}, std::make_unique<ManualHistory>()) {}
  ManualHistory& history() { return static_cast<ManualHistory&>(*broker.state.history); }
};

TEST_F(SlowHistoryPermission, AReplyThatWaitsWhileThePolicyChangesIsNotSent) {
  v1::ControlRequest request;
  request.set_version(1);
  request.set_id(5);
  request.mutable_retained()->set_pattern(">");
  const Sender sender{broker.access.user_of_name("sensor"), "sensor", ""};
  broker.service.request({"client"}, bytes_of(request.SerializeAsString()), broker.now, sender);
  EXPECT_THAT(broker.replies.all, IsEmpty());
  broker.access.set_policy(policy_of(two_worlds));

  const std::string secret = "secret";
  ReadSlice slice;
  slice.ticket = 1;
  slice.events.push_back({"sensor.1", bytes_of(secret)});
  history().ready.push_back(std::move(slice));
  broker.service.poll();
  ASSERT_EQ(broker.replies.all.size(), 1u);
  EXPECT_EQ(broker.replies.all[0].reply.error().code(), "busy");
  EXPECT_EQ(broker.replies.all[0].reply.reply_case(), v1::ControlReply::REPLY_NOT_SET);
}

TEST(RequestsWithoutPolicy, ArePermittedAndNotCounted) {
  ServiceFixture broker;
  broker.publish("a", "1");
  v1::ControlRequest stats;
  stats.mutable_stats();
  EXPECT_TRUE(broker.send(stats).has_stats());
  EXPECT_EQ(broker.retained(">").retained().events_size(), 1);
  EXPECT_EQ(broker.state.counters.control_permitted_total, 0u);
}

}  // namespace
}  // namespace backplane::broker
