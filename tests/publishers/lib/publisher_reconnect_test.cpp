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
  EXPECT_EQ(silent.admitted().size(), 0U) << "a broker that does not reply on control gets no events";
  EXPECT_EQ(publisher.status().in_doubt, 0U);
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

std::chrono::milliseconds since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
}

TEST(PublisherReconnect, ASilentBrokerIsLeftWithinASecondAndTakenAgainWhenItWorks) {
  StatusWatch watch;
  FakeIngressBroker first;
  FakeIngressBroker second;
  Publisher publisher(options_for({first.endpoints(), second.endpoints()}, watch));
  ASSERT_EQ(publisher.offer_text("t", "1"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(20s));
  first.send_replies(false);
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(watch.wait([](const auto& status) { return status.ready && status.reconnects == 1; }));
  EXPECT_LT(since(begin), 5s) << "a second, and the machine may be busy";
  ASSERT_EQ(publisher.offer_text("t", "2"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(20s));
  EXPECT_EQ(second.admitted().size(), 1U);

  first.send_replies(true);
  ASSERT_TRUE(watch.wait([](const auto& status) { return status.ready && status.reconnects == 2; }));
  ASSERT_EQ(publisher.offer_text("t", "3"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(20s));
  ASSERT_EQ(first.admitted().size(), 2U);
  EXPECT_EQ(first.admitted()[1].event.sequence(), 3U) << "confirmed events are not resent";
  EXPECT_EQ(publisher.status().in_doubt, 0U);
  EXPECT_EQ(publisher.status().resent, 0U);
}

TEST(PublisherReconnect, ABrokerThatConfirmsNothingIsLeftForTheNext) {
  StatusWatch watch;
  FakeIngressBroker first;
  FakeIngressBroker second;
  Publisher publisher(options_for({first.endpoints(), second.endpoints()}, watch));
  ASSERT_TRUE(publisher.wait_ready(20s));
  first.read_events(false);
  ASSERT_EQ(publisher.offer_text("t", "1"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(20s)) << publisher.status().last_problem;
  EXPECT_EQ(second.admitted().size(), 1U);
  EXPECT_EQ(publisher.status().in_doubt, 1U) << "the first one may still read it";
}

TEST(PublisherReconnect, TheOnlyBrokerGetsAnotherConnectionIfItConfirmsNothingOnThisOne) {
  StatusWatch watch;
  FakeIngressBroker broker;
  Publisher publisher(options_for({broker.endpoints()}, watch));
  ASSERT_TRUE(publisher.wait_ready(20s));
  broker.read_events(false);
  ASSERT_EQ(publisher.offer_text("t", "1"), Offer::accepted);
  ASSERT_TRUE(watch.wait([](const PublisherStatus& status) {
    return !status.ready && status.last_problem.find("does not confirm") != std::string::npos;
  })) << "the connection may be dead, and its kernel would notice after 15 minutes";
  broker.read_events(true);
  EXPECT_TRUE(publisher.flush(20s)) << publisher.status().last_problem;
  expect_complete(broker, 1);
  EXPECT_GE(publisher.status().reconnects, 1U);
}

TEST(PublisherReconnect, AnEarlierBrokerThatStartsLateIsTaken) {
  StatusWatch watch;
  FakeIngressBroker first;
  first.stop_listening();
  FakeIngressBroker second;
  Publisher publisher(options_for({first.endpoints(), second.endpoints()}, watch));
  ASSERT_TRUE(publisher.wait_ready(20s));
  first.listen_again();
  ASSERT_TRUE(watch.wait([](const auto& status) { return status.ready && status.reconnects == 1; }));
  ASSERT_EQ(publisher.offer_text("t", "1"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(20s));
  EXPECT_EQ(first.admitted().size(), 1U);
}

TEST(PublisherReconnect, ItMovesUnderLoadWithoutLossOrDoubt) {
  StatusWatch watch;
  FakeIngressBroker first;
  first.stop_listening();
  FakeIngressBroker second;
  Publisher publisher(options_for({first.endpoints(), second.endpoints()}, watch));
  ASSERT_TRUE(publisher.wait_ready(20s));
  first.listen_again();
  std::uint64_t offered = 0;
  const auto give_up = std::chrono::steady_clock::now() + 30s;
  while (publisher.status().reconnects == 0 && std::chrono::steady_clock::now() < give_up) {
    ASSERT_EQ(publisher.offer_text("t", "x"), Offer::accepted);
    if (++offered % 100 == 0) {
      ASSERT_TRUE(publisher.flush(20s));
    }
  }
  for (int i = 0; i < 100; ++i, ++offered) ASSERT_EQ(publisher.offer_text("t", "x"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(20s));
  EXPECT_EQ(first.admitted().size() + second.admitted().size(), offered);
  EXPECT_GE(first.admitted().size(), 100U);
  EXPECT_EQ(publisher.status().in_doubt, 0U);
}

TEST(PublisherReconnect, EventsOfAnotherProgramInItsSessionConfirmNothing) {
  StatusWatch watch;
  FakeIngressBroker broker;
  Publisher publisher(options_for({broker.endpoints()}, watch));
  ASSERT_EQ(publisher.offer_text("t", "1"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(20s));
  const std::uint64_t session = publisher.status().session;
  EXPECT_EQ(broker.admitted()[0].event.session(), session);
  broker.forge(std::uint64_t{1} << 63);
  for (int i = 2; i <= 4; ++i) ASSERT_EQ(publisher.offer_text("t", std::to_string(i)), Offer::accepted);
  ASSERT_TRUE(publisher.flush(20s)) << publisher.status().last_problem;
  const auto admitted = broker.admitted();
  ASSERT_EQ(admitted.size(), 4U) << "what flush() confirmed has been admitted";
  for (std::size_t i = 0; i < admitted.size(); ++i)
    EXPECT_EQ(admitted[i].event.text(), std::to_string(i + 1));
  const PublisherStatus status = publisher.status();
  EXPECT_NE(status.session, session);
  EXPECT_EQ(admitted.back().event.session(), status.session);
  EXPECT_GE(status.in_doubt, 1U);
  EXPECT_THAT(status.last_problem,
              ::testing::HasSubstr("another program publishes as test@here in our session"));
}

TEST(PublisherReconnect, AResumedSessionSendsNothingTwice) {
  StatusWatch watch;
  FakeIngressBroker broker;
  Publisher::Options options = options_for({broker.endpoints()}, watch);
  std::uint64_t session = 0;
  {
    Publisher publisher(options);
    for (int i = 1; i <= 5; ++i) ASSERT_EQ(publisher.offer_text("t", std::to_string(i)), Offer::accepted);
    ASSERT_TRUE(publisher.flush(20s));
    session = publisher.status().session;
  }
  // Of these, the run that continues knows only the first two.
  options.resume = Publisher::Options::Resume{.session = session, .sequence = 2, .sent_max = 1000};
  Publisher publisher(options);
  for (int i = 3; i <= 7; ++i) ASSERT_EQ(publisher.offer_text("t", std::to_string(i)), Offer::accepted);
  ASSERT_TRUE(publisher.flush(20s)) << publisher.status().last_problem;
  const auto admitted = broker.admitted();
  ASSERT_EQ(admitted.size(), 7U);
  for (std::size_t i = 0; i < admitted.size(); ++i)
    EXPECT_EQ(admitted[i].event.text(), std::to_string(i + 1));
  EXPECT_EQ(broker.duplicates(), 0U) << "it asks first";
  EXPECT_EQ(publisher.status().offered, 7U);
  EXPECT_EQ(publisher.status().in_doubt, 0U);
}

TEST(PublisherReconnect, EventsOfAnEarlierRunThatArriveLateAreNotConfirmedTwice) {
  StatusWatch watch;
  FakeIngressBroker broker;
  Publisher::Options options = options_for({broker.endpoints()}, watch);
  options.resume = Publisher::Options::Resume{.session = 77, .sequence = 0, .sent_max = 1000};
  Publisher publisher(options);
  ASSERT_TRUE(publisher.wait_ready(20s));
  ASSERT_EQ(publisher.offer_text("t", "1"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(20s));
  broker.forge(3);  // 2 and 3 arrive, which the earlier run had sent
  for (int i = 2; i <= 4; ++i) ASSERT_EQ(publisher.offer_text("t", std::to_string(i)), Offer::accepted);
  ASSERT_TRUE(publisher.flush(20s));
  EXPECT_EQ(broker.admitted().size(), 2U);
  EXPECT_EQ(broker.admitted()[1].event.text(), "4");
  EXPECT_EQ(publisher.status().session, 77U);
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
  EXPECT_EQ(status.reconnects, 0U) << "the limit is known before the first event is sent";
}

TEST(PublisherReconnect, TooLargeEventsCanBeNumberedWhenTheLimitIsKnown) {
  StatusWatch watch;
  FakeIngressBroker broker;
  broker.limit_event_bytes(1000);
  Publisher::Options options = options_for({broker.endpoints()}, watch);
  options.number_too_large = true;
  Publisher publisher(options);
  ASSERT_TRUE(publisher.wait_ready(20s));
  ASSERT_EQ(publisher.offer_text("t", "1"), Offer::accepted);
  ASSERT_EQ(publisher.offer_bytes("t", std::string(5000, 'x')), Offer::accepted);
  ASSERT_EQ(publisher.offer_text("t", "3"), Offer::accepted);
  EXPECT_FALSE(publisher.flush(10s));
  EXPECT_EQ(publisher.status().confirmed, 3U);
  EXPECT_EQ(publisher.status().refused, 1U);
  EXPECT_EQ(broker.admitted().size(), 2U);
}

}  // namespace
}  // namespace backplane
