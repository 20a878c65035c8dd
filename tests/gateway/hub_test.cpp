#include "gateway/hub.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gateway/fake_upstream.hpp"

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Writes down what a reader is told, a line each.
class Recorder final : public Subscriber {
 public:
  [[nodiscard]] Format format() const override { return format_; }
  void on_event(EventLinePtr line) override { note(line->bytes().substr(0, line->bytes().size() - 1)); }
  void on_notice(const Notice& notice) override {
    std::string line;
    append_notice(Format::text, notice, line);
    note(line.substr(0, line.size() - 1));
  }
  void on_subscribed(std::string_view pattern) override { note("+" + std::string(pattern)); }
  void on_refused(std::string_view pattern, std::string_view code, std::string_view) override {
    note("-" + std::string(pattern) + " " + std::string(code));
  }
  void on_broker(bool up) override { note(up ? "live" : "wait"); }

  /// What came since the last time.
  std::vector<std::string> take() { return std::exchange(lines_, {}); }
  Format format_{Format::text_offset};

 private:
  void note(std::string_view line) { lines_.emplace_back(line); }
  std::vector<std::string> lines_;
};

class HubTest : public ::testing::Test {
 protected:
  void subscribe(Hub::Reader& reader, const std::string& pattern, bool last = false) {
    hub_.subscribe(reader, *Pattern::parse(pattern), last, now_);
  }
  void subscribe(const std::string& pattern, bool last = false) { subscribe(reader_, pattern, last); }
  void come_up() {
    hub_.on_connection(true);
    prove();
    hub_.tick(now_);
  }
  void prove() { hub_.on_live(upstream_.tickets); }
  void publish(const std::string& topic, const std::string& text = "x") {
    hub_.on_event(broker_.publish(topic, text).delivery());
  }

  Hub::Clock::time_point now_{};
  FakeUpstream upstream_;
  FakeBroker broker_;
  Hub hub_{HubLimits{.subscriptions_per_reader_max = 10, .join_bytes_max = 100}, upstream_, now_};
  Recorder client_;
  Hub::Reader& reader_{hub_.add(client_)};
};

TEST_F(HubTest, ConfirmsASubscriptionOnlyWhenItIsInForce) {
  come_up();
  subscribe("clock");
  EXPECT_THAT(client_.take(), IsEmpty());
  publish("clock", "too early");
  prove();
  publish("clock", "tick");
  EXPECT_THAT(client_.take(), ElementsAre("+clock", "clock 2 tick"));
}

TEST_F(HubTest, SubscribesToAPrefixAndFiltersExactly) {
  come_up();
  subscribe("time");
  subscribe("stock.*.price");
  prove();
  EXPECT_THAT(upstream_.prefixes, ElementsAre(std::pair("stock.", 1), std::pair("time", 1)));
  client_.take();
  for (const char* const topic :
       {"timezone", "time.zone", "stock.MSFT", "stock.MSFT.volume", "stock.A.B.price"})
    publish(topic);
  EXPECT_THAT(client_.take(), IsEmpty());
  publish("time");
  publish("stock.MSFT.price");
  EXPECT_THAT(client_.take(), ElementsAre("time 1 x", "stock.MSFT.price 1 x"));
  EXPECT_EQ(hub_.counters().unmatched, 5u);
}

TEST_F(HubTest, GivesAnEventOnceHoweverManySubscriptionsMatch) {
  come_up();
  for (const char* const pattern : {"stock.>", "stock.*", "stock.MSFT", ">"}) subscribe(pattern);
  prove();
  client_.take();
  publish("stock.MSFT");
  EXPECT_THAT(client_.take(), ElementsAre("stock.MSFT 1 x"));
}

TEST_F(HubTest, AsksTheBrokerOnceForOnePatternOfManyReaders) {
  come_up();
  Recorder other;
  Hub::Reader& second = hub_.add(other);
  subscribe("clock");
  subscribe(second, "clock");
  EXPECT_EQ(upstream_.tickets, 1u);
  prove();
  EXPECT_THAT(client_.take(), ElementsAre("+clock"));
  EXPECT_THAT(other.take(), ElementsAre("+clock"));
  hub_.remove(second);
  EXPECT_EQ(upstream_.prefixes.size(), 1u);
  EXPECT_TRUE(hub_.unsubscribe(reader_, "clock"));
  EXPECT_THAT(upstream_.prefixes, IsEmpty());
  EXPECT_FALSE(hub_.unsubscribe(reader_, "clock"));
}

TEST_F(HubTest, AnswersAtOnceWhereThePatternIsInForceAlready) {
  come_up();
  subscribe("clock");
  prove();
  subscribe("clock");
  Recorder other;
  subscribe(hub_.add(other), "clock");
  EXPECT_THAT(client_.take(), ElementsAre("+clock", "+clock"));
  EXPECT_THAT(other.take(), ElementsAre("+clock"));
}

