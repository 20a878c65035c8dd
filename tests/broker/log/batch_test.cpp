#include "broker/log/batch.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/log/committed_batch.hpp"
#include "tests/broker/log/entries.hpp"

namespace backplane::broker {
namespace {

using testing::event_bytes;
using ::testing::HasSubstr;
using testing::MadeEntry;
using testing::sparse_event_bytes;

BatchHeader header(std::uint64_t number = 7) {
  return {.log = 11, .broker = "h1", .incarnation = 12, .number = number, .wall_ns = 13, .applied = 14};
}

std::string a_batch() {
  BatchWriter writer("h1");
  const MadeEntry first(LogEntry::Kind::event, "a", event_bytes("s", 1, 2, "hello"));
  const MadeEntry raw(LogEntry::Kind::raw, "b", "21.5");
  MadeEntry refused(LogEntry::Kind::refused, "c", event_bytes("s", 1, 3, "x"));
  refused.entry.refused = Refusal::not_permitted;
  const MadeEntry source("$SYS.source.s", {.session = 5, .up = true});
  const MadeEntry other(LogEntry::Kind::event, "d", event_bytes("t", 9, 1, ""));
  writer.add(first.entry, "alice", Peer{5});
  writer.add(raw.entry, "", Peer{});
  writer.add(refused.entry, "alice", Peer{5});
  writer.add(source.entry, "", Peer{});
  writer.add(other.entry, "bob", Peer{6});
  return writer.finish(header());
}

TEST(Batch, ReturnsTheEntriesInOrderWithUserAndConnection) {
  const std::string bytes = a_batch();
  auto reader = BatchReader::open(bytes);
  ASSERT_TRUE(reader) << reader.error().text;
  EXPECT_EQ(reader->header().rules, rules_version);
  EXPECT_EQ(reader->header().log, 11u);
  EXPECT_EQ(reader->header().broker, "h1");
  EXPECT_EQ(reader->header().incarnation, 12u);
  EXPECT_EQ(reader->header().number, 7u);
  EXPECT_EQ(reader->header().wall_ns, 13);
  EXPECT_EQ(reader->header().applied, 14u);

  Access users;
  users.number_of_name("bob");  // numbers are the broker's own
  CommittedBatch batch(*reader, users, 99, true);
  LogEntry entry;
  ASSERT_TRUE(batch.next(entry));
  EXPECT_EQ(entry.kind, LogEntry::Kind::event);
  EXPECT_EQ(entry.topic, "a");
  EXPECT_TRUE(entry.has_session);
  EXPECT_EQ(entry.view->source, "s");
  EXPECT_EQ(entry.view->sequence, 2u);
  EXPECT_EQ(users.name_of(entry.user), "alice");
  EXPECT_EQ(entry.peer, Peer{5});
  ASSERT_TRUE(batch.next(entry));
  EXPECT_EQ(entry.topic, "b");
  EXPECT_EQ(entry.view->source, "raw");
  EXPECT_EQ(entry.view->body, "21.5");
  EXPECT_FALSE(entry.has_session);
  ASSERT_TRUE(batch.next(entry));
  EXPECT_EQ(entry.kind, LogEntry::Kind::refused);
  EXPECT_EQ(entry.refused, Refusal::not_permitted);
  EXPECT_EQ(entry.view->source, "s");
  EXPECT_EQ(entry.view->session, 1u);
  EXPECT_EQ(entry.view->sequence, 3u);
  EXPECT_EQ(users.name_of(entry.user), "alice");
  ASSERT_TRUE(batch.next(entry));
  EXPECT_EQ(entry.kind, LogEntry::Kind::source);
  EXPECT_EQ(entry.topic, "$SYS.source.s");
  ASSERT_NE(entry.source, nullptr);
  EXPECT_EQ(entry.source->session, 5u);
  EXPECT_TRUE(entry.source->up);
  EXPECT_EQ(entry.source->owner, 12u) << "the incarnation that has appended it";
  ASSERT_TRUE(batch.next(entry));
  EXPECT_EQ(entry.topic, "d");
  EXPECT_EQ(entry.view->payload, wire::Payload::none);
  EXPECT_EQ(users.name_of(entry.user), "bob");
  EXPECT_EQ(entry.peer, Peer{6});
  EXPECT_FALSE(batch.next(entry));
  EXPECT_FALSE(batch.is_damaged());
}

TEST(Batch, AWriterBeginsAgainAfterEachBatch) {
  BatchWriter writer("h1");
  const MadeEntry entry(LogEntry::Kind::event, "a", event_bytes("s", 1, 2, "hello"));
  writer.add(entry.entry, "alice", Peer{5});
  const std::string first = writer.finish(header(1));
  EXPECT_TRUE(writer.empty());
  writer.add(entry.entry, "alice", Peer{5});
  const std::string second = writer.finish(header(1));
  EXPECT_EQ(first, second) << "the second one says whom its event comes from, too";
}

TEST(Batch, RefusalsOfConsecutiveSequencesAreOneEntry) {
  BatchWriter writer("h1");
  const auto refuse = [&](std::uint64_t session, std::uint64_t sequence, Refusal refusal) {
    MadeEntry refused(LogEntry::Kind::refused, "", event_bytes("s", session, sequence, "x"));
    refused.entry.refused = refusal;
    writer.add(refused.entry, "", Peer{1});
  };
  for (std::uint64_t sequence = 5; sequence < 1'000; ++sequence) refuse(1, sequence, Refusal::bad_topic);
  refuse(1, 1'000, Refusal::too_large);
  EXPECT_LT(writer.bytes(), 200u);
  refuse(1, 1'002, Refusal::too_large);
  refuse(2, 1'003, Refusal::too_large);
  const std::string bytes = writer.finish(header());
  Access users;
  CommittedBatch batch(*BatchReader::open(bytes), users, 0, false);
  LogEntry entry;
  ASSERT_TRUE(batch.next(entry));
  EXPECT_EQ(entry.view->sequence, 1'000u);
  EXPECT_EQ(entry.refusals, 996u);
  EXPECT_EQ(entry.refused, Refusal::too_large);
  ASSERT_TRUE(batch.next(entry));
  EXPECT_EQ(entry.view->sequence, 1'002u);
  EXPECT_EQ(entry.refusals, 1u);
  ASSERT_TRUE(batch.next(entry));
  EXPECT_EQ(entry.view->session, 2u);
  EXPECT_FALSE(batch.next(entry));
}

TEST(Batch, ARefusalOfASessionWithGapsNamesTheSequenceBefore) {
  BatchWriter writer("h1");
  std::uint64_t before = 0;
  for (const std::uint64_t sequence : {20u, 21u, 40u}) {
    MadeEntry refused(LogEntry::Kind::refused, "", sparse_event_bytes("s", 1, sequence, before, 0));
    refused.entry.refused = Refusal::not_permitted;
    writer.add(refused.entry, "", Peer{1});
    before = sequence;
  }
  const std::string bytes = writer.finish(header());
  Access users;
  CommittedBatch batch(*BatchReader::open(bytes), users, 0, false);
  LogEntry entry;
  for (const auto& [sequence, after] : {std::pair{20u, 0u}, {21u, 20u}, {40u, 21u}}) {
    ASSERT_TRUE(batch.next(entry));
    EXPECT_EQ(entry.view->sequence, sequence);
    EXPECT_EQ(entry.view->after_sequence, after);
    EXPECT_EQ(entry.refusals, 1u);
  }
  EXPECT_FALSE(batch.next(entry));
  EXPECT_FALSE(batch.is_damaged());
}

TEST(Batch, AnEventThatStandsForLostOnesIsReadAsSuch) {
  BatchWriter writer("h1");
  const MadeEntry made(LogEntry::Kind::event, "a", sparse_event_bytes("s", 1, 20, 10, 5));
  writer.add(made.entry, "", Peer{1});
  const std::string bytes = writer.finish(header());
  Access users;
  CommittedBatch batch(*BatchReader::open(bytes), users, 0, false);
  LogEntry entry;
  ASSERT_TRUE(batch.next(entry));
  EXPECT_EQ(entry.lost(), 5u);
  EXPECT_EQ(entry.view->after_sequence, 10u);
}

TEST(Batch, NoDamageIsAccepted) {
  const std::string good = a_batch();
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x40);
    EXPECT_FALSE(BatchReader::open(bad)) << "byte " << at;
    EXPECT_FALSE(BatchReader::open(std::string_view(good).substr(0, at))) << at << " bytes";
  }
}

TEST(Batch, OneOfOtherRulesIsRefusedWithBothVersions) {
  BatchWriter writer("h1");
  BatchHeader newer = header();
  newer.rules = rules_version + 1;
  const auto opened = BatchReader::open(writer.finish(newer));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::protocol);
  EXPECT_THAT(opened.error().text, HasSubstr("expected a batch of rules version 1, got one of version 2"));
}

TEST(Batch, AnEventThatABrokerWouldRefuseIsDamage) {
  for (const auto& [topic, bytes] : {std::pair<std::string, std::string>{"a", "\x02"},
                                     {"a..b", event_bytes("s", 1, 1, "x")},
                                     {"$SYS.x", event_bytes("s", 1, 1, "x")}}) {
    BatchWriter writer("h1");
    const MadeEntry entry(LogEntry::Kind::event, topic, bytes);
    writer.add(entry.entry, "", Peer{});
    const std::string made = writer.finish(header());
    Access users;
    CommittedBatch batch(*BatchReader::open(made), users, 0, false);
    LogEntry read;
    EXPECT_FALSE(batch.next(read)) << topic;
    EXPECT_TRUE(batch.is_damaged()) << topic;
  }
}

}  // namespace
}  // namespace backplane::broker
