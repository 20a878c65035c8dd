#include "broker/store/store_reader.hpp"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <random>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "broker/store/file_history.hpp"
#include "broker/store/posix_files.hpp"
#include "broker/store/store_directory.hpp"
#include "core/log/log.hpp"
#include "tests/broker/state/stored_events.hpp"
#include "tests/broker/store/simulated_files.hpp"
#include "tests/broker/store/temporary_directory.hpp"

namespace backplane::broker::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using testing::Numbering;
using testing::SimulatedDisk;
using ::testing::SizeIs;
using testing::Stamped;
using ::testing::StartsWith;
using testing::TemporaryDirectory;

/// Everything that read() reports.
class Found final : public StoreListener {
 public:
  void on_types(std::string_view descriptor_set) override { types.emplace_back(descriptor_set); }
  void on_event(std::uint64_t stream, const Record& event) override {
    events.push_back(fmt::format("{}/{} {} {}", stream, event.position, event.name, event.offset));
    positions.push_back(event.position);
  }
  void on_damage(const StoreDamage& each) override {
    damage.push_back(fmt::format("{}:{}: {}", each.file, each.at, each.text));
  }
  void on_lost(const LostEvents& each, const Record* next) override {
    lost.push_back(
        fmt::format("{} {}-{}{}", each.topic, each.first, each.last, next != nullptr ? "" : " end"));
  }
  bool on_progress(std::uint64_t bytes, std::uint64_t bytes_all) override {
    EXPECT_LE(bytes, bytes_all);
    return ++progress != stop_at;
  }

  std::vector<std::string> types;
  std::vector<std::string> events;
  std::vector<std::uint64_t> positions;
  std::vector<std::string> damage;
  std::vector<std::string> lost;
  int progress = 0;
  int stop_at = -1;
};

class StoreReaderTest : public ::testing::Test {
 protected:
  StoreReaderTest() {
    log::set_level(log::Level::off);
    options_.path = "/simulated";
    options_.backplane = "default";
    options_.segment_bytes = 2000;
    options_.limits.bytes_max = std::size_t{1} << 40;
    options_.threads = false;
  }

  void start(std::uint64_t new_stream = 7) {
    store_ = std::make_unique<FileHistory>(options_, disk_.files());
    const auto opened = store_->open(new_stream);
    ASSERT_TRUE(opened) << opened.error().text;
    numbering_.restore(*opened);
  }
  void close() { store_.reset(); }
  void kill() {
    disk_.kill();
    store_.reset();
  }
  void append(const std::string& topic, int count = 1, std::int64_t at_ns = 0) {
    for (int i = 0; i < count; ++i) {
      const Stamped event = numbering_.next(topic, at_ns);
      const HistoryAppend item = event.append();
      ASSERT_EQ(store_->append({&item, 1}).result, HistoryStore::Accepted::accepted);
    }
  }
  void clean() {
    for (int i = 0; i < 200; ++i) (void)store_->maintain();
  }
  std::string file(const std::string& suffix, std::size_t index = 0) {
    for (const std::string& name : disk_.names()) {
      if (name.ends_with(suffix) && index-- == 0) return name;
    }
    ADD_FAILURE() << "no file " << suffix;
    return {};
  }
  std::size_t count(const std::string& suffix) {
    return static_cast<std::size_t>(std::ranges::count_if(
        disk_.names(), [&](const std::string& name) { return name.ends_with(suffix); }));
  }
  std::unique_ptr<StoreReader> reader() {
    auto reader = std::make_unique<StoreReader>(disk_.files());
    const auto ok = reader->open();
    EXPECT_TRUE(ok) << ok.error().text;
    return reader;
  }
  Found read() {
    Found found;
    const auto ok = reader()->read(found);
    EXPECT_TRUE(ok && *ok);
    return found;
  }
  std::string open_error() {
    StoreReader reader(disk_.files());
    const auto ok = reader.open();
    EXPECT_FALSE(ok);
    return ok ? "" : ok.error().text;
  }

  SimulatedDisk disk_;
  FileHistoryOptions options_;
  std::unique_ptr<FileHistory> store_;
  Numbering numbering_;
};

// --- intact stores ---

