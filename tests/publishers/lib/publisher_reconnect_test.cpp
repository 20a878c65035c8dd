#include <algorithm>

#include <gmock/gmock.h>
#include <google/protobuf/type.pb.h>

#include "backplane/publisher.hpp"
#include "tests/publishers/fake_ingress_broker.hpp"

namespace backplane {
namespace {

using namespace std::chrono_literals;
using backplane::testing::FakeIngressBroker;

/// Records every status that a publisher reports, and waits for one that matches.
class StatusWatch {
 public:
  std::function<void(const PublisherStatus&)> callback() {
    return [this](const PublisherStatus& status) {
      const std::lock_guard lock(mutex_);
      reported_.push_back(status);
      changed_.notify_all();
    };
  }
  template <class Condition>
  bool wait(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 30s,
                             [&] { return std::any_of(reported_.begin(), reported_.end(), condition); });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<PublisherStatus> reported_;
};

Publisher::Options options_for(std::vector<PublisherEndpoints> brokers, StatusWatch& watch) {
  Publisher::Options options;
  options.brokers = std::move(brokers);
  options.source = "test@here";
  options.on_change = watch.callback();
  return options;
}

void expect_complete(const FakeIngressBroker& broker, std::size_t count) {
  const auto admitted = broker.admitted();
  ASSERT_EQ(admitted.size(), count);
  for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(admitted[i].event.sequence(), i + 1);
  EXPECT_EQ(broker.holes(), 0U);
}

TEST(PublisherReconnect, AConnectionCutInTheMiddleOfABurstLosesNothing) {
  constexpr std::size_t count = 60'000;
  StatusWatch watch;
  FakeIngressBroker broker;
  Publisher publisher(options_for({broker.endpoints()}, watch));
  broker.cut_after(20'000);
  const std::string payload(100, 'x');
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(publisher.offer_bytes("burst", payload), Offer::accepted) << i;
  }
  ASSERT_TRUE(publisher.flush(60s)) << publisher.status().last_problem;
  EXPECT_EQ(broker.cuts(), 1U);
  expect_complete(broker, count);
  const PublisherStatus status = publisher.status();
  EXPECT_GE(status.reconnects, 1U);
  EXPECT_GT(status.resent, 0U);
  EXPECT_EQ(status.in_doubt, 0U) << "the broker still knows the session";
}

TEST(PublisherReconnect, ManyCutConnectionsLoseNothing) {
  constexpr std::size_t count = 30'000;
  StatusWatch watch;
  FakeIngressBroker broker;
  Publisher publisher(options_for({broker.endpoints()}, watch));
  std::size_t offered = 0;
  for (std::uint64_t cut = 1; cut <= 5; ++cut) {
    broker.cut_after(cut * 700);
    for (std::size_t i = 0; i < count / 5; ++i, ++offered) {
      ASSERT_EQ(publisher.offer_text("burst", "x"), Offer::accepted);
    }
    ASSERT_TRUE(publisher.flush(60s)) << publisher.status().last_problem;
    EXPECT_EQ(broker.cuts(), cut);
  }
  expect_complete(broker, offered);
}

TEST(PublisherReconnect, AnIdlePublisherReconnectsAndContinuesItsNumbering) {
  StatusWatch watch;
  FakeIngressBroker broker;
  Publisher publisher(options_for({broker.endpoints()}, watch));
  ASSERT_EQ(publisher.offer_text("t", "1"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(10s));
  broker.cut();
  ASSERT_TRUE(watch.wait([](const auto& status) { return status.ready && status.reconnects == 1; }));
  ASSERT_EQ(publisher.offer_text("t", "2"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(10s));
  expect_complete(broker, 2);
  EXPECT_EQ(publisher.status().resent, 0U);
}

TEST(PublisherReconnect, UnconfirmedEventsAreResentAndInDoubtAfterABrokerRestart) {
  StatusWatch watch;
  FakeIngressBroker broker;
  Publisher publisher(options_for({broker.endpoints()}, watch));
  ASSERT_EQ(publisher.offer_text("t", "1"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(10s));
  broker.send_replies(false);
  ASSERT_EQ(publisher.offer_text("t", "2"), Offer::accepted);
  ASSERT_EQ(publisher.offer_text("t", "3"), Offer::accepted);
  ASSERT_TRUE(broker.wait_admitted(3));
  broker.restart();
  broker.send_replies(true);
  ASSERT_TRUE(publisher.flush(10s)) << publisher.status().last_problem;
  const PublisherStatus status = publisher.status();
  EXPECT_EQ(status.in_doubt, 2U);
  EXPECT_EQ(status.resent, 2U);
  EXPECT_EQ(broker.admitted().size(), 5U) << "2 and 3 reach both incarnations";
}

TEST(PublisherReconnect, TypesAreRegisteredBeforeTheirFirstEventAndARefusalIsReportedOnce) {
  StatusWatch watch;
  FakeIngressBroker broker;
  broker.refuse_types(true);
  Publisher publisher(options_for({broker.endpoints()}, watch));
  ASSERT_EQ(publisher.offer_text("t", "1"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(30s));
  for (int i = 0; i < 3; ++i) ASSERT_EQ(publisher.offer("t", google::protobuf::Type()), Offer::accepted);
  ASSERT_TRUE(publisher.flush(30s));
  const auto files = broker.types();
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files.back(), std::pair(std::string("google/protobuf/type.proto"), std::size_t{1}));
  EXPECT_THAT(publisher.status().last_problem, ::testing::HasSubstr("refused types: conflict"));

  broker.restart();
  ASSERT_TRUE(watch.wait([](const auto& status) { return status.ready && status.reconnects == 1; }));
  ASSERT_EQ(publisher.offer("t", google::protobuf::Type()), Offer::accepted);
  ASSERT_TRUE(publisher.flush(30s));
  EXPECT_EQ(broker.types().size(), 4U) << "a new incarnation has no types";
  EXPECT_EQ(publisher.status().last_problem, "") << "the refusal was reported before";
}

TEST(PublisherReconnect, ABrokerThatNeverRepliesIsAbandonedForTheNext) {
  StatusWatch watch;
  FakeIngressBroker silent;
  silent.send_replies(false);
  FakeIngressBroker broker;
  Publisher publisher(options_for({silent.endpoints(), broker.endpoints()}, watch));
  ASSERT_EQ(publisher.offer_text("t", "x"), Offer::accepted);
  EXPECT_TRUE(publisher.flush(20s)) << publisher.status().last_problem;
  EXPECT_EQ(broker.admitted().size(), 1U);
  EXPECT_EQ(publisher.status().in_doubt, 1U) << "the first broker has it but never confirmed it";
}

TEST(PublisherReconnect, IfTheFirstBrokerIsAbsentTheNextIsUsed) {
  StatusWatch watch;
  FakeIngressBroker absent;
  absent.stop_listening();
  FakeIngressBroker broker;
  Publisher publisher(options_for({absent.endpoints(), broker.endpoints()}, watch));
  ASSERT_EQ(publisher.offer_text("t", "x"), Offer::accepted);
  EXPECT_TRUE(publisher.flush(10s));
  expect_complete(broker, 1);
  EXPECT_EQ(publisher.status().in_doubt, 0U);
}

TEST(PublisherReconnect, ADrainingBrokerIsLeftForTheNextOne) {
  StatusWatch watch;
  FakeIngressBroker first;
  FakeIngressBroker second;
  Publisher publisher(options_for({first.endpoints(), second.endpoints()}, watch));
  ASSERT_EQ(publisher.offer_text("t", "1"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(10s));
  first.drain(true);
  ASSERT_TRUE(watch.wait([](const auto& status) { return status.draining; }));
  ASSERT_EQ(publisher.offer_text("t", "2"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(20s)) << publisher.status().last_problem;
  EXPECT_EQ(first.admitted().size(), 1U) << "a draining broker gets no more events";
  ASSERT_EQ(second.admitted().size(), 1U);
  EXPECT_EQ(second.admitted()[0].event.sequence(), 2U);
  EXPECT_FALSE(publisher.status().draining);
  EXPECT_EQ(publisher.status().in_doubt, 0U);
}

TEST(PublisherReconnect, AnEventAboveTheBrokersLimitDoesNotBlockOtherEvents) {
  StatusWatch watch;
  FakeIngressBroker broker;
  broker.stop_listening();
  broker.limit_event_bytes(1000);
  Publisher publisher(options_for({broker.endpoints()}, watch));
  ASSERT_EQ(publisher.offer_text("t", "1"), Offer::accepted);
  ASSERT_EQ(publisher.offer_bytes("t", std::string(5000, 'x')), Offer::accepted) << "no broker, no limit yet";
  ASSERT_EQ(publisher.offer_text("t", "3"), Offer::accepted);
  broker.listen_again();
  EXPECT_FALSE(publisher.flush(10s));
  const PublisherStatus status = publisher.status();
  EXPECT_EQ(status.confirmed, 3U);
  EXPECT_EQ(status.refused, 1U) << status.last_problem;
  EXPECT_EQ(broker.admitted().size(), 2U);
}

}  // namespace
}  // namespace backplane
