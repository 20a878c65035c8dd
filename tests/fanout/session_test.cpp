#include "fanout/session.hpp"

#include <random>
#include <set>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fanout/simulated_stream.hpp"

namespace backplane::fanout {
namespace {

/// An event with a number, as "e<number>\n", padded to some length.
class Numbered final : public Message {
 public:
  Numbered(int number_of_it, std::size_t padding)
      : Message("e" + std::to_string(number_of_it) + std::string(padding, '.') + "\n"),
        number(number_of_it) {}
  const int number;
};

MessagePtr numbered(int number, std::size_t padding = 0) {
  return std::make_shared<const Numbered>(number, padding);
}

/// Reports each loss as "lost<number>\n".
class Recorder final : public Connection {
 public:
  explicit Recorder(Session& session) : session_(session) {}
  void on_bytes(std::string_view bytes) override {
    received.append(bytes);
    if (answer_length > 0) session_.reply(std::string(answer_length, 'a'));
  }
  void on_input_end() override { ended = true; }
  void on_dropped(const Message& message) override {
    lost_.push_back(static_cast<const Numbered&>(message).number);
  }
  void report_losses(std::string& out) override {
    for (const int number : lost_) out += "lost" + std::to_string(number) + "\n";
    lost_.clear();
  }
  void say_goodbye(std::string_view reason) override { session_.end("bye " + std::string(reason) + "\n"); }

  std::string received;
  bool ended{};
  std::size_t answer_length{};

 private:
  Session& session_;
  std::vector<int> lost_;
};

class SessionTest : public ::testing::Test {
 protected:
  SessionTest() {
    share_.limits.backlog_bytes_max = 100;
    auto recorder = std::make_unique<Recorder>(session_);
    recorder_ = recorder.get();
    session_.set_connection(std::move(recorder));
  }

  /// What a server does in each turn.
  void flush() {
    for (Session* const session : std::exchange(share_.dirty, {})) session->flush();
  }
  void give_room(std::size_t bytes) {
    stream_.room = bytes;
    session_.on_writable();
    flush();
  }