TEST_F(StoreReaderTest, AClosedStoreIsReadInOrderWithoutDamage) {
  start();
  store_->remember_types("types");
  append("a", 2);
  append("b");
  close();
  const Found found = read();
  EXPECT_THAT(found.events, ElementsAre("7/1 a 1", "7/2 a 2", "7/3 b 1"));
  EXPECT_THAT(found.damage, IsEmpty());
  EXPECT_THAT(found.lost, IsEmpty());
  EXPECT_THAT(found.types, ::testing::Contains("types"));
  EXPECT_EQ(reader()->end(), StoreEnd::closed);
}

TEST_F(StoreReaderTest, ManySegmentsWithIndexesAreReadWithoutDamage) {
  start();
  append("a", 100);
  (void)store_->maintain();
  close();
  EXPECT_GT(count(".log"), 3u);
  EXPECT_GT(count(".idx"), 2u);
  const Found found = read();
  EXPECT_THAT(found.positions, SizeIs(100));
  EXPECT_THAT(found.damage, IsEmpty());
  EXPECT_THAT(found.lost, IsEmpty());
}

TEST_F(StoreReaderTest, ASummaryCountsWhatAFullReadFinds) {
  start();
  append("a", 50, 5);
  append("b", 50, 9);
  (void)store_->maintain();
  append("c", 1, 11);
  kill();
  const auto stored = reader();
  ASSERT_TRUE(stored->summarize());
  ASSERT_THAT(stored->incarnations(), SizeIs(1));
  const StoredIncarnation& only = stored->incarnations().front();
  EXPECT_TRUE(only.is_current);
  EXPECT_EQ(only.stream, 7u);
  EXPECT_EQ(only.events, 101u);
  EXPECT_EQ(only.topics, 3u);
  EXPECT_EQ(only.first_position, 1u);
  EXPECT_EQ(only.last_position, 101u);
  EXPECT_EQ(only.oldest_ns, 5);
  EXPECT_EQ(only.newest_ns, 11);
  EXPECT_EQ(only.segments.size(), count(".log"));
  EXPECT_THAT(stored->damage(), IsEmpty());
  EXPECT_EQ(stored->end(), StoreEnd::process_ended);
  std::uint64_t bytes = 0;
  for (const std::string& name : disk_.names()) bytes += disk_.content(name).size();
  EXPECT_EQ(stored->bytes(), bytes);
}

TEST_F(StoreReaderTest, AStoreThatTheCleanerHasWorkedOnHasLostNothing) {
  options_.limits.otherwise.history_events = 3;
  start();
  append("rare");
  append("a", 200);
  append("b", 7);
  clean();
  close();
  const Found found = read();
  EXPECT_LT(found.positions.size(), 100u);
  EXPECT_THAT(found.events, ::testing::Contains("7/1 rare 1"));
  EXPECT_THAT(found.damage, IsEmpty());
  EXPECT_THAT(found.lost, IsEmpty());
}

TEST_F(StoreReaderTest, WhatTheCleanerHasReplacedAndNotYetRemovedIsSkipped) {
  options_.limits.otherwise.history_events = 3;
  start();
  append("a", 200);
  const std::string replaced = file(".log", 1);
  const std::string bytes = disk_.content(replaced);
  clean();
  close();
  disk_.set_content(replaced, bytes);
  const Found found = read();
  EXPECT_TRUE(std::ranges::is_sorted(found.positions));
  EXPECT_THAT(found.damage, IsEmpty());
  EXPECT_THAT(found.lost, IsEmpty());
}

TEST_F(StoreReaderTest, AnInterruptedWriteAtTheEndIsNoDamage) {
  start();
  append("a", 3);
  kill();
  const std::string log = file(".log");
  disk_.cut(log, disk_.content(log).size() - 5);
  Found found;
  const auto stored = reader();
  ASSERT_TRUE(stored->read(found));
  EXPECT_THAT(found.positions, ElementsAre(1, 2));
  EXPECT_THAT(found.damage, IsEmpty());
  ASSERT_TRUE(stored->unfinished());
  EXPECT_EQ(stored->unfinished()->file, log);
}

TEST_F(StoreReaderTest, InAClosedStoreAnIncompleteRecordIsDamage) {
  start();
  append("a", 3);
  close();
  const std::string log = file(".log");
  disk_.cut(log, disk_.content(log).size() - 5);
  const Found found = read();
  ASSERT_FALSE(found.damage.empty());
  EXPECT_THAT(found.damage.front(), MatchesRegex(log + ":[0-9]+: expected a record of [0-9]+ bytes, got .*"));
  EXPECT_THAT(found.lost, ElementsAre("a 3-3 end"));
}

