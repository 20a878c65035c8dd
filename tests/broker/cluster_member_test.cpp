// A broker as a member of a cluster, on a real nats-server. The test passes the time.

#include "broker/cluster_member.hpp"

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include "broker/state/memory_history.hpp"
#include "tests/broker/log/entries.hpp"
#include "tests/broker/log/nats_server.hpp"

namespace backplane::broker {
namespace {

using namespace std::chrono_literals;
using testing::event_bytes;
using ::testing::HasSubstr;
using testing::NatsServer;
using Clock = ClusterMember::Clock;

class Broker final : public EgressSink {
 public:
  Broker(const NatsServer& server, std::string name) : name_(std::move(name)) {
    config.log = LogKind::jetstream;
    config.jetstream.servers = {server.url()};
    config.jetstream.log_bytes_max = 64 << 20;
    config.max_event_bytes = 1000;
    config.max_event_place = "max_event_bytes";
  }
  Result<void> open() { return member.open(config, name_, 99); }
  void turn() {
    static_cast<void>(pipeline.flush());
    member.turn(Clock::now());
  }
  void take(const std::string& topic, const std::string& bytes) {
    zmq::message_t first(topic);
    zmq::message_t second(bytes);
    pipeline.take(first, second);
  }
  void publish(zmq::message_t& topic, zmq::message_t& event) override {
    sent.push_back(topic.to_string());
    event.rebuild();
    topic.rebuild();
  }
  ReadSlice::End read_from_the_start(const std::string& pattern) {
    ReadRequest request(Pattern::parse(pattern).value());
    request.what = ReadRequest::What::after_position;
    static_cast<void>(state.history->start_read(request));
    const auto slice = state.history->next_slice();
    return slice ? slice->end : ReadSlice::End::bad_cursor;
  }
  [[nodiscard]] bool is_up(const std::string& topic) const { return state.sources.at(topic).up; }

  BackplaneConfig config;
  BackplaneState state{"default", 1'000'000, 65'536, std::make_unique<MemoryHistory>(HistoryLimits{})};
  Access access;
  Pipeline pipeline{state, access, *this, [] { return std::int64_t{1}; },
                    std::make_unique<ReplicatedLog>(access)};
  Participants participants{[](const std::string&, const v1::SourceStatus&) {}};
  TypeRegistry types;
  ClusterMember member{state,        access, pipeline,
                       participants, types,  dynamic_cast<ReplicatedLog&>(pipeline.log())};
  std::vector<std::string> sent;

 private:
  std::string name_;
};

class ClusterMemberTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!NatsServer::is_installed()) GTEST_SKIP() << "nats-server is not installed: ./dev setup";
    log::set_level(log::Level::off);
  }
  /// Until `done`, for 60 s at most.
  static bool turn_until(const std::vector<Broker*>& brokers, const std::function<bool()>& done) {
    const auto until = Clock::now() + 60s;
    while (Clock::now() < until) {
      for (Broker* const each : brokers) each->turn();
      if (done()) return true;
      std::this_thread::sleep_for(1ms);
    }
    return false;
  }
  static void start(Broker& broker) {
    const auto opened = broker.open();
    ASSERT_TRUE(opened) << opened.error().text;
    broker.state.max_event_bytes = 1000;
    EXPECT_FALSE(broker.member.is_ready());
    ASSERT_TRUE(turn_until({&broker}, [&] { return broker.member.is_ready(); }));
  }
};

TEST_F(ClusterMemberTest, ABrokerIsReadyWhenItHasAppliedWhatWasInTheLog) {
  NatsServer server;
  Broker h1(server, "h1");
  start(h1);
  for (std::uint64_t i = 1; i <= 100; ++i) h1.take("t", event_bytes("s", 1, i, "x"));
  ASSERT_TRUE(turn_until({&h1}, [&] { return h1.sent.size() == 100; }));
  Broker h2(server, "h2");
  ASSERT_TRUE(h2.open());
  EXPECT_THAT(h2.member.fault(), HasSubstr("reads index 0 of"));
  ASSERT_TRUE(turn_until({&h1, &h2}, [&] { return h2.member.is_ready(); }));
  EXPECT_EQ(h2.state.position, 100u);
  EXPECT_EQ(h2.member.fault(), "");
  EXPECT_EQ(h2.state.stream, h1.state.stream);
}

