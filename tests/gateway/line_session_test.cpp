#include "gateway/protocols/line/line_session.hpp"

#include <map>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fanout/simulated_stream.hpp"
#include "tests/gateway/fake_upstream.hpp"

namespace backplane::gateway::line {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// Takes all events, and admits them when the test says so.
class FakeSink final : public EventSink {
 public:
  Offer offer(std::string_view, std::string_view text) override {
    last_text = text;
    ++state.offered;
    return Offer::accepted;
  }
  PublisherStatus status() override { return state; }
  void request_confirmation() override {}
  PublisherStatus state;
  std::string last_text;
};

class LineSessionTest : public ::testing::Test {
 protected:
  LineSessionTest() {
    sink_.state.ready = true;
    hub_.on_connection(true);
    hub_.tick({});
    share_.limits.backlog_bytes_max = 200;
    session_.set_connection(std::make_unique<LineSession>(session_, Services{hub_, desk_, {1000, 2000}}));
  }

  void flush() {
    while (!share_.dirty.empty()) {
      for (fanout::Session* const each : std::exchange(share_.dirty, {})) each->flush();
    }
  }
  void send(std::string_view text) {
    stream_.input += text;
    while (!stream_.input.empty() && session_.wants_input()) session_.on_readable();
    flush();
  }
  void end_input() {
    stream_.input_ends = true;
    session_.on_readable();
    flush();
  }
  void prove() { hub_.on_live(upstream_.tickets); }
  void publish(const std::string& topic, const std::string& text) {
    hub_.on_event(broker_.publish(topic, text).delivery());
  }
  void admit_all() {
    sink_.state.confirmed = sink_.state.offered;
    desk_.pump({});
    flush();
  }
  /// What has come since the last time.
  std::string take() {
    flush();
    return std::exchange(stream_.output, {});
  }

  FakeUpstream upstream_;
  FakeBroker broker_;
  FakeSink sink_;
  PublishDesk desk_{sink_, std::chrono::hours{1}, 1u << 20};
  Hub hub_{HubLimits{}, upstream_, {}};
  fanout::SimulatedStream stream_;
  fanout::SessionShare share_;
  fanout::Session session_{1, stream_, share_};
};

TEST_F(LineSessionTest, SubscribesAndReceives) {
  send("SUB stock.>\r\n");
  EXPECT_EQ(take(), "");
  prove();
  publish("stock.MSFT", "39.81");
  EXPECT_EQ(take(), "+OK SUB stock.>\nstock.MSFT 39.81\n");
  send("FORMAT text+offset\n");
  publish("stock.MSFT", "40");
  EXPECT_EQ(take(), "+OK FORMAT text+offset\nstock.MSFT 2 40\n");
  send("UNSUB stock.>\n");
  publish("stock.MSFT", "41");
  EXPECT_EQ(take(), "+OK UNSUB stock.>\n");
}

TEST_F(LineSessionTest, TheAnswerToABadCommandLeavesTheSessionAlive) {
  send("SUB stock..MSFT\nNONSENSE\nUNSUB a\n" + std::string(5000, 'x') + "\nPING\n");
  EXPECT_EQ(take(),
            "-ERR bad_topic a token is empty: \"stock..MSFT\"\n"
            "-ERR unknown_command wanted one of SUB, UNSUB, PUB, FORMAT, POLICY, PING, HELP, QUIT, got "
            "\"NONSENSE\"\n"
            "-ERR not_subscribed wanted a pattern that SUB was given, got \"a\"\n"
            "-ERR line_too_long wanted at most 1000 bytes, and 2000 where the line is a PUB; the rest of it "
            "is skipped\n"
            "+PONG\n");
}

TEST_F(LineSessionTest, AnswersPubWhenTheBrokerHasAdmitted) {
  send("PUB news.uk one\\ntwo\nPING\n");
  EXPECT_EQ(take(), "+PONG\n");
  EXPECT_EQ(sink_.last_text, "one\ntwo");
  admit_all();
  EXPECT_EQ(take(), "+OK PUB news.uk\n");
}

TEST_F(LineSessionTest, ReadsNoFurtherWhereTooMuchWaitsForTheBroker) {
  for (int i = 0; i < 1100 && session_.wants_input(); ++i) send("PUB a x\n");
  EXPECT_FALSE(session_.wants_input());
  EXPECT_EQ(sink_.state.offered, 1025u);
  admit_all();
  EXPECT_TRUE(session_.wants_input());
}

TEST_F(LineSessionTest, QuitAnswersEverythingBeforeItEnds) {
  send("SUB clock\nPUB a x\nQUIT\nPING\n");
  send("PING\n");
  EXPECT_EQ(take(), "-ERR cancelled clock: QUIT came before it was in force\n");
  EXPECT_FALSE(stream_.output_ended);
  admit_all();
  EXPECT_EQ(take(), "+OK PUB a\n+OK QUIT\n");
  EXPECT_TRUE(stream_.output_ended);
}

TEST_F(LineSessionTest, GoesOnAfterTheEndOfInputWhereSomethingIsSubscribedTo) {
  send("SUB clock\n");
  end_input();
  EXPECT_FALSE(session_.over());
  prove();
  publish("clock", "tick");
  EXPECT_EQ(take(), "+OK SUB clock\nclock tick\n");
}

TEST_F(LineSessionTest, EndsAfterTheEndOfInputWhereNothingIsToCome) {
  send("PUB a x\nPING");  // without a line end
  end_input();
  EXPECT_EQ(take(), "+PONG\n");
  EXPECT_FALSE(session_.over());
  admit_all();
  EXPECT_EQ(take(), "+OK PUB a\n");
  EXPECT_TRUE(session_.over());
}

TEST_F(LineSessionTest, ObeysNothingBehindAnHttpRequest) {
  send("POST / HTTP/1.1\r\nHost: x\r\n\r\nPUB news.uk forged\n");
  EXPECT_THAT(take(), StartsWith("-ERR not_http "));
  EXPECT_EQ(sink_.state.offered, 0u);
  EXPECT_TRUE(stream_.output_ended);
}

TEST_F(LineSessionTest, SaysWhichEventsItCouldNotTake) {
  send("SUB >\n");
  prove();
  take();
  stream_.room = 0;
  for (int i = 1; i <= 20; ++i) {
    publish("a", std::string(16, 'x'));  // 19 bytes a line: 10 fit
    publish("b", std::string(6, 'y'));   // 9 bytes
    flush();
  }
  stream_.room = fanout::SimulatedStream::no_limit;
  session_.on_writable();
  EXPECT_THAT(take(), StartsWith("!GAP a 1 13 slow_consumer\n!GAP b 1 13 slow_consumer\na xxx"));
}

TEST_F(LineSessionTest, ReceivedAndAnnouncedTogetherAreWhatWasPublished) {
  send("SUB >\nFORMAT text+offset\n");
  prove();
  take();
  std::map<std::string, std::uint64_t> published;
  for (unsigned i = 0; i < 5000; ++i) {
    const std::string topic(1, static_cast<char>('a' + i * i % 7));
    ++published[topic];
    publish(topic, std::string(i * 31 % 50, 'x'));
    if (i % 7 == 0) stream_.room = i * 13 % 150;
    if (i % 7 == 0) session_.on_writable();
    flush();
  }
  stream_.room = fanout::SimulatedStream::no_limit;
  session_.on_writable();
  std::map<std::string, std::uint64_t> next;
  std::istringstream lines(take());
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string topic;
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    words >> topic;
    const bool gap = topic == "!GAP";
    if (gap) words >> topic;
    words >> first;
    last = first;
    if (gap) words >> last;
    ASSERT_EQ(first, next[topic] + 1) << line;
    next[topic] = last;
  }
  EXPECT_EQ(next, published);
  EXPECT_GT(share_.counters.dropped, 0u);
  EXPECT_GT(share_.counters.delivered, 0u);
}

