#include "backplane/client.hpp"

#include <atomic>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/timestamp.pb.h>

#include "backplane/events/v1/text_message.pb.h"
#include "backplane/v1/event.pb.h"
#include "core/credentials/key_file.hpp"
#include "tests/core/credentials/temporary_folder.hpp"
#include "tests/follower/fake_broker.hpp"

namespace backplane::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using Clock = std::chrono::steady_clock;

/// A client of a fake broker, both on one thread.
class ClientTest : public ::testing::Test {
 protected:
  Client::Options options() {
    Client::Options options;
    options.brokers = {{broker.egress(), broker.control()}};
    return options;
  }
  void start(const Client::Options& with) { client.emplace(with); }
  void start() { start(options()); }

  /// Adds a line per item until the last line is `expected`. @returns false if that takes more than 20 s.
  bool until_line(const std::string& expected) {
    return until([&] { return !lines.empty() && lines.back() == expected; });
  }
  template <class Condition>
  bool until(Condition condition) {
    const auto limit = Clock::now() + 20s;
    while (!condition()) {
      if (Clock::now() > limit) return false;
      broker.do_work();
      if (const Client::Item* const item = client->next(0ms)) {
        std::visit([&](const auto& what) { add(what); }, *item);
      }
    }
    return true;
  }

  void add(const Client::Event& event) {
    lines.push_back(fmt::format("{} {}", event.topic(), event.content()));
  }
  void add(const Client::Gap& gap) {
    lines.push_back(fmt::format("gap {} {} {} {}", gap.topic, gap.first, gap.last, name(gap.reason)));
  }
  void add(const Client::Reset&) { lines.emplace_back("reset"); }
  void add(const Client::Subscribed& what) {
    lines.push_back(fmt::format("subscribed {}", static_cast<std::uint64_t>(what.subscription)));
  }
  void add(const Client::Refused& what) { lines.push_back("refused " + what.text); }
  void add(const Client::Broker& what) {
    lines.push_back(!what.key_problem.empty() ? what.key_problem : what.up ? "up" : "down");
  }

  FakeBroker broker;
  std::optional<Client> client;
  std::vector<std::string> lines;
};

TEST_F(ClientTest, ReturnsTheBrokerTheSubscriptionAndItsEvents) {
  start();
  client->subscribe("stock.*");
  ASSERT_TRUE(until_line("subscribed 1"));
  broker.publish("stock.MSFT", "1");
  broker.publish("stock", "not this");
  broker.publish("stock.IBM", "2");
  ASSERT_TRUE(until_line("stock.IBM 2"));
  EXPECT_THAT(lines, ElementsAre("up", "subscribed 1", "stock.MSFT 1", "stock.IBM 2"));
  EXPECT_TRUE(client->status().connected);
  EXPECT_EQ(client->status().given, 2u);
}

TEST_F(ClientTest, ReadsWithKeysFromFiles) {
  const CurveKeys keys;
  broker.require_keys(keys);
  const TemporaryFolder folder;
  const KeyFiles me = key_files(folder.path("me"));
  ASSERT_TRUE(write_key_files(me, make_secret_key()));
  Client::Options with = options();
  with.credentials = {me.secret, folder.write("broker.pub", to_text(PublicKey{keys.public_key}), 0644)};
  start(with);
  client->subscribe("a");
  ASSERT_TRUE(until_line("subscribed 1"));
  broker.publish("a", "1");
  ASSERT_TRUE(until_line("a 1"));
  EXPECT_EQ(client->status().key_problem, "");
}

TEST_F(ClientTest, ReportsOnceThatABrokerRequiresKeys) {
  broker.require_keys(CurveKeys());
  start();
  client->subscribe("a");
  ASSERT_TRUE(until([&] { return !lines.empty(); }));
  const auto end = Clock::now() + 1500ms;
  ASSERT_TRUE(until([&] { return Clock::now() >= end; }));
  EXPECT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines.front(), HasSubstr(": the broker requires keys (--key, --server-key)"));
  EXPECT_THAT(client->status().key_problem, HasSubstr(": the broker requires keys"));
  EXPECT_FALSE(client->status().connected);
}

TEST_F(ClientTest, UnusableKeysThrow) {
  Client::Options with = options();
  with.credentials.key_file = "/none.key";
  EXPECT_THROW(start(with), std::invalid_argument);
}

TEST_F(ClientTest, ReturnsAfterTheTimeoutWithoutAnItem) {
  broker.close();
  start();
  client->subscribe("a");
  const auto before = Clock::now();
  EXPECT_EQ(client->next(20ms), nullptr);
  EXPECT_GE(Clock::now() - before, 20ms);
  EXPECT_EQ(client->next(0ms), nullptr);
}

