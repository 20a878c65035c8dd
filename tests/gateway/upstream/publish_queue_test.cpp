#include "gateway/upstream/publish_queue.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Clock = PublishQueue::Clock;

/// A publisher whose status the test sets.
class FakePublisher final : public EventPublisher {
 public:
  Offer offer(std::string_view topic, std::string_view text) override {
    if (text == "large") return Offer::too_large;
    if (full) return Offer::backpressured;
    offered.push_back(std::string(topic) + "=" + std::string(text));
    return Offer::accepted;
  }
  PublisherStatus status() override { return state; }
  void request_confirmation() override { ++requests; }

  PublisherStatus state;
  bool full{};
  std::vector<std::string> offered;
  int requests{};
};

class Client final : public PublishListener {
 public:
  void on_published(fanout::ClientId, std::string_view topic, std::size_t, std::string_view code,
                    std::string_view) override {
    answers.push_back(std::string(topic) + ":" + (code.empty() ? "ok" : std::string(code)));
  }
  std::vector<std::string> answers;
};

class PublishQueueTest : public ::testing::Test {
 protected:
  void publish(const std::string& topic, const std::string& text = "x") {
    publish_queue_.publish(fanout::ClientId{1}, topic, text, now_);
  }
  void pump(Clock::duration later = 0ms) { publish_queue_.pump(now_ += later); }

  Clock::time_point now_{};
  FakePublisher publisher_;
  Client client_;
  PublishQueue publish_queue_{publisher_, client_, 2s, 1000};
};

TEST_F(PublishQueueTest, ReportsAnEventWhenTheBrokerHasAdmittedIt) {
  publisher_.state.ready = true;
  publish("a");
  publish("b");
  EXPECT_THAT(publisher_.offered, ElementsAre("a=x", "b=x"));
  EXPECT_EQ(publisher_.requests, 2);
  EXPECT_THAT(client_.answers, IsEmpty());
  publisher_.state.confirmed = 1;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:ok"));
  publisher_.state.confirmed = 2;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:ok", "b:ok"));
}

TEST_F(PublishQueueTest, WaitsForABroker) {
  publish("a");
  pump(1900ms);
  EXPECT_THAT(publisher_.offered, IsEmpty());
  publisher_.state.ready = true;
  pump();
  publisher_.state.confirmed = 1;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:ok"));
}

TEST_F(PublishQueueTest, DoesNotPublishAnEventThatWasReportedUnavailable) {
  publish("a");
  EXPECT_EQ(publish_queue_.next_deadline(), now_ + 2s);
  pump(2s);
  EXPECT_THAT(client_.answers, ElementsAre("a:unavailable"));
  publisher_.state.ready = true;
  pump();
  EXPECT_THAT(publisher_.offered, IsEmpty());
  EXPECT_EQ(publish_queue_.next_deadline(), Clock::time_point::max());
}

TEST_F(PublishQueueTest, ALateRefusalOfAnEventThatTimedOutIsNotReportedForTheNext) {
  publisher_.state.ready = true;
  publish("a");
  pump(2s);
  EXPECT_THAT(client_.answers, ElementsAre("a:unavailable"));
  publisher_.state.refused = 1;
  publisher_.state.confirmed = 1;
  pump();
  publish("b");
  publisher_.state.confirmed = 2;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:unavailable", "b:ok"));
  publish("c");
  EXPECT_EQ(publish_queue_.next_deadline(), now_ + 2s);
  pump(2s);
  EXPECT_THAT(client_.answers, ElementsAre("a:unavailable", "b:ok", "c:unavailable"));
}

TEST_F(PublishQueueTest, ReportsWhatTheBrokerRefused) {
  publisher_.state.ready = true;
  publish("a");
  publisher_.state.refused = 1;
  publisher_.state.confirmed = 1;
  pump();
  publish("b");
  publisher_.state.confirmed = 2;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:refused", "b:ok"));
}

TEST_F(PublishQueueTest, ReportsNoEventAsAdmittedIfOneOfSeveralWasRefused) {
  publisher_.state.ready = true;
  publish("a");
  publish("b");
  publisher_.state.refused = 1;
  publisher_.state.confirmed = 2;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:refused", "b:refused"));
}

TEST_F(PublishQueueTest, ReportsInOrderEvenIfOneEventIsTooLarge) {
  publisher_.state.ready = true;
  publish("a");
  publish("b", "large");
  EXPECT_THAT(client_.answers, IsEmpty());
  publisher_.state.confirmed = 1;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:ok", "b:too_large"));
}

TEST_F(PublishQueueTest, RetriesAnEventThatThePublisherHadNoRoomFor) {
  publisher_.state.ready = true;
  publisher_.full = true;
  publish("a");
  publisher_.full = false;
  pump();
  EXPECT_THAT(publisher_.offered, ElementsAre("a=x"));
}

TEST_F(PublishQueueTest, RefusesEventsAboveItsBoundWhileThereIsNoBroker) {
  publish("a", std::string(1000, 'x'));
  publish("b");
  EXPECT_THAT(client_.answers, ElementsAre("b:unavailable"));
  pump(2s);
  publish("c");
  EXPECT_THAT(client_.answers, ElementsAre("b:unavailable", "a:unavailable"));
}

TEST_F(PublishQueueTest, CountsTheResultOfEachEvent) {
  publisher_.state.ready = true;
  publish("a");
  publish("b", "large");
  publish("c");
  publisher_.state.confirmed = 1;
  pump();
  EXPECT_EQ(publish_queue_.counters().received, 3u);
  EXPECT_EQ(publish_queue_.counters().admitted, 1u);
  EXPECT_EQ(publish_queue_.counters().refused, 1u);
}

}  // namespace
}  // namespace backplane::gateway