TEST_F(LineSessionTest, PolicyDisconnectEndsASlowSession) {
  send("POLICY disconnect\nSUB a\n");
  prove();
  take();
  stream_.room = 0;
  for (int i = 0; i < 30; ++i) publish("a", "0123456789");
  flush();
  stream_.room = fanout::SimulatedStream::no_limit;
  session_.on_writable();
  EXPECT_EQ(take(), "!GAP a 1 16 slow_consumer\n!BYE slow_consumer\n");
}

TEST_F(LineSessionTest, NoticesAreJsonWhereEventsAre) {
  send("FORMAT json\nSUB a\n");
  prove();
  publish("a", "x");
  broker_.lose("a");
  take();
  publish("a", "x");
  EXPECT_THAT(take(),
              StartsWith("{\"gap\":{\"topic\":\"a\",\"stream\":\"0000000100000001\",\"first\":2,\"last\":2,"
                         "\"reason\":\"recovery_timeout\"}}\n{\"topic\":\"a\","));
  hub_.on_connection(false);
  hub_.tick({});
  EXPECT_EQ(take(), "{\"wait\":\"broker\"}\n");
  session_.connection().say_goodbye("drain");
  EXPECT_EQ(take(), "{\"bye\":\"drain\"}\n");
}

TEST_F(LineSessionTest, HelpEndsWithItsOk) {
  send("HELP\n");
  const std::string help = take();
  EXPECT_THAT(help, HasSubstr("SUB stock.>"));
  EXPECT_THAT(help, EndsWith("\n+OK HELP\n"));
}

TEST_F(LineSessionTest, SurvivesAnyBytesInAnyPieces) {
  unsigned state = 1;
  for (int i = 0; i < 20'000; ++i) {
    state = state * 1'664'525u + 1'013'904'223u;
    const std::string words[] = {"SUB ", "PUB a ", "UNSUB ", "FORMAT ",
                                 ">",    "a.*",    "\n",     "\r\n",
                                 " ",    "last",   "\\x0",   std::string(1, static_cast<char>(state >> 24)),
                                 "json", "text",   "HELP",   "\xff\xfe"};
    send(words[state >> 8 & 15]);
    if (i % 100 == 0) {
      prove();
      admit_all();
    }
  }
  send("\nPING\n");
  admit_all();
  EXPECT_THAT(take(), HasSubstr("+PONG\n"));
}

}  // namespace
}  // namespace backplane::gateway::line
