#include "fanout/outbox.hpp"

#include <array>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::fanout {
namespace {

MessagePtr event(std::string bytes) {
  return std::make_shared<const Message>(std::move(bytes));
}

std::string gathered(const Outbox& outbox, std::size_t pieces = 16) {
  std::vector<iovec> views(pieces);
  std::string all;
  for (std::size_t i = 0, count = outbox.gather(views); i < count; ++i) {
    all.append(static_cast<const char*>(views[i].iov_base), views[i].iov_len);
  }
  return all;
}

TEST(Outbox, GivesRepliesAndEventsInTheOrderInWhichTheyCame) {
  Outbox outbox;
  outbox.add_reply("r1");
  outbox.add_event(event("e1"));
  outbox.add_event(event("e2"));
  outbox.add_reply("r2");
  outbox.add_reply("r3");
  outbox.add_event(event("e3"));
  EXPECT_EQ(gathered(outbox), "r1e1e2r2r3e3");
  EXPECT_EQ(gathered(outbox, 2), "r1e1");
  EXPECT_EQ(outbox.event_bytes(), 6u);
  EXPECT_EQ(outbox.reply_bytes(), 6u);
}

TEST(Outbox, GoesOnInTheMiddleOfWhatWasWrittenInPart) {
  Outbox outbox;
  outbox.add_reply("abc");
  outbox.add_event(event("defg"));
  outbox.add_event(event("hi"));
  EXPECT_EQ(outbox.advance(1), 0u);
  EXPECT_EQ(gathered(outbox), "bcdefghi");
  EXPECT_EQ(outbox.advance(3), 0u);
  EXPECT_EQ(gathered(outbox), "efghi");
  EXPECT_EQ(outbox.advance(3), 1u);
  EXPECT_EQ(outbox.advance(2), 1u);
  EXPECT_TRUE(outbox.empty());
  EXPECT_EQ(outbox.event_bytes(), 0u);
  EXPECT_EQ(outbox.reply_bytes(), 0u);
}

TEST(Outbox, NeverDropsAnEventThatHasBegun) {
  Outbox outbox;
  outbox.add_event(event("first\n"));
  outbox.add_event(event("second\n"));
  (void)outbox.advance(1);
  EXPECT_EQ(outbox.drop_oldest()->bytes(), "second\n");
  EXPECT_EQ(outbox.drop_oldest(), nullptr);
  EXPECT_EQ(gathered(outbox), "irst\n");
}

TEST(Outbox, ReportsLossesBehindWhatWasQueuedBeforeTheLastOfThem) {
  Outbox outbox;
  outbox.add_reply("ok ");
  outbox.add_event(event("e1 "));
  outbox.add_event(event("e2 "));
  outbox.add_reply("pong ");
  outbox.add_event(event("e3 "));
  (void)outbox.drop_oldest();
  (void)outbox.drop_oldest();
  EXPECT_FALSE(outbox.loss_is_next());
  EXPECT_EQ(gathered(outbox), "ok ");
  (void)outbox.advance(3);
  ASSERT_TRUE(outbox.loss_is_next());
  outbox.report_losses("gap1-2 ");
  EXPECT_EQ(gathered(outbox), "gap1-2 pong e3 ");
  (void)outbox.advance(15);
  EXPECT_TRUE(outbox.empty());
}

TEST(Outbox, IsNotEmptyBeforeALossIsReported) {
  Outbox outbox;
  outbox.add_event(event("e1"));
  (void)outbox.drop_oldest();
  EXPECT_FALSE(outbox.empty());
  ASSERT_TRUE(outbox.loss_is_next());
  outbox.report_losses("");
  EXPECT_TRUE(outbox.empty());
}

TEST(Outbox, ReportsALaterLossAfterAnEarlierReport) {
  Outbox outbox;
  outbox.add_event(event("e1 "));
  outbox.add_event(event("e2 "));
  (void)outbox.drop_oldest();
  outbox.report_losses("gap1 ");
  (void)outbox.drop_oldest();
  EXPECT_EQ(gathered(outbox), "gap1 ");
  outbox.add_reply("pong ");
  (void)outbox.advance(5);
  ASSERT_TRUE(outbox.loss_is_next());
  outbox.report_losses("gap2 ");
  EXPECT_EQ(gathered(outbox), "gap2 pong ");
}

}  // namespace
}  // namespace backplane::fanout
