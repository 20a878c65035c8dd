// The endpoints of a backplane for the rest of its process: what comes by them, and what does not.

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

#include "backplane/publisher.hpp"
#include "backplane/v1/control.pb.h"
#include "backplane/v1/event.pb.h"
#include "broker/loop.hpp"
#include "broker/operations/exposition.hpp"
#include "core/credentials/key.hpp"
#include "core/log/log.hpp"
#include "follower/follower.hpp"
#include "tests/broker/access/policy_text.hpp"

namespace backplane::broker {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
constexpr auto patience = 20s;

/// Annotated for ThreadSanitizer, as in core/zmq/socket.cpp.
bool receive(zmq::socket_t& from, zmq::message_t& frame) {
  if (!from.recv(frame)) return false;
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(frame.data());
#endif
  return true;
}

class LocalEndpointsTest : public ::testing::Test {
 protected:
  LocalEndpointsTest() {
    log::set_level(log::Level::off);
    config.ingress = config.egress = config.control = config.raw = "tcp://127.0.0.1:0";
    config.drain_limit = 3s;
    config.serves_own_process = true;
  }
  ~LocalEndpointsTest() override { stop(); }

  void use_policy() {
    config.admission.key.emplace(make_secret_key());
    config.admission.policy = testing::policy_of(testing::two_worlds);
    config.egress_topics = {"news.>"};
  }
  void start() {
    loop.emplace(config, board);
    auto opened = loop->open();
    ASSERT_TRUE(opened.has_value()) << opened.error().text;
    bound = *opened;
    local = loop->local();
    thread = std::thread([this] {
      loop->run();
      loop.reset();
    });
  }
  void stop() {
    if (!thread.joinable()) return;
    loop->drain();
    thread.join();
  }

  zmq::socket_t local_socket(zmq::socket_type type, const std::string& endpoint) const {
    zmq::socket_t made(local.context->raw(), type);
    made.set(zmq::sockopt::linger, 0);
    made.set(zmq::sockopt::rcvtimeo, 20'000);
    made.connect(endpoint);
    return made;
  }
  static v1::ControlReply request(zmq::socket_t& of, const v1::ControlRequest& request) {
    of.send(zmq::buffer(request.SerializeAsString()), zmq::send_flags::none);
    zmq::message_t frame;
    v1::ControlReply reply;
    if (!receive(of, frame)) return reply;
    EXPECT_TRUE(reply.ParseFromArray(frame.data(), static_cast<int>(frame.size())));
    return reply;
  }
  static v1::ControlRequest stats(std::uint64_t id) {
    v1::ControlRequest request;
    request.set_version(1);
    request.set_id(id);
    request.mutable_stats();
    return request;
  }
  static std::string numbered(std::uint64_t sequence) {
    v1::Event event;
    event.set_source("tester");
    event.set_session(9);
    event.set_sequence(sequence);
    event.set_text("hello");
    return event.SerializeAsString();
  }

  Publisher::Options publisher_options() const {
    Publisher::Options options;
    options.brokers = {{local.ingress, local.control}};
    options.source = "gateway@test";
    return options;
  }

  BackplaneConfig config;
  SnapshotBoard board;
  std::optional<Loop> loop;
  BoundEndpoints bound;
  LocalEndpoints local;
  std::thread thread;
};

/// Counts what a follower delivers.
class Counting final : public ReaderListener {
 public:
  void on_event(const Delivery& delivery) override { EXPECT_EQ(delivery.stamp.offset, ++events); }
  void on_gap(const Gap&) override { ++gaps; }
  void on_reset(const Reset&) override { ++resets; }
  void on_connection(bool is_up) override { up = is_up; }
  void on_live(std::uint64_t) override {}
  void on_retained(std::uint64_t, const Delivery&) override {}
  void on_retained_end(std::uint64_t, const RetainedEnd&) override {}
  void on_replayed(std::uint64_t, const Delivery&) override {}
  void on_replayed_gap(std::uint64_t, const Gap&) override {}
  void on_replay_slice(std::uint64_t, const ReplaySlice&) override {}