  SimulatedStream stream_;
  SessionShare share_;
  Session session_{1, stream_, share_};
  Recorder* recorder_;
};

TEST_F(SessionTest, WritesAllThatIsQueuedAtOnce) {
  session_.reply("+OK\n");
  session_.send(numbered(1));
  session_.send(numbered(2));
  EXPECT_EQ(stream_.writes, 0);
  flush();
  EXPECT_EQ(stream_.output, "+OK\ne1\ne2\n");
  EXPECT_EQ(stream_.writes, 1);
  EXPECT_EQ(share_.counters.delivered, 2u);
  EXPECT_EQ(share_.counters.backlog_bytes, 0u);
}

TEST_F(SessionTest, WritesMoreThanAThousandEventsInSeveralWrites) {
  share_.limits.backlog_bytes_max = 1u << 20;
  for (int i = 0; i < 3000; ++i) session_.send(numbered(i));
  flush();
  EXPECT_EQ(stream_.writes, 3);
  EXPECT_EQ(share_.counters.delivered, 3000u);
}

TEST_F(SessionTest, DropsTheOldestWholeEventsAndSaysWhichOnceThereIsRoom) {
  stream_.room = 1;  // "e", the beginning of the first event
  for (int i = 1; i <= 10; ++i) {
    session_.send(numbered(i, 17));  // 20 bytes each, 21 for the last: 5 fit
    flush();
  }
  EXPECT_EQ(stream_.output, "e");
  give_room(SimulatedStream::no_limit);
  const std::string dots(17, '.');
  EXPECT_EQ(stream_.output, "e1" + dots + "\nlost2\nlost3\nlost4\nlost5\nlost6\ne7" + dots + "\ne8" + dots +
                                "\ne9" + dots + "\ne10" + dots + "\n");
  EXPECT_EQ(share_.counters.dropped, 5u);
  EXPECT_EQ(share_.counters.delivered, 5u);
}

TEST_F(SessionTest, DisconnectsASlowConsumerWhereThatIsItsPolicy) {
  session_.set_overflow(Overflow::disconnect);
  stream_.room = 1;
  for (int i = 1; i <= 10; ++i) {
    session_.send(numbered(i, 17));
    flush();
  }
  give_room(SimulatedStream::no_limit);
  EXPECT_THAT(stream_.output, ::testing::EndsWith("lost6\nlost7\nbye slow_consumer\n"));
  EXPECT_TRUE(stream_.output_ended);
  EXPECT_FALSE(session_.open());
}

TEST_F(SessionTest, TakesNoMoreInputThanItCanAnswer) {
  recorder_->answer_length = 70'000;
  share_.limits.backlog_bytes_max = 1u << 20;
  stream_.room = 0;
  stream_.read_max = 1;
  stream_.input = "abc";
  session_.on_readable();
  flush();
  EXPECT_EQ(recorder_->received, "a");
  EXPECT_FALSE(session_.wants_input());
  give_room(SimulatedStream::no_limit);
  EXPECT_TRUE(session_.wants_input());
}

TEST_F(SessionTest, IsAbortedWhereNoticesThatNobodyReadsExceedTheirBound) {
  share_.limits.unread_bytes_max = 100;
  stream_.room = 0;
  for (int i = 0; i < 30; ++i) session_.reply("!GAP\n");
  EXPECT_TRUE(session_.over());
}

TEST_F(SessionTest, GoesOnWritingAfterItsClientHasEndedItsInput) {
  stream_.input = "SUB clock\n";
  stream_.input_ends = true;
  session_.on_readable();
  flush();
  session_.on_readable();
  flush();
  EXPECT_TRUE(recorder_->ended);
  EXPECT_FALSE(session_.wants_input());
  session_.send(numbered(1));
  flush();
  EXPECT_EQ(stream_.output, "e1\n");
  EXPECT_FALSE(session_.over());
}

TEST_F(SessionTest, IsOverWhereItsClientIsGone) {
  stream_.error = ECONNRESET;
  session_.send(numbered(1));
  flush();
  EXPECT_TRUE(session_.over());
}

TEST_F(SessionTest, EndsWhenItsLastWordsAreWrittenAndItsClientHasEndedToo) {
  stream_.room = 2;
  session_.send(numbered(1));
  session_.end("bye\n");
  session_.send(numbered(2));
  session_.reply("not any more");
  flush();
  EXPECT_FALSE(stream_.output_ended);
  give_room(SimulatedStream::no_limit);
  EXPECT_EQ(stream_.output, "e1\nbye\n");
  EXPECT_TRUE(stream_.output_ended);
  EXPECT_FALSE(session_.over());
  stream_.input = "what nobody hears";
  stream_.input_ends = true;
  session_.on_readable();
  session_.on_readable();
  flush();
  EXPECT_EQ(recorder_->received, "");
  EXPECT_TRUE(session_.over());
}

TEST_F(SessionTest, IsBoundedByTheBacklogOfAllSessionsTogether) {
  share_.limits.backlog_total_bytes_max = 30;
  SimulatedStream other_stream;
  Session other{2, other_stream, share_};
  other.set_connection(std::make_unique<Recorder>(other));
  stream_.room = other_stream.room = 0;
  session_.send(numbered(1, 17));
  other.send(numbered(2, 17));
  EXPECT_EQ(share_.counters.backlog_bytes, 20u);
  EXPECT_EQ(share_.counters.dropped, 1u);
}

/// Whatever the socket takes and when: lines are whole, in order, and received + lost is what was sent.
TEST_F(SessionTest, AccountsForEveryEventOverAnySequenceOfShortWrites) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    SimulatedStream stream;
    SessionShare share;
    share.limits.backlog_bytes_max = 200;
    Session session{1, stream, share};
    session.set_connection(std::make_unique<Recorder>(session));
    const auto flush_all = [&] {
      while (!share.dirty.empty()) {
        for (Session* const each : std::exchange(share.dirty, {})) each->flush();
      }
    };
    stream.room = 0;
    constexpr int events = 300;
    for (int i = 1; i <= events; ++i) {
      session.send(numbered(i, random() % 40));
      if (random() % 8 == 0) session.reply("r\n");
      if (random() % 3 == 0) {
        stream.room = random() % 120;
        session.on_writable();
      }
      if (random() % 2 == 0) flush_all();
    }
    stream.room = SimulatedStream::no_limit;
    session.on_writable();
    flush_all();

    int expected = 1;
    std::istringstream lines(stream.output);
    for (std::string line; std::getline(lines, line);) {
      if (line == "r") continue;
      const std::size_t word = line.starts_with("lost") ? 4 : 1;
      ASSERT_TRUE(word == 4 || line.starts_with("e")) << line;
      ASSERT_EQ(std::stoi(line.substr(word)), expected) << "seed " << seed << ": " << line;
      ++expected;
    }
    ASSERT_EQ(expected, events + 1) << "seed " << seed;
    ASSERT_EQ(share.counters.delivered + share.counters.dropped, static_cast<std::uint64_t>(events));
    ASSERT_EQ(share.counters.backlog_bytes, 0u);
  }
}

}  // namespace
}  // namespace backplane::fanout
