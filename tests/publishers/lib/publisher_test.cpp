#include "backplane/publisher.hpp"

#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>

#include "backplane/events/v1/clock_tick.pb.h"
#include "tests/publishers/fake_ingress_broker.hpp"

namespace backplane {
namespace {

using namespace std::chrono_literals;
using backplane::testing::FakeIngressBroker;
using ::testing::HasSubstr;

Publisher::Options options_for(const FakeIngressBroker& broker) {
  Publisher::Options options;
  options.brokers = {broker.endpoints()};
  options.source = "test@here";
  return options;
}

TEST(Publisher, NumbersItsEventsAndTheyArriveInOrder) {
  FakeIngressBroker broker;
  Publisher publisher(options_for(broker));
  for (const char* text : {"one", "two", "three"}) {
    ASSERT_EQ(publisher.offer_text("count", text), Offer::accepted);
  }
  EXPECT_TRUE(publisher.flush(10s));
  const auto admitted = broker.admitted();
  ASSERT_EQ(admitted.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(admitted[i].event.sequence(), i + 1);
  EXPECT_EQ(admitted[2].topic, "count");
  EXPECT_EQ(admitted[2].event.text(), "three");
  EXPECT_EQ(admitted[2].event.source(), "test@here");
  EXPECT_NE(admitted[2].event.session(), 0U);
}

TEST(Publisher, CarriesEachKindOfPayload) {
  FakeIngressBroker broker;
  Publisher publisher(options_for(broker));
  events::v1::ClockTick tick;
  tick.set_tick(7);
  EventOptions event;
  event.time_ns = 1'500'000'000;
  event.attributes = {{"why", "test"}};
  EXPECT_EQ(publisher.offer("clock", tick, event), Offer::accepted);
  EXPECT_EQ(publisher.offer_text("text", "grüß"), Offer::accepted);
  EXPECT_EQ(publisher.offer_text("text", "\xff"), Offer::accepted);
  EXPECT_EQ(publisher.offer_bytes("bytes", "plain"), Offer::accepted);
  EXPECT_EQ(publisher.offer_clear("clear"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(10s));
  const auto admitted = broker.admitted();
  ASSERT_EQ(admitted.size(), 5U);
  events::v1::ClockTick unpacked;
  ASSERT_TRUE(admitted[0].event.message().UnpackTo(&unpacked));
  EXPECT_EQ(unpacked.tick(), 7U);
  EXPECT_EQ(admitted[0].event.time().seconds(), 1);
  EXPECT_EQ(admitted[0].event.time().nanos(), 500'000'000);
  EXPECT_EQ(admitted[0].event.attributes().at("why"), "test");
  EXPECT_EQ(admitted[1].event.text(), "grüß");
  EXPECT_EQ(admitted[2].event.binary(), "\xff") << "text that is not UTF-8 is sent as bytes";
  EXPECT_EQ(admitted[3].event.binary(), "plain");
  EXPECT_EQ(admitted[4].event.payload_case(), v1::Event::PAYLOAD_NOT_SET);
  EXPECT_TRUE(admitted[4].event.has_time()) << "without a time, an event happens now";
}

TEST(Publisher, IsReadyOnlyWhenTheBrokerHasSubscribed) {
  FakeIngressBroker broker;
  broker.stop_listening();
  Publisher publisher(options_for(broker));
  EXPECT_FALSE(publisher.wait_ready(100ms));
  EXPECT_FALSE(publisher.status().ready);
  broker.listen_again();
  EXPECT_TRUE(publisher.wait_ready(10s));
  EXPECT_TRUE(publisher.status().ready);
  EXPECT_EQ(publisher.status().reconnects, 0U);
}

TEST(Publisher, ReportsTheEndpointItCannotConnectTo) {
  FakeIngressBroker broker;
  broker.stop_listening();
  std::mutex mutex;
  std::condition_variable changed;
  std::string problem;
  auto options = options_for(broker);
  options.on_change = [&](const PublisherStatus& status) {
    const std::lock_guard lock(mutex);
    problem = status.last_problem;
    changed.notify_all();
  };
  const Publisher publisher(options);
  std::unique_lock lock(mutex);
  ASSERT_TRUE(changed.wait_for(lock, 10s, [&] { return !problem.empty(); }));
  EXPECT_EQ(problem, "cannot connect to " + broker.endpoints().ingress);
}

TEST(Publisher, EventsOfferedBeforeTheBrokerStartsWaitForIt) {
  FakeIngressBroker broker;
  broker.stop_listening();
  Publisher publisher(options_for(broker));
  ASSERT_EQ(publisher.offer_text("early", "bird"), Offer::accepted);
  EXPECT_FALSE(publisher.flush(50ms)) << "nothing can have been admitted";
  broker.listen_again();
  EXPECT_TRUE(publisher.flush(10s));
  EXPECT_EQ(broker.admitted().size(), 1U);
}

TEST(Publisher, ABurstOf200000ArrivesCompleteAndInOrder) {
  constexpr std::size_t count = 200'000;
  FakeIngressBroker broker;
  Publisher publisher(options_for(broker));
  const std::string payload(128, 'x');
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(publisher.offer_bytes("burst", payload), Offer::accepted) << i;
  }
  ASSERT_TRUE(publisher.flush(60s)) << publisher.status().last_problem;
  const auto admitted = broker.admitted();
  ASSERT_EQ(admitted.size(), count);
  for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(admitted[i].event.sequence(), i + 1);
  EXPECT_EQ(broker.duplicates(), 0U);
  EXPECT_EQ(publisher.status().confirmed, count);
}

TEST(Publisher, SeveralThreadsShareOneNumbering) {
  constexpr std::uint64_t each = 5'000;
  FakeIngressBroker broker;
  Publisher publisher(options_for(broker));
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&publisher] {
      for (std::uint64_t i = 0; i < each; ++i) EXPECT_EQ(publisher.offer_text("t", "x"), Offer::accepted);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(publisher.flush(30s));
  EXPECT_EQ(broker.admitted().size(), 3 * each);
  EXPECT_EQ(broker.holes(), 0U);
}

TEST(Publisher, AtItsLimitItAppliesBackpressureUntilTheBrokerReads) {
  FakeIngressBroker broker;
  auto options = options_for(broker);
  options.unconfirmed_bytes_max = 1'000'000;
  Publisher publisher(options);
  ASSERT_TRUE(publisher.wait_ready(10s));
  broker.read_events(false);
  const std::string payload(1000, 'x');
  Offer last = Offer::accepted;
  std::size_t accepted = 0;
  while (accepted < 2000 && (last = publisher.offer_bytes("t", payload)) == Offer::accepted) ++accepted;
  EXPECT_EQ(last, Offer::backpressured);
  EXPECT_GT(accepted, 900U);
  EXPECT_LT(accepted, 1000U);
  broker.read_events(true);
  EXPECT_TRUE(publisher.flush(10s));
  EXPECT_EQ(publisher.offer_bytes("t", payload), Offer::accepted);
  EXPECT_TRUE(publisher.flush(10s));
  EXPECT_EQ(broker.admitted().size(), accepted + 1);
}

TEST(Publisher, FlushFailsIfTheBrokerDoesNotConfirmInTime) {
  FakeIngressBroker broker;
  Publisher publisher(options_for(broker));
  ASSERT_TRUE(publisher.wait_ready(10s));
  broker.read_events(false);
  ASSERT_EQ(publisher.offer_text("t", "x"), Offer::accepted);
  EXPECT_FALSE(publisher.flush(100ms));
  EXPECT_EQ(publisher.status().confirmed, 0U);
  broker.read_events(true);
  EXPECT_TRUE(publisher.flush(10s));
}

TEST(Publisher, FlushFailsIfAnEventWasRefused) {
  FakeIngressBroker broker;
  broker.refuse("bad");
  Publisher publisher(options_for(broker));
  ASSERT_EQ(publisher.offer_text("good", "x"), Offer::accepted);
  EXPECT_TRUE(publisher.flush(10s));
  ASSERT_EQ(publisher.offer_text("bad", "x"), Offer::accepted);
  EXPECT_FALSE(publisher.flush(10s));
  const PublisherStatus status = publisher.status();
  EXPECT_EQ(status.confirmed, 2U) << "a refused event counts as confirmed";
  EXPECT_EQ(status.refused, 1U);
  EXPECT_THAT(status.last_problem, HasSubstr("bad_topic"));
}

TEST(Publisher, ConfirmationIsRequestedWithoutDelay) {
  FakeIngressBroker broker;
  std::mutex mutex;
  std::condition_variable changed;
  std::uint64_t confirmed = 0;
  auto options = options_for(broker);
  options.on_change = [&](const PublisherStatus& status) {
    const std::lock_guard lock(mutex);
    confirmed = status.confirmed;
    changed.notify_all();
  };
  Publisher publisher(options);
  ASSERT_TRUE(publisher.wait_ready(10s));
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t i = 1; i <= 50; ++i) {
    ASSERT_EQ(publisher.offer_text("t", "x"), Offer::accepted);
    publisher.request_confirmation();
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, 10s, [&] { return confirmed == i; }));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, 2500ms)
      << "at the usual interval, 50 requests take 5 s";
}

