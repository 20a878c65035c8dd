// What scan_event() accepts, protobuf's own parser accepts and reads the same: for events that are built at
// random and then damaged at random.

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backplane/v1/event.pb.h"
#include "core/wire/scan.hpp"
#include "tests/core/wire/agreement.hpp"

namespace backplane::wire {
namespace {

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}

  std::size_t below(std::size_t n) { return engine_() % n; }
  bool one_in(std::size_t n) { return below(n) == 0; }
  std::uint64_t number() { return engine_() >> below(64); }
  char byte() { return static_cast<char>(below(256)); }

  std::string text() {
    static const std::vector<std::string> pieces{"a", "é", "€", "\U0001F600", "clock@host7", ".", "\n"};
    std::string out;
    for (std::size_t count = below(5); count > 0; --count) out += pieces[below(pieces.size())];
    return out;
  }

 private:
  std::mt19937_64 engine_;
};

std::string random_event(Random& random) {
  v1::Event event;
  if (!random.one_in(4)) event.set_source(random.text());
  if (!random.one_in(4)) event.set_session(random.number());
  if (!random.one_in(4)) event.set_sequence(random.number());
  if (random.one_in(2)) {
    event.mutable_time()->set_seconds(static_cast<std::int64_t>(random.number()));
    event.mutable_time()->set_nanos(static_cast<std::int32_t>(random.number()));
  }
  switch (random.below(4)) {
    case 0:
      event.mutable_message()->set_type_url(random.text());
      event.mutable_message()->set_value(random.text());
      break;
    case 1:
      event.set_text(random.text());
      break;
    case 2:
      event.set_binary(random.text() + random.byte());
      break;
    default:
      break;
  }
  for (std::size_t count = random.below(3); count > 0; --count) {
    (*event.mutable_attributes())[random.text()] = random.text();
  }
  return event.SerializeAsString();
}

void damage(std::string& bytes, Random& random) {
  static const std::vector<std::string> odd_fields{
      "\x48\x01",         "\x62\x02\xff\xff",  "\x4b\x4c",          "\x22\x02\x08\x05",
      "\x22\x02\x10\x05", "\x2a\x03\x0a\x01t", "\x2a\x03\x12\x01v", "\x8a\x80\x80\x80\x01",
      "\x32\x02\xc3\xa9", "\x42\x02\x1a\x01"};
  const std::size_t at = random.below(bytes.size() + 1);
  switch (random.below(7)) {
    case 0:  // appending merges
      bytes += random_event(random);
      break;
    case 1:
      bytes += odd_fields[random.below(odd_fields.size())];
      break;
    case 2:
      bytes.insert(at, odd_fields[random.below(odd_fields.size())]);
      break;
    case 3:
      bytes.insert(at, 1, random.byte());
      break;
    case 4:
      bytes.erase(at, 1 + random.below(4));
      break;
    case 5:
      if (at < bytes.size()) bytes[at] = random.byte();
      break;
    default:
      if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
      break;
  }
}

std::string hex(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

TEST(ScanEventProperty, AcceptsEveryEventThatProtobufWrites) {
  Random random{1};
  for (int round = 0; round < 20'000; ++round) {
    const std::string bytes = random_event(random);
    ASSERT_EQ(name(scan_event(std::as_bytes(std::span(bytes))).fault), "none") << hex(bytes);
    ASSERT_EQ(disagreement(std::as_bytes(std::span(bytes))), "") << hex(bytes);
  }
}

TEST(ScanEventProperty, WhatItAcceptsOfDamagedEventsProtobufReadsTheSame) {
  Random random{2};
  int accepted = 0;
  constexpr int rounds = 100'000;
  for (int round = 0; round < rounds; ++round) {
    std::string bytes = random_event(random);
    for (std::size_t count = 1 + random.below(3); count > 0; --count) damage(bytes, random);
    ASSERT_EQ(disagreement(std::as_bytes(std::span(bytes))), "") << hex(bytes);
    if (scan_event(std::as_bytes(std::span(bytes))).fault == EventFault::none) ++accepted;
  }
  // Both outcomes must be common, otherwise this shows nothing.
  EXPECT_GT(accepted, rounds / 10);
  EXPECT_LT(accepted, rounds * 9 / 10);
}

TEST(ScanEventProperty, AcceptsNoBytesAtRandomThatProtobufRefuses) {
  Random random{3};
  // Bytes that often begin a field, so that some pass the first tag.
  const std::string likely = "\x0a\x11\x18\x22\x2a\x32\x3a\x42\x7a\x08\x10\x12\x00\x01\x02\x03\x80\xff";
  for (int round = 0; round < 100'000; ++round) {
    std::string bytes(random.below(24), '\0');
    for (char& c : bytes) c = random.one_in(3) ? random.byte() : likely[random.below(likely.size())];
    ASSERT_EQ(disagreement(std::as_bytes(std::span(bytes))), "") << hex(bytes);
  }
}

}  // namespace
}  // namespace backplane::wire