TEST_F(ClientTest, ContinuesFromItsTokenWithoutHoleOrDuplicate) {
  start();
  client->subscribe("a");
  ASSERT_TRUE(until_line("subscribed 1"));
  broker.publish("a", "1");
  broker.publish("a", "2");
  ASSERT_TRUE(until_line("a 2"));
  const std::string token = client->resume_token();
  client.reset();
  for (int i = 3; i < 10; ++i) broker.publish("a", std::to_string(i));
  lines.clear();
  start();
  client->subscribe("a", {.since_token = token});
  ASSERT_TRUE(until_line("a 9"));
  broker.publish("a", "10");
  ASSERT_TRUE(until_line("a 10"));
  EXPECT_THAT(lines,
              ElementsAre("up", "subscribed 1", "a 3", "a 4", "a 5", "a 6", "a 7", "a 8", "a 9", "a 10"));
}

TEST_F(ClientTest, RecoversLostEvents) {
  start();
  client->subscribe("a");
  ASSERT_TRUE(until_line("subscribed 1"));
  broker.publish("a", "1");
  broker.publish("a", "2", /*lost=*/true);
  broker.publish("a", "3");
  ASSERT_TRUE(until_line("a 3"));
  EXPECT_THAT(lines, ElementsAre("up", "subscribed 1", "a 1", "a 2", "a 3"));
  EXPECT_EQ(client->status().recovered, 1u);
}

TEST_F(ClientTest, FindsALossWithoutALaterEvent) {
  start();
  client->subscribe("a");
  ASSERT_TRUE(until_line("subscribed 1"));
  broker.publish("a", "1");
  ASSERT_TRUE(until_line("a 1"));
  broker.publish("a", "2", /*lost=*/true);
  ASSERT_TRUE(until_line("a 2"));
}

TEST_F(ClientTest, ReportsEventsThatCannotBeRecoveredAsAGap) {
  start();
  client->subscribe("a");
  ASSERT_TRUE(until_line("subscribed 1"));
  broker.publish("a", "1");
  broker.publish("a", "2", /*lost=*/true);
  broker.evict_history(2);
  broker.publish("a", "3");
  ASSERT_TRUE(until_line("a 3"));
  EXPECT_THAT(lines, ElementsAre("up", "subscribed 1", "a 1", "gap a 2 2 history_gone", "a 3"));
  EXPECT_EQ(client->status().lost, 1u);
}

