#include "core/wire/scan.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backplane/v1/event.pb.h"
#include "tests/golden/golden.hpp"

namespace backplane::wire {
namespace {

using namespace std::string_literals;

// In these tests a view outlives its scan, so the bytes must stay valid: pass an lvalue.
ScanResult scan(const std::string& bytes) {
  return scan_event(std::as_bytes(std::span(bytes)));
}

// A delimited field with a number below 16.
std::string delimited(int number, const std::string& bytes) {
  return static_cast<char>(number << 3 | 2) + std::string(1, static_cast<char>(bytes.size())) + bytes;
}

struct Refused {
  const char* what;
  std::string bytes;
  EventFault fault;
  std::size_t at = 0;
};

void expect_refused(const std::vector<Refused>& cases) {
  for (const Refused& c : cases) {
    const ScanResult result = scan(c.bytes);
    EXPECT_EQ(name(result.fault), name(c.fault)) << c.what;
    EXPECT_EQ(result.fault_at, c.at) << c.what;
  }
}

TEST(ScanEvent, FindsTheFieldsOfTheGoldenEvent) {
  const std::string bytes = golden::bytes("event.hex");
  const ScanResult result = scan(bytes);
  ASSERT_EQ(result.fault, EventFault::none);
  EXPECT_EQ(result.event.source, "clock@host7");
  EXPECT_EQ(result.event.session, 0x1122334455667788U);
  EXPECT_EQ(result.event.sequence, 300U);
  EXPECT_TRUE(result.event.has_time);
  EXPECT_EQ(result.event.time_seconds, 946'684'800);
  EXPECT_EQ(result.event.time_nanos, 500'000'000);
  EXPECT_EQ(result.event.payload, Payload::text);
  EXPECT_EQ(result.event.body, "grüße");
}

TEST(ScanEvent, AcceptsAnEventOfNoBytes) {
  const ScanResult result = scan_event({});
  EXPECT_EQ(result.fault, EventFault::none);
  EXPECT_EQ(result.event.payload, Payload::none);
  EXPECT_FALSE(result.event.has_time);
}

TEST(ScanEvent, DistinguishesThePayloads) {
  v1::Event event;
  event.mutable_message()->set_type_url("type.googleapis.com/backplane.events.v1.Quote");
  event.mutable_message()->set_value("\x0a\x01x");
  std::string bytes = event.SerializeAsString();
  EventView view = scan(bytes).event;
  EXPECT_EQ(view.payload, Payload::message);
  EXPECT_EQ(view.type_url, event.message().type_url());
  EXPECT_EQ(view.message, event.message().value());
  EXPECT_EQ(view.body, event.message().SerializeAsString());

  event.set_binary("\xff\xfe");
  bytes = event.SerializeAsString();
  view = scan(bytes).event;
  EXPECT_EQ(view.payload, Payload::binary);
  EXPECT_EQ(view.body, "\xff\xfe");

  // A payload that is set but empty is a payload: it does not clear a retained value.
  event.set_text("");
  bytes = event.SerializeAsString();
  EXPECT_EQ(scan(bytes).event.payload, Payload::text);
}

TEST(ScanEvent, TheLastOfSeveralFieldsCounts) {
  const std::string any = delimited(5, delimited(1, "t"s) + delimited(2, "v"s));
  const std::string bytes = delimited(1, "a") + any + delimited(6, "text") + delimited(1, "b");
  const EventView view = scan(bytes).event;
  EXPECT_EQ(view.source, "b");
  EXPECT_EQ(view.payload, Payload::text);
  EXPECT_EQ(view.body, "text");
  EXPECT_EQ(view.type_url, "");
  EXPECT_EQ(view.message, "");
}

TEST(ScanEvent, MergesThePartsOfTimeAndMessageAsProtobufDoes) {
  const std::string bytes = delimited(4, "\x08\x05"s) + delimited(4, "\x10\x07"s) +
                            delimited(5, delimited(1, "t"s)) + delimited(5, delimited(2, "v"s));
  const EventView view = scan(bytes).event;
  EXPECT_EQ(view.time_seconds, 5);
  EXPECT_EQ(view.time_nanos, 7);
  EXPECT_EQ(view.type_url, "t");
  EXPECT_EQ(view.message, "v");
}

TEST(ScanEvent, ReadsTimesBeforeTheEpoch) {
  v1::Event event;
  event.mutable_time()->set_seconds(-1);
  event.mutable_time()->set_nanos(-2);
  const std::string bytes = event.SerializeAsString();
  const EventView view = scan(bytes).event;
  EXPECT_EQ(view.time_seconds, -1);
  EXPECT_EQ(view.time_nanos, -2);
}

TEST(ScanEvent, SkipsUnknownFieldsOfEveryWireType) {
  const std::string unknown = "\x48\x96\x01"s + "\x51" + std::string(8, 'x') + delimited(11, "\xff") +
                              "\x65" + std::string(4, 'x') + "\xfa\xff\xff\xff\x0f\x00"s;
  EXPECT_EQ(scan(unknown + delimited(6, "t") + unknown).fault, EventFault::none);
  EXPECT_EQ(scan(delimited(4, unknown)).fault, EventFault::none);
  EXPECT_EQ(scan(delimited(5, unknown)).fault, EventFault::none);
  EXPECT_EQ(scan(delimited(8, unknown)).fault, EventFault::none);
}

TEST(ScanEvent, RefusesWhatEndsInTheMiddle) {
  const std::string head = delimited(1, "abc");
  expect_refused({
      {"a tag", head + "\x92", EventFault::truncated, 5},
      {"a tag without its value", head + "\x18", EventFault::truncated, 5},
      {"a varint", "\x18\x80", EventFault::truncated},
      {"a fixed64", "\x11" + std::string(7, 'x'), EventFault::truncated},
      {"a fixed32", "\x65" + std::string(3, 'x'), EventFault::truncated},
      {"a length", "\x0a\x80", EventFault::truncated},
      {"a length one past the end", "\x0a\x04" + "abc"s, EventFault::truncated},
      {"a length far past the end", "\x0a\xff\xff\xff\xff\x07", EventFault::truncated},
      {"a length of 4 GiB", "\x0a\xff\xff\xff\xff\x0f", EventFault::truncated},
  });
}

TEST(ScanEvent, RefusesEveryCutThroughAField) {
  const std::string whole = golden::bytes("event.hex");
  const std::vector<std::size_t> ends{0, 13, 22, 25, 39, 48, whole.size()};  // where a field ends
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    const bool between = std::find(ends.begin(), ends.end(), size) != ends.end();
    EXPECT_EQ(name(scan(whole.substr(0, size)).fault), between ? "none" : "truncated") << size;
  }
}

TEST(ScanEvent, RefusesVarintsThatAreTooLong) {
  expect_refused({
      {"eleven bytes", "\x18" + std::string(10, '\xff') + "\x01", EventFault::bad_varint},
      {"above 64 bits", "\x18" + std::string(9, '\xff') + "\x02", EventFault::bad_varint},
      {"a tag above 32 bits", "\x80\x80\x80\x80\x10", EventFault::bad_varint},
      {"a tag of six bytes", "\x8a\x80\x80\x80\x80\x00"s, EventFault::bad_varint},
      {"a length of six bytes", "\x0a\x80\x80\x80\x80\x80\x00"s, EventFault::bad_varint},
      {"an unknown field's", "\x48" + std::string(10, '\xff') + "\x01", EventFault::bad_varint},
  });
  const std::string largest = "\x18" + std::string(9, '\xff') + "\x01";
  EXPECT_EQ(scan(largest).event.sequence, ~std::uint64_t{});
}

TEST(ScanEvent, RefusesFieldZeroAndGroups) {
  expect_refused({
      {"field 0", "\x00"s, EventFault::field_zero},
      {"field 0 behind another", delimited(6, "t") + "\x02\x00"s, EventFault::field_zero, 3},
      {"an unknown group", "\x4b\x4c", EventFault::group},
      {"an end of a group", "\x4c", EventFault::group},
      {"a known field as a group", "\x0b\x0c", EventFault::group},
      {"wire type 6", "\x4e", EventFault::group},
      {"wire type 7", "\x4f", EventFault::group},
  });
}

TEST(ScanEvent, RefusesEachKnownFieldWithEachWrongWireType) {
  const std::vector<std::string> values{"\x01", std::string(8, '\0'), "\x00"s, "", "", std::string(4, '\0')};
  const std::vector<std::pair<int, int>> fields{{1, 2}, {2, 1}, {3, 0}, {4, 2}, {5, 2},
                                                {6, 2}, {7, 2}, {8, 2}, {9, 0}, {14, 1}};
  for (const auto& [number, right] : fields) {
    for (const int wire_type : {0, 1, 2, 5}) {
      const std::string bytes =
          static_cast<char>(number << 3 | wire_type) + values[static_cast<std::size_t>(wire_type)];
      const EventFault expected = wire_type == right ? EventFault::none : EventFault::wrong_wire_type;
      EXPECT_EQ(name(scan(bytes).fault), name(expected)) << number << " " << wire_type;
    }
  }
}

TEST(ScanEvent, RefusesStringsThatAreNotUtf8) {
  expect_refused({
      {"source", delimited(1, "a\xff"), EventFault::source_not_utf8},
      {"text", delimited(6, "\xed\xa0\x80"), EventFault::text_not_utf8},
      {"text that a later payload replaces", delimited(6, "\xff") + delimited(7, "x"),
       EventFault::text_not_utf8},
      {"a type_url", delimited(5, delimited(1, "\xff")), EventFault::bad_message},
      {"a key", delimited(8, delimited(1, "\xff")), EventFault::bad_attributes},
      {"a value", delimited(8, delimited(1, "k") + delimited(2, "\xc3")), EventFault::bad_attributes},
  });
  EXPECT_EQ(scan(delimited(7, "\xff")).fault, EventFault::none);
  EXPECT_EQ(scan(delimited(5, delimited(2, "\xff"))).fault, EventFault::none);
}

TEST(ScanEvent, RefusesWhatDoesNotScanOneLevelDown) {
  const std::vector<std::string> broken{"\x92",     "\x00"s,         "\x4b\x4c",      "\x4e",
                                        "\x0a\x05", "\x18\x80"s,     "\x0d\0\0\0\0"s, "\x15\0\0\0\0"s,
                                        "\x0f",     "\x11" + "1234"s};
  const std::vector<std::pair<int, EventFault>> fields{
      {4, EventFault::bad_time}, {5, EventFault::bad_message}, {8, EventFault::bad_attributes}};
  for (const auto& [number, fault] : fields) {
    for (const std::string& inner : broken) expect_refused({{"nested", delimited(number, inner), fault}});
  }
  expect_refused({
      {"seconds as bytes", delimited(4, delimited(1, "")), EventFault::bad_time},
      {"nanos as a fixed64", delimited(4, "\x11" + std::string(8, '\0')), EventFault::bad_time},
      {"a type_url as a varint", delimited(5, "\x08\x01"), EventFault::bad_message},
      {"a value as a varint", delimited(5, "\x10\x01"), EventFault::bad_message},
      {"an attribute's key as a varint", delimited(8, "\x08\x01"), EventFault::bad_attributes},
  });
}

TEST(ScanEvent, RefusesAnExistingFieldFifteen) {
  const std::string event = golden::bytes("event.hex");
  expect_refused({
      {"a whole stamp", event + golden::bytes("stamp.hex"), EventFault::stamped, event.size()},
      {"an empty one", delimited(15, ""), EventFault::stamped},
      {"one that is a varint", "\x78\x01", EventFault::stamped},
      {"one before the rest", golden::bytes("stamp.hex") + event, EventFault::stamped},
  });
}

TEST(ScanEvent, ReadsLostEventsAtTheEndOnly) {
  const auto lost = [](std::uint64_t count) {
    std::string field = "\x71";
    for (int i = 0; i < 8; ++i) field.push_back(static_cast<char>(count >> (8 * i)));
    return field;
  };
  const std::string before = delimited(1, "s") + "\x18\x07\x48\x05";
  const ScanResult result = scan(before + lost(3));
  EXPECT_EQ(result.fault, EventFault::none);
  EXPECT_EQ(result.event.lost, 3u);
  EXPECT_EQ(result.event.sequence, 7u);
  EXPECT_EQ(result.event.after_sequence, 5u);
  EXPECT_EQ(scan(before + lost(lost_max)).fault, EventFault::none);
  expect_refused({
      {"too many", before + lost(lost_max + 1), EventFault::bad_lost, before.size()},
      {"a field after it", lost(3) + before, EventFault::bad_lost, 0},
      {"a payload", before + delimited(6, "text") + lost(3), EventFault::bad_lost, before.size() + 6},
  });
}

TEST(DescribeScan, NamesTheFieldThePlaceAndTheSize) {
  const auto say = [](const std::string& bytes) { return describe(scan(bytes), bytes.size()); };
  EXPECT_EQ(say("\x18\x01" + delimited(1, "\xff")), "source: bytes that are not UTF-8, at byte 2 of 5");
  EXPECT_EQ(say("\x50\x80"s),
            "field 10: ends in the middle, or its length points past the end, at byte 0 of 2");
  EXPECT_EQ(say("\x00"s), "a field with the number 0, at byte 0 of 1");
  EXPECT_EQ(say("\x08\x01"), "source: the wrong wire type, at byte 0 of 2");
}

TEST(IsUtf8, AcceptsEachEdgeOfEachLengthAndNothingBeyond) {
  for (const std::string good : {"", "a", "\x7f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff",
                                 "\U00010000", "\U0010ffff", "eight by", "eight byte é more and é"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  for (const std::string bad :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3", "\xe2\x82",
        "\xf0\x9f\x98", "\xe2\x28\xa1", "\xe2\x82\x28", "\xf0\x9f\x98\x28", "eight by\xff", "eight b\xc3"}) {
    EXPECT_FALSE(is_utf8(bad)) << bad.size();
    EXPECT_FALSE(is_utf8(bad + "and more")) << bad.size();
  }
}

}  // namespace
}  // namespace backplane::wire