TEST_F(HubTest, AnswersEverySubscribeExactlyOnce) {
  come_up();
  subscribe("a");
  subscribe("a");
  subscribe("b");
  EXPECT_TRUE(hub_.unsubscribe(reader_, "a"));
  hub_.cancel_waiting(reader_, "quit");
  EXPECT_THAT(client_.take(), ElementsAre("-a cancelled", "-a cancelled", "-b cancelled"));
  prove();
  publish("a");
  EXPECT_THAT(client_.take(), IsEmpty());
}

TEST_F(HubTest, RefusesSubscriptionsAboveTheLimit) {
  come_up();
  for (int i = 0; i < 11; ++i) subscribe("a" + std::to_string(i));
  EXPECT_THAT(client_.take(), ElementsAre("-a10 too_many_subscriptions"));
}

TEST_F(HubTest, TellsOfAnAbsentBrokerOnceAndOfItsReturn) {
  come_up();
  subscribe("clock");
  prove();
  client_.take();
  hub_.on_connection(false);
  hub_.tick(now_);
  hub_.tick(now_);
  subscribe("other");
  EXPECT_THAT(client_.take(), ElementsAre("wait"));
  come_up();
  EXPECT_THAT(client_.take(), ElementsAre("+other", "live"));
  publish("clock");
  EXPECT_THAT(client_.take(), ElementsAre("clock 1 x"));
  hub_.on_connection(false);
  hub_.tick(now_);
  EXPECT_THAT(client_.take(), ElementsAre("wait"));
}

TEST_F(HubTest, GivesTheFirstConnectionSomeTimeBeforeItTellsAnybodyToWait) {
  subscribe("clock");
  hub_.tick(now_);
  EXPECT_THAT(client_.take(), IsEmpty());
  EXPECT_EQ(hub_.next_deadline(), now_ + 1s);
  now_ += 1s;
  hub_.tick(now_);
  EXPECT_THAT(client_.take(), ElementsAre("wait"));
  EXPECT_EQ(hub_.next_deadline(), Hub::Clock::time_point::max());
  come_up();
  EXPECT_THAT(client_.take(), ElementsAre("+clock", "live"));
}

TEST_F(HubTest, AnnouncesAHoleToThoseWhomItConcerns) {
  come_up();
  Recorder late;
  Hub::Reader& second = hub_.add(late);
  subscribe("a");
  subscribe("other");
  prove();
  publish("a");
  subscribe(second, "a");
  client_.take();
  late.take();
  broker_.lose("a");
  broker_.lose("a");
  publish("a");
  EXPECT_THAT(client_.take(), ElementsAre("!GAP a 2 3 recovery_timeout", "a 4 x"));
  EXPECT_THAT(late.take(), ElementsAre("a 4 x"));
}

TEST_F(HubTest, CallsNothingLostThatCameWhileNobodyHadSubscribed) {
  come_up();
  subscribe("a");
  prove();
  publish("a");
  hub_.unsubscribe(reader_, "a");
  broker_.lose("a");
  subscribe("a");
  prove();
  client_.take();
  publish("a");
  EXPECT_THAT(client_.take(), ElementsAre("a 3 x"));
}