TEST(Publisher, RefusesEventsAboveItsLimit) {
  FakeIngressBroker broker;
  auto options = options_for(broker);
  options.max_event_bytes = 1000;
  Publisher publisher(options);
  EXPECT_EQ(publisher.offer_bytes("t", std::string(1001, 'x')), Offer::too_large);
  EXPECT_EQ(publisher.offer_bytes("t", std::string(999, 'x')), Offer::too_large) << "with its envelope";
  EXPECT_EQ(publisher.offer_bytes("t", std::string(900, 'x')), Offer::accepted);
  options.unconfirmed_bytes_max = 500;
  Publisher small(options);
  EXPECT_EQ(small.offer_bytes("t", std::string(900, 'x')), Offer::too_large) << "it can never fit";
}

TEST(Publisher, TheBrokersLimitAppliesOnceItIsKnown) {
  FakeIngressBroker broker;
  broker.limit_event_bytes(1000);
  Publisher publisher(options_for(broker));
  ASSERT_EQ(publisher.offer_text("t", "x"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(10s));
  EXPECT_EQ(publisher.offer_bytes("t", std::string(1000, 'x')), Offer::too_large);
}

TEST(Publisher, RefusesInvalidTopicsAndSystemTopics) {
  FakeIngressBroker broker;
  Publisher publisher(options_for(broker));
  for (const char* topic : {"", "a..b", "a b", "a.*", "$SYS.mine", "+a"}) {
    EXPECT_EQ(publisher.offer_text(topic, "x"), Offer::bad_topic) << topic;
  }
  EXPECT_EQ(publisher.status().offered, 0U);
}

TEST(Publisher, InvalidAttributesThrow) {
  FakeIngressBroker broker;
  Publisher publisher(options_for(broker));
  EXPECT_THROW((void)publisher.offer_text("t", "x", {.time_ns = {}, .attributes = {{"k", "\xff"}}}),
               std::invalid_argument);
  EXPECT_THROW((void)publisher.offer_text("t", "x", {.time_ns = {}, .attributes = {{"", "v"}}}),
               std::invalid_argument);
}

TEST(Publisher, InvalidOptionsThrow) {
  const auto with = [](auto change) {
    Publisher::Options options;
    options.source = "test@here";
    change(options);
    return options;
  };
  EXPECT_THROW(Publisher(with([](auto& o) { o.brokers.clear(); })), std::invalid_argument);
  EXPECT_THROW(Publisher(with([](auto& o) { o.brokers[0].ingress = "localhost"; })), std::invalid_argument);
  EXPECT_THROW(Publisher(with([](auto& o) { o.brokers[0].control = "tcp://a:99999"; })),
               std::invalid_argument);
  EXPECT_THROW(Publisher(with([](auto& o) { o.source = ""; })), std::invalid_argument);
  EXPECT_THROW(Publisher(with([](auto& o) { o.source = "two words"; })), std::invalid_argument);
  EXPECT_THROW(Publisher(with([](auto& o) { o.source = std::string(250, 'x'); })), std::invalid_argument);
}

TEST(Publisher, SendsHellosWithItsCountersAndAClosingHello) {
  FakeIngressBroker broker;
  Publisher publisher(options_for(broker));
  publisher.set_counters({{"ticks", 5}});
  ASSERT_EQ(publisher.offer_text("t", "x"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(10s));
  ASSERT_TRUE(broker.wait_hellos(2)) << "one per second";
  EXPECT_TRUE(publisher.close(10s));
  ASSERT_TRUE(broker.wait_goodbye());
  const auto hellos = broker.hellos();
  EXPECT_EQ(hellos.front().name(), "test@here");
  EXPECT_EQ(hellos.front().role(), v1::HelloRequest::ROLE_PUBLISHER);
  EXPECT_FALSE(hellos.front().closing());
  EXPECT_EQ(hellos.back().counters().at("ticks"), 5U);
  EXPECT_EQ(hellos.back().counters().at("confirmed"), 1U);
  EXPECT_EQ(hellos.back().session(), broker.admitted().front().event.session());
}

TEST(Publisher, TheBrokerHasTheClosingHelloWhenCloseReturns) {
  FakeIngressBroker broker;
  for (std::size_t round = 1; round <= 20; ++round) {
    Publisher publisher(options_for(broker));
    ASSERT_EQ(publisher.offer_text("t", "x"), Offer::accepted);
    EXPECT_TRUE(publisher.close(10s));
    ASSERT_TRUE(broker.hellos().back().closing()) << "publisher " << round;
  }
}

TEST(Publisher, ABrokerThatHasTheFirstHelloGetsTheClosingOneEvenIfItHasNotReplied) {
  mq::Context context;
  mq::Socket ingress(context, zmq::socket_type::xsub, {});
  mq::Socket control(context, zmq::socket_type::router, {});
  Publisher::Options options;
  options.source = "test@here";
  options.brokers = {{*ingress.bind("tcp://127.0.0.1:0"), *control.bind("tcp://127.0.0.1:0")}};
  const auto next_hello = [&] {
    zmq::pollitem_t item{control.raw().handle(), 0, ZMQ_POLLIN, 0};
    zmq::poll(&item, 1, 60s);
    zmq::message_t frame;
    v1::ControlRequest request;
    while (control.receive(frame)) {
      if (!frame.more()) {
        EXPECT_TRUE(request.ParseFromArray(frame.data(), static_cast<int>(frame.size())));
        break;
      }
    }
    return request.hello();
  };
  Publisher publisher(std::move(options));
  ASSERT_EQ(next_hello().name(), "test@here");
  EXPECT_TRUE(publisher.close(10s));
  EXPECT_TRUE(next_hello().closing());
}

TEST(Publisher, CloseReturnsIfTheBrokerDoesNotReply) {
  FakeIngressBroker broker;
  Publisher publisher(options_for(broker));
  ASSERT_EQ(publisher.offer_text("t", "x"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(10s));
  broker.send_replies(false);
  const auto started = std::chrono::steady_clock::now();
  EXPECT_TRUE(publisher.close(10s));
  EXPECT_LT(std::chrono::steady_clock::now() - started, 5s) << "a bound for a loaded machine";
}

TEST(Publisher, AfterCloseOffersAreRefused) {
  FakeIngressBroker broker;
  Publisher publisher(options_for(broker));
  ASSERT_EQ(publisher.offer_text("t", "x"), Offer::accepted);
  EXPECT_TRUE(publisher.close(10s));
  EXPECT_EQ(publisher.offer_text("t", "x"), Offer::closed);
  EXPECT_TRUE(publisher.close(10s)) << "a second call returns the same";
  EXPECT_TRUE(publisher.flush(10s));
  EXPECT_FALSE(publisher.wait_ready(10s)) << "does not wait after close()";
}

TEST(Publisher, OneShotPublishersLoseNothing) {
  FakeIngressBroker broker;
  for (int i = 0; i < 100; ++i) {
    Publisher publisher(options_for(broker));
    ASSERT_EQ(publisher.offer_text("shot", std::to_string(i)), Offer::accepted);
    ASSERT_TRUE(publisher.close(10s)) << i;
  }
  EXPECT_EQ(broker.admitted().size(), 100U);
}

}  // namespace
}  // namespace backplane