TEST_F(StoreReaderTest, AtTheEndOfAStoreThatWasNotClosedACompleteRecordWithAFlippedBitIsDamage) {
  start();
  append("a", 3);
  kill();
  const std::string log = file(".log");
  disk_.flip_bit(log, disk_.content(log).size() - 5);
  const Found found = read();
  EXPECT_THAT(found.positions, ElementsAre(1, 2));
  EXPECT_THAT(found.damage, ElementsAre(MatchesRegex(log + ":[0-9]+: expected checksum .*")));
}

TEST_F(StoreReaderTest, ASegmentThatIsShorterThanItsIndexSaysIsDamaged) {
  start();
  append("a", 100);
  (void)store_->maintain();
  close();
  const std::string log = file(".log");
  const std::size_t bytes = disk_.content(log).size();
  constexpr std::size_t record = record_header_bytes + 1 + 20 + wire::stamp_bytes;
  disk_.cut(log, bytes - record);
  EXPECT_THAT(read().damage, ::testing::Contains(fmt::format("{}:{}: expected {} bytes, got {}", log,
                                                             bytes - record, bytes, bytes - record)));
}

TEST_F(StoreReaderTest, ASegmentWhoseHeaderIsBeingWrittenIsNoDamage) {
  start();
  append("a", 3);
  kill();
  disk_.set_content("0000000000000007-00000000000000000004.log", "bpl");
  const Found found = read();
  EXPECT_THAT(found.positions, SizeIs(3));
  EXPECT_THAT(found.damage, IsEmpty());
}

TEST_F(StoreReaderTest, AfterAPowerLossTheEarlierIncarnationIsReadFirst) {
  start(9);
  append("a", 3, 5);
  clean();
  close();
  start();
  append("a", 2, 6);
  disk_.power_loss();
  store_.reset();
  start(8);
  append("a", 1, 7);
  close();
  const auto stored = reader();
  ASSERT_THAT(stored->incarnations(), SizeIs(2));
  EXPECT_EQ(stored->incarnations()[0].stream, 9u);
  EXPECT_FALSE(stored->incarnations()[0].is_current);
  EXPECT_EQ(stored->incarnations()[1].stream, 8u);
  Found found;
  ASSERT_TRUE(stored->read(found));
  ASSERT_GE(found.events.size(), 4u);
  EXPECT_EQ(found.events.front(), "9/1 a 1");
  EXPECT_EQ(found.events.back(), "8/2 a 2") << "after the retained value of the earlier one";
  EXPECT_THAT(found.lost, IsEmpty());
}

TEST_F(StoreReaderTest, WhatWasNotSyncedBeforeAPowerLossIsNoDamageIfNobodyHasSeenIt) {
  options_.sync = StoreSync::always;
  options_.segment_bytes = 100'000;
  int unfinished = 0;
  for (unsigned round = 1; round < 50; ++round) {
    disk_.clear();
    numbering_ = {};
    start();
    append("a", 60);
    std::vector<Stamped> events;
    std::vector<HistoryAppend> items;
    for (int i = 0; i < 100; ++i) events.push_back(numbering_.next("a", 0));
    for (const Stamped& event : events) items.push_back(event.append());
    disk_.die_after(1);  // after the write
    (void)store_->append(items);
    disk_.power_loss();
    store_.reset();
    const auto stored = reader();
    EXPECT_EQ(stored->end(), StoreEnd::machine_crashed);
    Found found;
    ASSERT_TRUE(stored->read(found));
    EXPECT_THAT(found.damage, IsEmpty());
    EXPECT_THAT(found.lost, IsEmpty());
    EXPECT_GE(found.positions.size(), 60u);
    if (stored->unfinished()) ++unfinished;
  }
  EXPECT_GT(unfinished, 10);
}

