// A whole backplane on its thread, with real sockets on free ports.

#include "broker/loop.hpp"

#include <thread>

#include <gtest/gtest.h>

#include "backplane/v1/control.pb.h"
#include "backplane/v1/event.pb.h"
#include "broker/operations/exposition.hpp"
#include "core/log/log.hpp"

namespace backplane::broker {
namespace {

using namespace std::chrono_literals;
constexpr int patience_ms = 20'000;

class LoopTest : public ::testing::Test {
 protected:
  LoopTest() {
    log::set_level(log::Level::off);
    config.ingress = config.egress = config.control = config.raw = "tcp://127.0.0.1:0";
    config.drain_limit = 3s;
  }
  ~LoopTest() override { stop(); }

  void start() {
    loop.emplace(config, board);
    auto opened = loop->open();
    ASSERT_TRUE(opened.has_value()) << opened.error().text;
    bound = *opened;
    thread = std::thread([this] { loop->run(); });
  }
  void stop() {
    if (!thread.joinable()) return;
    loop->drain();
    thread.join();
  }

  zmq::socket_t socket(zmq::socket_type type, const std::string& endpoint) {
    zmq::socket_t made(context, type);
    made.set(zmq::sockopt::linger, 1'000);
    made.set(zmq::sockopt::rcvtimeo, patience_ms);
    made.set(zmq::sockopt::sndhwm, 0);
    made.set(zmq::sockopt::rcvhwm, 0);
    made.connect(endpoint);
    return made;
  }

  /// A SUB of everything, known to be active.
  zmq::socket_t live_subscriber(const std::string& prefix) {
    zmq::socket_t made = socket(zmq::socket_type::sub, bound.egress);
    made.set(zmq::sockopt::subscribe, prefix);
    const std::string nonce = "$SYS.live.abc123";
    made.set(zmq::sockopt::subscribe, nonce);
    std::string topic;
    while (topic != nonce) {
      v1::Event event = receive(made, &topic);
      if (topic.empty()) break;
    }
    return made;
  }

  zmq::socket_t ready_publisher(const std::string& ingress) {
    zmq::socket_t made = socket(zmq::socket_type::xpub, ingress);
    zmq::message_t subscription;
    EXPECT_TRUE(made.recv(subscription)) << "no subscription from the broker";
    return made;
  }

  v1::Event receive(zmq::socket_t& from, std::string* topic = nullptr) {
    zmq::message_t first;
    zmq::message_t second;
    v1::Event event;
    if (topic != nullptr) topic->clear();
    if (!from.recv(first) || !from.recv(second)) {
      ADD_FAILURE() << "nothing came";
      return event;
    }
    if (topic != nullptr) *topic = first.to_string();
    EXPECT_TRUE(event.ParseFromArray(second.data(), static_cast<int>(second.size())));
    return event;
  }

  static void send(zmq::socket_t& to, const std::string& topic, const std::string& bytes) {
    to.send(zmq::buffer(topic), zmq::send_flags::sndmore);
    to.send(zmq::buffer(bytes), zmq::send_flags::none);
  }

  static std::string numbered(std::uint64_t sequence) {
    v1::Event event;
    event.set_source("tester");
    event.set_session(9);
    event.set_sequence(sequence);
    event.set_text("hello");
    return event.SerializeAsString();
  }

  BackplaneConfig config;
  SnapshotBoard board;
  zmq::context_t context;
  std::optional<Loop> loop;
  BoundEndpoints bound;
  std::thread thread;
};

TEST_F(LoopTest, CarriesEventsFromPublisherToSubscriberWithOffsetsFromOne) {
  start();
  auto subscriber = live_subscriber("news.");
  auto publisher = ready_publisher(bound.ingress);
  for (std::uint64_t i = 1; i <= 1'000; ++i) send(publisher, "news.uk", numbered(i));
  for (std::uint64_t i = 1; i <= 1'000; ++i) {
    const v1::Event event = receive(subscriber);
    ASSERT_EQ(event.stamp().offset(), i);
    ASSERT_EQ(event.sequence(), i);
  }
}

TEST_F(LoopTest, RepliesToALiveNonceWithItsStreamAndPosition) {
  start();
  auto publisher = ready_publisher(bound.ingress);
  auto subscriber = live_subscriber("news.");
  send(publisher, "news.uk", numbered(1));
  const v1::Event event = receive(subscriber);
  subscriber.set(zmq::sockopt::subscribe, "$SYS.live.second");
  std::string topic;
  const v1::Event answer = receive(subscriber, &topic);
  EXPECT_EQ(topic, "$SYS.live.second");
  EXPECT_EQ(answer.stamp().stream(), event.stamp().stream());
  EXPECT_GE(answer.stamp().position(), event.stamp().position());
  EXPECT_EQ(answer.stamp().offset(), 0u);
  EXPECT_EQ(answer.source(), "broker@default");
}

TEST_F(LoopTest, MakesEventsOfRawBytes) {
  start();
  auto subscriber = live_subscriber("sensor");
  auto publisher = ready_publisher(bound.raw);
  send(publisher, "sensor.1", "21.5");
  const v1::Event event = receive(subscriber);
  EXPECT_EQ(event.text(), "21.5");
  EXPECT_EQ(event.stamp().offset(), 1u);
}

TEST_F(LoopTest, SurvivesMessagesOfOneAndOfManyFrames) {
  start();
  auto subscriber = live_subscriber("t");
  auto publisher = ready_publisher(bound.ingress);
  publisher.send(zmq::str_buffer("alone"), zmq::send_flags::none);
  for (int i = 0; i < 9; ++i) publisher.send(zmq::str_buffer("many"), zmq::send_flags::sndmore);
  publisher.send(zmq::str_buffer("many"), zmq::send_flags::none);
  send(publisher, "t", numbered(1));
  EXPECT_EQ(receive(subscriber).stamp().position(), 1u);
  stop();
  const Counters counters = board.latest().counters;
  EXPECT_EQ(counters.rejected_total[static_cast<std::size_t>(Refusal::wrong_frames)], 2u);
  EXPECT_EQ(counters.received_total, 3u);
}

// More messages than in a turn, and more than are received ahead.
TEST_F(LoopTest, KeepsTheOrderOfALongBurstOfSmallLargeAndWrongMessages) {
  start();
  zmq::socket_t subscriber = live_subscriber("test.");
  zmq::socket_t publisher = ready_publisher(bound.ingress);
  v1::Event large;
  large.set_binary(std::string(100'000, 'x'));
  constexpr std::uint64_t events = 1'000;
  for (std::uint64_t i = 1; i <= events; ++i) {
    if (i % 7 == 0) publisher.send(zmq::buffer(std::string(100'000, 'x')), zmq::send_flags::none);
    if (i % 11 == 0) send(publisher, "test.bad", "\xff");
    if (i % 50 == 0) send(publisher, "test.large", large.SerializeAsString());
    send(publisher, "test.t" + std::to_string(i % 3), numbered(i));
  }
  std::uint64_t small = 0;
  for (std::uint64_t position = 1; position <= events + events / 50; ++position) {
    std::string topic;
    const v1::Event event = receive(subscriber, &topic);
    ASSERT_EQ(event.stamp().position(), position);
    if (topic == "test.large") {
      ASSERT_EQ(event.binary(), large.binary());
    } else {
      ASSERT_EQ(event.sequence(), ++small);
      ASSERT_EQ(topic, "test.t" + std::to_string(small % 3));
      ASSERT_EQ(event.text(), "hello");
    }
  }
  EXPECT_EQ(small, events);
}

TEST_F(LoopTest, RepliesToControlRequestsOfReqAndDealer) {
  start();
  v1::ControlRequest request;
  request.set_version(1);
  request.set_id(5);
  request.mutable_stats();
  for (const auto type : {zmq::socket_type::req, zmq::socket_type::dealer}) {
    auto asker = socket(type, bound.control);
    asker.send(zmq::buffer(request.SerializeAsString()), zmq::send_flags::none);
    zmq::message_t frame;
    ASSERT_TRUE(asker.recv(frame));
    v1::ControlReply reply;
    ASSERT_TRUE(reply.ParseFromArray(frame.data(), static_cast<int>(frame.size())));
    EXPECT_EQ(reply.id(), 5u);
    EXPECT_TRUE(reply.has_stats());
    EXPECT_TRUE(reply.has_complete());
  }
}

TEST_F(LoopTest, ReadsWhatPublishersSentBeforeItDrains) {
  config.egress_hwm = 200'000;
  start();
  auto subscriber = live_subscriber("t");
  auto publisher = ready_publisher(bound.ingress);
  constexpr std::uint64_t count = 100'000;
  for (std::uint64_t i = 1; i <= count; ++i) send(publisher, "t", numbered(i));
  loop->drain();
  thread.join();
  EXPECT_EQ(board.latest().counters.published_total, count);
  for (std::uint64_t i = 1; i <= count; ++i) ASSERT_EQ(receive(subscriber).sequence(), i);
}

TEST_F(LoopTest, NotifiesSubscribersThatItDrains) {
  start();
  auto subscriber = live_subscriber("$SYS.drain");
  loop->drain();
  std::string topic;
  receive(subscriber, &topic);
  EXPECT_EQ(topic, "$SYS.drain");
  thread.join();
}

TEST_F(LoopTest, AFloodOfInventedNamesUsesNoMoreThanAnEighthOfTheTopics) {
  config.max_topics = 80;
  start();
  auto asker = socket(zmq::socket_type::req, bound.control);
  for (int i = 0; i < 100; ++i) {
    v1::ControlRequest request;
    request.set_version(1);
    request.mutable_hello()->set_name("invented" + std::to_string(i));
    request.mutable_hello()->set_role(v1::HelloRequest::ROLE_PUBLISHER);
    asker.send(zmq::buffer(request.SerializeAsString()), zmq::send_flags::none);
    zmq::message_t reply;
    ASSERT_TRUE(asker.recv(reply));
  }
  auto subscriber = live_subscriber("topic.");
  auto publisher = ready_publisher(bound.ingress);
  for (std::uint64_t i = 1; i <= 70; ++i) send(publisher, "topic." + std::to_string(i), numbered(i));
  for (std::uint64_t i = 1; i <= 70; ++i) ASSERT_EQ(receive(subscriber).sequence(), i);
  stop();
  EXPECT_EQ(board.latest().topics, 10u + 70u + 1u) << "$SYS.drain comes although the table is full";
  EXPECT_EQ(board.latest().counters.source_events_dropped_total, 90u);
}

TEST_F(LoopTest, NamesAnEndpointThatIsInUse) {
  start();
  BackplaneConfig second = config;
  second.ingress = bound.ingress;
  SnapshotBoard other_board;
  Loop other(second, other_board);
  const auto opened = other.open();
  ASSERT_FALSE(opened.has_value());
  EXPECT_NE(opened.error().text.find(bound.ingress), std::string::npos) << opened.error().text;
}

TEST_F(LoopTest, AllIncarnationsShareTheUpperHalfOfTheStreamId) {
  start();
  auto first = live_subscriber("x");
  const std::uint64_t one = board.latest().stream;
  stop();
  const BoundEndpoints before = bound;
  loop.reset();
  config.ingress = before.ingress;
  start();
  const std::uint64_t two = board.latest().stream;
  EXPECT_EQ(one >> 32, two >> 32);
  EXPECT_NE(one, two);
}

}  // namespace
}  // namespace backplane::broker
