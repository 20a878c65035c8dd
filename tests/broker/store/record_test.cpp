// The bytes of the store's files, which tests/golden/store_*.hex pin down.

#include "broker/store/record.hpp"

#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "broker/store/checkpoint.hpp"
#include "broker/store/event_log.hpp"
#include "broker/store/record_scanner.hpp"
#include "broker/store/segment.hpp"
#include "tests/broker/state/stored_events.hpp"
#include "tests/broker/store/simulated_files.hpp"
#include "tests/golden/golden.hpp"

namespace backplane::broker::store {
namespace {

using testing::Stamped;

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

const FileHeader segment_header{.kind = FileKind::segment,
                                .cleaned = true,
                                .stream = 0x0123456789abcdef,
                                .serial = 0x1111111122222222,
                                .first = 1000,
                                .through = 1002,
                                .last_time = 946'684'800'123'456'789,
                                .removals_bytes = 53};

Stamped event() {
  return Stamped("clock",
                 {.stream = 0x0123456789abcdef,
                  .position = 1002,
                  .offset = 7,
                  .previous = 993,
                  .received_ns = 946'684'800'123'456'789},
                 3, /*clears=*/false);
}

std::vector<Record> records(const Stamped& stamped) {
  Record removed{.kind = RecordKind::removed, .topic = 3, .time = 946'684'700'000'000'000, .number = 210};
  removed.name = "clock";
  removed.position = 993;
  removed.offset = 6;
  Record stored{.kind = RecordKind::event, .topic = 3, .time = 946'684'800'123'456'789, .number = 210};
  stored.name = "clock";
  stored.body = {reinterpret_cast<const char*>(stamped.bytes.data()), stamped.bytes.size()};
  Record types{.kind = RecordKind::types};
  types.body = "descriptors";
  return {removed, stored, types,
          Record{.kind = RecordKind::clock, .time = 946'684'800'123'456'789, .number = 5'000'000'000},
          Record{.kind = RecordKind::synced, .number = 4096}};
}

std::string segment_bytes() {
  const Stamped stamped = event();
  std::string bytes = encode(segment_header);
  for (const Record& record : records(stamped)) encode(record, bytes);
  return bytes;
}

Segment segment() {
  Segment made;
  made.header = segment_header;
  made.bytes = 311;
  made.records = 1;
  made.through = 1002;
  made.last_time = segment_header.last_time;
  made.blocks.push_back({1002, segment_header.last_time, 117});
  return made;
}

Checkpoint checkpoint() {
  Checkpoint made{.stream = 0x0123456789abcdef,
                  .position = 1002,
                  .floor = 17,
                  .clock_now = 946'684'800'123'456'789,
                  .clock_shift = 5'000'000'000};
  made.topics.push_back({"clock", 3, 1002, 7, 260, 946'684'800'123'456'789, 117, 87, true});
  made.sessions.push_back({"clock@host7", 77, 1001});
  made.types.emplace_back("descriptors");
  return made;
}

Checkpoint checkpoint_with_users() {
  Checkpoint made = checkpoint();
  made.sessions.at(0).user = "sensor7";
  return made;
}

const StoreMark mark{.backplane = "default",
                     .stream = 0x0123456789abcdef,
                     .boot = "some-boot",
                     .is_clean = true,
                     .syncs_always = false};

TEST(StoreFormat, TheChecksumIsThatOfIscsi) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
}

TEST(StoreFormat, FilesHaveTheGoldenBytes) {
  EXPECT_EQ(hex(segment_bytes()), hex(golden::bytes("store_segment.hex")));
  EXPECT_EQ(hex(encode_index(segment())), hex(golden::bytes("store_index.hex")));
  EXPECT_EQ(hex(encode(checkpoint())), hex(golden::bytes("store_checkpoint.hex")));
  EXPECT_EQ(hex(encode(mark)), hex(golden::bytes("store_mark.hex")));
}

TEST(StoreFormat, GoldenFilesAreRead) {
  const std::string bytes = golden::bytes("store_segment.hex");
  EXPECT_EQ(decode_header(bytes, FileKind::segment, "x").value(), segment_header);
  const Stamped stamped = event();
  std::string_view rest = std::string_view(bytes).substr(header_bytes);
  for (const Record& expected : records(stamped)) {
    Record record;
    ASSERT_EQ(parse_record(rest, record), Parsed::ok);
    EXPECT_EQ(record.kind, expected.kind);
    EXPECT_EQ(record.topic, expected.topic);
    EXPECT_EQ(record.time, expected.time);
    EXPECT_EQ(record.number, expected.number);
    EXPECT_EQ(record.name, expected.name);
    if (record.kind == RecordKind::event) {
      EXPECT_EQ(record.position, 1002u);
      EXPECT_EQ(record.offset, 7u);
      EXPECT_EQ(record.previous, 993u);
      EXPECT_EQ(record.body, expected.body);
    }
    if (record.kind == RecordKind::removed) {
      EXPECT_EQ(record.position, 993u);
      EXPECT_EQ(record.offset, 6u);
    }
    rest.remove_prefix(record.bytes);
  }
  EXPECT_TRUE(rest.empty());

  Segment read;
  read.header = segment_header;
  read.bytes = 311;
  ASSERT_TRUE(decode_index(golden::bytes("store_index.hex"), read));
  EXPECT_EQ(read.records, 1u);
  EXPECT_EQ(read.through, 1002u);
  EXPECT_EQ(read.blocks.at(0).at, 117u);

  const Checkpoint found = decode_checkpoint(golden::bytes("store_checkpoint.hex"), "x").value();
  EXPECT_EQ(found.position, 1002u);
  EXPECT_EQ(found.topics, checkpoint().topics);
  EXPECT_EQ(found.sessions.at(0).source, "clock@host7");
  EXPECT_EQ(found.sessions.at(0).sequence, 1001u);
  EXPECT_EQ(found.types.at(0), "descriptors");
  EXPECT_EQ(decode_mark(golden::bytes("store_mark.hex"), "x").value(), mark);
}

TEST(StoreFormat, TheUserOfASessionHasTheGoldenBytes) {
  std::string bytes;
  const std::string body = session_body("clock@host7", 77, "sensor7");
  encode(Record{.kind = RecordKind::session, .number = 1002, .body = body}, bytes);
  EXPECT_EQ(hex(bytes), hex(golden::bytes("store_session.hex")));
  Record record;
  ASSERT_EQ(parse_record(bytes, record), Parsed::ok);
  EXPECT_EQ(record.kind, RecordKind::session);
  EXPECT_EQ(record.number, 1002u);
  EXPECT_EQ(record.source, "clock@host7");
  EXPECT_EQ(record.session, 77u);
  EXPECT_EQ(record.user, "sensor7");

  const std::string golden = golden::bytes("store_checkpoint_users.hex");
  EXPECT_EQ(hex(encode(checkpoint_with_users())), hex(golden));
  const Checkpoint found = decode_checkpoint(golden, "x").value();
  EXPECT_EQ(found.sessions.at(0).user, "sensor7");
  EXPECT_EQ(found.types, checkpoint().types);
}

TEST(StoreFormat, ASessionRecordWithAnotherBodyIsDamaged) {
  const std::string body = session_body("clock@host7", 77, "sensor7");
  for (const std::string& wrong : {body.substr(0, body.size() - 1), body + "x", std::string()}) {
    std::string bytes;
    encode(Record{.kind = RecordKind::session, .body = wrong}, bytes);
    Record record;
    EXPECT_EQ(parse_record(bytes, record), Parsed::damaged);
  }
}

TEST(StoreFormat, EveryFlippedBitIsNoticed) {
  const std::string bytes = segment_bytes();
  for (std::size_t bit = 0; bit < header_bytes * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(static_cast<unsigned char>(damaged[bit / 8]) ^ (1u << bit % 8));
    EXPECT_FALSE(decode_header(damaged, FileKind::segment, "x"));
  }
  const std::string_view first = std::string_view(bytes).substr(header_bytes, 53);
  for (std::size_t bit = 0; bit < first.size() * 8; ++bit) {
    std::string damaged(first);
    damaged[bit / 8] = static_cast<char>(static_cast<unsigned char>(damaged[bit / 8]) ^ (1u << bit % 8));
    Record record;
    EXPECT_NE(parse_record(damaged, record), Parsed::ok);
  }
  for (const std::string& whole : {encode(checkpoint()), encode(checkpoint_with_users()), encode(mark)}) {
    for (std::size_t byte = 0; byte < whole.size(); ++byte) {
      std::string damaged = whole;
      damaged[byte] = static_cast<char>(static_cast<unsigned char>(damaged[byte]) ^ 4u);
      EXPECT_FALSE(decode_checkpoint(damaged, "x"));
      EXPECT_FALSE(decode_mark(damaged, "x"));
    }
  }
}

TEST(StoreFormat, AnotherVersionIsNotDamage) {
  std::string bytes = encode(segment_header);
  bytes[8] = 2;
  std::string crc;
  const std::uint32_t sum = crc32c(std::string_view(bytes).substr(0, header_bytes - 4));
  for (unsigned i = 0; i < 4; ++i) bytes[header_bytes - 4 + i] = static_cast<char>(sum >> (8 * i));
  const auto header = decode_header(bytes, FileKind::segment, "a.log");
  EXPECT_EQ(header.error().code, ErrorCode::protocol);
  EXPECT_EQ(header.error().text, "a.log: expected format version 1, got 2");
}

TEST(RecordScanner, SkipsDamageAndFindsTheNextRecordAtAnyByte) {
  testing::SimulatedDisk disk;
  const auto files = disk.files();
  const auto file = files->create("a").value();
  const Stamped stamped = event();
  std::string bytes;
  std::vector<std::size_t> starts;
  for (int i = 0; i < 3; ++i) {
    for (const Record& record : records(stamped)) {
      starts.push_back(bytes.size());
      encode(record, bytes);
    }
  }
  for (std::size_t lost = 0; lost < starts.size(); ++lost) {
    std::string damaged = bytes;
    damaged[starts[lost] + 20] = static_cast<char>(damaged[starts[lost] + 20] + 1);
    const auto copy = files->create("b").value();
    ASSERT_TRUE(copy->append(std::as_bytes(std::span(damaged))));
    RecordScanner scanner(copy, 0, damaged.size(), /*read_bytes=*/40);
    std::vector<std::size_t> found;
    while (scanner.next()) found.push_back(scanner.at());
    std::vector<std::size_t> expected = starts;
    expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(lost));
    EXPECT_EQ(found, expected);
    EXPECT_EQ(scanner.damaged_bytes() > 0, lost + 1 < starts.size());
    EXPECT_EQ(scanner.intact_end() < damaged.size(), lost + 1 == starts.size());
  }
}

}  // namespace
}  // namespace backplane::broker::store
