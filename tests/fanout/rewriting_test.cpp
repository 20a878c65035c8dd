// Clients whose handler rewrites each message before it is written.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/fanout/shard_fixture.hpp"

namespace backplane::fanout {
namespace {

/// Puts "<n>:" before each message, for at most `window` messages; leaves out messages of topic 2 if told to.
class NumberingHandler final : public Handler {
 public:
  struct State {
    int window{1000};
    int numbered{};
    int offered{};
    bool leaves_out{};
  };
  NumberingHandler(Client& client, std::shared_ptr<State> state)
      : client_(client), state_(std::move(state)) {}
  void on_bytes(std::string_view) override {}
  void on_input_end() override {}
  void report_losses(std::span<const Loss> losses, std::string& out) override {
    for (const Loss& loss : losses) {
      out += "!" + std::to_string(loss.first) + "-" + std::to_string(loss.last) + "\n";
    }
  }
  void say_goodbye(std::string_view reason) override { client_.end("!BYE " + std::string(reason) + "\n"); }
  TakeResult rewrite(std::string_view message, std::string& out) override {
    ++state_->offered;
    if (state_->leaves_out && message.starts_with("2 ")) return TakeResult::taken;
    if (state_->window == 0) return TakeResult::later;
    --state_->window;
    out += std::to_string(++state_->numbered) + ":" + std::string(message);
    return TakeResult::taken;
  }

 private:
  Client& client_;
  std::shared_ptr<State> state_;
};

class RewritingTest : public ShardTest {
 protected:
  explicit RewritingTest(ShardOptions options = {}) : ShardTest(options) {
    peer_ = add(1, {1, 2});
    rig_.client(1).set_handler(std::make_unique<NumberingHandler>(rig_.client(1), state_));
    rig_.client(1).rewrite_messages();
  }
  std::string take() { return std::exchange(peer_->stream.output, {}); }
  void expect_balanced() {
    const DeliveryLedger& all = ledger();
    EXPECT_EQ(all.matched, all.delivered + all.conflated + all.dropped + all.client_gone + all.unsubscribed +
                               all.join_buffer_full + all.skipped + all.pending);
  }

