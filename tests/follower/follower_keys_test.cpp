#include <gmock/gmock.h>

#include "follower/broker_group.hpp"
#include "follower/control/broker_control.hpp"
#include "tests/follower/follower_fixture.hpp"

namespace backplane::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

// Problems with keys are reported within this time. Sanitizers make everything slower.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr auto soon = 9s;
#else
constexpr auto soon = 2s;
#endif

class FollowerKeysTest : public FollowerFixture {
 protected:
  Follower::Options with_keys(const mq::SharedKeys& keys) {
    Follower::Options with = options();
    with.broker.keys = keys;
    return with;
  }

  /// Runs for some turns of the connection after its first attempt.
  void run_for(std::chrono::milliseconds time) {
    const auto end = Clock::now() + time;
    until([&] { return Clock::now() >= end; });
  }

  CurveKeys broker_keys, me;
};

TEST_F(FollowerKeysTest, ReadsAndRequestsWithKeys) {
  broker.require_keys(broker_keys);
  start(with_keys(client_keys(me, broker_keys)));
  follower->subscribe("a");
  ASSERT_TRUE(until([&] { return follower->connected(); }));
  broker.publish("a", "1");
  broker.publish("a", "2", /*lost=*/true);
  broker.publish("a", "3");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 3; })) << "recovered by a request";
  EXPECT_TRUE(recorder.key_problems.empty());
  EXPECT_EQ(follower->status().key_problem, "");
}

TEST_F(FollowerKeysTest, ReportsARefusedKeyOnceAndConnectsWhenItIsAdmitted) {
  broker.require_keys(broker_keys, "400");
  start(with_keys(client_keys(me, broker_keys)));
  follower->subscribe("a");
  const auto begun = Clock::now();
  ASSERT_TRUE(until([&] { return !recorder.key_problems.empty(); }));
  EXPECT_LT(Clock::now() - begun, soon);
  run_for(4s);  // libzmq does not try again by itself
  const std::string problem =
      ": the broker does not admit the key in me.key: its policy has no user with it, or the user may not "
      "connect to this endpoint";
  EXPECT_THAT(recorder.key_problems,
              ElementsAre(::testing::AnyOf(broker.egress() + problem, broker.control() + problem)));
  EXPECT_EQ(follower->status().key_problem, broker.egress() + problem);
  broker.require_keys(broker_keys);
  ASSERT_TRUE(until([&] { return follower->connected() && follower->status().control_connected; }));
  EXPECT_EQ(follower->status().key_problem, "");
}

TEST_F(FollowerKeysTest, ReportsThatKeysAreRequired) {
  broker.require_keys(broker_keys);
  start();
  ASSERT_TRUE(until([&] { return !recorder.key_problems.empty(); }));
  EXPECT_THAT(follower->status().key_problem,
              ::testing::EndsWith("the broker requires keys (--key, --server-key)"));
}

TEST_F(FollowerKeysTest, ReportsAnotherServerKey) {
  broker.require_keys(broker_keys);
  start(with_keys(client_keys(me, CurveKeys())));
  const auto begun = Clock::now();
  ASSERT_TRUE(until([&] { return !recorder.key_problems.empty(); }));
  EXPECT_LT(Clock::now() - begun, soon);
  EXPECT_THAT(follower->status().key_problem,
              ::testing::EndsWith("the broker's key is not the one in broker.pub"));
}

TEST_F(FollowerKeysTest, UrgentRequestsFailWithTheProblem) {
  broker.require_keys(broker_keys);
  BrokerControl control(context, {.control = broker.control()});
  const auto begun = Clock::now();
  const auto types = control.types({"a.B"}, 10s);
  ASSERT_FALSE(types);
  EXPECT_EQ(types.error().text, broker.control() + ": the broker requires keys (--key, --server-key)");
  EXPECT_LT(Clock::now() - begun, soon);
}

TEST_F(FollowerKeysTest, OfSeveralBrokersOneThatRefusesDoesNotStopTheOthers) {
  FakeBroker other(0x0000'0008'0000'0001);
  other.require_keys(broker_keys, "400");
  broker.require_keys(broker_keys);
  BrokerGroup::Options with;
  const mq::SharedKeys keys = client_keys(me, broker_keys);
  with.brokers = {{"", other.egress(), other.control(), keys}, {"", broker.egress(), broker.control(), keys}};
  BrokerGroup group(context, with, recorder);
  group.subscribe("a");
  ASSERT_TRUE(until([&] {
    other.do_work();
    group.do_work(Clock::now());
    return group.connected();
  }));
  EXPECT_EQ(recorder.key_problems.size(), 1u);
  EXPECT_EQ(group.status().broker, 1u);
  EXPECT_THAT(group.status().key_problem,
              ::testing::HasSubstr("the broker does not admit the key in me.key"));
}

}  // namespace
}  // namespace backplane::testing