  std::uint64_t events{};
  std::uint64_t gaps{};
  std::uint64_t resets{};
  bool up{};
};

template <class Condition>
void work_until(Follower& follower, Condition condition) {
  const auto limit = Clock::now() + patience;
  while (!condition()) {
    ASSERT_LT(Clock::now(), limit);
    if (follower.do_work(Clock::now()) == 0) std::this_thread::yield();
  }
}

TEST_F(LocalEndpointsTest, APublisherAndAFollowerOfTheProcessMeetThere) {
  for (const bool secured : {false, true}) {
    SCOPED_TRACE(secured ? "with a policy" : "without a policy");
    if (secured) use_policy();
    start();
    Counting counting;
    Follower::Options options;
    options.broker = {local.ingress, local.egress, local.control};
    options.name = "gateway@test";
    {
      Follower follower(*local.context, options, counting);
      follower.subscribe("other");
      work_until(follower, [&] { return counting.up; });
      Publisher publisher(publisher_options(), local.context);
      constexpr std::uint64_t count = 10'000;
      for (std::uint64_t i = 0; i < count; ++i)
        ASSERT_EQ(publisher.offer_text("other", "x"), Offer::accepted);
      work_until(follower, [&] { return counting.events == count; });
      EXPECT_TRUE(publisher.flush(20s)) << publisher.status().last_problem;
      EXPECT_EQ(publisher.status().refused, 0u) << publisher.status().last_problem;
      EXPECT_TRUE(publisher.close(1s));
    }
    EXPECT_EQ(counting.gaps + counting.resets, 0u);
    stop();
    local = {};
  }
}

TEST_F(LocalEndpointsTest, WhatTheBrokerHasPublishedCanBeReadAfterItsEnd) {
  start();
  auto subscriber = local_socket(zmq::socket_type::sub, local.egress);
  subscriber.set(zmq::sockopt::subscribe, "$SYS.drain");
  stop();
  zmq::message_t topic;
  ASSERT_TRUE(subscriber.recv(topic, zmq::recv_flags::dontwait));
  EXPECT_EQ(topic.to_string(), "$SYS.drain");
}

TEST_F(LocalEndpointsTest, EachReplyGoesToTheSocketThatItsRequestCameBy) {
  start();
  zmq::context_t elsewhere;
  zmq::socket_t stranger(elsewhere, zmq::socket_type::dealer);
  stranger.set(zmq::sockopt::linger, 0);
  stranger.set(zmq::sockopt::rcvtimeo, 20'000);
  // Addresses that clients choose themselves do not decide it.
  stranger.set(zmq::sockopt::routing_id, "local");
  stranger.connect(bound.control);
  zmq::socket_t mine(local.context->raw(), zmq::socket_type::dealer);
  mine.set(zmq::sockopt::linger, 0);
  mine.set(zmq::sockopt::rcvtimeo, 20'000);
  mine.set(zmq::sockopt::routing_id, "network");
  mine.connect(local.control);
  EXPECT_EQ(request(stranger, stats(1)).id(), 1u);
  EXPECT_EQ(request(mine, stats(2)).id(), 2u);
  EXPECT_EQ(request(stranger, stats(3)).id(), 3u);
}

TEST_F(LocalEndpointsTest, APolicyDoesNotLimitTheProcessItselfAndAdmitsNobodyElse) {
  use_policy();
  start();
  auto mine = local_socket(zmq::socket_type::req, local.control);
  EXPECT_TRUE(request(mine, stats(1)).has_stats()) << "it may do everything";

  zmq::context_t elsewhere;
  for (const std::string& endpoint : {bound.ingress, bound.control, bound.egress}) {
    zmq::socket_t stranger(elsewhere, endpoint == bound.ingress   ? zmq::socket_type::xpub
                                      : endpoint == bound.control ? zmq::socket_type::dealer
                                                                  : zmq::socket_type::sub);
    stranger.set(zmq::sockopt::linger, 0);
    stranger.connect(endpoint);
    if (endpoint == bound.egress) stranger.set(zmq::sockopt::subscribe, "");
    if (endpoint == bound.control) stranger.send(zmq::buffer(stats(9).SerializeAsString()));
    stranger.set(zmq::sockopt::rcvtimeo, 300);
    zmq::message_t anything;
    EXPECT_FALSE(stranger.recv(anything)) << endpoint << ": no key, no word";
  }
  // The names are those of the process's own context: elsewhere, they mean nothing.
  zmq::socket_t other(elsewhere, zmq::socket_type::dealer);
  other.set(zmq::sockopt::linger, 0);
  other.connect(local.control);
  other.set(zmq::sockopt::rcvtimeo, 100);
  zmq::message_t anything;
  EXPECT_FALSE(
      other.send(zmq::buffer(stats(10).SerializeAsString()), zmq::send_flags::dontwait).has_value() &&
      other.recv(anything));
  EXPECT_TRUE(request(mine, stats(2)).has_stats());
}

TEST_F(LocalEndpointsTest, ASessionOfTheProcessCannotBeTakenOverFromTheNetwork) {
  start();
  auto publisher = local_socket(zmq::socket_type::xpub, local.ingress);
  zmq::message_t subscription;
  ASSERT_TRUE(publisher.recv(subscription));
  auto subscriber = local_socket(zmq::socket_type::sub, local.egress);
  subscriber.set(zmq::sockopt::subscribe, "t");
  const auto send = [](zmq::socket_t& to, std::uint64_t sequence) {
    to.send(zmq::str_buffer("t"), zmq::send_flags::sndmore);
    to.send(zmq::buffer(numbered(sequence)), zmq::send_flags::none);
  };
  const auto next_sequence = [&] {
    zmq::message_t topic;
    zmq::message_t bytes;
    v1::Event event;
    EXPECT_TRUE(receive(subscriber, topic) && receive(subscriber, bytes));
    EXPECT_TRUE(event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
    return event.sequence();
  };
  send(publisher, 1);
  EXPECT_EQ(next_sequence(), 1u);

  zmq::context_t elsewhere;
  zmq::socket_t forger(elsewhere, zmq::socket_type::xpub);
  forger.set(zmq::sockopt::linger, 0);
  forger.set(zmq::sockopt::rcvtimeo, 20'000);
  forger.connect(bound.ingress);
  ASSERT_TRUE(forger.recv(subscription));
  send(forger, 1'000'000);
  const auto refused = [&] {
    return board.latest().counters.rejected_total[static_cast<std::size_t>(Refusal::sequence_jump)];
  };
  const auto limit = Clock::now() + patience;
  while (refused() == 0 && Clock::now() < limit) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(refused(), 1u);
  send(publisher, 2);
  EXPECT_EQ(next_sequence(), 2u);
}

}  // namespace
}  // namespace backplane::broker
