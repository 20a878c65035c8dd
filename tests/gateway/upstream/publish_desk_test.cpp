#include "gateway/upstream/publish_desk.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Clock = PublishDesk::Clock;

/// A broker that a test plays.
class FakeSink final : public EventSink {
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

class PublishDeskTest : public ::testing::Test {
 protected:
  void publish(const std::string& topic, const std::string& text = "x") {
    desk_.publish(fanout::ClientId{1}, topic, text, now_);
  }
  void pump(Clock::duration later = 0ms) { desk_.pump(now_ += later); }

  Clock::time_point now_{};
  FakeSink sink_;
  Client client_;
  PublishDesk desk_{sink_, client_, 2s, 1000};
};

TEST_F(PublishDeskTest, AnswersWhenTheBrokerHasAdmitted) {
  sink_.state.ready = true;
  publish("a");
  publish("b");
  EXPECT_THAT(sink_.offered, ElementsAre("a=x", "b=x"));
  EXPECT_EQ(sink_.requests, 2);
  EXPECT_THAT(client_.answers, IsEmpty());
  sink_.state.confirmed = 1;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:ok"));
  sink_.state.confirmed = 2;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:ok", "b:ok"));
}

TEST_F(PublishDeskTest, WaitsForABroker) {
  publish("a");
  pump(1900ms);
  EXPECT_THAT(sink_.offered, IsEmpty());
  sink_.state.ready = true;
  pump();
  sink_.state.confirmed = 1;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:ok"));
}

TEST_F(PublishDeskTest, PublishesNothingThatItHasCalledUnavailable) {
  publish("a");
  EXPECT_EQ(desk_.next_deadline(), now_ + 2s);
  pump(2s);
  EXPECT_THAT(client_.answers, ElementsAre("a:unavailable"));
  sink_.state.ready = true;
  pump();
  EXPECT_THAT(sink_.offered, IsEmpty());
  EXPECT_EQ(desk_.next_deadline(), Clock::time_point::max());
}

TEST_F(PublishDeskTest, ALateRefusalOfOneThatTimedOutIsNotBlamedOnTheNext) {
  sink_.state.ready = true;
  publish("a");
  pump(2s);
  EXPECT_THAT(client_.answers, ElementsAre("a:unavailable"));
  sink_.state.refused = 1;
  sink_.state.confirmed = 1;
  pump();
  publish("b");
  sink_.state.confirmed = 2;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:unavailable", "b:ok"));
  publish("c");
  EXPECT_EQ(desk_.next_deadline(), now_ + 2s);
  pump(2s);
  EXPECT_THAT(client_.answers, ElementsAre("a:unavailable", "b:ok", "c:unavailable"));
}

TEST_F(PublishDeskTest, SaysWhatTheBrokerRefused) {
  sink_.state.ready = true;
  publish("a");
  sink_.state.refused = 1;
  sink_.state.confirmed = 1;
  pump();
  publish("b");
  sink_.state.confirmed = 2;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:refused", "b:ok"));
}

TEST_F(PublishDeskTest, CallsNothingAdmittedWhereItCannotTell) {
  sink_.state.ready = true;
  publish("a");
  publish("b");
  sink_.state.refused = 1;
  sink_.state.confirmed = 2;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:refused", "b:refused"));
}

TEST_F(PublishDeskTest, AnswersInOrderAlsoWhereOneIsTooLarge) {
  sink_.state.ready = true;
  publish("a");
  publish("b", "large");
  EXPECT_THAT(client_.answers, IsEmpty());
  sink_.state.confirmed = 1;
  pump();
  EXPECT_THAT(client_.answers, ElementsAre("a:ok", "b:too_large"));
}

TEST_F(PublishDeskTest, TriesAgainWhatTheSinkHadNoRoomFor) {
  sink_.state.ready = true;
  sink_.full = true;
  publish("a");
  sink_.full = false;
  pump();
  EXPECT_THAT(sink_.offered, ElementsAre("a=x"));
}

TEST_F(PublishDeskTest, HoldsNoMoreThanItsBoundWhileThereIsNoBroker) {
  publish("a", std::string(1000, 'x'));
  publish("b");
  EXPECT_THAT(client_.answers, ElementsAre("b:unavailable"));
  pump(2s);
  publish("c");
  EXPECT_THAT(client_.answers, ElementsAre("b:unavailable", "a:unavailable"));
}

TEST_F(PublishDeskTest, CountsWhatBecameOfEach) {
  sink_.state.ready = true;
  publish("a");
  publish("b", "large");
  publish("c");
  sink_.state.confirmed = 1;
  pump();
  EXPECT_EQ(desk_.counters().received, 3u);
  EXPECT_EQ(desk_.counters().admitted, 1u);
  EXPECT_EQ(desk_.counters().refused, 1u);
}

}  // namespace
}  // namespace backplane::gateway