TEST_F(ClusterMemberTest, ABrokerThatStartsFromACheckpointSaysWhatItDoesNotHave) {
  NatsServer server;
  Broker h1(server, "h1");
  start(h1);
  google::protobuf::FileDescriptorSet files;
  for (const char* const name : {"a.proto", "b.proto"}) files.add_file()->set_name(name);
  files.mutable_file(1)->add_dependency("a.proto");
  ASSERT_EQ(h1.types.add(files).refusal, TypeRegistry::Refusal::none);
  for (std::uint64_t i = 1; i <= 10; ++i) h1.take("old", event_bytes("s", 1, i, "x"));
  ASSERT_TRUE(turn_until({&h1}, [&] { return h1.sent.size() == 10; }));
  h1.member.each_second(Clock::now() + 5min + 1s);
  // It is written by another thread.
  std::unique_ptr<Broker> h2;
  ASSERT_TRUE(turn_until({&h1}, [&] {
    h2 = std::make_unique<Broker>(server, "h2");
    return h2->open() && h2->state.position == 10;
  }));
  ASSERT_TRUE(turn_until({&h1, h2.get()}, [&] { return h2->member.is_ready(); }));
  EXPECT_TRUE(h2->types.has(files));
  EXPECT_EQ(h2->read_from_the_start("old"), ReadSlice::End::gone);
  EXPECT_EQ(h2->read_from_the_start(">"), ReadSlice::End::gone);
  h1.take("new", event_bytes("s", 1, 11, "x"));
  ASSERT_TRUE(turn_until({&h1, h2.get()}, [&] { return h2->sent.size() == 1; }));
  EXPECT_EQ(h2->read_from_the_start("new"), ReadSlice::End::complete);
  EXPECT_EQ(h2->state.position, 11u);
}

TEST_F(ClusterMemberTest, ThePublishersOfABrokerThatIsGoneAreDownAndThoseThatMovedAreNot) {
  NatsServer server;
  Broker h1(server, "h1");
  Broker h2(server, "h2");
  start(h1);
  start(h2);
  const std::string status = event_bytes("broker@default", 0, 0, "changed");
  static_cast<void>(h1.pipeline.publish_source("$SYS.source.a", status, {.session = 1, .up = true}));
  static_cast<void>(h1.pipeline.publish_source("$SYS.source.b", status, {.session = 2, .up = true}));
  ASSERT_TRUE(turn_until({&h1, &h2}, [&] { return h2.sent.size() == 2; }));
  static_cast<void>(h2.pipeline.publish_source("$SYS.source.b", status, {.session = 2, .up = true}));

  // h1 is killed. By the clock of h2, some seconds pass.
  Clock::time_point now = Clock::now();
  const auto pass = [&](Clock::duration time) {
    now += time;
    const auto index = h2.member.index();
    // Its own batches come back.
    static_cast<void>(turn_until({&h2}, [&] { return h2.member.index() > index; }));
    h2.member.each_second(now);
  };
  pass(1s);
  pass(1s);
  EXPECT_TRUE(h2.is_up("$SYS.source.a"));
  pass(1s);
  pass(1s);
  ASSERT_TRUE(turn_until({&h2}, [&] { return !h2.is_up("$SYS.source.a"); }));
  EXPECT_TRUE(h2.is_up("$SYS.source.b")) << "it has moved";
  EXPECT_EQ(h2.sent.size(), 3u) << "one announcement more";
}

TEST_F(ClusterMemberTest, WhileTheLogStandsStillNobodyIsTakenForGone) {
  NatsServer server;
  Broker h1(server, "h1");
  Broker h2(server, "h2");
  start(h1);
  start(h2);
  const std::string status = event_bytes("broker@default", 0, 0, "changed");
  static_cast<void>(h1.pipeline.publish_source("$SYS.source.a", status, {.session = 1, .up = true}));
  ASSERT_TRUE(turn_until({&h1, &h2}, [&] { return h2.sent.size() == 1; }));
  server.kill();
  Clock::time_point now = Clock::now();
  for (int seconds = 0; seconds < 20; ++seconds) h2.member.each_second(now += 1s);
  server.start();
  ASSERT_TRUE(turn_until({&h1, &h2}, [&] { return h1.member.fault().empty() && h2.member.fault().empty(); }));
  const auto index = h2.member.index();
  ASSERT_TRUE(turn_until({&h1, &h2}, [&] { return h2.member.index() > index + 2; }));
  h2.member.each_second(now += 1s);
  EXPECT_TRUE(h2.is_up("$SYS.source.a"));
}

TEST_F(ClusterMemberTest, ANameThatIsTooLongIsRefused) {
  NatsServer server;
  Broker h1(server, std::string(65, 'x'));
  const auto opened = h1.open();
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().text, HasSubstr("expected at most 64 bytes"));
}

}  // namespace
}  // namespace backplane::broker
