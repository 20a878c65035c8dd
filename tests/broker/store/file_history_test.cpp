#include "broker/store/file_history.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <poll.h>

#include "broker/store/record.hpp"
#include "core/log/log.hpp"
#include "tests/broker/state/stored_events.hpp"
#include "tests/broker/store/simulated_files.hpp"
#include "tests/broker/store/temporary_directory.hpp"

namespace backplane::broker {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Accepted = HistoryStore::Accepted;
using End = ReadSlice::End;
using Health = HistoryStore::Health;
using std::chrono::seconds;

constexpr std::int64_t second = 1'000'000'000;

/// An event of a publisher's session, stamped.
Stamped numbered(Numbering& numbering, const std::string& topic, const std::string& source, char session,
                 char sequence) {
  const std::string fields = std::string("\x0a") + static_cast<char>(source.size()) + source + "\x11" +
                             session + std::string(7, '\0') + "\x18" + sequence;
  Stamped event = numbering.next(topic, 0, fields.size());
  std::ranges::copy(std::as_bytes(std::span(fields)), event.bytes.begin());
  return event;
}

class FileHistoryTest : public ::testing::Test {
 protected:
  FileHistoryTest() {
    log::set_level(log::Level::off);
    options_.path = "/simulated";
    options_.backplane = "default";
    options_.segment_bytes = 2000;
    options_.limits.bytes_max = std::size_t{1} << 40;
    options_.threads = false;
  }

  void open(std::uint64_t new_stream = 7) {
    store_ = std::make_unique<FileHistory>(options_, disk_.files());
    auto opened = store_->open(new_stream);
    ASSERT_TRUE(opened) << opened.error().text;
    opened_ = std::move(*opened);
    numbering_.restore(opened_);
  }
  std::string open_error() {
    store_ = std::make_unique<FileHistory>(options_, disk_.files());
    const auto opened = store_->open(8);
    EXPECT_FALSE(opened);
    return opened ? "" : opened.error().text;
  }
  void close() { store_.reset(); }
  void kill() {
    disk_.kill();
    store_.reset();
  }
  void lose_power() {
    disk_.power_loss();
    store_.reset();
  }

  Accepted append(const Stamped& event) {
    const HistoryAppend item = event.append();
    return store_->append({&item, 1}).result;
  }
  void append(const std::string& topic, std::int64_t at_ns = 0, std::size_t payload_bytes = 20,
              bool clears = false) {
    EXPECT_EQ(append(numbering_.next(topic, at_ns, payload_bytes, clears)), Accepted::accepted);
  }
  ReadSlice read(const ReadRequest& request) { return testing::read(*store_, request); }
  std::vector<std::uint64_t> all_positions(const std::string& pattern, std::uint64_t after = 0) {
    std::vector<std::uint64_t> all;
    ReadRequest request = after_position(pattern, after);
    for (int slices = 0; slices < 1000; ++slices) {
      const ReadSlice slice = read(request);
      for (const std::uint64_t position : positions(slice)) all.push_back(position);
      if (slice.end == End::gone) {
        request = after_position(pattern, slice.first_available - 1);
      } else if (slice.end == End::more) {
        request.cursor = slice.cursor;
      } else {
        return all;
      }
    }
    ADD_FAILURE() << "the read does not end";
    return all;
  }
  // By a partial read.
  std::vector<std::uint64_t> left(const std::string& pattern, std::uint64_t after = 0,
                                  std::vector<DestroyedEvents>* destroyed = nullptr) {
    std::vector<std::uint64_t> all;
    ReadRequest request = after_position(pattern, after);
    request.partial = true;
    for (int slices = 0; slices < 1000; ++slices) {
      const ReadSlice slice = read(request);
      EXPECT_NE(slice.end, End::gone);
      for (const std::uint64_t position : positions(slice)) all.push_back(position);
      if (destroyed != nullptr)
        destroyed->insert(destroyed->end(), slice.destroyed.begin(), slice.destroyed.end());
      if (slice.end != End::more) return all;
      request.cursor = slice.cursor;
    }
    ADD_FAILURE() << "the read does not end";
    return all;
  }
  std::string file(const std::string& suffix, std::size_t index = 0) {
    for (const std::string& name : disk_.names()) {
      if (name.ends_with(suffix) && index-- == 0) return name;
    }
    ADD_FAILURE() << "no file " << suffix;
    return {};
  }
  std::size_t count(const std::string& suffix) {
    const auto names = disk_.names();
    return static_cast<std::size_t>(
        std::ranges::count_if(names, [&](const std::string& name) { return name.ends_with(suffix); }));
  }
  // Until the cleaner has nothing to do.
  void clean() {
    for (int i = 0; i < 200; ++i) {
      (void)store_->maintain();
    }
  }

