#include "links/passed_event.hpp"

#include <gtest/gtest.h>

#include "backplane/v1/event.pb.h"
#include "core/wire/scan.hpp"
#include "tests/golden/golden.hpp"

namespace backplane::links {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

v1::Event parsed(const std::string& bytes) {
  v1::Event event;
  EXPECT_TRUE(event.ParseFromString(bytes));
  EXPECT_EQ(wire::scan_event(bytes_of(bytes)).fault, wire::EventFault::none);
  return event;
}

v1::Event thermometer() {
  v1::Event event;
  event.set_source("thermometer@edge");
  event.set_session(7);
  event.set_sequence(3);
  event.set_after_sequence(1);
  event.mutable_time()->set_seconds(12);
  event.set_text("21.5");
  (*event.mutable_attributes())["unit"] = "C";
  return event;
}

TEST(PassedEvent, KeepsEverythingButThePublisher) {
  v1::Event event = thermometer();
  event.GetReflection()->MutableUnknownFields(&event)->AddVarint(12, 99);
  const std::string bytes = event.SerializeAsString();
  PassedEvent passed("link");
  ASSERT_TRUE(passed.read(bytes_of(bytes)));
  const v1::Event made = parsed(passed.write({.session = 5, .sequence = 20, .after = 18}, {0xab, 10}));
  EXPECT_EQ(made.source(), "link");
  EXPECT_EQ(made.session(), 5u);
  EXPECT_EQ(made.sequence(), 20u);
  EXPECT_EQ(made.after_sequence(), 18u);
  EXPECT_EQ(made.time().seconds(), 12);
  EXPECT_EQ(made.text(), "21.5");
  EXPECT_EQ(made.attributes().at("unit"), "C");
  EXPECT_EQ(made.attributes().at("origin"), "00000000000000ab:10");
  EXPECT_EQ(made.attributes().at("origin_source"), "thermometer@edge");
  EXPECT_EQ(made.GetReflection()->GetUnknownFields(made).field_count(), 1);
}

TEST(PassedEvent, WritesTheGoldenBytes) {
  const std::string event = golden::bytes("event.hex");
  PassedEvent passed("link-1a2b3c4d");
  ASSERT_TRUE(passed.read(bytes_of(event)));
  constexpr std::uint64_t session = 0x1122334455667788;
  EXPECT_EQ(passed.write({session, 2000, 1994}, {0x0123456789abcdef, 1000}),
            golden::bytes("passed_event.hex"));
  EXPECT_EQ(passed.write_lost({session, 2005, 2000}, 151), golden::bytes("lost_events.hex"));
}

TEST(PassedEvent, TheFirstPublisherAndTheWholeWayStay) {
  const std::string first = thermometer().SerializeAsString();
  PassedEvent one("one");
  ASSERT_TRUE(one.read(bytes_of(first)));
  EXPECT_EQ(one.hops(), 0u);
  EXPECT_FALSE(one.has_passed(0xaaaa));
  const std::string second = one.write({5, 20, 0}, {0x0000aaaa'00000001, 10});
  PassedEvent two("two");
  ASSERT_TRUE(two.read(bytes_of(second)));
  EXPECT_EQ(two.hops(), 1u);
  EXPECT_TRUE(two.has_passed(0xaaaa));
  EXPECT_FALSE(two.has_passed(0xbbbb));
  const v1::Event made = parsed(two.write({5, 20, 0}, {0x0000bbbb'00000001, 11}));
  EXPECT_EQ(made.attributes().at("origin"), "0000aaaa00000001:10,0000bbbb00000001:11");
  EXPECT_EQ(made.attributes().at("origin_source"), "thermometer@edge");
}

TEST(PassedEvent, AnAttributeOfThePublishersOwnIsNoWay) {
  v1::Event event = thermometer();
  (*event.mutable_attributes())["origin"] = "Berlin";
  const std::string bytes = event.SerializeAsString();
  PassedEvent passed("link");
  ASSERT_TRUE(passed.read(bytes_of(bytes)));
  EXPECT_EQ(passed.hops(), 0u);
  EXPECT_EQ(parsed(passed.write({5, 20, 0}, {0xab, 10})).attributes().at("origin"),
            "Berlin,00000000000000ab:10");
}

TEST(PassedEvent, KnowsTheTypeOfAMessage) {
  v1::Event event = thermometer();
  event.mutable_message()->set_type_url("type.googleapis.com/acme.Thing");
  const std::string bytes = event.SerializeAsString();
  PassedEvent passed("link");
  ASSERT_TRUE(passed.read(bytes_of(bytes)));
  EXPECT_EQ(passed.type(), "acme.Thing");
  const std::string without = thermometer().SerializeAsString();
  ASSERT_TRUE(passed.read(bytes_of(without)));
  EXPECT_EQ(passed.type(), "");
}

TEST(PassedEvent, WritesLostEventsAsTheBrokerExpectsThem) {
  const std::string bytes = PassedEvent("link").write_lost({5, 19, 18}, 4);
  const v1::Event made = parsed(bytes);
  EXPECT_EQ(made.lost(), 4u);
  EXPECT_EQ(made.sequence(), 19u);
  EXPECT_EQ(made.payload_case(), v1::Event::PAYLOAD_NOT_SET);
}

TEST(PassedEvent, RefusesBytesThatAreNoEvent) {
  PassedEvent passed("link");
  EXPECT_FALSE(
      passed.read(bytes_of("\x0a\x05"
                           "ab")));
  EXPECT_FALSE(passed.read(bytes_of("\x0b")));
  EXPECT_TRUE(passed.read(bytes_of("")));
}

}  // namespace
}  // namespace backplane::links