TEST_F(ClientTest, ReportsARestartAsAReset) {
  start();
  client->subscribe("a");
  ASSERT_TRUE(until_line("subscribed 1"));
  broker.publish("a", "1");
  ASSERT_TRUE(until_line("a 1"));
  broker.close();
  ASSERT_TRUE(until_line("down"));
  broker.restart_without_state(0x0000'0007'0000'0002);
  broker.open();
  ASSERT_TRUE(until_line("up"));
  broker.publish("a", "anew");
  ASSERT_TRUE(until_line("a anew"));
  EXPECT_THAT(lines, ElementsAre("up", "subscribed 1", "a 1", "down", "reset", "up", "a anew"));
}

TEST_F(ClientTest, ReportsUpOnlyWhenAllSubscriptionsAreActive) {
  start();
  for (int i = 0; i < 2000; ++i) client->subscribe(fmt::format("topic.{}", i));
  ASSERT_TRUE(until_line("subscribed 2000"));
  broker.close();
  ASSERT_TRUE(until_line("down"));
  broker.open();
  ASSERT_TRUE(until_line("up"));
  EXPECT_EQ(broker.subscriptions.size(), 2000u);
  EXPECT_EQ(*broker.subscriptions_at_live_check.rbegin(), 2000u);
}

TEST_F(ClientTest, ReadsFromEveryBrokerOfItsList) {
  FakeBroker second{0x0000'0009'0000'0001};
  auto with = options();
  with.brokers.push_back({second.egress(), second.control()});
  start(with);
  client->subscribe("a");
  const auto line = [&](const std::string& text) {
    return until([&] {
      second.do_work();
      return std::find(lines.begin(), lines.end(), text) != lines.end();
    });
  };
  ASSERT_TRUE(line("subscribed 1"));
  broker.publish("a", "from the first");
  ASSERT_TRUE(line("a from the first"));
  broker.close();
  second.publish("a", "from the second");
  ASSERT_TRUE(line("a from the second"));
  EXPECT_THAT(lines, ElementsAre("up", "subscribed 1", "a from the first", "a from the second"));
}

TEST_F(ClientTest, CallsCallbacksWithTheItemsOfNext) {
  start();
  client->subscribe("a");
  Client::Callbacks callbacks;
  callbacks.on_event = [&](const Client::Event& event) { add(event); };
  callbacks.on_subscribed = [&](const Client::Subscribed& what) { add(what); };
  const auto limit = Clock::now() + 20s;
  while (lines.size() < 2 && Clock::now() < limit) {
    broker.do_work();
    if (lines.size() == 1 && broker.position() == 0) broker.publish("a", "1");
    EXPECT_TRUE(client->run_for(1ms, callbacks));
  }
  EXPECT_THAT(lines, ElementsAre("subscribed 1", "a 1"));
}

TEST_F(ClientTest, StopsAtOnceAndForeverFromAnotherThread) {
  start();
  std::thread other([&] { client->stop(); });
  EXPECT_FALSE(client->run_for(1h, {}));
  other.join();
  EXPECT_EQ(client->next(1h), nullptr);
}

TEST_F(ClientTest, ItsDescriptorIsReadableWhenThereIsWork) {
  start();
  client->subscribe("a");
  ASSERT_TRUE(until_line("subscribed 1"));
  EXPECT_GE(client->fd(), 0);
  while (client->next(0ms) != nullptr) {
  }
  EXPECT_GT(client->wait_until(), Clock::time_point::min());
}

TEST_F(ClientTest, InvalidEndpointsAndPatternsThrow) {
  EXPECT_THROW(start({.brokers = {}}), std::invalid_argument);
  EXPECT_THROW(start({.brokers = {{"nonsense", "tcp://127.0.0.1:1"}}}), std::invalid_argument);
  start();
  EXPECT_THROW(client->subscribe("a..b"), std::invalid_argument);
  EXPECT_THROW(client->subscribe(""), std::invalid_argument);
}

// ---- fields of an event ----

class ClientEventTest : public ClientTest {
 protected:
  /// Publishes an event, receives it, and calls `check` with it.
  template <class Check>
  void receive(const v1::Event& event, Check check) {
    lines.clear();
    start();
    client->subscribe("a");
    ASSERT_TRUE(until_line("subscribed 1"));
    std::string bytes = event.SerializeAsString();
    const std::string stamped = stamped_event("", wire::Stamp{0x0000'0007'0000'0001, 1, 1, 0, 77});
    bytes += stamped.substr(stamped.size() - wire::stamp_bytes);
    broker.send_raw({"a", bytes});
    const auto limit = Clock::now() + 20s;
    for (;;) {
      ASSERT_LT(Clock::now(), limit);
      broker.do_work();
      const Client::Item* const item = client->next(1ms);
      if (item == nullptr) continue;
      if (const auto* found = std::get_if<Client::Event>(item)) return check(*found);
    }
  }
};

TEST_F(ClientEventTest, HasAllFieldsOfTheEnvelope) {
  v1::Event event;
  event.set_source("clock@host7");
  event.set_session(5);
  event.set_sequence(6);
  event.mutable_time()->set_seconds(2);
  event.mutable_time()->set_nanos(3);
  event.set_text("noon");
  (*event.mutable_attributes())["zone"] = "UTC";
  receive(event, [](const Client::Event& seen) {
    EXPECT_EQ(seen.topic(), "a");
    EXPECT_EQ(seen.stream(), 0x0000'0007'0000'0001u);
    EXPECT_EQ(seen.position(), 1u);
    EXPECT_EQ(seen.offset(), 1u);
    EXPECT_EQ(seen.received_ns(), 77);
    EXPECT_EQ(seen.source(), "clock@host7");
    EXPECT_EQ(seen.session(), 5u);
    EXPECT_EQ(seen.sequence(), 6u);
    EXPECT_EQ(seen.time_ns(), 2'000'000'003);
    EXPECT_EQ(seen.payload(), Client::Payload::text);
    EXPECT_EQ(seen.content(), "noon");
    EXPECT_EQ(seen.type(), "");
    EXPECT_THAT(seen.attributes(), ElementsAre(Pair("zone", "UTC")));
  });
}

TEST_F(ClientEventTest, HasNoTimeIfThePublishersDoesNotFit) {
  v1::Event event;
  event.mutable_time()->set_seconds(1ll << 60);
  receive(event, [](const Client::Event& seen) { EXPECT_EQ(seen.time_ns(), std::nullopt); });
}

TEST_F(ClientEventTest, UnpacksOnlyIntoItsOwnType) {
  events::v1::TextMessage message;
  message.set_text("hello");
  v1::Event event;
  event.mutable_message()->PackFrom(message);
  receive(event, [&](const Client::Event& seen) {
    EXPECT_EQ(seen.type(), "backplane.events.v1.TextMessage");
    events::v1::TextMessage read;
    EXPECT_TRUE(seen.unpack(read));
    EXPECT_EQ(read.text(), "hello");
    google::protobuf::Timestamp other;
    EXPECT_FALSE(seen.unpack(other));
    EXPECT_THAT(client->payload_json(seen), HasSubstr("\"text\":\"hello\""));
  });
}

TEST_F(ClientEventTest, ShowsTextBytesAndNoPayloadAsJson) {
  v1::Event event;
  event.set_text("say \"hi\"");
  receive(event,
          [&](const Client::Event& seen) { EXPECT_EQ(client->payload_json(seen), R"("say \"hi\"")"); });
  event.set_binary("\xff");
  receive(event, [&](const Client::Event& seen) { EXPECT_EQ(client->payload_json(seen), "\"/w==\""); });
  event.clear_binary();
  receive(event, [&](const Client::Event& seen) { EXPECT_EQ(client->payload_json(seen), "null"); });
}

/// farm.Milk {int32 litres_today = 1;}
std::string milk_file() {
  google::protobuf::FileDescriptorProto file;
  file.set_name("farm.proto");
  file.set_package("farm");
  file.set_syntax("proto3");
  auto& type = *file.add_message_type();
  type.set_name("Milk");
  auto& field = *type.add_field();
  field.set_name("litres_today");
  field.set_number(1);
  field.set_type(google::protobuf::FieldDescriptorProto::TYPE_INT32);
  field.set_label(google::protobuf::FieldDescriptorProto::LABEL_OPTIONAL);
  return file.SerializeAsString();
}

/// A thread that does the broker's work as long as this exists.
class BrokerThread {
 public:
  explicit BrokerThread(FakeBroker& broker) : broker_(broker) {
    broker_.release();
    thread_ = std::thread([this] {
      while (!done_) {
        broker_.do_work();
        std::this_thread::yield();
      }
      broker_.release();
    });
  }
  ~BrokerThread() {
    done_ = true;
    thread_.join();
  }
  BrokerThread(const BrokerThread&) = delete;
  BrokerThread& operator=(const BrokerThread&) = delete;

 private:
  FakeBroker& broker_;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

TEST_F(ClientEventTest, ShowsAMessageOfATypeThatOnlyTheBrokerKnows) {
  broker.type_files = {milk_file()};
  v1::Event event;
  event.mutable_message()->set_type_url("type.googleapis.com/farm.Milk");
  event.mutable_message()->set_value("\x08\x2a");
  receive(event, [&](const Client::Event& seen) {
    std::string json;
    {
      const BrokerThread replies(broker);
      json = client->payload_json(seen);
    }
    EXPECT_EQ(json, R"({"litres_today":42})");
    EXPECT_EQ(seen.topic(), "a");  // its views are still valid
    EXPECT_EQ(client->payload_json(seen), json);
  });
}

TEST_F(ClientEventTest, RequestsATypeAgainThatTheBrokerDidNotKnow) {
  v1::Event event;
  event.mutable_message()->set_type_url("type.googleapis.com/farm.Milk");
  event.mutable_message()->set_value("\x08\x2a");
  receive(event, [&](const Client::Event& seen) {
    {
      const BrokerThread replies(broker);
      for (int i = 0; i < 2; ++i) EXPECT_THAT(client->payload_json(seen), HasSubstr("\"value\":\"CCo=\""));
    }
    broker.type_files = {milk_file()};
    const BrokerThread replies(broker);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    std::string json;
    while (json != R"({"litres_today":42})" && std::chrono::steady_clock::now() < deadline) {
      json = client->payload_json(seen);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    EXPECT_EQ(json, R"({"litres_today":42})");
  });
}

TEST_F(ClientEventTest, ShowsAMessageOfAnUnknownTypeAsBytesWithinTheTimeout) {
  v1::Event event;
  event.mutable_message()->set_type_url("type.googleapis.com/farm.Milk");
  event.mutable_message()->set_value("\x08\x2a");
  receive(event, [&](const Client::Event& seen) {
    broker.replies_to_requests = false;  // and its do_work() is not called
    EXPECT_THAT(client->payload_json(seen), HasSubstr("\"value\":\"CCo=\""));
    EXPECT_THAT(client->payload_json(seen), HasSubstr("farm.Milk"));
  });
}

}  // namespace
}  // namespace backplane::testing
