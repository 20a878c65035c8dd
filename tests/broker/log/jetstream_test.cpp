// The log on a real nats-server.

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nats/nats.h>

#include "broker/log/jetstream/jetstream_engine.hpp"
#include "broker/log/replicated_log.hpp"
#include "broker/log/state_checkpoint.hpp"
#include "broker/pipeline.hpp"
#include "tests/broker/log/entries.hpp"
#include "tests/broker/log/nats_server.hpp"
#include "tests/broker/state/manual_history.hpp"

namespace backplane::broker {
namespace {

using namespace std::chrono_literals;
using testing::event_bytes;
using ::testing::HasSubstr;
using testing::NatsServer;

LogHead head(std::uint64_t max_topics = 1000) {
  return {.backplane = "default",
          .log = 11,
          .stream = 99,
          .rules = rules_version,
          .max_topics = max_topics,
          .max_sessions = 64,
          .max_event_bytes = 1000,
          .has_policy = false,
          .created_by = "h1"};
}

JetStreamOptions options_for(const NatsServer& server) {
  JetStreamOptions options;
  options.servers = {server.url()};
  options.client_name = "test";
  options.replicas = 1;
  options.log_bytes_max = 64 << 20;
  options.append_wait = 500ms;
  options.checkpoint_chunk_bytes = 100;
  return options;
}

class Broker final : public EgressSink {
 public:
  Broker(const NatsServer& server, const std::string& name) {
    auto opened = JetStreamEngine::open(options_for(server), head());
    EXPECT_TRUE(opened) << opened.error().text;
    state_.stream = opened->head.stream;
    state_.max_event_bytes = 1000;
    end_ = opened->last_index;
    engine_ = opened->engine.get();
    ReplicatedLog::Options options;
    options.broker = name;
    options.log = opened->head.log;
    options.retry_after = 1s;
    auto made = std::make_unique<ReplicatedLog>(std::move(opened->engine), access_, options);
    log_ = made.get();
    if (opened->checkpoint) {
      auto place = restore_state(*opened->checkpoint, state_, access_);
      EXPECT_TRUE(place) << place.error().text;
      log_->restore(std::move(*place));
    }
    started_at = state_.position;
    pipeline_.emplace(
        state_, access_, *this, [] { return std::int64_t{0}; }, std::move(made));
  }
  bool turn() {
    const bool accepts = pipeline_->flush();
    if (log_->place().index >= end_) log_->join();
    return accepts;
  }
  void take(const std::string& topic, const std::string& bytes) {
    zmq::message_t first(topic);
    zmq::message_t second(bytes);
    pipeline_->take(first, second);
  }
  void publish(zmq::message_t& topic, zmq::message_t& event) override {
    sent.push_back(topic.to_string() + '\n' + event.to_string());
    topic.rebuild();
    event.rebuild();
  }
  [[nodiscard]] ReplicatedLog& log() { return *log_; }
  [[nodiscard]] std::string checkpoint() const { return encode_state(state_, access_, log_->place()); }

  void write_checkpoint() { engine_->write_checkpoint(log_->place().index, checkpoint()); }
  [[nodiscard]] std::uint64_t checkpoint_index() const { return engine_->checkpoint_index(); }

  std::vector<std::string> sent;
  std::uint64_t started_at{};

 private:
  BackplaneState state_{"default", 1000, 64, std::make_unique<ManualHistory>()};
  Access access_;
  std::uint64_t end_{};
  JetStreamEngine* engine_{};
  ReplicatedLog* log_{};
  std::optional<Pipeline> pipeline_;
};

/// What an administrator does by hand.
class ByHand {
 public:
  explicit ByHand(const NatsServer& server) {
    EXPECT_EQ(natsConnection_ConnectTo(&connection_, server.url().c_str()), NATS_OK);
    EXPECT_EQ(natsConnection_JetStream(&js, connection_, nullptr), NATS_OK);
  }
  ~ByHand() {
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection_);
  }
  ByHand(const ByHand&) = delete;
  ByHand& operator=(const ByHand&) = delete;
  jsCtx* js{};

