// Our own code is held to the bytes that docs/any-language.md gives to the others.

#include "tests/golden/golden.hpp"

#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backplane/events/v1/quote.pb.h"
#include "backplane/v1/control.pb.h"
#include "backplane/v1/event.pb.h"
#include "core/payload/text.hpp"
#include "core/topic/pattern.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/scan.hpp"

namespace backplane {
namespace {

using Cases = std::vector<std::vector<std::string>>;

bool yes(const std::string& word) {
  EXPECT_TRUE(word == "yes" || word == "no") << word;
  return word == "yes";
}

TEST(Golden, NamesAreTopicsAndPatternsWhereItSaysSo) {
  const Cases cases = golden::cases("names.tsv");
  EXPECT_GT(cases.size(), 40U);
  for (const auto& fields : cases) {
    ASSERT_EQ(fields.size(), 3U);
    const std::string name = golden::from_hex(fields[2], "names.tsv");
    EXPECT_EQ(check_topic(name) == TopicFault::none, yes(fields[0])) << fields[2];
    EXPECT_EQ(check_pattern(name) == TopicFault::none, yes(fields[1])) << fields[2];
  }
}

TEST(Golden, PatternsMatchWhereItSaysSo) {
  const Cases cases = golden::cases("patterns.tsv");
  EXPECT_GT(cases.size(), 30U);
  for (const auto& fields : cases) {
    ASSERT_EQ(fields.size(), 4U);
    const auto pattern = Pattern::parse(fields[0]);
    ASSERT_TRUE(pattern) << fields[0];
    EXPECT_EQ(pattern->literal_prefix(), fields[1]) << fields[0];
    EXPECT_EQ(pattern->matches(fields[2]), yes(fields[3])) << fields[0] << " and " << fields[2];
  }
}

TEST(Golden, TextIsEscapedAndReadAsItSays) {
  const Cases cases = golden::cases("escapes.tsv");
  EXPECT_GT(cases.size(), 15U);
  for (const auto& fields : cases) {
    ASSERT_EQ(fields.size(), 3U);
    const std::string bytes = golden::from_hex(fields[1], "escapes.tsv");
    EXPECT_EQ(unescape(fields[2]), bytes) << fields[2];
    std::string escaped;
    append_escaped(bytes, escaped);
    EXPECT_EQ(escaped == fields[2], fields[0] == "both") << fields[2];
  }
}

TEST(Golden, TheTypedEventIsAnEventWithAQuote) {
  const std::string bytes = golden::bytes("typed_event.hex");
  EXPECT_EQ(wire::scan_event(std::as_bytes(std::span(bytes))).fault, wire::EventFault::none);
  v1::Event event;
  ASSERT_TRUE(event.ParseFromString(bytes));
  events::v1::Quote quote;
  ASSERT_TRUE(event.message().UnpackTo(&quote));
  EXPECT_EQ(quote.symbol(), "MSFT");
  EXPECT_EQ(quote.price(), 39.81);
  EXPECT_EQ(quote.time().seconds(), 946'684'800);
  EXPECT_EQ(event.SerializeAsString(), bytes);
}

TEST(Golden, RequestsAndTheReplyReadAsTheirCommentsSay) {
  v1::ControlRequest admitted;
  ASSERT_TRUE(admitted.ParseFromString(golden::bytes("admitted_request.hex")));
  EXPECT_EQ(admitted.version(), 1U);
  EXPECT_EQ(admitted.admitted().source(), "clock@host7");
  EXPECT_EQ(admitted.admitted().session(), 0x1122334455667788U);

  v1::ControlRequest replay;
  ASSERT_TRUE(replay.ParseFromString(golden::bytes("replay_request.hex")));
  EXPECT_EQ(replay.id(), 300U);
  EXPECT_EQ(replay.replay().pattern(), "stock.>");
  EXPECT_EQ(replay.replay().after_position().stream(), 0x0123456789abcdefU);
  EXPECT_EQ(replay.replay().after_position().position(), 993U);
  EXPECT_EQ(replay.replay().until_position(), 1000U);

  v1::ControlReply reply;
  ASSERT_TRUE(reply.ParseFromString(golden::bytes("replay_reply.hex")));
  EXPECT_EQ(reply.id(), 300U);
  EXPECT_EQ(reply.stream(), 0x0123456789abcdefU);
  EXPECT_EQ(reply.position(), 1007U);
  EXPECT_EQ(reply.more().cursor(), "\x01\xff");
  ASSERT_EQ(reply.replay().events_size(), 1);
  EXPECT_EQ(reply.replay().events(0).topic(), "stock.MSFT");
  EXPECT_EQ(reply.replay().events(0).event(), golden::bytes("stamped_event.hex"));
  EXPECT_EQ(reply.replay().through_position(), 1000U);
}

TEST(Golden, WhatALinkPublishesAndWhatReadersGetOfItReadAsTheirCommentsSay) {
  const std::string passed = golden::bytes("passed_event.hex");
  const wire::ScanResult scan = wire::scan_event(std::as_bytes(std::span(passed)));
  EXPECT_EQ(scan.fault, wire::EventFault::none);
  EXPECT_EQ(scan.event.sequence, 2000U);
  EXPECT_EQ(scan.event.after_sequence, 1994U);
  EXPECT_EQ(scan.event.lost, 0U);
  const std::string lost = golden::bytes("lost_events.hex");
  const wire::ScanResult lost_scan = wire::scan_event(std::as_bytes(std::span(lost)));
  EXPECT_EQ(lost_scan.fault, wire::EventFault::none);
  EXPECT_EQ(lost_scan.event.after_sequence, 2000U);
  EXPECT_EQ(lost_scan.event.lost, 151U);
  v1::Event event;
  ASSERT_TRUE(event.ParseFromString(lost));
  EXPECT_EQ(event.lost(), 151U);

  v1::ControlRequest partial;
  ASSERT_TRUE(partial.ParseFromString(golden::bytes("partial_request.hex")));
  EXPECT_TRUE(partial.replay().partial());
  EXPECT_EQ(partial.SerializeAsString(), golden::bytes("partial_request.hex"));

  v1::ControlReply reply;
  ASSERT_TRUE(reply.ParseFromString(golden::bytes("upstream_reply.hex")));
  EXPECT_TRUE(reply.has_complete());
  ASSERT_EQ(reply.replay().destroyed_size(), 1);
  EXPECT_EQ(reply.replay().destroyed(0).first_offset(), 8U);
  EXPECT_EQ(reply.replay().destroyed(0).last_offset(), 158U);
  EXPECT_TRUE(reply.replay().destroyed(0).upstream());
}

}  // namespace
}  // namespace backplane
