#include "broker/state/memory_history.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "broker/state/kept_events.hpp"
#include "tests/broker/state/stored_events.hpp"

namespace backplane::broker {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using End = ReadSlice::End;
using std::chrono::seconds;

constexpr std::int64_t second = 1'000'000'000;

class MemoryHistoryTest : public ::testing::Test {
 protected:
  void make(HistoryLimits limits, const HistoryWork& work = {}) {
    store_ = std::make_unique<MemoryHistory>(std::move(limits), work);
  }
  void append(const std::string& topic, std::int64_t at_ns = 0, std::size_t payload_bytes = 20,
              bool clears = false) {
    const Stamped event = numbering_.next(topic, at_ns, payload_bytes, clears);
    const HistoryAppend item = event.append();
    EXPECT_EQ(store_->append({&item, 1}).result, HistoryStore::Accepted::accepted);
  }
  ReadSlice read(const ReadRequest& request) { return testing::read(*store_, request); }

  static HistoryLimits of_each(std::size_t events) {
    HistoryLimits limits;
    limits.otherwise.history_events = events;
    return limits;
  }

  Numbering numbering_;
  std::unique_ptr<MemoryHistory> store_ = std::make_unique<MemoryHistory>(HistoryLimits{});
};

TEST_F(MemoryHistoryTest, ContinuesNothingGuaranteesNothingAndCompletesAtOnce) {
  const auto opened = store_->open(7);
  ASSERT_TRUE(opened);
  EXPECT_FALSE(opened->continues);
  EXPECT_EQ(opened->stream, 7u);
  EXPECT_EQ(store_->guarantee(), HistoryStore::Guarantee::none);
  EXPECT_EQ(store_->progress_fd(), -1);
  const Stamped event = numbering_.next("a", 0);
  const HistoryAppend item = event.append();
  const HistoryStore::Ticket ticket = store_->append({&item, 1});
  EXPECT_EQ(store_->progress().written, ticket.number);
  EXPECT_EQ(store_->next_slice(), std::nullopt) << "no read was started";
}

TEST_F(MemoryHistoryTest, AReadBeginsAfterAPositionAndStopsAtAnother) {
  for (int i = 0; i < 6; ++i) append(i % 2 == 0 ? "stock.A" : "stock.B");
  EXPECT_THAT(positions(read(after_position("stock.>", 2))), ElementsAre(3, 4, 5, 6));
  ReadRequest part = after_position("stock.A", 0);
  part.until_position = 4;
  const ReadSlice slice = read(part);
  EXPECT_THAT(positions(slice), ElementsAre(1, 3));
  EXPECT_EQ(slice.end, End::complete);
  EXPECT_EQ(slice.through_position, 4u);
  EXPECT_EQ(read(after_position("stock.>", 0)).through_position, 6u);
}

TEST_F(MemoryHistoryTest, AnEventIsReturnedAsItWasAppended) {
  const Stamped event = numbering_.next("news", 5, 100);
  const HistoryAppend item = event.append();
  ASSERT_EQ(store_->append({&item, 1}).result, HistoryStore::Accepted::accepted);
  const ReadSlice slice = read(after_position("news", 0));
  ASSERT_EQ(slice.events.size(), 1u);
  EXPECT_EQ(slice.events[0].topic, "news");
  EXPECT_TRUE(std::ranges::equal(slice.events[0].event, event.bytes));
}

TEST_F(MemoryHistoryTest, AWildcardInTheFirstTokenSkipsSystemTopicsWhichAreStoredLikeOthers) {
  append("$SYS.source.clock");
  append("clock");
  EXPECT_THAT(topics(read(after_position(">", 0))), ElementsAre("clock"));
  EXPECT_THAT(topics(read(after_position("$SYS.source.*", 0))), ElementsAre("$SYS.source.clock"));
  EXPECT_THAT(topics(read(retained("$SYS.>"))), ElementsAre("$SYS.source.clock"));
}

TEST_F(MemoryHistoryTest, ValuesComeInNameOrderAndContinueAfterTheLast) {
  for (const char* topic : {"c", "a", "d", "b", "a"}) append(topic);
  ReadRequest request = retained(">");
  request.events_max = 3;
  ReadSlice slice = read(request);
  EXPECT_EQ(slice.end, End::more);
  EXPECT_THAT(topics(slice), ElementsAre("a", "b", "c"));
  EXPECT_EQ(stamp_of(slice.events[0]).position, 5u) << "the last one";
  request.cursor = slice.cursor;
  slice = read(request);
  EXPECT_EQ(slice.end, End::complete);
  EXPECT_THAT(topics(slice), ElementsAre("d"));
}

TEST_F(MemoryHistoryTest, AnEventWithoutPayloadClearsTheValueAndIsItselfInHistory) {
  append("a");
  append("a", 0, 0, /*clears=*/true);
  EXPECT_THAT(read(retained("a")).events, IsEmpty());
  EXPECT_THAT(positions(read(after_position("a", 0))), ElementsAre(1, 2));
  EXPECT_EQ(store_->figures().values, 0u);
  EXPECT_EQ(store_->figures("a").value_bytes, 0u);
  EXPECT_EQ(store_->figures("a").history_events, 2u);
}

TEST_F(MemoryHistoryTest, AStartBeforeATopicsOwnLimitIsGoneAndTheReplySaysWhereHistoryBegins) {
  make(of_each(2));
  for (int i = 0; i < 5; ++i) append("a");  // 4 and 5 are stored
  const ReadSlice slice = read(after_position("a", 2));
  EXPECT_EQ(slice.end, End::gone);
  EXPECT_THAT(slice.events, IsEmpty());
  EXPECT_EQ(slice.first_available, 4u);
  EXPECT_EQ(slice.first_available_offset, 4u);
  EXPECT_THAT(positions(read(after_position("a", slice.first_available - 1))), ElementsAre(4, 5));
  EXPECT_EQ(read(after_offset("a", 2)).end, End::gone);
  EXPECT_THAT(positions(read(after_offset("a", 3))), ElementsAre(4, 5));
}

TEST_F(MemoryHistoryTest, LossesOfTopicsThatDoNotMatchAreNotGone) {
  make(of_each(2));
  append("quiet.one");
  for (int i = 0; i < 5; ++i) append("busy");
  append("quiet.two");
  EXPECT_THAT(positions(read(after_position("quiet.>", 0))), ElementsAre(1, 7));
  EXPECT_THAT(positions(read(after_position("quiet.one", 0))), ElementsAre(1));
  const ReadSlice all = read(after_position(">", 0));
  EXPECT_EQ(all.end, End::gone);
  EXPECT_EQ(all.first_available, 5u);
  EXPECT_THAT(positions(read(after_position(">", 4))), ElementsAre(5, 6, 7));
}

TEST_F(MemoryHistoryTest, ATopicWhoseHistoryIsAllGoneIsGoneAndItsNextOffsetIsTheFirstAvailable) {
  make(of_each(0));
  append("a");
  append("a");
  const ReadSlice slice = read(after_position("a", 0));
  EXPECT_EQ(slice.end, End::gone);
  EXPECT_EQ(slice.first_available, 3u);
  EXPECT_EQ(slice.first_available_offset, 3u);
  EXPECT_EQ(read(after_position("a", 2)).end, End::complete);
  EXPECT_THAT(positions(read(retained("a"))), ElementsAre(2)) << "the value stays";
}

TEST_F(MemoryHistoryTest, HistoryIsBoundedByTheBytesOfATopicsEvents) {
  HistoryLimits limits;
  limits.otherwise.history_bytes = 3 * (20 + wire::stamp_bytes);
  make(limits);
  for (int i = 0; i < 5; ++i) append("a");
  EXPECT_THAT(positions(read(after_position("a", 2))), ElementsAre(3, 4, 5));
  EXPECT_EQ(store_->figures().expired_events, 2u);
}

TEST_F(MemoryHistoryTest, TheFirstRuleThatMatchesApplies) {
  HistoryLimits limits = of_each(4);
  limits.rules.push_back({pattern("a.*"), {.history_events = 1}});
  limits.rules.push_back({pattern("a.>"), {.history_events = 2}});
  make(limits);
  for (int i = 0; i < 5; ++i) {
    for (const char* topic : {"a.x", "a.x.y", "b"}) append(topic);
  }
  EXPECT_EQ(store_->figures("a.x").history_events, 1u);
  EXPECT_EQ(store_->figures("a.x.y").history_events, 2u);
  EXPECT_EQ(store_->figures("b").history_events, 4u);
}

TEST_F(MemoryHistoryTest, NoReadReturnsWhatIsTooOldEvenBeforeItIsRemoved) {
  HistoryLimits limits;
  limits.otherwise.history_age = seconds{10};
  limits.otherwise.value_ttl = seconds{20};
  make(limits);
  append("a", 0);
  append("b", 5 * second);
  append("c", 12 * second);  // expire() was not called
  const ReadSlice slice = read(after_position(">", 0));
  EXPECT_EQ(slice.end, End::gone);
  EXPECT_EQ(slice.first_available, 2u);
  EXPECT_THAT(positions(read(after_position(">", 1))), ElementsAre(2, 3));
  EXPECT_THAT(topics(read(retained(">"))), ElementsAre("a", "b", "c"));
  store_->expire(20 * second);
  EXPECT_THAT(topics(read(retained(">"))), ElementsAre("b", "c"));
  EXPECT_EQ(read(after_position("b", 1)).end, End::gone);
  EXPECT_EQ(store_->figures().expired_events, 2u);
  EXPECT_EQ(store_->figures().expired_values, 1u);
}

TEST_F(MemoryHistoryTest, ValuesComeWithTheTimeUntilTheFirstTtlEnds) {
  HistoryLimits limits;
  limits.rules.push_back({pattern("brief.>"), {.value_ttl = seconds{5}}});
  limits.otherwise.value_ttl = seconds{20};
  make(limits);
  append("a", 0);
  EXPECT_EQ(read(retained("a")).valid_ns, 5u * second) << "a new value may end that soon";
  append("b", 17 * second);
  EXPECT_EQ(read(retained(">")).valid_ns, 3u * second);
  append("brief.x", 18 * second);
  EXPECT_EQ(read(retained("brief.>")).valid_ns, 5u * second);
  store_->expire(22 * second);
  EXPECT_EQ(read(retained(">")).valid_ns, 1u * second);
  store_->set_limits({});
  EXPECT_EQ(read(retained(">")).valid_ns, 0u) << "none ends";
}

TEST_F(MemoryHistoryTest, ExpiryIsBoundedPerCallAndAReadWaitsForItWithMore) {
  HistoryLimits limits;
  limits.otherwise.history_age = seconds{10};
  make(limits, {.expire_max = 10});
  for (int i = 0; i < 50; ++i) append("t" + std::to_string(i), 0);
  append("young", 9 * second);
  store_->expire(10 * second);
  EXPECT_EQ(store_->figures().events, 46u) << "5 topics visited, 5 events removed";
  ReadRequest request = after_position(">", 50);
  int slices = 0;
  ReadSlice slice = read(request);
  for (; slice.end == End::more && slices < 20; ++slices) {
    EXPECT_THAT(slice.events, IsEmpty());
    request.cursor = slice.cursor;
    slice = read(request);
  }
  EXPECT_GT(slices, 5);
  EXPECT_THAT(topics(slice), ElementsAre("young"));
}

TEST_F(MemoryHistoryTest, TheTotalLimitEvictsTheOldestHistoryFirstAndThenTheOldestValues) {
  HistoryLimits limits;
  limits.bytes_max = 4 * EventPool::block_bytes(sizeof(KeptEvent) + 20 + wire::stamp_bytes);
  make(limits);
  for (const char* topic : {"a", "b", "b", "b", "c"}) append(topic);
  // a's event is also a value. Dropping it from history freed nothing, so b's first was dropped too.
  EXPECT_EQ(store_->figures().evicted_events, 2u);
  EXPECT_EQ(store_->figures().evicted_values, 0u);
  EXPECT_THAT(topics(read(retained(">"))), ElementsAre("a", "b", "c"));
  for (const char* topic : {"d", "e", "f"}) append(topic);
  EXPECT_THAT(topics(read(retained(">"))), ElementsAre("c", "d", "e", "f"));
  EXPECT_EQ(store_->figures().events, 0u);
  EXPECT_EQ(store_->figures().evicted_values, 2u);
  EXPECT_EQ(store_->figures().bytes, limits.bytes_max);
  const ReadSlice slice = read(after_position(">", 0));
  EXPECT_EQ(slice.end, End::gone);
  EXPECT_EQ(slice.first_available, 9u);
}

TEST_F(MemoryHistoryTest, WithALimitOfZeroNothingIsStoredAndReadsSayGone) {
  HistoryLimits limits;
  limits.bytes_max = 0;
  make(limits);
  append("a");
  append("b", 0, 100'000);
  EXPECT_EQ(store_->figures().bytes, 0u);
  EXPECT_EQ(read(after_position("a", 0)).end, End::gone);
  EXPECT_EQ(read(after_position("b", 2)).end, End::complete);
}

TEST_F(MemoryHistoryTest, AReadContinuesWhileEventsComeAndGoUntilItsNextOneIsGone) {
  make(of_each(4));
  for (int i = 0; i < 4; ++i) append("a");
  ReadRequest request = after_position("a", 0);
  request.events_max = 2;
  ReadSlice slice = read(request);
  EXPECT_THAT(positions(slice), ElementsAre(1, 2));
  request.cursor = slice.cursor;
  append("a");
  append("a");  // 1 and 2 are dropped: returned already
  slice = read(request);
  EXPECT_THAT(positions(slice), ElementsAre(3, 4));
  request.cursor = slice.cursor;
  for (int i = 0; i < 3; ++i) append("a");  // 5 is dropped
  slice = read(request);
  EXPECT_EQ(slice.end, End::gone);
  EXPECT_EQ(slice.first_available, 6u);
}

TEST_F(MemoryHistoryTest, AnEventLargerThanASliceTravelsAlone) {
  append("a", 0, 10);
  append("a", 0, 5000);
  append("a", 0, 10);
  ReadRequest request = after_position("a", 0);
  request.bytes_max = 1000;
  std::vector<std::vector<std::uint64_t>> slices;
  for (;;) {
    const ReadSlice slice = read(request);
    slices.push_back(positions(slice));
    if (slice.end != End::more) break;
    request.cursor = slice.cursor;
  }
  EXPECT_THAT(slices, ElementsAre(ElementsAre(1), ElementsAre(2), ElementsAre(3)));
}

TEST_F(MemoryHistoryTest, ASliceThatExaminedEnoughContinuesAlthoughNothingMatched) {
  make({}, {.scan_events_max = 10});
  append("a.first");
  for (int i = 0; i < 35; ++i) append("b");
  append("a.second");
  ReadRequest request = after_position("a.>", 0);
  std::vector<std::uint64_t> through;
  std::vector<std::uint64_t> found;
  for (;;) {
    const ReadSlice slice = read(request);
    for (const std::uint64_t position : positions(slice)) found.push_back(position);
    through.push_back(slice.through_position);
    if (slice.end != End::more) break;
    request.cursor = slice.cursor;
  }
  EXPECT_THAT(found, ElementsAre(1, 37));
  EXPECT_THAT(through, ElementsAre(10, 20, 30, 37));
}

TEST_F(MemoryHistoryTest, OneTopicIsFoundAmongManyWithoutVisitingThemAll) {
  make({}, {.scan_events_max = 4});
  append("a");
  for (int i = 0; i < 3000; ++i) append("b");
  append("a");
  EXPECT_THAT(positions(read(after_position("a", 0))), ElementsAre(1, 3002));
  EXPECT_THAT(positions(read(after_position("a", 1500))), ElementsAre(3002));
  EXPECT_THAT(positions(read(after_offset("a", 1))), ElementsAre(3002));
}

TEST_F(MemoryHistoryTest, AReadSinceATimeStartsAtTheFirstEventOfThatTime) {
  for (int i = 1; i <= 5; ++i) append("a", i * second);
  EXPECT_THAT(positions(read(since("a", 3 * second))), ElementsAre(3, 4, 5));
  EXPECT_THAT(positions(read(since(">", 3 * second + 1))), ElementsAre(4, 5));
  EXPECT_THAT(positions(read(since(">", 9 * second))), IsEmpty());
  EXPECT_EQ(read(since(">", std::numeric_limits<std::int64_t>::min())).events.size(), 5u);
  EXPECT_EQ(read(since(">", std::numeric_limits<std::int64_t>::max())).events.size(), 0u);
}

TEST_F(MemoryHistoryTest, AReadSinceATimeIsGoneOnlyIfAnEventOfThatTimeIs) {
  make(of_each(2));
  for (int i = 1; i <= 5; ++i) append("a", i * second);
  for (const char* pattern : {"a", ">"}) {
    EXPECT_EQ(read(since(pattern, 3 * second)).end, End::gone);
    EXPECT_EQ(read(since(pattern, 3 * second)).first_available, 4u);
    EXPECT_THAT(positions(read(since(pattern, 3 * second + 1))), ElementsAre(4, 5));
  }
}

TEST_F(MemoryHistoryTest, WhenTheClockIsSetBackAgesStayTrueAndATimeMeansTheCurrentClock) {
  HistoryLimits limits;
  limits.otherwise.history_age = seconds{100};
  make(limits);
  append("a", 1000 * second);
  append("a", 1010 * second);
  append("a", 500 * second);  // set back: the two before are 10 s old and new
  append("a", 510 * second);
  EXPECT_THAT(positions(read(since("a", 505 * second))), ElementsAre(4));
  EXPECT_THAT(positions(read(since("a", 495 * second))), ElementsAre(2, 3, 4));
  store_->expire(590 * second);  // the first is 100 s old
  EXPECT_THAT(positions(read(after_position("a", 1))), ElementsAre(2, 3, 4));
  EXPECT_EQ(read(after_position("a", 0)).end, End::gone);
  store_->expire(600 * second);
  EXPECT_EQ(read(after_position("a", 1)).first_available, 4u);
}

TEST_F(MemoryHistoryTest, ACursorOfAnotherRequestOrAnotherStoreOrOfNeitherIsRefused) {
  for (int i = 0; i < 5; ++i) append("a");
  ReadRequest request = after_position(">", 0);
  request.events_max = 2;
  const std::string cursor = read(request).cursor;
  ReadRequest other = after_position("a", 0);
  other.cursor = cursor;
  EXPECT_EQ(read(other).end, End::bad_cursor);
  ReadRequest values = retained(">");
  values.cursor = cursor;
  EXPECT_EQ(read(values).end, End::bad_cursor);
  for (const std::string& bad :
       {std::string("x"), cursor + "x", cursor.substr(1), std::string(cursor.size(), '\xff')}) {
    request.cursor = bad;
    EXPECT_EQ(read(request).end, End::bad_cursor);
  }
  MemoryHistory another{HistoryLimits{}};
  request.cursor = cursor;
  EXPECT_EQ(testing::read(another, request).end, End::bad_cursor);
}

TEST_F(MemoryHistoryTest, AForgedCursorDoesNoHarm) {
  make(of_each(3), {.scan_events_max = 3, .check_topics_max = 1, .drop_log_entries = 4});
  for (int i = 0; i < 400; ++i) append("t" + std::to_string(i % 40), i);
  for (const ReadRequest& base :
       {after_position(">", 300), after_offset("t3", 8), since(">", 350), retained(">")}) {
    ReadRequest request = base;
    request.events_max = 2;
    const std::string cursor = read(request).cursor;
    for (std::size_t at = 0; at < cursor.size(); ++at) {
      for (const char byte : {'\x00', '\x01', '\x7f', '\xff'}) {
        request.cursor = cursor;
        request.cursor[at] = byte;
        EXPECT_LE(read(request).events.size(), 2u);
      }
    }
  }
}

TEST_F(MemoryHistoryTest, SeveralReadsCanBeStartedBeforeTheFirstSliceIsTaken) {
  for (int i = 0; i < 3; ++i) append("a");
  const std::uint64_t first = store_->start_read(after_position("a", 0));
  const std::uint64_t second_ticket = store_->start_read(retained("a"));
  const std::optional<ReadSlice> one = store_->next_slice();
  const std::optional<ReadSlice> two = store_->next_slice();
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one->ticket, first);
  EXPECT_EQ(two->ticket, second_ticket);
  EXPECT_THAT(positions(*one), ElementsAre(1, 2, 3));
  EXPECT_THAT(positions(*two), ElementsAre(3));
  EXPECT_EQ(store_->next_slice(), std::nullopt);
}

TEST_F(MemoryHistoryTest, NewLimitsApplyToWhatIsStoredAlready) {
  for (int i = 0; i < 10; ++i) append("quiet", i * second);
  for (int i = 0; i < 10; ++i) append("other", 10 * second);
  HistoryLimits limits = of_each(5);
  limits.rules.push_back(
      {pattern("quiet"), {.history_events = 8, .history_age = seconds{20}, .value_ttl = seconds{30}}});
  store_->set_limits(limits);
  store_->expire(10 * second);
  EXPECT_EQ(store_->figures("quiet").history_events, 8u);
  EXPECT_EQ(store_->figures("other").history_events, 5u);
  EXPECT_EQ(read(after_position("quiet", 1)).end, End::gone);
  store_->expire(27 * second);
  EXPECT_EQ(store_->figures("quiet").history_events, 2u);
  store_->expire(39 * second);
  EXPECT_THAT(topics(read(retained(">"))), ElementsAre("other"));
  limits.bytes_max = 0;
  store_->set_limits(limits);
  store_->expire(39 * second);
  EXPECT_EQ(store_->figures().bytes, 0u);
}

TEST_F(MemoryHistoryTest, AStoreFullOfValuesDropsItsHistoryStepByStep) {
  HistoryLimits limits;
  const std::size_t block = EventPool::block_bytes(sizeof(KeptEvent) + 20 + wire::stamp_bytes);
  limits.bytes_max = 10'000 * block;
  make(limits);
  for (int i = 0; i < 10'000; ++i) append("t" + std::to_string(i));
  ASSERT_EQ(store_->figures().events, 10'000u);
  std::size_t most = 0;
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t before = store_->figures().events;
    append("more" + std::to_string(i));
    EXPECT_GE(store_->figures().events + 100, before);
    most = std::max<std::size_t>(most, store_->figures().bytes);
  }
  EXPECT_LE(most, limits.bytes_max + 16 * 10'200);
  EXPECT_LE(store_->figures().bytes, limits.bytes_max);
}

TEST_F(MemoryHistoryTest, EventsFromBeforeTheStoreAreGone) {
  append("a");
  append("b");
  make({});  // another store of the same stream
  const std::vector<HistoryStore::Tail> tails{{"a", 1, 1, 80, 0}, {"b", 2, 1, 80, 0}};
  ASSERT_TRUE(store_->begin_after(tails, 2));
  append("a");
  EXPECT_EQ(read(after_position(">", 1)).end, End::gone);
  EXPECT_EQ(read(after_position("b", 0)).end, End::gone);
  EXPECT_EQ(read(after_offset("a", 0)).end, End::gone);
  EXPECT_EQ(read(since(">", 0)).end, End::gone);
  const ReadSlice slice = read(after_position(">", 2));
  EXPECT_EQ(slice.end, End::complete);
  EXPECT_THAT(positions(slice), ElementsAre(3));
  EXPECT_EQ(read(after_offset("b", 1)).end, End::complete);
}

}  // namespace
}  // namespace backplane::broker