 private:
  natsConnection* connection_{};
};

class JetStreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!NatsServer::is_installed()) GTEST_SKIP() << "nats-server is not installed: ./dev setup";
    log::set_level(log::Level::off);
  }
  /// Until `done`, for 60 s at most.
  static bool turn_until(const std::vector<Broker*>& brokers, const std::function<bool()>& done) {
    const auto until = std::chrono::steady_clock::now() + 60s;
    while (std::chrono::steady_clock::now() < until) {
      for (Broker* const each : brokers) each->turn();
      if (done()) return true;
      std::this_thread::sleep_for(1ms);
    }
    return false;
  }
};

TEST_F(JetStreamTest, TwoBrokersPublishTheSameBytesAlsoAfterTheServerWasKilled) {
  NatsServer server;
  Broker h1(server, "h1");
  Broker h2(server, "h2");
  ASSERT_TRUE(turn_until({&h1, &h2}, [&] { return h1.log().has_joined() && h2.log().has_joined(); }));
  std::uint64_t taken = 0;
  const auto publish = [&](std::uint64_t events) {
    for (const std::uint64_t through = taken + events; taken < through;) {
      Broker& by = taken % 2 == 0 ? h1 : h2;
      if (by.turn()) {
        by.take(fmt::format("t{}", taken % 7), event_bytes("s", taken % 2, taken / 2 + 1, "hello"));
        ++taken;
      } else {
        std::this_thread::sleep_for(1ms);
      }
    }
  };
  const auto all_have = [&] { return h1.sent.size() == taken && h2.sent.size() == taken; };
  publish(2'000);
  ASSERT_TRUE(turn_until({&h1, &h2}, all_have)) << h1.sent.size() << " and " << h2.sent.size();

  server.kill();
  publish(100);
  EXPECT_FALSE(all_have());
  ASSERT_TRUE(turn_until({&h1}, [&] { return !h1.log().condition().accepts; }));
  EXPECT_THAT(h1.log().condition().text, HasSubstr("cannot append to the log"));
  server.start();
  ASSERT_TRUE(turn_until({&h1, &h2}, all_have)) << h1.log().condition().text;
  publish(100);
  ASSERT_TRUE(turn_until({&h1, &h2}, all_have));
  EXPECT_TRUE(h1.log().condition().accepts);
  EXPECT_EQ(h1.sent, h2.sent);

  // A third one, which begins with nothing, gets the same.
  Broker h3(server, "h3");
  ASSERT_TRUE(turn_until({&h3}, [&] { return h3.sent.size() == taken; }));
  EXPECT_EQ(h3.sent, h1.sent);
}

TEST_F(JetStreamTest, ANewBrokerBeginsAtTheNewestCheckpointAndTheLogIsTrimmed) {
  NatsServer server;
  Broker h1(server, "h1");
  ASSERT_TRUE(turn_until({&h1}, [&] { return h1.log().has_joined(); }));
  std::vector<std::uint64_t> checkpoints;
  for (std::uint64_t i = 1; i <= 4; ++i) {
    h1.take(fmt::format("t{}", i), event_bytes("s", 1, i, "hello"));
    ASSERT_TRUE(turn_until({&h1}, [&] { return h1.sent.size() == i; }));
    checkpoints.push_back(h1.log().place().index);
    h1.write_checkpoint();
    ASSERT_TRUE(turn_until({&h1}, [&] { return h1.checkpoint_index() == checkpoints.back(); }));
  }
  const ByHand by_hand(server);
  jsStreamInfo* info = nullptr;
  ASSERT_EQ(js_GetStreamInfo(&info, by_hand.js, "backplane-default-log", nullptr, nullptr), NATS_OK);
  EXPECT_EQ(info->State.FirstSeq, checkpoints[2] + 1)
      << "what follows the checkpoint before the newest is kept";
  jsStreamInfo_Destroy(info);

  h1.take("t5", event_bytes("s", 1, 5, "hello"));
  ASSERT_TRUE(turn_until({&h1}, [&] { return h1.sent.size() == 5; }));
  Broker h2(server, "h2");
  EXPECT_EQ(h2.started_at, 4u);
  ASSERT_TRUE(turn_until({&h1, &h2}, [&] { return h2.log().has_joined() && h2.sent.size() == 1; }));
  EXPECT_EQ(h2.sent.front(), h1.sent.back());
}

TEST_F(JetStreamTest, ABrokerWithOtherSettingsDoesNotStart) {
  NatsServer server;
  ASSERT_TRUE(JetStreamEngine::open(options_for(server), head()));
  const auto opened = JetStreamEngine::open(options_for(server), head(500));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().text,
            "max_topics: expected 1000, as in the log of backplane \"default\" (created by h1), got 500");
  // Another backplane has a log of its own on the same servers.
  LogHead other = head(500);
  other.backplane = "other";
  EXPECT_TRUE(JetStreamEngine::open(options_for(server), other));
}