TEST_F(HubTest, PassesOnWhatTheFollowerCallsLostAndSaysItOnce) {
  come_up();
  subscribe("a");
  subscribe(">");
  prove();
  publish("a");
  broker_.lose("a");
  broker_.lose("a");
  client_.take();
  hub_.on_gap({0x1'00000001, "a", 2, 3, GapReason::history_gone});
  publish("a");
  EXPECT_THAT(client_.take(), ElementsAre("!GAP a 2 3 history_gone", "a 4 x"));
}

TEST_F(HubTest, AnnouncesAResetBeforeTheFirstEventOfTheNewStream) {
  come_up();
  subscribe(">");
  prove();
  publish("a");
  publish("b");
  client_.take();
  broker_ = FakeBroker(0x1'00000002);
  publish("a");
  EXPECT_THAT(client_.take(), ElementsAre("!RESET a", "a 1 x"));
  hub_.on_reset({0x1'00000001, 0x1'00000002});
  EXPECT_THAT(client_.take(), ElementsAre("!RESET b"));
  publish("b");
  EXPECT_THAT(client_.take(), ElementsAre("b 1 x"));
}

TEST_F(HubTest, GivesNoEventTwice) {
  come_up();
  subscribe("a");
  prove();
  client_.take();
  const auto event = broker_.publish("a", "x");
  hub_.on_event(event.delivery());
  hub_.on_event(event.delivery());
  EXPECT_THAT(client_.take(), ElementsAre("a 1 x"));
  EXPECT_EQ(hub_.counters().duplicates, 1u);
}

TEST_F(HubTest, CallsAnEventLostThatCannotBeRead) {
  come_up();
  subscribe("a");
  prove();
  client_.take();
  auto event = broker_.publish("a", "x");
  event.bytes[1] = '\x70';
  hub_.on_event(event.delivery());
  publish("a");
  EXPECT_THAT(client_.take(), ElementsAre("!GAP a 1 1 undecodable", "a 2 x"));
  EXPECT_EQ(hub_.counters().undecodable, 1u);
}

class HubLastTest : public HubTest {
 protected:
  void SetUp() override { come_up(); }
  void give(std::uint64_t request, const FakeBroker::Event& value) {
    hub_.on_retained(request, value.delivery());
  }
  void end(std::uint64_t request) { hub_.on_retained_end(request, std::nullopt); }
};

TEST_F(HubLastTest, RetainedValuesComeBehindTheAnswerAndBeforeLiveEvents) {
  const auto a = broker_.publish("s.a", "old");
  const auto b = broker_.publish("s.b", "old");
  subscribe("s.>", true);
  EXPECT_THAT(upstream_.asked, IsEmpty());
  prove();
  EXPECT_THAT(upstream_.asked, ElementsAre("s.>"));
  publish("s.b", "new");
  publish("s.c", "new");
  give(1, a);
  give(1, b);
  EXPECT_THAT(client_.take(), IsEmpty());
  end(1);
  publish("s.a", "new");
  EXPECT_THAT(client_.take(),
              ElementsAre("+s.>", "s.a 1 old", "s.b 1 old", "s.b 2 new", "s.c 1 new", "s.a 2 new"));
}

TEST_F(HubLastTest, NoOffsetComesTwice) {
  subscribe("a", true);
  prove();
  broker_.lose("a");
  const auto second = broker_.publish("a", "second");
  const auto third = broker_.publish("a", "third");
  // The value is newer than what has come live: the live ones follow, and bring it.
  hub_.on_event(second.delivery());
  give(1, third);
  end(1);
  hub_.on_event(third.delivery());
  EXPECT_THAT(client_.take(), ElementsAre("+a", "a 2 second", "a 3 third"));
}

TEST_F(HubLastTest, WhatTheValueHasShownDoesNotComeLiveAgain) {
  subscribe("a", true);
  prove();
  const auto first = broker_.publish("a", "first");
  give(1, first);
  end(1);
  hub_.on_event(first.delivery());
  publish("a", "second");
  EXPECT_THAT(client_.take(), ElementsAre("+a", "a 1 first", "a 2 second"));
}

TEST_F(HubLastTest, AnotherSubscriptionOfTheReaderIsNotHeldBack) {
  const auto old_a = broker_.publish("a", "old");
  const auto old_b = broker_.publish("b", "old");
  subscribe("a");
  prove();
  subscribe(">", true);
  prove();
  publish("a", "new");
  EXPECT_THAT(client_.take(), ElementsAre("+a", "a 2 new"));
  publish("b", "new");
  give(1, old_a);
  give(1, old_b);
  end(1);
  EXPECT_THAT(client_.take(), ElementsAre("+>", "b 1 old", "b 2 new"));
}

TEST_F(HubLastTest, WithoutTheValuesTheSubscriptionIsRefused) {
  subscribe("a", true);
  prove();
  hub_.on_retained_end(1, Error{ErrorCode::timeout, "no answer"});
  publish("a");
  EXPECT_THAT(client_.take(), ElementsAre("-a unavailable"));
  EXPECT_THAT(upstream_.prefixes, IsEmpty());
}

TEST_F(HubLastTest, AskingAgainForTheValuesLeavesTheSubscriptionInForceWhateverComes) {
  subscribe("a");
  prove();
  subscribe("a", true);
  publish("a", "live");
  hub_.on_retained_end(1, Error{ErrorCode::timeout, "no answer"});
  publish("a", "live");
  EXPECT_THAT(client_.take(), ElementsAre("+a", "a 1 live", "-a unavailable", "a 2 live"));
}

TEST_F(HubLastTest, ValuesAndHeldEventsAreBounded) {
  subscribe("a", true);
  subscribe("b", true);
  prove();
  give(1, broker_.publish("a", std::string(100, 'x')));
  publish("b", std::string(100, 'x'));
  EXPECT_THAT(client_.take(), ElementsAre("-a too_many_values", "-b unavailable"));
  end(1);
  end(2);
  publish("b");
  EXPECT_THAT(client_.take(), IsEmpty());
}

TEST_F(HubLastTest, ALossMeanwhileIsAnnouncedInItsPlace) {
  publish("a", "unseen");
  subscribe("a", true);
  prove();
  publish("a", "two");
  broker_.lose("a");
  publish("a", "four");
  end(1);
  EXPECT_THAT(client_.take(), ElementsAre("+a", "a 2 two", "!GAP a 3 3 recovery_timeout", "a 4 four"));
}

TEST_F(HubLastTest, LeavingMeanwhileHarmsNobody) {
  subscribe("a", true);
  prove();
  publish("a");
  hub_.remove(reader_);
  give(1, broker_.publish("a", "x"));
  end(1);
  EXPECT_THAT(upstream_.prefixes, IsEmpty());
  EXPECT_EQ(hub_.counters().subscriptions, 0u);
}

}  // namespace
}  // namespace backplane::gateway