  SimulatedDisk disk_;
  FileHistoryOptions options_;
  std::unique_ptr<FileHistory> store_;
  HistoryStore::Opened opened_;
  Numbering numbering_;
};

// --- opening again ---

TEST_F(FileHistoryTest, ANewStoreBeginsTheNewStreamAndContinuesItAfterClose) {
  open(7);
  EXPECT_FALSE(opened_.continues);
  EXPECT_EQ(opened_.stream, 7u);
  EXPECT_EQ(opened_.position, 0u);
  append("a");
  append("b");
  append("a");
  close();
  open(8);
  EXPECT_TRUE(opened_.continues);
  EXPECT_EQ(opened_.stream, 7u);
  EXPECT_EQ(opened_.position, 3u);
  ASSERT_THAT(opened_.tails, SizeIs(2));
  EXPECT_EQ(opened_.tails[0].topic, "a");
  EXPECT_EQ(opened_.tails[0].position, 3u);
  EXPECT_EQ(opened_.tails[0].offset, 2u);
  append("b");
  EXPECT_THAT(positions(read(after_position(">", 0))), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(positions(read(retained(">"))), ElementsAre(3, 4));
}

TEST_F(FileHistoryTest, SessionsAndTypesOutliveCloseKillAndANewStream) {
  options_.sessions_max = 2;
  const auto check = [&] {
    ASSERT_THAT(opened_.sessions, SizeIs(2));
    EXPECT_EQ(opened_.sessions[0].source, "c");
    EXPECT_EQ(opened_.sessions[0].session, 5u);
    EXPECT_EQ(opened_.sessions[0].sequence, 1u);
    EXPECT_EQ(opened_.sessions[1].source, "b");
    EXPECT_EQ(opened_.sessions[1].session, 6u);
    EXPECT_EQ(opened_.sessions[1].sequence, 9u);
    EXPECT_THAT(opened_.types, ElementsAre("types of a", "types of b"));
  };
  open();
  store_->remember_types("types of a");
  (void)append(numbered(numbering_, "t", "a", 5, 3));  // evicted: the least recently used
  (void)append(numbered(numbering_, "t", "b", 6, 8));
  (void)append(numbered(numbering_, "t", "c", 5, 1));
  (void)append(numbered(numbering_, "t", "b", 6, 9));
  store_->remember_types("types of b");
  store_->remember_types("types of a");
  append("t");  // of no session
  kill();
  open();
  check();
  close();
  open();
  check();
  lose_power();
  open(99);
  EXPECT_FALSE(opened_.continues);
  check();
  kill();
  open(100);
  EXPECT_EQ(opened_.stream, 99u);
  check();
}

TEST_F(FileHistoryTest, TheUsersOfSessionsOutliveCloseKillAndANewStream) {
  options_.has_users = true;
  const auto append_of = [&](const std::string& user, const std::string& source, char sequence) {
    const Stamped event = numbered(numbering_, "t", source, 5, sequence);
    HistoryAppend item = event.append();
    item.user = user;
    EXPECT_EQ(store_->append({&item, 1}).result, Accepted::accepted);
  };
  const auto users = [&] {
    std::map<std::string, std::string> all;
    for (const HistoryStore::Session& each : opened_.sessions) all[each.source] = each.user;
    return all;
  };
  using Users = std::map<std::string, std::string>;
  open();
  append_of("sensor", "a", 1);
  append_of("", "nobody", 1);
  append_of("news", "b", 1);
  append_of("sensor", "a", 2);
  kill();
  open();
  const Users first{{"a", "sensor"}, {"b", "news"}, {"nobody", ""}};
  EXPECT_EQ(users(), first);
  append_of("sensor", "c", 1);
  close();
  open();
  Users later = first;
  later["c"] = "sensor";
  EXPECT_EQ(users(), later);
  // A session that belonged to nobody, and one that the broker no longer knew.
  append_of("news", "nobody", 2);
  append_of("news", "a", 3);
  append("t");
  store_->expire(0);  // syncs
  lose_power();
  const Users last{{"a", "news"}, {"b", "news"}, {"c", "sensor"}, {"nobody", "news"}};
  open(99);
  EXPECT_FALSE(opened_.continues);
  EXPECT_EQ(users(), last);
  kill();
  open(100);
  EXPECT_EQ(opened_.stream, 99u);
  EXPECT_EQ(users(), last);
}

TEST_F(FileHistoryTest, ATornEventLeavesItsSessionToItsUser) {
  options_.has_users = true;
  open();
  append("t");
  const Stamped event = numbered(numbering_, "t", "a", 5, 1);
  HistoryAppend item = event.append();
  item.user = "sensor";
  EXPECT_EQ(store_->append({&item, 1}).result, Accepted::accepted);
  kill();
  const std::string written = disk_.content(file(".log"));
  disk_.set_content(file(".log"), written.substr(0, written.size() - 1));
  open();
  EXPECT_EQ(opened_.position, 1u);
  ASSERT_THAT(opened_.sessions, SizeIs(1));
  EXPECT_EQ(opened_.sessions[0].sequence, 0u);
  EXPECT_EQ(opened_.sessions[0].user, "sensor");
  EXPECT_THAT(all_positions("t"), ElementsAre(1));
}

TEST_F(FileHistoryTest, OnlyUsersMakeAStoreOneThatEarlierVersionsCannotOpen) {
  open();
  (void)append(numbered(numbering_, "t", "a", 5, 1));
  close();
  EXPECT_THAT(disk_.content("store"), HasSubstr("backplane-store 1\n"));
  EXPECT_EQ(disk_.content(file(".checkpoint"))[8], 1);

  options_.has_users = true;
  open();
  EXPECT_TRUE(opened_.continues);
  EXPECT_THAT(disk_.content("store"), HasSubstr("backplane-store 2\n")) << "before the first event";
  const Stamped event = numbered(numbering_, "t", "a", 5, 2);
  HistoryAppend item = event.append();
  item.user = "sensor";
  EXPECT_EQ(store_->append({&item, 1}).result, Accepted::accepted);
  kill();
  options_.has_users = false;
  open();
  ASSERT_THAT(opened_.sessions, SizeIs(1));
  EXPECT_EQ(opened_.sessions[0].sequence, 2u);
  EXPECT_EQ(opened_.sessions[0].user, "sensor");
  (void)append(numbered(numbering_, "t", "a", 5, 3));
  close();
  EXPECT_THAT(disk_.content("store"), HasSubstr("backplane-store 2\n"));
  EXPECT_EQ(disk_.content(file(".checkpoint", count(".checkpoint") - 1))[8], 2);
  open();
  EXPECT_EQ(opened_.sessions[0].sequence, 3u);
  EXPECT_EQ(opened_.sessions[0].user, "sensor") << "also if a broker without a policy had it open";
  EXPECT_THAT(all_positions("t"), ElementsAre(1, 2, 3));
}

TEST_F(FileHistoryTest, TheCleanerLeavesSessionsTheirUsers) {
  options_.has_users = true;
  options_.limits.otherwise.history_events = 3;
  open();
  for (char source = 'a'; source <= 'z'; ++source) {
    for (char sequence = 1; sequence <= 5; ++sequence) {
      const Stamped event = numbered(numbering_, "t", std::string(1, source), 5, sequence);
      HistoryAppend item = event.append();
      item.user =
          std::string_view("abcdefghijklmnopqrstuvwxyz").substr(static_cast<std::size_t>(source - 'a'), 1);
      EXPECT_EQ(store_->append({&item, 1}).result, Accepted::accepted);
    }
  }
  clean();
  EXPECT_GT(store_->figures().freed_bytes, 0u);
  kill();
  open();
  ASSERT_THAT(opened_.sessions, SizeIs(26));
  for (const HistoryStore::Session& each : opened_.sessions) EXPECT_EQ(each.user, each.source);
  EXPECT_EQ(store_->figures().damaged_ranges, 0u);
}

TEST_F(FileHistoryTest, AfterAKillATornRecordIsCutAndTheStreamContinues) {
  open();
  for (int i = 0; i < 5; ++i) append("a");
  disk_.die_after(0);
  (void)append(numbering_.next("a", 0, 200));
  kill();
  open();
  EXPECT_TRUE(opened_.continues);
  EXPECT_EQ(store_->figures().damaged_ranges, 0u);
  append("a");
  const std::uint64_t last = opened_.position + 1;
  EXPECT_EQ(all_positions("a").back(), last);
  EXPECT_THAT(all_positions("a"), SizeIs(last));
}

TEST_F(FileHistoryTest, AfterAPowerLossWithoutSyncANewStreamBeginsWithTheRetainedValues) {
  open(7);
  for (int i = 0; i < 50; ++i) append(i % 10 == 0 ? "b" : "a", i * second);
  append("gone", 0, 20, /*clears=*/true);
  store_->expire(0);  // syncs
  append("a");
  lose_power();
  const std::string before = disk_.content(file(".log"));
  open(8);
  EXPECT_FALSE(opened_.continues);
  EXPECT_EQ(opened_.stream, 8u);
  EXPECT_EQ(opened_.position, 2u);
  ASSERT_THAT(opened_.tails, SizeIs(2));
  EXPECT_EQ(opened_.tails[0].offset, 1u);
  const ReadSlice values = read(retained(">"));
  EXPECT_THAT(topics(values), ElementsAre("a", "b"));
  for (const StoredEvent& value : values.events) {
    EXPECT_EQ(stamp_of(value).stream, 8u);
    EXPECT_EQ(stamp_of(value).offset, 1u);
  }
  append("a");
  EXPECT_THAT(all_positions("a").back(), 3u);
  EXPECT_THAT(file(".log"), HasSubstr("0000000000000007-")) << "the earlier stream";
  EXPECT_EQ(disk_.content(file(".log")), before) << "never changed";
  kill();
  open(9);
  EXPECT_TRUE(opened_.continues);
  EXPECT_EQ(opened_.position, 3u);
}

TEST_F(FileHistoryTest, EarlierIncarnationsAreReadAndThenTheNextOnes) {
  options_.segment_bytes = 500;
  for (std::uint64_t stream = 7; stream < 10; ++stream) {
    open(stream);
    for (int i = 0; i < 20; ++i) append("a", (static_cast<std::int64_t>(stream) * 100 + 1 + i) * second);
    store_->expire((static_cast<std::int64_t>(stream) * 100 + 20) * second);
    if (stream < 9) lose_power();
  }
  EXPECT_TRUE(store_->has_stream(7));
  EXPECT_TRUE(store_->has_stream(8));
  EXPECT_FALSE(store_->has_stream(9)) << "the current one";
  const auto all = [&](ReadRequest request) {
    std::vector<std::pair<std::uint64_t, std::vector<std::uint64_t>>> found;
    request.earlier = true;
    for (int slices = 0; slices < 1000; ++slices) {
      const ReadSlice slice = read(request);
      const std::uint64_t stream = slice.stream == 0 ? 9 : slice.stream;
      if (found.empty() || found.back().first != stream) {
        if (!found.empty()) {
          EXPECT_THAT(slice.events, IsEmpty()) << "the reader learns of the new stream first";
        }
        found.push_back({stream, {}});
      }
      for (const StoredEvent& event : slice.events) {
        found.back().second.push_back(stamp_of(event).position);
      }
      if (slice.end != End::more) return found;
      request.cursor = slice.cursor;
    }
    ADD_FAILURE() << "the read does not end";
    return found;
  };
  ReadRequest token = after_position("a", 15);
  token.stream = 7;
  auto found = all(token);
  ASSERT_THAT(found, SizeIs(3));
  EXPECT_THAT(found[0].second, ElementsAre(16, 17, 18, 19, 20));
  EXPECT_THAT(found[1].second, SizeIs(21)) << "with the retained value, which is the first event";
  EXPECT_THAT(found[2].second, SizeIs(21));
  found = all(since("a", 811 * second));
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_EQ(found[0].first, 8u);
  EXPECT_THAT(found[0].second, SizeIs(10));
  EXPECT_THAT(all(since("a", 915 * second)), SizeIs(1));
  // Their files count for the limit, and go first.
  HistoryLimits limits = options_.limits;
  limits.bytes_max = 3000;
  store_->set_limits(limits);
  for (int i = 0; i < 5; ++i) store_->expire(921 * second);
  EXPECT_FALSE(store_->has_stream(7));
  token = after_position("a", 15);
  token.stream = 7;
  found = all(token);
  EXPECT_GT(found.back().first, 7u) << "what is left follows";
}

TEST_F(FileHistoryTest, AfterAPowerLossWithSyncAlwaysTheStreamContinues) {
  options_.sync = StoreSync::always;
  EXPECT_EQ(FileHistory(options_, disk_.files()).guarantee(), HistoryStore::Guarantee::machine);
  open(7);
  for (int i = 0; i < 50; ++i) append("a");
  EXPECT_EQ(store_->progress().durable, 50u);
  lose_power();
  open(8);
  EXPECT_TRUE(opened_.continues);
  EXPECT_EQ(opened_.position, 50u);
  EXPECT_THAT(all_positions("a"), SizeIs(50));
}

// --- faults ---

TEST_F(FileHistoryTest, AFullDiskMakesTheStoreBusyUntilThereIsRoom) {
  open();
  append("a");
  disk_.set_room(0);
  EXPECT_EQ(append(numbering_.next("a", 0)), Accepted::accepted) << "into the queue";
  EXPECT_EQ(store_->condition().health, Health::full);
  EXPECT_THAT(store_->condition().text, HasSubstr("No space left on device"));
  const Stamped next = numbering_.next("a", 0);
  EXPECT_EQ(append(next), Accepted::busy);
  EXPECT_THAT(all_positions("a"), ElementsAre(1)) << "what is written can be read";
  disk_.set_room(~std::uint64_t{0});
  EXPECT_EQ(append(next), Accepted::accepted);
  EXPECT_EQ(store_->condition().health, Health::good);
  EXPECT_THAT(all_positions("a"), ElementsAre(1, 2, 3));
  close();
  open();
  EXPECT_EQ(opened_.position, 3u);
}

// A publisher sends again what is not stored. It must not be taken for a duplicate.
TEST_F(FileHistoryTest, ACheckpointDoesNotKnowWhatASessionHasNotStored) {
  for (std::uint64_t room = 1000; room < 6000; room += 37) {
    SCOPED_TRACE(room);
    disk_.clear();
    open();
    disk_.set_room(room);
    char sequence = 0;
    while (store_->condition().health != Health::full) {
      ASSERT_EQ(append(numbered(numbering_, "a", "s", 'x', ++sequence)), Accepted::accepted);
    }
    disk_.set_room(~std::uint64_t{0});
    (void)store_->maintain();
    kill();
    open(8);
    ASSERT_THAT(opened_.sessions, SizeIs(1));
    EXPECT_EQ(opened_.sessions[0].sequence, opened_.position);
    EXPECT_GE(opened_.position, static_cast<std::uint64_t>(sequence) - 1);
    close();
  }
}

TEST_F(FileHistoryTest, ADiskThatIsFullAtAnyByteLosesNothing) {
  for (std::uint64_t room = 1000; room < 6000; room += 37) {
    SCOPED_TRACE(room);
    disk_.clear();
    open();
    disk_.set_room(room);
    std::uint64_t accepted = 0;
    for (int i = 0; i < 60; ++i) {
      const Stamped event = numbering_.next("a", 0);
      if (append(event) == Accepted::busy) {
        disk_.set_room(~std::uint64_t{0});
        ASSERT_EQ(append(event), Accepted::accepted);
      }
      ++accepted;
    }
    close();
    open();
    ASSERT_EQ(opened_.position, accepted);
    ASSERT_THAT(all_positions("a"), SizeIs(accepted));
    close();
  }
}

TEST_F(FileHistoryTest, AFailedSyncIsFinalAndTheNextProcessReadsWhatIsThere) {
  options_.sync = StoreSync::always;
  open();
  append("a");
  disk_.fail_syncs(true);
  EXPECT_EQ(append(numbering_.next("a", 0)), Accepted::accepted);
  EXPECT_EQ(store_->progress().durable, 1u);
  EXPECT_EQ(store_->condition().health, Health::failed);
  disk_.fail_syncs(false);
  EXPECT_EQ(append(numbering_.next("a", 0)), Accepted::failed);
  close();
  open();
  EXPECT_TRUE(opened_.continues);
  EXPECT_EQ(opened_.position, 2u);
}

TEST_F(FileHistoryTest, DamageTakesTheEventsThatItHitsAndNoOthers) {
  open();
  for (int i = 0; i < 60; ++i) append("a");
  close();
  const std::string name = file(".log", 1);
  disk_.flip_bit(name, disk_.content(name).size() / 2);
  const std::string damaged = disk_.content(name);
  disk_.remove(file(".idx", 1));
  open();
  EXPECT_EQ(opened_.position, 60u);
  EXPECT_EQ(store_->figures().damaged_ranges, 1u);
  EXPECT_THAT(all_positions(">"), SizeIs(59));
  append("a");
  EXPECT_EQ(all_positions(">").back(), 61u);
  clean();
  EXPECT_EQ(disk_.content(name), damaged) << "never overwritten";
}

TEST_F(FileHistoryTest, ADamagedRemovedRecordIsFoundByAScan) {
  options_.limits.otherwise.history_events = 3;
  open();
  for (int i = 0; i < 5; ++i) append("a.x");
  for (int i = 0; i < 500; ++i) append("busy");
  clean();
  close();
  // The removed records come first, and the index is intact.
  const std::string name = file(".log");
  const std::size_t at = disk_.content(name).find("a.x");
  ASSERT_NE(at, std::string::npos);
  disk_.flip_bit(name, at);
  open();
  std::vector<DestroyedEvents> destroyed;
  std::vector<std::uint64_t> delivered;
  ReadRequest request = after_position("*.x", 0);
  for (int slices = 0; slices < 100; ++slices) {
    const ReadSlice slice = read(request);
    ASSERT_NE(slice.end, End::gone) << "the record that says so is damaged";
    for (const std::uint64_t position : positions(slice)) delivered.push_back(position);
    destroyed.insert(destroyed.end(), slice.destroyed.begin(), slice.destroyed.end());
    if (slice.end == End::complete) break;
    request.cursor = slice.cursor;
  }
  EXPECT_THAT(delivered, ElementsAre(3, 4, 5));
  ASSERT_THAT(destroyed, SizeIs(1));
  EXPECT_EQ(destroyed[0].topic, "a.x");
  EXPECT_EQ(destroyed[0].first, 1u);
  EXPECT_EQ(destroyed[0].last, 2u);
}

TEST_F(FileHistoryTest, ACleanedSegmentWithoutItsRemovedRecordsIsDamaged) {
  options_.limits.otherwise.history_events = 3;
  open();
  for (int i = 0; i < 500; ++i) append("busy");
  clean();
  close();
  const std::string name = file(".log");
  ASSERT_GT(disk_.content(name).size(), store::header_bytes);
  disk_.cut(name, store::header_bytes);
  disk_.remove(file(".idx"));
  const std::string damaged = disk_.content(name);
  open();
  EXPECT_EQ(store_->figures().damaged_ranges, 1u);
  for (int i = 0; i < 500; ++i) append("busy");
  clean();
  EXPECT_EQ(disk_.content(name), damaged) << "never overwritten";
}

TEST_F(FileHistoryTest, TheEventsOfAMissingSegmentAreAnnouncedAndTheRestIsThere) {
  open();
  for (int i = 0; i < 60; ++i) append(i % 10 == 0 ? "b" : "a");
  close();
  const std::size_t segments = count(".log");
  ASSERT_GT(segments, 3u);
  disk_.remove(file(".log", 1));
  open();
  EXPECT_EQ(opened_.position, 60u);
  EXPECT_EQ(store_->figures().damaged_ranges, 1u);
  for (const char* const topics : {"a", ">"}) {
    ReadRequest request = after_position(topics, 0);
    ReadSlice slice = read(request);
    EXPECT_THAT(slice.events, IsEmpty()) << "the damage is surveyed first";
    request.cursor = slice.cursor;
    slice = read(request);
    EXPECT_EQ(slice.end, End::complete);
    const bool is_all = request.pattern.str() == ">";
    ASSERT_THAT(slice.destroyed, SizeIs(is_all ? 2 : 1));
    std::size_t destroyed = 0;
    for (const DestroyedEvents& each : slice.destroyed) destroyed += each.last - each.first + 1;
    EXPECT_EQ(slice.events.size() + destroyed, is_all ? 60u : 54u) << "exactly";
    if (!is_all) break;
  }
}

TEST_F(FileHistoryTest, WithoutItsCheckpointsAStoreIsReadFromItsSegments) {
  open();
  for (int i = 0; i < 60; ++i) append(i % 3 == 0 ? "a" : "b");
  const auto expected = all_positions(">");
  close();
  while (count(".checkpoint") > 0) {
    const std::string name = file(".checkpoint");
    disk_.flip_bit(name, disk_.content(name).size() - 10);
    open();
    EXPECT_EQ(opened_.position, 60u);
    EXPECT_THAT(opened_.tails, SizeIs(2));
    EXPECT_GT(store_->figures().damaged_ranges, 0u);
    EXPECT_EQ(all_positions(">"), expected);
    EXPECT_THAT(positions(read(retained(">"))), ElementsAre(58, 60));
    kill();
    disk_.remove(name);
  }
}

TEST_F(FileHistoryTest, AStoreThatCannotBeUsedIsRefusedAndLeftAlone) {
  open();
  for (int i = 0; i < 60; ++i) append("a");
  close();
  const std::string mark = disk_.content("store");
  const auto names = disk_.names();

  options_.backplane = "other";
  EXPECT_THAT(open_error(), HasSubstr("expected one of backplane \"other\", got one of \"default\""));
  options_.backplane = "default";

  disk_.set_content("store", "backplane-store 2\n");
  EXPECT_THAT(open_error(), HasSubstr("cannot open store /simulated: store: it is damaged"));
  disk_.remove("store");
  EXPECT_THAT(open_error(), HasSubstr("its file \"store\" is missing"));
  disk_.set_content("store", mark);

  const std::string name = file(".log", 1);
  const std::string segment = disk_.content(name);
  std::string newer = segment;
  newer[8] = 2;
  const std::uint32_t crc = store::crc32c(std::string_view(newer).substr(0, 60));
  for (unsigned i = 0; i < 4; ++i) newer[60 + i] = static_cast<char>(crc >> (8 * i));
  disk_.set_content(name, newer);
  EXPECT_THAT(open_error(), HasSubstr("expected format version 1, got 2"));
  disk_.set_content(name, segment);

  EXPECT_EQ(disk_.names(), names);
  open();
  EXPECT_EQ(opened_.position, 60u);
}

TEST_F(FileHistoryTest, RandomDamageNeverReturnsAnEventThatWasNotAppended) {
  std::map<std::uint64_t, std::vector<std::byte>> appended;
  open();
  for (int i = 0; i < 120; ++i) {
    const Stamped event = numbering_.next(i % 3 == 0 ? "a" : "b", 0, static_cast<std::size_t>(i));
    appended[event.stamp.position] = event.bytes;
    ASSERT_EQ(append(event), Accepted::accepted);
  }
  close();
  std::map<std::string, std::string> contents;
  for (const std::string& name : disk_.names()) contents[name] = disk_.content(name);
  std::mt19937 random{1};
  for (int round = 0; round < 500; ++round) {
    SCOPED_TRACE(round);
    for (const std::string& name : disk_.names()) disk_.remove(name);
    for (const auto& [name, bytes] : contents) disk_.set_content(name, bytes);
    for (int damages = 0; damages < 3; ++damages) {
      const auto names = disk_.names();
      const std::string& name = names[random() % names.size()];
      const std::size_t size = disk_.content(name).size();
      if (name == "store" || size == 0) continue;
      switch (random() % 4) {
        case 0:
          disk_.cut(name, random() % size);
          break;
        case 1:
          disk_.remove(name);
          break;
        default:
          disk_.flip_bit(name, random() % size);
      }
    }
    store_ = std::make_unique<FileHistory>(options_, disk_.files());
    const auto opened = store_->open(8);
    if (!opened) continue;
    ReadRequest request = after_position(">", 0);
    for (int slices = 0;; ++slices) {
      ASSERT_LT(slices, 500);
      const ReadSlice slice = read(request);
      for (const StoredEvent& stored : slice.events) {
        if (!opened->continues) {  // a retained value that is the first event of its topic in a new stream
          const auto is_this = [&](const auto& each) {
            const std::span<const std::byte> event(each.second);
            return std::ranges::equal(stored.event.first(stored.event.size() - wire::stamp_bytes),
                                      event.first(event.size() - wire::stamp_bytes));
          };
          ASSERT_TRUE(std::ranges::any_of(appended, is_this));
          continue;
        }
        const auto found = appended.find(stamp_of(stored).position);
        ASSERT_NE(found, appended.end());
        ASSERT_TRUE(std::ranges::equal(stored.event, found->second));
      }
      if (slice.end == End::gone) {
        request = after_position(">", slice.first_available - 1);
      } else if (slice.end == End::more) {
        request.cursor = slice.cursor;
      } else {
        break;
      }
    }
    (void)read(retained(">"));
    (void)read(after_position("a", 0));
    clean();
  }
}

// --- retention ---

TEST_F(FileHistoryTest, TheCleanerKeepsHistoryAndEveryTopicsLastEvent) {
  options_.limits.otherwise.history_events = 3;
  open();
  append("rare");
  append("cleared");
  append("cleared", 0, 0, /*clears=*/true);
  for (int i = 0; i < 500; ++i) append("busy");
  clean();
  EXPECT_GT(store_->figures().expired_events, 400u);
  EXPECT_LT(store_->figures().bytes, 10'000u);
  for (int again = 0; again < 2; ++again) {
    EXPECT_THAT(all_positions(">"), ElementsAre(501, 502, 503)) << "what is before 500 is gone";
    EXPECT_THAT(all_positions("rare"), ElementsAre(1));
    EXPECT_THAT(topics(read(retained(">"))), ElementsAre("busy", "rare"));
    const ReadSlice slice = read(after_position("busy", 400));
    EXPECT_EQ(slice.end, End::gone);
    EXPECT_EQ(slice.first_available, 501u);
    EXPECT_EQ(slice.first_available_offset, 498u);
    // Not even the checkpoints are needed for that.
    kill();
    while (count(".checkpoint") > 0) disk_.remove(file(".checkpoint"));
    open();
    EXPECT_THAT(opened_.tails, SizeIs(3));
  }
}

TEST_F(FileHistoryTest, APartialReadReturnsWhatIsLeftOfEachTopic) {
  options_.limits.otherwise.history_events = 3;
  open();
  append("rare");
  for (int i = 0; i < 500; ++i) append("busy");
  append("rare");
  for (int again = 0; again < 3; ++again) {
    EXPECT_EQ(read(after_position("busy", 0)).end, End::gone);
    EXPECT_THAT(left(">"), ElementsAre(1, 499, 500, 501, 502));
    EXPECT_THAT(left("busy"), ElementsAre(499, 500, 501));
    EXPECT_THAT(left("*", 1), ElementsAre(499, 500, 501, 502));
    clean();  // now the others are no longer on disk
    if (again == 0) continue;
    kill();
    open();
  }
}

TEST_F(FileHistoryTest, APartialReadReportsWhatDamageHasDestroyed) {
  options_.limits.otherwise.history_events = 20;
  open();
  for (int i = 0; i < 60; ++i) append("a");
  close();
  const std::string name = file(".log", count(".log") - 2);
  disk_.flip_bit(name, disk_.content(name).size() / 2);
  open();
  std::vector<DestroyedEvents> destroyed;
  EXPECT_THAT(left(">", 0, &destroyed), SizeIs(19));
  ASSERT_THAT(destroyed, SizeIs(1));
  EXPECT_EQ(destroyed[0].topic, "a");
  EXPECT_EQ(destroyed[0].first, destroyed[0].last);
}

TEST_F(FileHistoryTest, TheCleanerReturnsToOldSegmentsHoweverFastNewOnesAreWritten) {
  options_.limits.otherwise.history_events = 1;
  constexpr std::size_t half_a_segment = 900;
  open();
  const auto append_all = [&](const std::string& name, int from, int to) {
    for (int i = from; i < to; ++i) append(name + std::to_string(i), 0, half_a_segment);
  };
  append_all("old.", 0, 20);
  clean();
  append_all("old.", 0, 20);  // nothing of the first ten segments is needed any more
  for (int round = 0; round < 40; ++round) {
    append_all("new.", 14 * round, 14 * (round + 1));  // seven segments
    (void)store_->maintain();
  }
  EXPECT_GE(store_->figures().expired_events, 18u);
}

TEST_F(FileHistoryTest, TheTotalLimitRemovesTheOldestHistoryButNoValues) {
  options_.limits.bytes_max = 12'000;
  open();
  append("value");
  for (int i = 0; i < 2000; ++i) {
    append("busy." + std::to_string(i % 5));
    if (i % 20 == 0) store_->expire(0);
  }
  for (int i = 0; i < 50; ++i) store_->expire(0);
  EXPECT_LT(store_->figures().bytes, 16'000u);
  EXPECT_GT(store_->figures().evicted_events, 1500u);
  EXPECT_EQ(store_->figures().expired_events, 0u);
  EXPECT_THAT(topics(read(retained("value"))), ElementsAre("value"));
  const std::vector<std::uint64_t> left = all_positions("busy.>");
  EXPECT_GT(left.size(), 20u);
  EXPECT_EQ(left.back(), 2001u);
  EXPECT_EQ(left.back() - left.front() + 1, left.size()) << "the newest, without a hole";
  close();
  open();
  EXPECT_EQ(all_positions("busy.>"), left);
}

TEST_F(FileHistoryTest, LimitsCanBeChangedAndLargerOnesBringBackWhatIsOnDisk) {
  open();
  for (int i = 0; i < 10; ++i) append("a");
  HistoryLimits limits = options_.limits;
  limits.otherwise.history_events = 2;
  store_->set_limits(limits);
  EXPECT_EQ(read(after_position("a", 0)).end, End::gone);
  EXPECT_EQ(store_->figures("a").history_events, 2u);
  limits.otherwise.history_events = 100;
  store_->set_limits(limits);
  EXPECT_THAT(all_positions("a"), SizeIs(10));
}

TEST_F(FileHistoryTest, NoReadReturnsWhatIsTooOldAndValuesEndByTheirTtl) {
  options_.limits.otherwise.history_age = seconds{10};
  options_.limits.otherwise.value_ttl = seconds{20};
  open();
  append("a", 0);
  append("b", 5 * second);
  append("c", 12 * second);
  EXPECT_EQ(read(after_position(">", 0)).end, End::gone);
  EXPECT_THAT(all_positions(">"), ElementsAre(2, 3));
  EXPECT_THAT(positions(read(since(">", 6 * second))), ElementsAre(3));
  EXPECT_EQ(read(retained("a")).valid_ns, 8u * second);
  close();
  open();
  store_->expire(20 * second);
  EXPECT_THAT(topics(read(retained(">"))), ElementsAre("b", "c"));
  EXPECT_EQ(store_->figures("a").value_bytes, 0u);
}

// --- threads ---

TEST_F(FileHistoryTest, CountsWhatItHasAndWhatItHasWritten) {
  open();
  EXPECT_EQ(store_->figures().oldest_ns, 0);
  for (int i = 0; i < 40; ++i) append("t", (i + 1) * second);
  store_->expire(40 * second);  // syncs
  HistoryStore::Figures figures = store_->figures();
  EXPECT_EQ(figures.written_events, 40u);
  EXPECT_GT(figures.written_bytes, 40u * 20);
  EXPECT_EQ(figures.oldest_ns, second);
  EXPECT_EQ(figures.disk_bytes, figures.bytes);
  EXPECT_EQ(figures.disk_bytes_max, std::size_t{1} << 40);
  EXPECT_EQ(figures.writes.count(), 40u);
  EXPECT_GE(figures.syncs.count(), 1u);
  EXPECT_EQ(figures.events + figures.expired_events + figures.evicted_events, 40u);

  // What the cleaner frees is counted, and every event that it removes.
  HistoryLimits limits = options_.limits;
  limits.otherwise.history_events = 5;
  store_->set_limits(limits);
  store_->expire(1000 * second);  // segments are examined again after 10 minutes
  clean();
  figures = store_->figures();
  EXPECT_GT(figures.freed_bytes, 0u);
  EXPECT_GT(figures.oldest_ns, second);
  EXPECT_EQ(figures.events + figures.expired_events + figures.evicted_events, 40u);
  EXPECT_EQ(figures.written_events, 40u);
  close();
  open();
  EXPECT_EQ(store_->figures().written_events, 0u) << "since it was opened";
  EXPECT_GT(store_->figures().oldest_ns, second);
}

class ThreadedHistory : public FileHistoryTest {
 protected:
  ThreadedHistory() { options_.threads = true; }

  void wait_for_progress() {
    pollfd fd{.fd = store_->progress_fd(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&fd, 1, 10'000), 1) << "no progress within 10 s";
  }
  void wait_until_written(std::uint64_t ticket) {
    while (store_->progress().written < ticket) wait_for_progress();
  }
  ReadSlice read_slice(const ReadRequest& request) {
    const std::uint64_t ticket = store_->start_read(request);
    std::optional<ReadSlice> slice;
    while (!(slice = store_->next_slice())) {
      wait_for_progress();
      (void)store_->progress();
    }
    EXPECT_EQ(slice->ticket, ticket);
    return std::move(*slice);
  }
  bool is_readable() {
    pollfd fd{.fd = store_->progress_fd(), .events = POLLIN, .revents = 0};
    return ::poll(&fd, 1, 0) == 1;
  }
};

TEST_F(ThreadedHistory, OnRealFilesEventsAreWrittenReadAndThereAfterReopening) {
  const TemporaryDirectory directory;
  options_.path = directory.path() + "/store";
  options_.segment_bytes = 100'000;
  for (const StoreSync sync : {StoreSync::always, StoreSync::interval, StoreSync::off}) {
    options_.sync = sync;
    store_ = std::make_unique<FileHistory>(options_);
    const auto opened = store_->open(7);
    ASSERT_TRUE(opened) << opened.error().text;
    numbering_.restore(*opened);
    std::uint64_t ticket = 0;
    for (int i = 0; i < 500; ++i) {
      std::vector<Stamped> events;
      std::vector<HistoryAppend> batch;
      for (int k = 0; k < 10; ++k) events.push_back(numbering_.next("t" + std::to_string(k), 0));
      for (const Stamped& event : events) batch.push_back(event.append());
      const HistoryStore::Ticket accepted = store_->append(batch);
      ASSERT_EQ(accepted.result, Accepted::accepted);
      ticket = accepted.number;
    }
    wait_until_written(ticket);
    EXPECT_FALSE(is_readable());
    ReadRequest request = after_position(">", opened->position);
    std::size_t events = 0;
    for (;;) {
      const ReadSlice slice = read_slice(request);
      events += slice.events.size();
      if (slice.end != End::more) break;
      request.cursor = slice.cursor;
    }
    EXPECT_EQ(events, 5000u);
    const auto second_store = std::make_unique<FileHistory>(options_);
    EXPECT_THAT(second_store->open(9).error().text, HasSubstr("in use by process"));
    store_.reset();
  }
  store_ = std::make_unique<FileHistory>(options_);
  EXPECT_EQ(store_->open(8)->position, 15'000u);
}

TEST_F(ThreadedHistory, AStalledDiskMakesAppendBusyWhileReadersGetWhatIsWritten) {
  options_.queue_bytes_max = 3000;
  open();
  append("a");
  wait_until_written(1);
  std::mutex mutex;
  std::condition_variable changed;
  bool stalled = true;
  disk_.set_hook([&] {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return !stalled; });
  });
  Accepted result = Accepted::accepted;
  Stamped refused = numbering_.next("a", 0);
  std::uint64_t accepted = 1;
  for (int i = 0; i < 1000 && (result = append(refused)) == Accepted::accepted; ++i) {
    ++accepted;
    refused = numbering_.next("a", 0);
  }
  EXPECT_EQ(result, Accepted::busy);
  EXPECT_EQ(store_->condition().health, Health::good);
  EXPECT_THAT(positions(read_slice(after_position("a", 0))), ElementsAre(1));
  EXPECT_THAT(topics(read_slice(retained(">"))), ElementsAre("a"));
  {
    const std::lock_guard lock(mutex);
    stalled = false;
    changed.notify_all();
  }
  wait_until_written(accepted);
  EXPECT_EQ(append(refused), Accepted::accepted);
  wait_until_written(accepted + 1);
  EXPECT_THAT(positions(read_slice(after_position("a", 0))), SizeIs(accepted + 1));
  close();
  disk_.set_hook({});
}

TEST_F(ThreadedHistory, AFullDiskIsTriedAgainByItself) {
  open();
  disk_.set_room(disk_.bytes_written());
  append("a");
  while (store_->condition().health != Health::full) {
    wait_for_progress();
    (void)store_->progress();
  }
  disk_.set_room(~std::uint64_t{0});
  wait_until_written(1);
  EXPECT_EQ(store_->condition().health, Health::good);
}

TEST_F(ThreadedHistory, AFailedSyncIsReported) {
  options_.sync = StoreSync::always;
  open();
  disk_.fail_syncs(true);
  append("a");
  while (store_->condition().health != Health::failed) {
    wait_for_progress();
    (void)store_->progress();
  }
  EXPECT_EQ(append(numbering_.next("a", 0)), Accepted::failed);
  EXPECT_EQ(store_->progress().written, 0u) << "nobody may see it";
}

TEST_F(ThreadedHistory, WritingReadingAndCleaningGoOnAtTheSameTime) {
  options_.limits.otherwise.history_events = 50;
  options_.segment_bytes = 20'000;
  open();
  std::uint64_t ticket = 0;
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 20; ++i) {
      const Stamped event = numbering_.next("t" + std::to_string(i % 7), round * second);
      const HistoryAppend item = event.append();
      HistoryStore::Ticket accepted = store_->append({&item, 1});
      while (accepted.result == Accepted::busy) {
        (void)store_->progress();
        wait_for_progress();
        accepted = store_->append({&item, 1});
      }
      ticket = accepted.number;
    }
    (void)store_->maintain();
    const std::uint64_t written = store_->progress().written;
    const ReadSlice slice = read_slice(after_position(">", written > 40 ? written - 40 : written));
    for (std::size_t i = 1; i < slice.events.size(); ++i) {
      ASSERT_EQ(stamp_of(slice.events[i]).position, stamp_of(slice.events[i - 1]).position + 1);
    }
    (void)read_slice(retained(">"));
    (void)read_slice(after_position("t1", 0));
    store_->expire(round * second);
    (void)store_->figures();
    (void)store_->figures("t1");
  }
  wait_until_written(ticket);
  EXPECT_GT(store_->figures().cleaned_bytes, 0u);
  close();
  open();
  EXPECT_EQ(opened_.position, 4000u);
  EXPECT_THAT(opened_.tails, SizeIs(7));
}

// --- a stream that goes on elsewhere ---

class FileHistoryOfALogTest : public FileHistoryTest {
 protected:
  FileHistoryOfALogTest() { options_.is_numbered_by_log = true; }
  /// Events that this store does not get, until a position that it begins after.
  void go_on_elsewhere(const std::vector<std::string>& topics) {
    for (const std::string& topic : topics) {
      const Stamped event = numbering_.next(topic, 0);
      tails_[topic] = {topic, event.stamp.position, event.stamp.offset, 60 * event.stamp.offset, 0};
    }
  }
  void begin_after() {
    std::vector<HistoryStore::Tail> tails;
    for (const auto& [topic, tail] : tails_) tails.push_back(tail);
    const auto ok = store_->begin_after(tails, numbering_.position());
    ASSERT_TRUE(ok) << ok.error().text;
  }
  void append(const std::string& topic) {
    const Stamped event = numbering_.next(topic, 0);
    tails_[topic] = {topic, event.stamp.position, event.stamp.offset, 60 * event.stamp.offset, 0};
    EXPECT_EQ(FileHistoryTest::append(event), Accepted::accepted);
  }
  void expect_tails() {
    ASSERT_EQ(opened_.tails.size(), tails_.size());
    for (const HistoryStore::Tail& each : opened_.tails) {
      EXPECT_EQ(each.position, tails_[each.topic].position) << each.topic;
      EXPECT_EQ(each.offset, tails_[each.topic].offset) << each.topic;
    }
  }
  std::map<std::string, HistoryStore::Tail> tails_;
};

TEST_F(FileHistoryOfALogTest, AStoreThatHasMissedSomethingSaysThatItIsGone) {
  open();
  append("a");
  append("b");
  append("quiet");
  append("a");
  go_on_elsewhere({"a", "c", "b"});  // 5 to 7
  begin_after();
  append("a");
  append("d");
  // A slice examines a segment, from the last one back.
  const auto read_through = [&](const char* pattern) {
    ReadRequest request = after_position(pattern, 4);
    ReadSlice slice = read(request);
    for (int slices = 0; slices < 10 && slice.end == End::more; ++slices) {
      request.cursor = slice.cursor;
      slice = read(request);
    }
    return slice;
  };
  const auto check = [&] {
    EXPECT_EQ(opened_.stream, 7u);
    EXPECT_THAT(positions(read(after_position(">", 7))), ElementsAre(8, 9));
    for (const char* const pattern : {">", "a", "b", "c", "*"}) {
      EXPECT_EQ(read_through(pattern).end, End::gone) << pattern;
    }
    EXPECT_EQ(read_through(">").first_available, 8u);
    EXPECT_EQ(read(after_offset("a", 2)).end, End::gone);
    EXPECT_THAT(positions(read(after_offset("a", 3))), ElementsAre(8));
    EXPECT_THAT(positions(read(after_position("quiet", 0))), ElementsAre(3));
    EXPECT_THAT(left(">"), ElementsAre(1, 2, 3, 4, 8, 9)) << "what was there before still is";
    EXPECT_THAT(topics(read(retained(">"))), ElementsAre("a", "d", "quiet"));
  };
  check();
  for (const bool is_killed : {false, true}) {
    is_killed ? kill() : close();
    open();
    EXPECT_TRUE(opened_.continues);
    EXPECT_EQ(opened_.position, 9u);
    expect_tails();
    check();
  }
  clean();
  check();
}

TEST_F(FileHistoryOfALogTest, ANewStoreBeginsWhereTheStreamIs) {
  open();
  store_->remember_types("types");
  go_on_elsewhere({"a", "b", "a"});
  begin_after();
  EXPECT_EQ(read(after_position(">", 0)).end, End::gone);
  kill();
  open();
  EXPECT_EQ(opened_.position, 3u);
  EXPECT_THAT(opened_.types, ElementsAre("types"));
  expect_tails();
  begin_after();  // nothing is missing
  append("b");
  EXPECT_THAT(positions(read(after_position(">", 3))), ElementsAre(4));
  EXPECT_EQ(read(after_position("b", 0)).end, End::gone);
}

TEST_F(FileHistoryOfALogTest, AfterAPowerLossTheStreamGoesOnFromWhatIsLeft) {
  options_.sync = StoreSync::off;
  open();
  for (int i = 0; i < 5; ++i) append("a");
  close();
  open();
  for (int i = 0; i < 5; ++i) append("a");
  lose_power();
  open(7);
  EXPECT_TRUE(opened_.continues);
  EXPECT_EQ(opened_.stream, 7u);
  EXPECT_GE(opened_.position, 5u);
  EXPECT_EQ(all_positions(">").size(), opened_.position);
}

TEST_F(FileHistoryOfALogTest, AStoreOfAnotherStreamIsRefused) {
  open(7);
  append("a");
  close();
  EXPECT_THAT(open_error(),
              HasSubstr("expected one of stream 0000000000000008, which the log has, got one of "
                        "stream 0000000000000007"));
}

}  // namespace
}  // namespace backplane::broker
