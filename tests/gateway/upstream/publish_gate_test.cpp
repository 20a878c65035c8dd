#include "gateway/upstream/publish_gate.hpp"

#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Clock = PublishGate::Clock;

/// A publisher whose status the test sets.
class FakePublisher final : public EventPublisher {
 public:
  Offer offer(std::string_view topic, std::string_view) override {
    offered.emplace_back(topic);
    return Offer::accepted;
  }
  PublisherStatus status() override { return state; }
  void request_confirmation() override {}

  PublisherStatus state;
  std::vector<std::string> offered;
};

class Client final : public PublishListener {
 public:
  void on_published(fanout::ClientId, std::string_view topic, std::size_t, std::string_view code,
                    std::string_view) override {
    replies.push_back(std::string(topic) + ":" + (code.empty() ? "ok" : std::string(code)));
  }
  std::vector<std::string> replies;
};

class PublishGateTest : public ::testing::Test {
 protected:
  PublishGateTest() { publisher_.state.ready = true; }
  void publish(const std::string& topic, std::uint64_t client = 1, const std::string& text = "x") {
    gate_.publish(fanout::ClientId{client}, topic, text, now_);
  }
  void pump(Clock::duration later = 0ms) { gate_.pump(now_ += later); }

  Clock::time_point now_{};
  FakePublisher publisher_;
  Client client_;
  std::uint64_t requested_ = 0;  // the last ticket that client 1 has requested
  std::uint64_t active_ = 0;     // the last ticket that is active
  PublishQueue queue_{publisher_, client_, 2s, 1000};
  PublishGate gate_{queue_,
                    [this](fanout::ClientId client, std::uint64_t& ticket) {
                      if (client != fanout::ClientId{1}) return false;
                      if (ticket == 0) ticket = requested_;
                      return ticket > active_;
                    },
                    2s, 10};
};

TEST_F(PublishGateTest, AnEventWaitsForTheSubscriptionsBeforeIt) {
  requested_ = 1;
  publish("a");
  EXPECT_THAT(publisher_.offered, IsEmpty());
  requested_ = 2;
  publish("b");
  pump();
  EXPECT_THAT(publisher_.offered, IsEmpty());
  active_ = 1;
  pump();
  EXPECT_THAT(publisher_.offered, ElementsAre("a")) << "not for the subscription after it";
  active_ = 2;
  pump();
  EXPECT_THAT(publisher_.offered, ElementsAre("a", "b"));
  EXPECT_EQ(gate_.next_deadline(), Clock::time_point::max());
}

TEST_F(PublishGateTest, OtherClientsDoNotWait) {
  requested_ = 1;
  publish("a");
  publish("other", 2);
  EXPECT_THAT(publisher_.offered, ElementsAre("other"));
}

TEST_F(PublishGateTest, AClientsEventsStayInOrder) {
  requested_ = 1;
  publish("a");
  active_ = 1;
  publish("b");
  EXPECT_THAT(publisher_.offered, IsEmpty());
  pump();
  EXPECT_THAT(publisher_.offered, ElementsAre("a", "b"));
}

TEST_F(PublishGateTest, AfterTheTimeoutAnEventIsPublishedIfThereIsABroker) {
  requested_ = 1;
  publish("a");
  EXPECT_EQ(gate_.next_deadline(), now_ + 2s);
  pump(2s);
  EXPECT_THAT(publisher_.offered, ElementsAre("a"));
  publisher_.state.ready = false;
  publish("b");
  pump(2s);
  EXPECT_THAT(client_.replies, ElementsAre("b:unavailable"));
  EXPECT_THAT(publisher_.offered, ElementsAre("a"));
}

TEST_F(PublishGateTest, LimitsTheBytesThatWait) {
  requested_ = 1;
  publish("a", 1, "123456");
  publish("b", 1, "12345");
  EXPECT_THAT(client_.replies, ElementsAre("b:unavailable"));
  active_ = 1;
  pump();
  EXPECT_THAT(publisher_.offered, ElementsAre("a"));
}

}  // namespace
}  // namespace backplane::gateway