  std::shared_ptr<NumberingHandler::State> state_ = std::make_shared<NumberingHandler::State>();
  std::shared_ptr<Peer> peer_;
};

TEST_F(RewritingTest, MessagesAreWrittenAsTheHandlerMadeThem) {
  rig_.append(1, 1);
  rig_.append(2, 1);
  rig_.append(1, 2);
  rig_.turn();
  EXPECT_EQ(take(), "1:1 1 \n2:2 1 \n3:1 2 \n");
  EXPECT_EQ(peer_->stream.writes, 1) << "in one send";
  EXPECT_EQ(ledger().delivered, 3u);
  expect_balanced();
}

TEST_F(RewritingTest, MessagesWaitUntilTheHandlerContinues) {
  state_->window = 2;
  for (std::uint64_t offset = 1; offset <= 5; ++offset) rig_.append(1, offset);
  rig_.turn();
  EXPECT_EQ(take(), "1:1 1 \n2:1 2 \n");
  EXPECT_EQ(ledger().pending, 3u);
  EXPECT_FALSE(rig_.shard.is_dirty()) << "nothing is to be done";
  state_->window = 1;
  rig_.client(1).continue_rewriting();
  rig_.flush();
  EXPECT_EQ(take(), "3:1 3 \n");
  state_->window = 10;
  rig_.client(1).continue_rewriting();
  rig_.flush();
  EXPECT_EQ(take(), "4:1 4 \n5:1 5 \n");
  EXPECT_EQ(ledger().delivered, 5u);
  expect_balanced();
}

TEST_F(RewritingTest, RepliesDoNotWaitForMessages) {
  state_->window = 0;
  rig_.append(1, 1);
  rig_.turn();
  rig_.client(1).reply("pong\n");
  rig_.flush();
  EXPECT_EQ(take(), "pong\n");
  state_->window = 1;
  rig_.client(1).continue_rewriting();
  rig_.client(1).reply("pong\n");
  rig_.flush();
  EXPECT_EQ(take(), "pong\n1:1 1 \n");
  expect_balanced();
}

// A retained value, which is a reply, must not come after a newer event.
TEST_F(RewritingTest, ARepliedValueComesBeforeLaterMessages) {
  rig_.client(1).reply("value\n");
  rig_.append(1, 1);
  rig_.turn();
  EXPECT_EQ(take(), "value\n1:1 1 \n");
  expect_balanced();
}

TEST_F(RewritingTest, RepliesAndMessagesKeepTheirOrderInPieces) {
  peer_->stream.room = 0;
  rig_.client(1).reply("first\n");
  rig_.append(1, 1);
  rig_.turn();
  rig_.client(1).reply("second\n");
  rig_.append(1, 2);
  rig_.turn();
  std::string all;
  for (int i = 0; i < 100 && ledger().delivered < 2; ++i) {
    give_room(1, *peer_, 1);
    all += take();
    expect_balanced();
  }
  EXPECT_EQ(all, "first\n1:1 1 \nsecond\n2:1 2 \n");
  expect_balanced();
}

TEST_F(RewritingTest, MessagesThatTheHandlerLeavesOutAreCounted) {
  state_->leaves_out = true;
  rig_.append(1, 1);
  rig_.append(2, 1);
  rig_.append(2, 2);
  rig_.append(1, 2);
  rig_.turn();
  EXPECT_EQ(take(), "1:1 1 \n2:1 2 \n");
  EXPECT_EQ(ledger().skipped, 2u);
  EXPECT_EQ(ledger().delivered, 2u);
  expect_balanced();
}

TEST_F(RewritingTest, ASlowReaderGetsEachMessageOnceInPieces) {
  std::string expected;
  for (std::uint64_t offset = 1; offset <= 50; ++offset) {
    rig_.append(1, offset, 5000);
    expected += std::to_string(offset) + ":" + ShardRig::text(1, offset, 5000);
  }
  peer_->stream.room = 0;
  rig_.turn();
  std::string received;
  for (int i = 0; i < 1000 && received.size() < expected.size(); ++i) {
    give_room(1, *peer_, 777);
    received += take();
    expect_balanced();
  }
  EXPECT_EQ(received, expected);
  EXPECT_EQ(ledger().delivered, 50u);
  EXPECT_EQ(ledger().pending, 0u);
}

TEST_F(RewritingTest, WhatWaitsWhenTheClientEndsIsNotWritten) {
  state_->window = 1;
  rig_.append(1, 1);
  rig_.append(1, 2);
  rig_.turn();
  take();
  rig_.client(1).end("bye\n");
  rig_.flush();
  EXPECT_EQ(take(), "bye\n");
  EXPECT_TRUE(peer_->stream.output_ended);
  peer_->stream.input_ends = true;
  rig_.client(1).on_readable();
  rig_.flush();
  EXPECT_EQ(rig_.shard.find(ClientId{1}), nullptr);
  EXPECT_EQ(ledger().client_gone, 1u);
  expect_balanced();
}

TEST_F(RewritingTest, MessagesFromBeforeAreRewrittenToo) {
  auto peer = add(2, {1});
  auto state = std::make_shared<NumberingHandler::State>();
  rig_.client(2).set_handler(std::make_unique<NumberingHandler>(rig_.client(2), state));
  peer->stream.room = 3;
  rig_.append(1, 1);
  rig_.append(1, 2);
  rig_.turn();
  rig_.client(2).rewrite_messages();
  rig_.append(1, 3);
  rig_.turn();
  give_room(2, *peer, SimulatedStream::no_limit);
  EXPECT_EQ(peer->stream.output, "1 1 \n1:1 2 \n2:1 3 \n") << "the first was half written";
}

class SmallRewritingTest : public RewritingTest {
 protected:
  static ShardOptions options() {
    ShardOptions options;
    options.client.backlog_bytes_max = 100;
    return options;
  }
  SmallRewritingTest() : RewritingTest(options()) {}
};

TEST_F(SmallRewritingTest, TheBacklogIsBoundedWhileTheHandlerWaits) {
  state_->window = 0;
  for (std::uint64_t offset = 1; offset <= 50; ++offset) rig_.append(1, offset);
  rig_.turn();
  EXPECT_GT(ledger().dropped, 0u);
  const std::uint64_t dropped = ledger().dropped;
  state_->window = 1000;
  rig_.client(1).continue_rewriting();
  rig_.flush();
  const std::string output = take();
  EXPECT_TRUE(
      output.starts_with("!1-" + std::to_string(dropped) + "\n1:1 " + std::to_string(dropped + 1) + " \n"))
      << output;
  EXPECT_TRUE(output.ends_with(":1 50 \n")) << output;
  EXPECT_EQ(ledger().delivered + dropped, 50u);
  expect_balanced();
}

}  // namespace
}  // namespace backplane::fanout