TEST_F(StoreReaderTest, AReadFromATimeSkipsOldSegmentsAndFindsNoLossesInThem) {
  start();
  append("a", 100, 1'000);
  append("a", 100, 2'000);
  (void)store_->maintain();
  close();
  Found found;
  ASSERT_TRUE(reader()->read(found, 2'000));
  EXPECT_LT(found.positions.size(), 150u);
  EXPECT_GE(found.positions.size(), 100u);
  EXPECT_THAT(found.damage, IsEmpty());
  EXPECT_THAT(found.lost, IsEmpty());
}

TEST_F(StoreReaderTest, AListenerEndsARead) {
  start();
  append("a", 100);
  close();
  Found found;
  found.stop_at = 2;
  const auto ok = reader()->read(found);
  ASSERT_TRUE(ok);
  EXPECT_FALSE(*ok);
  EXPECT_LT(found.positions.size(), 100u);
}

// --- damage ---

TEST_F(StoreReaderTest, AFlippedBitNamesThePlaceAndTheEventsThatAreLost) {
  start();
  append("a", 3);
  append("b", 3);
  close();
  const std::string log = file(".log");
  const std::string bytes = disk_.content(log);
  const std::size_t record = bytes.size() / 2;
  disk_.flip_bit(log, record);
  const Found found = read();
  EXPECT_THAT(found.positions, SizeIs(5));
  ASSERT_THAT(found.damage, SizeIs(1));
  EXPECT_THAT(
      found.damage.front(),
      MatchesRegex(log +
                   ":[0-9]+: expected checksum [0-9a-f]{8}, got [0-9a-f]{8}; [0-9]+ bytes cannot be read"));
  EXPECT_THAT(found.lost, SizeIs(1));
}

TEST_F(StoreReaderTest, AnyFlippedBitOfAnyFileIsFound) {
  start();
  append("a", 60);
  append("b", 7);
  (void)store_->maintain();
  close();
  for (const std::string& name : disk_.names()) {
    const std::string bytes = disk_.content(name);
    const std::size_t step = name.ends_with(".log") ? 97 : 5;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      disk_.flip_bit(name, at);
      StoreReader damaged(disk_.files());
      const auto ok = damaged.open();
      ASSERT_TRUE(ok) << name << " byte " << at << ": " << ok.error().text;
      Found found;
      ASSERT_TRUE(damaged.read(found));
      EXPECT_THAT(found.damage, ::testing::Contains(StartsWith(name + ":"))) << "byte " << at;
      const bool is_event_lost = found.positions.size() < 67;
      EXPECT_EQ(is_event_lost, !found.lost.empty()) << name << " byte " << at;
      disk_.set_content(name, bytes);
    }
  }
}

TEST_F(StoreReaderTest, AMissingSegmentIsFoundWithWhatItHad) {
  for (const std::size_t missing : {0u, 1u, 2u}) {
    disk_.clear();
    numbering_ = {};
    start();
    append("a", 100);
    close();
    const std::size_t all = count(".log");
    ASSERT_GT(all, 3u);
    const std::size_t index = missing == 2 ? all - 1 : missing;
    disk_.remove(file(".log", index));
    const Found found = read();
    EXPECT_THAT(found.damage, SizeIs(1));
    EXPECT_THAT(found.damage.front(), HasSubstr("expected "));
    ASSERT_THAT(found.lost, SizeIs(1));
    EXPECT_THAT(found.lost.front(), StartsWith("a "));
    // The summary sees it without reading everything, except at the end.
    const auto stored = reader();
    ASSERT_TRUE(stored->summarize());
    EXPECT_EQ(stored->damage().size(), missing == 2 ? 0u : 1u);
  }
}

TEST_F(StoreReaderTest, AMissingOrForeignMarkIsDamageAndTheEventsAreRead) {
  start();
  append("a", 3);
  close();
  disk_.remove("store");
  Found found = read();
  EXPECT_THAT(found.positions, SizeIs(3));
  EXPECT_THAT(found.damage, ElementsAre("store:0: expected the file, got none"));
  disk_.set_content("store", "something");
  found = read();
  EXPECT_THAT(found.positions, SizeIs(3));
  EXPECT_THAT(found.damage, ElementsAre("store:9: expected a line with a checksum, got none"));
  EXPECT_EQ(reader()->end(), StoreEnd::unknown);
}

TEST_F(StoreReaderTest, ARenamedFileIsDamage) {
  start();
  append("a", 3);
  close();
  const std::string log = file(".log");
  const std::string bytes = disk_.content(log);
  disk_.remove(log);
  disk_.set_content("0000000000000007-00000000000000000002.log", bytes);
  EXPECT_THAT(read().damage,
              ElementsAre("0000000000000007-00000000000000000002.log:32: expected position 2, got 1"));
}

TEST_F(StoreReaderTest, ADirectoryWithoutAStoreAndAnUnknownVersionAreErrors) {
  EXPECT_EQ(open_error(), "/simulated: expected a store, got a directory without one");
  disk_.set_content("store", "x");
  EXPECT_EQ(open_error(), "/simulated: expected a store, got a directory without one");
  disk_.clear();
  start();
  append("a");
  close();
  FileHeader header{.kind = FileKind::segment, .stream = 7, .first = 1};
  std::string bytes = encode(header);
  bytes[8] = 2;
  std::string crc;
  const std::uint32_t sum = crc32c(std::string_view(bytes).substr(0, header_bytes - 4));
  for (int i = 0; i < 4; ++i)
    bytes[header_bytes - 4 + static_cast<std::size_t>(i)] = static_cast<char>(sum >> (8 * i));
  disk_.set_content(file(".log"), bytes);
  EXPECT_EQ(open_error(),
            "cannot read store /simulated: " + file(".log") + ": expected format version 1, got 2");
}

// --- copies of a running store ---

TEST_F(StoreReaderTest, ACopyWithACheckpointThatIsNewerThanItsLogIsDamaged) {
  start();
  append("a", 30);
  const std::string log = file(".log");
  const std::string early = disk_.content(log);
  append("a", 3);
  close();
  const std::string last = file(".log", count(".log") - 1);
  disk_.set_content(last, disk_.content(last).substr(0, header_bytes));
  const Found found = read();
  EXPECT_THAT(found.damage, SizeIs(1));
  EXPECT_THAT(found.damage.front(),
              MatchesRegex(".*checkpoint:32: expected a log up to position 33, got one up to [0-9]+"));
  EXPECT_THAT(found.lost, SizeIs(1));
}

TEST_F(StoreReaderTest, ACopyWithoutTheEventForWhichAnotherWasRemovedIsDamaged) {
  // The end of the log was copied first, and the beginning after the cleaner had removed from it what newer
  // events replace.
  options_.limits.otherwise.history_events = 1;
  options_.segment_bytes = 4000;
  start();
  append("value");
  append("a", 40);
  append("value");
  append("a", 200);
  clean();
  kill();
  const auto names = disk_.names();
  EXPECT_THAT(read().lost, IsEmpty());
  for (const std::string& name : names) {
    if (name.ends_with(".checkpoint")) disk_.remove(name);
  }
  const auto segments = count(".log");
  ASSERT_GE(segments, 2u);
  for (std::size_t i = segments - 1; i > 0; --i) disk_.remove(file(".log", i));
  const Found found = read();
  EXPECT_THAT(found.lost, ::testing::Contains(MatchesRegex("a [0-9]+-[0-9]+ end")));
}

// --- a store that a broker writes ---

TEST(StoreReaderOfFilesTest, AStoreIsReadWhileItIsWrittenAndCleaned) {
  log::set_level(log::Level::off);
  const TemporaryDirectory directory;
  FileHistoryOptions options;
  options.path = directory.path() + "/default";
  options.backplane = "default";
  options.segment_bytes = 50'000;
  options.limits.otherwise.history_events = 200;
  options.limits.bytes_max = std::size_t{1} << 40;
  FileHistory store(options);
  ASSERT_TRUE(store.open(7));
  EXPECT_THAT(store_user(options.path), MatchesRegex("process [0-9]+ on .+"));
  const std::jthread writer([&](const std::stop_token& ends) {
    Numbering numbering;
    while (!ends.stop_requested()) {
      const Stamped event = numbering.next(fmt::format("t{}", numbering.position() % 50), 1, 100);
      const HistoryAppend item = event.append();
      while (store.append({&item, 1}).result != HistoryStore::Accepted::accepted) std::this_thread::yield();
      // The cleaner must not fall behind: each segment is an open file.
      while (store.figures().segments > 100 && !ends.stop_requested()) std::this_thread::yield();
      if (numbering.position() % 1000 == 0) store.expire(1);
    }
  });
  const std::jthread cleaner([&](const std::stop_token& ends) {
    while (!ends.stop_requested()) (void)store.maintain();
  });
  std::uint64_t seen = 0;
  int reads = 0;
  bool was_cleaned = false;
  while ((seen < 20'000 || reads < 20 || !was_cleaned) && reads < 2000) {
    StoreReader reader(read_only_posix_files(options.path));
    const auto ok = reader.open();
    ASSERT_TRUE(ok) << ok.error().text;
    Found found;
    ASSERT_TRUE(reader.read(found));
    EXPECT_THAT(found.damage, IsEmpty());
    EXPECT_THAT(found.lost, IsEmpty());
    EXPECT_EQ(reader.end(), StoreEnd::process_ended);
    if (!found.positions.empty()) {
      EXPECT_GE(found.positions.back(), seen);
      seen = found.positions.back();
    }
    ++reads;
    was_cleaned = was_cleaned || found.positions.size() < seen;
    if (::testing::Test::HasFailure()) break;
  }
  EXPECT_TRUE(was_cleaned);
}

TEST(StoreReaderOfFilesTest, ACopyOfARunningStoreThatReadsAsIntactHasAllValuesAndAnUnbrokenLog) {
  log::set_level(log::Level::off);
  namespace fs = std::filesystem;
  const TemporaryDirectory directory;
  FileHistoryOptions options;
  options.path = directory.path() + "/default";
  options.backplane = "default";
  options.segment_bytes = 20'000;
  options.limits.otherwise.history_events = 20;
  options.limits.bytes_max = std::size_t{1} << 40;
  FileHistory store(options);
  ASSERT_TRUE(store.open(7));
  const std::jthread writer([&](const std::stop_token& ends) {
    Numbering numbering;
    while (!ends.stop_requested()) {
      // Some topics are rare.
      const std::uint64_t position = numbering.position();
      const Stamped event = numbering.next(
          position % 100 == 0 ? fmt::format("rare{}", position / 100 % 30) : fmt::format("t{}", position % 7),
          1, 100);
      const HistoryAppend item = event.append();
      while (store.append({&item, 1}).result != HistoryStore::Accepted::accepted) std::this_thread::yield();
      // The cleaner must not fall behind: each segment is an open file.
      while (store.figures().segments > 20 && !ends.stop_requested()) std::this_thread::yield();
    }
  });
  const std::jthread cleaner([&](const std::stop_token& ends) {
    while (!ends.stop_requested()) (void)store.maintain();
  });
  std::mt19937 random(1);
  int intact = 0;
  int damaged = 0;
  for (int round = 0; (intact < 3 || damaged < 1) && round < 500 && !::testing::Test::HasFailure(); ++round) {
    FileHistoryOptions copy = options;
    copy.path = fmt::format("{}/copy{}", directory.path(), round);
    copy.threads = false;
    fs::create_directory(copy.path);
    std::vector<fs::path> files(fs::directory_iterator(options.path), fs::directory_iterator{});
    std::ranges::shuffle(files, random);
    for (const fs::path& file : files) {
      std::error_code vanished;
      fs::copy_file(file, copy.path / file.filename(), vanished);
    }
    StoreReader reader(read_only_posix_files(copy.path));
    Found found;
    if (reader.open() && reader.read(found) && found.damage.empty() && found.lost.empty()) {
      ++intact;
      FileHistory opened(copy, posix_files(copy.path));
      const auto tails = opened.open(8);
      ASSERT_TRUE(tails) << tails.error().text;
      EXPECT_TRUE(tails->continues);
      EXPECT_EQ(opened.figures().damaged_ranges, 0u);
      for (const HistoryStore::Tail& tail : tails->tails) {
        ReadRequest request(testing::pattern(tail.topic));
        EXPECT_THAT(testing::read(opened, request).events, SizeIs(1))
            << "the retained value of " << tail.topic;
        // What the cleaner removed while the files were copied may be missing at the start.
        request.what = ReadRequest::What::after_offset;
        ReadSlice slice = testing::read(opened, request);
        std::uint64_t next = 1;
        if (slice.end == ReadSlice::End::gone) {
          next = slice.first_available_offset;
          request.offset = next - 1;
          slice = testing::read(opened, request);
        }
        EXPECT_EQ(slice.end, ReadSlice::End::complete) << tail.topic;
        for (const auto& event : slice.events) EXPECT_EQ(wire::stamped_offset(event.event), next++);
        EXPECT_EQ(next, tail.offset + 1) << tail.topic;
      }
    } else {
      ++damaged;
    }
    fs::remove_all(copy.path);
  }
  EXPECT_GE(intact, 3);
  EXPECT_GT(damaged, 0) << "no copy was inconsistent: this shows nothing";
}

TEST(StoreUserTest, AStoreThatIsNotOpenHasNoUser) {
  const TemporaryDirectory directory;
  EXPECT_EQ(store_user(directory.path()), "");
  FileHistoryOptions options;
  options.path = directory.path();
  options.backplane = "default";
  {
    FileHistory store(options);
    ASSERT_TRUE(store.open(7));
    EXPECT_NE(store_user(directory.path()), "");
  }
  EXPECT_EQ(store_user(directory.path()), "");
}

}  // namespace
}  // namespace backplane::broker::store