TEST_F(JetStreamTest, TheSecondBrokerGetsTheHeadOfTheFirst) {
  NatsServer server;
  ASSERT_TRUE(JetStreamEngine::open(options_for(server), head()));
  LogHead mine = head();
  mine.log = 12;
  mine.stream = 100;
  mine.created_by = "h2";
  const auto opened = JetStreamEngine::open(options_for(server), mine);
  ASSERT_TRUE(opened) << opened.error().text;
  EXPECT_EQ(opened->head, head());
}

TEST_F(JetStreamTest, AServerWithoutJetStreamIsNamed) {
  NatsServer server(/*jetstream=*/false);
  const auto opened = JetStreamEngine::open(options_for(server), head());
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().text, HasSubstr("cannot open the log at " + server.url()));
  EXPECT_THAT(opened.error().text, HasSubstr("the server has no JetStream"));
}

TEST_F(JetStreamTest, AServerThatIsNotThereIsNamed) {
  JetStreamOptions options;
  options.servers = {"nats://127.0.0.1:1"};
  options.open_wait = 200ms;
  const auto opened = JetStreamEngine::open(options, head());
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().text, HasSubstr("cannot open the log at nats://127.0.0.1:1: "));
}

TEST_F(JetStreamTest, AStreamWithOtherSettingsIsNotUsed) {
  NatsServer server;
  JetStreamOptions options = options_for(server);
  ASSERT_TRUE(JetStreamEngine::open(options, head()));
  options.replicas = 3;
  const auto opened = JetStreamEngine::open(options, head());
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().text, HasSubstr("replicas: expected 3, got 1"));
}

TEST_F(JetStreamTest, ALogThatWasDeletedStopsTheBroker) {
  NatsServer server;
  Broker h1(server, "h1");
  ASSERT_TRUE(turn_until({&h1}, [&] { return h1.log().has_joined(); }));
  h1.take("t", event_bytes("s", 1, 1, "hello"));
  ASSERT_TRUE(turn_until({&h1}, [&] { return h1.sent.size() == 1; }));
  const ByHand by_hand(server);
  ASSERT_EQ(js_DeleteStream(by_hand.js, "backplane-default-log", nullptr, nullptr), NATS_OK);
  ASSERT_TRUE(JetStreamEngine::open(options_for(server), head())) << "creates it again, empty";
  EXPECT_TRUE(turn_until({&h1}, [&] { return h1.log().condition().failed; }));
  EXPECT_EQ(h1.log().condition().text, "stream backplane-default-log was deleted and created again");
  EXPECT_FALSE(h1.turn());
}

TEST_F(JetStreamTest, APurgedLogIsNotReadByABrokerThatNeedsItsStart) {
  NatsServer server;
  Broker h1(server, "h1");
  ASSERT_TRUE(turn_until({&h1}, [&] { return h1.log().has_joined(); }));
  h1.take("t", event_bytes("s", 1, 1, "hello"));
  ASSERT_TRUE(turn_until({&h1}, [&] { return h1.sent.size() == 1; }));
  const ByHand by_hand(server);
  ASSERT_EQ(js_PurgeStream(by_hand.js, "backplane-default-log", nullptr, nullptr), NATS_OK);
  Broker h2(server, "h2");
  EXPECT_TRUE(turn_until({&h2}, [&] { return h2.log().condition().failed; }));
  EXPECT_THAT(h2.log().condition().text, HasSubstr("but only 0 has been read: it was purged or trimmed"));
  // The first one has applied all of it, and goes on.
  h1.take("t", event_bytes("s", 1, 2, "hello"));
  EXPECT_TRUE(turn_until({&h1}, [&] { return h1.sent.size() == 2; }));
}

}  // namespace
}  // namespace backplane::broker
