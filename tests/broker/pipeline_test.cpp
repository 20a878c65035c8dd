#include "broker/pipeline.hpp"

#include <chrono>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backplane/events/v1/quote.pb.h"
#include "backplane/v1/event.pb.h"
#include "broker/state/memory_history.hpp"
#include "tests/broker/state/manual_history.hpp"

namespace backplane::broker {
namespace {

using ::testing::ElementsAre;

struct Sent {
  std::string topic;
  std::string event;
  [[nodiscard]] wire::Stamp stamp() const { return *wire::read_stamp(std::as_bytes(std::span(event))); }
  [[nodiscard]] v1::Event parsed() const {
    v1::Event made;
    EXPECT_TRUE(made.ParseFromString(event));
    return made;
  }
};

class RecordingSink final : public EgressSink {
 public:
  void publish(zmq::message_t& topic, zmq::message_t& event) override {
    sent.push_back({topic.to_string(), event.to_string()});
    topic.rebuild();
    event.rebuild();
  }
  std::vector<Sent> sent;
};

class PipelineTest : public ::testing::Test {
 protected:
  PipelineTest() : PipelineTest(std::make_unique<MemoryHistory>(HistoryLimits{})) {}
  explicit PipelineTest(std::unique_ptr<HistoryStore> store, std::size_t topics_max = 3)
      : state("test", topics_max, 16, std::move(store)),
        pipeline(state, access, sink, [this] { return now_ns; }) {
    state.stream = 0x1122334455667788;
    state.max_event_bytes = 1000;
    log::set_level(log::Level::off);
  }

  void take(const std::string& topic, const std::string& event) {
    zmq::message_t first(topic);
    zmq::message_t second(event);
    pipeline.take(first, second);
    EXPECT_TRUE(pipeline.flush());
  }

  static v1::Event event(std::uint64_t sequence, const std::string& text = "hello") {
    v1::Event made;
    made.set_source("tester");
    made.set_session(77);
    made.set_sequence(sequence);
    made.set_text(text);
    return made;
  }

  void take(const std::string& topic, const v1::Event& made) { take(topic, made.SerializeAsString()); }

  std::uint64_t rejected(Refusal refusal) {
    return state.counters.rejected_total[static_cast<std::size_t>(refusal)];
  }
  void expect_balance() {
    std::uint64_t refused = 0;
    for (const std::uint64_t count : state.counters.rejected_total) refused += count;
    EXPECT_EQ(state.counters.received_total, state.counters.published_total + refused + pipeline.pending());
  }

  std::int64_t now_ns = 1'000;
  RecordingSink sink;
  BackplaneState state;
  Access access;
  Pipeline pipeline;
};

TEST_F(PipelineTest, StampsWithPositionOverAllTopicsAndOffsetAndPreviousPerTopic) {
  take("a", event(1));
  now_ns = 2'000;
  take("b", event(2));
  take("a", event(3));
  ASSERT_EQ(sink.sent.size(), 3u);
  EXPECT_EQ(sink.sent[0].stamp(), (wire::Stamp{state.stream, 1, 1, 0, 1'000}));
  EXPECT_EQ(sink.sent[1].stamp(), (wire::Stamp{state.stream, 2, 1, 0, 2'000}));
  EXPECT_EQ(sink.sent[2].stamp(), (wire::Stamp{state.stream, 3, 2, 1, 2'000}));
  expect_balance();
}

TEST_F(PipelineTest, CarriesNothingFromOneBatchIntoTheNext) {
  pipeline.publish_system("$SYS.test", "");
  for (std::uint64_t sequence = 1; sequence <= 2; ++sequence) {
    zmq::message_t topic("abc" + std::to_string(sequence));
    zmq::message_t bytes(event(sequence, "long text number " + std::to_string(sequence)).SerializeAsString());
    pipeline.take(topic, bytes);
  }
  EXPECT_EQ(pipeline.pending(), 3u);
  ASSERT_TRUE(pipeline.flush());
  EXPECT_EQ(pipeline.pending(), 0u);
  sink.sent.clear();
  take("abc2", event(3, "x"));
  ASSERT_EQ(sink.sent.size(), 1u);
  EXPECT_EQ(sink.sent[0].topic, "abc2");
  v1::Event got;
  ASSERT_TRUE(got.ParseFromString(sink.sent[0].event));
  EXPECT_EQ(got.text(), "x");
  EXPECT_EQ(sink.sent[0].stamp(), (wire::Stamp{state.stream, 4, 2, 3, 1'000}));
  EXPECT_EQ(state.counters.published_total, 3u);
  EXPECT_EQ(state.counters.system_published_total, 1u);
}

TEST_F(PipelineTest, RefusesASystemTopicThatItKnows) {
  pipeline.publish_system("$SYS.test", "");
  take("$SYS.test", event(1));
  EXPECT_EQ(rejected(Refusal::reserved_topic), 1u);
  EXPECT_EQ(state.counters.published_total, 0u);
  expect_balance();
}

TEST_F(PipelineTest, NeverChangesThePublishersBytes) {
  v1::Event made = event(1);
  events::v1::Quote quote;
  quote.set_symbol("MSFT");
  made.mutable_message()->PackFrom(quote);
  const std::string bytes = made.SerializeAsString();
  take("stock.MSFT", bytes);
  ASSERT_EQ(sink.sent.size(), 1u);
  EXPECT_EQ(sink.sent[0].event.size(), bytes.size() + 47);
  EXPECT_TRUE(sink.sent[0].event.starts_with(bytes));
  v1::Event parsed;
  ASSERT_TRUE(parsed.ParseFromString(sink.sent[0].event));
  EXPECT_EQ(parsed.stamp().offset(), 1u);
  EXPECT_EQ(parsed.stamp().stream(), state.stream);
}

TEST_F(PipelineTest, RefusesEachFaultUnderItsOwnReasonAndContinues) {
  const auto bytes = [](std::initializer_list<int> values) {
    std::string result;
    for (const int value : values) result.push_back(static_cast<char>(value));
    return result;
  };
  take("t", bytes({0x0a, 5, 'a'}));  // source: length 5, but only 1 byte
  take("t", bytes({0x18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}));
  take("t", bytes({0x02, 0}));           // field 0
  take("t", bytes({0x0b}));              // a group
  take("t", bytes({0x08, 1}));           // source as a varint
  take("t", bytes({0x0a, 1, 0xff}));     // source not UTF-8
  take("t", bytes({0x32, 1, 0xff}));     // text not UTF-8
  take("t", bytes({0x22, 1, 0x08}));     // time: a tag without its value
  take("t", bytes({0x2a, 2, 0x0a, 9}));  // message: a length past its end
  take("t", bytes({0x42, 2, 0x08, 1}));  // attributes: a key that is a varint
  take("t", bytes({0x7a, 0}));           // a stamp
  take("", event(1));
  take("a..b", event(2));
  take("a b", event(3));
  take("$SYS.mine", event(4));
  take("t", event(5, std::string(1'001, 'x')));
  pipeline.refuse_frames(1);
  pipeline.refuse_frames(3);

  EXPECT_EQ(rejected(Refusal::truncated), 1u);
  EXPECT_EQ(rejected(Refusal::bad_varint), 1u);
  EXPECT_EQ(rejected(Refusal::field_zero), 1u);
  EXPECT_EQ(rejected(Refusal::group), 1u);
  EXPECT_EQ(rejected(Refusal::wrong_wire_type), 1u);
  EXPECT_EQ(rejected(Refusal::source_not_utf8), 1u);
  EXPECT_EQ(rejected(Refusal::text_not_utf8), 1u);
  EXPECT_EQ(rejected(Refusal::bad_time), 1u);
  EXPECT_EQ(rejected(Refusal::bad_message), 1u);
  EXPECT_EQ(rejected(Refusal::bad_attributes), 1u);
  EXPECT_EQ(rejected(Refusal::stamped), 1u);
  EXPECT_EQ(rejected(Refusal::bad_topic), 3u);
  EXPECT_EQ(rejected(Refusal::reserved_topic), 1u);
  EXPECT_EQ(rejected(Refusal::too_large), 1u);
  EXPECT_EQ(rejected(Refusal::wrong_frames), 2u);
  EXPECT_TRUE(sink.sent.empty());
  expect_balance();

  take("t", event(6));
  EXPECT_EQ(sink.sent.size(), 1u);
  expect_balance();
}

TEST_F(PipelineTest, AdmitsAnEventOfExactlyTheLimit) {
  v1::Event made = event(1, "");
  made.set_text(std::string(1'000 - made.ByteSizeLong() - 1, 'x'));  // a length above 127 takes one byte more
  ASSERT_EQ(made.ByteSizeLong(), 1'000u);
  take("t", made);
  EXPECT_EQ(sink.sent.size(), 1u);
}

TEST_F(PipelineTest, RefusesDuplicates) {
  take("t", event(1));
  take("t", event(2));
  take("t", event(2));
  take("t", event(1));
  take("t", event(3));
  EXPECT_EQ(rejected(Refusal::repeat), 2u);
  EXPECT_EQ(sink.sent.size(), 3u);
  EXPECT_EQ(state.counters.lost_before_total, 0u);
  expect_balance();
}

TEST_F(PipelineTest, CountsSequencesThatAreMissing) {
  take("t", event(1));
  take("t", event(5));
  EXPECT_EQ(state.counters.lost_before_total, 3u);
}

TEST_F(PipelineTest, TheLossCounterNeverDecreasesWhateverTheSequences) {
  constexpr std::uint64_t highest = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t before = 0;
  for (std::uint64_t session = 1; session <= 3; ++session) {
    for (const std::uint64_t sequence : {std::uint64_t{1}, highest}) {
      v1::Event made = event(sequence);
      made.set_session(session);
      take("t", made);
      EXPECT_GE(state.counters.lost_before_total, before);
      before = state.counters.lost_before_total;
    }
  }
  EXPECT_EQ(before, highest);
}

TEST_F(PipelineTest, CountsNoLossBeforeASequenceBelowARefusedOne) {
  take("t", event(1));
  take("a..b", event(std::numeric_limits<std::uint64_t>::max()));
  const std::uint64_t lost = state.counters.lost_before_total;
  take("t", event(2));
  EXPECT_EQ(state.counters.lost_before_total, lost);
}

TEST_F(PipelineTest, CountsNoLossBeforeTheFirstSequenceOfANewSession) {
  take("t", event(1'000));
  EXPECT_EQ(state.counters.lost_before_total, 0u);
  EXPECT_EQ(state.sessions.find("tester", 77)->sequence, 1'000u);
}

TEST_F(PipelineTest, RecordsRefusedSequencesPerSession) {
  take("t", event(1));
  take("a..b", event(2));
  take("t", event(3));
  const SessionEntry* session = state.sessions.find("tester", 77);
  ASSERT_NE(session, nullptr);
  EXPECT_EQ(session->sequence, 3u);
  EXPECT_EQ(session->refused_sequence, 2u);
  EXPECT_EQ(session->refused, 1u);
  EXPECT_EQ(session->refused_reason, static_cast<std::uint8_t>(Refusal::bad_topic));
  EXPECT_EQ(state.counters.lost_before_total, 0u);
}

TEST_F(PipelineTest, TracksNoSessionForEventsWithoutSequence) {
  for (int i = 0; i < 3; ++i) take("t", event(0));
  EXPECT_EQ(sink.sent.size(), 3u);
  EXPECT_EQ(state.sessions.size(), 0u);
}

TEST_F(PipelineTest, AFullTableRefusesNewTopicsAndKeepsTheKnownOnes) {
  std::uint64_t sequence = 0;
  for (const char* topic : {"a", "b", "c", "d", "a"}) take(topic, event(++sequence));
  EXPECT_EQ(rejected(Refusal::topics_full), 1u);
  EXPECT_EQ(sink.sent.size(), 4u);
  EXPECT_EQ(sink.sent.back().stamp().offset, 2u);
}

TEST_F(PipelineTest, StoresBeforeItPublishesAndAnEventWithoutPayloadClearsTheValue) {
  take("t", event(1));
  EXPECT_GT(state.history->figures("t").value_bytes, 0u);
  v1::Event empty = event(2);
  empty.clear_payload();
  take("t", empty);
  EXPECT_EQ(state.history->figures("t").value_bytes, 0u);
  EXPECT_EQ(state.history->figures("t").history_events, 2u);
}

TEST_F(PipelineTest, MakesEventsOfRawBytes) {
  const auto take_raw = [this](const std::string& topic, const std::string& bytes) {
    zmq::message_t first(topic);
    zmq::message_t second(bytes);
    pipeline.take_raw(first, second);
    EXPECT_TRUE(pipeline.flush());
  };
  take_raw("t", "21.5");
  take_raw("t.", "21.5");
  take_raw("$SYS.x", "21.5");
  take_raw("t", std::string(1'000, 'x'));
  ASSERT_EQ(sink.sent.size(), 1u);
  v1::Event parsed;
  ASSERT_TRUE(parsed.ParseFromString(sink.sent[0].event));
  EXPECT_EQ(parsed.text(), "21.5");
  EXPECT_EQ(parsed.source(), "raw");
  EXPECT_EQ(parsed.stamp().offset(), 1u);
  EXPECT_EQ(rejected(Refusal::bad_topic), 1u);
  EXPECT_EQ(rejected(Refusal::reserved_topic), 1u);
  EXPECT_EQ(rejected(Refusal::too_large), 1u);
  expect_balance();
}

TEST_F(PipelineTest, NumbersItsOwnEventsButKeepsThemOutOfTheLedger) {
  pipeline.publish_system("$SYS.x", event(0).SerializeAsString());
  EXPECT_TRUE(pipeline.flush());
  ASSERT_EQ(sink.sent.size(), 1u);
  EXPECT_EQ(sink.sent[0].stamp().position, 1u);
  EXPECT_EQ(state.counters.published_total, 0u);
  EXPECT_EQ(state.counters.system_published_total, 1u);
  expect_balance();
}

TEST_F(PipelineTest, PublishesItsOwnEventsWhenTheTableIsFull) {
  std::uint64_t sequence = 0;
  for (const char* topic : {"a", "b", "c"}) take(topic, event(++sequence));
  pipeline.publish_system("$SYS.drain", event(0).SerializeAsString());
  EXPECT_TRUE(pipeline.flush());
  EXPECT_EQ(sink.sent.back().topic, "$SYS.drain");
  take("d", event(++sequence));
  EXPECT_EQ(rejected(Refusal::topics_full), 1u);
}

TEST_F(PipelineTest, UnnumberedRepliesAreNeitherNumberedNorStored) {
  take("t", event(1));
  pipeline.publish_unnumbered("$SYS.live.x", event(0).SerializeAsString());
  ASSERT_EQ(sink.sent.size(), 2u);
  EXPECT_EQ(sink.sent[1].stamp(), (wire::Stamp{state.stream, 1, 0, 0, 1'000}));
  EXPECT_EQ(state.topics.find("$SYS.live.x"), nullptr);
}

class PipelineWithManualStore : public PipelineTest {
 protected:
  PipelineWithManualStore() : PipelineWithManualStore(new ManualHistory) {}

  /// Takes an event without flushing.
  void offer(const std::string& topic, std::uint64_t sequence) {
    zmq::message_t first(topic);
    zmq::message_t second(event(sequence).SerializeAsString());
    pipeline.take(first, second);
  }
  std::vector<std::string> topics_sent() const {
    std::vector<std::string> topics;
    for (const Sent& each : sink.sent) topics.push_back(each.topic);
    return topics;
  }

  ManualHistory* store;

 private:
  explicit PipelineWithManualStore(ManualHistory* history)
      : PipelineTest(std::unique_ptr<HistoryStore>(history)), store(history) {}
};

TEST_F(PipelineWithManualStore, SendsNothingWhileTheStoreIsBusyAndTheSameBatchLater) {
  store->answer = HistoryStore::Accepted::busy;
  offer("t", 1);
  EXPECT_FALSE(pipeline.flush());
  EXPECT_FALSE(pipeline.flush());
  EXPECT_TRUE(sink.sent.empty());
  EXPECT_EQ(pipeline.writing(), 0u);
  expect_balance();
  store->answer = HistoryStore::Accepted::accepted;
  EXPECT_TRUE(pipeline.flush());
  EXPECT_EQ(sink.sent.size(), 1u);
  EXPECT_EQ(pipeline.pending(), 0u);
  EXPECT_EQ(store->appended, 1u);
}

TEST_F(PipelineWithManualStore, PublishesNothingThatAFailedStoreRefuses) {
  store->answer = HistoryStore::Accepted::failed;
  offer("t", 1);
  EXPECT_FALSE(pipeline.flush());
  EXPECT_TRUE(sink.sent.empty());
}

TEST_F(PipelineWithManualStore, PublishesABatchWhenTheStoreHasWrittenItAndNotBefore) {
  store->writes_at_once = false;
  offer("a", 1);
  offer("b", 2);
  EXPECT_TRUE(pipeline.flush());
  EXPECT_TRUE(pipeline.flush());
  EXPECT_EQ(pipeline.writing(), 2u);
  EXPECT_TRUE(sink.sent.empty());
  EXPECT_EQ(store->appended, 2u) << "a batch is appended once";
  expect_balance();
  store->written = 1;
  EXPECT_TRUE(pipeline.flush());
  EXPECT_EQ(pipeline.writing(), 0u);
  EXPECT_THAT(topics_sent(), ElementsAre("a", "b"));
  EXPECT_EQ(state.last_ticket, 1u);
  expect_balance();
}

TEST_F(PipelineWithManualStore, ClientsSeeThePositionsOfPublishedEventsOnly) {
  take("a", event(1));
  take("a", event(2));
  store->writes_at_once = false;
  offer("a", 3);
  offer("b", 4);
  offer("a", 5);
  EXPECT_TRUE(pipeline.flush());
  EXPECT_EQ(state.position, 5u);
  EXPECT_EQ(state.published_position(), 2u);
  EXPECT_EQ(state.published_tail(*state.topics.find("a")).position, 2u);
  EXPECT_EQ(state.published_tail(*state.topics.find("a")).offset, 2u);
  EXPECT_EQ(state.published_tail(*state.topics.find("b")).offset, 0u);
  pipeline.publish_unnumbered("$SYS.live.x", "");
  EXPECT_EQ(sink.sent.back().stamp().position, 2u) << "what was sent before it";
  store->written = store->last_batch;
  EXPECT_TRUE(pipeline.flush());
  EXPECT_EQ(state.published_position(), 5u);
  EXPECT_EQ(state.published_tail(*state.topics.find("a")).position, 5u);
  EXPECT_EQ(state.published_tail(*state.topics.find("a")).offset, 4u);
}

TEST_F(PipelineWithManualStore, TakesTheNextBatchesWhileOneIsBeingWrittenAndPublishesThemInOrder) {
  store->writes_at_once = false;
  offer("a", 1);
  EXPECT_TRUE(pipeline.flush());
  pipeline.publish_system("$SYS.one", "");
  offer("b", 2);
  EXPECT_EQ(pipeline.writing(), 1u);
  EXPECT_TRUE(pipeline.flush());
  offer("a", 3);
  EXPECT_TRUE(pipeline.flush());
  EXPECT_EQ(pipeline.writing(), 4u);
  EXPECT_EQ(state.position, 4u);
  EXPECT_EQ(store->last_batch, 3u);
  EXPECT_TRUE(sink.sent.empty());
  store->written = 1;
  EXPECT_TRUE(pipeline.flush());
  EXPECT_THAT(topics_sent(), ElementsAre("a"));
  EXPECT_EQ(state.published_position(), 1u);
  EXPECT_EQ(state.last_ticket, 1u);
  store->written = 3;
  EXPECT_TRUE(pipeline.flush());
  EXPECT_THAT(topics_sent(), ElementsAre("a", "$SYS.one", "b", "a"));
  EXPECT_EQ(sink.sent.back().stamp().position, 4u);
  EXPECT_EQ(state.last_ticket, 3u);
  EXPECT_EQ(pipeline.pending(), 0u);
  EXPECT_EQ(state.counters.system_published_total, 1u);
  EXPECT_EQ(state.counters.published_total, 3u);
}

TEST_F(PipelineWithManualStore, TakesNoMoreWhileManyEventsAreBeingWritten) {
  store->writes_at_once = false;
  std::uint64_t offered = 0;
  do {
    for (int i = 0; i < 100; ++i) {
      ++offered;
      offer(offered % 2 == 0 ? "a" : "b", offered);
    }
    ASSERT_LT(offered, 1'000'000u);
  } while (pipeline.flush());
  EXPECT_GT(offered, 2'000u) << "batches grow while the disk is slow";
  // As many as are published can be taken again.
  store->written = 10;
  EXPECT_TRUE(pipeline.flush());
  EXPECT_EQ(pipeline.pending(), offered - 1'000);
  store->written = store->last_batch;
  EXPECT_TRUE(pipeline.flush());
  ASSERT_EQ(sink.sent.size(), offered);
  for (std::uint64_t i = 0; i < offered; ++i) {
    ASSERT_EQ(sink.sent[i].parsed().sequence(), i + 1);
    ASSERT_EQ(sink.sent[i].stamp().position, i + 1);
  }
  expect_balance();
}

TEST_F(PipelineWithManualStore, TakesNoMoreWhileManyBytesAreBeingWritten) {
  store->writes_at_once = false;
  state.max_event_bytes = 1u << 20;
  const std::string large(state.max_event_bytes - 100, 'x');
  std::uint64_t bytes = 0;
  do {
    v1::Event big = event(0);
    big.set_text(large);
    zmq::message_t topic(std::string("t"));
    zmq::message_t frame(big.SerializeAsString());
    bytes += frame.size();
    pipeline.take(topic, frame);
    ASSERT_LT(bytes, std::uint64_t{1} << 30);
  } while (pipeline.flush());
  EXPECT_LT(bytes, 16u << 20);
  store->written = store->last_batch;
  EXPECT_TRUE(pipeline.flush());
  EXPECT_EQ(pipeline.pending(), 0u);
}

TEST_F(PipelineWithManualStore, PublishesWhatAFailedStoreHasWrittenAndNothingElse) {
  store->writes_at_once = false;
  offer("a", 1);
  EXPECT_TRUE(pipeline.flush());
  store->answer = HistoryStore::Accepted::failed;
  offer("b", 2);
  EXPECT_FALSE(pipeline.flush());
  EXPECT_TRUE(sink.sent.empty());
  store->written = 1;
  EXPECT_FALSE(pipeline.flush());
  EXPECT_THAT(topics_sent(), ElementsAre("a"));
  EXPECT_EQ(state.last_ticket, 1u);
}

/// Publishers of one session by several connections.
class SharedSession : public PipelineTest {
 protected:
  SharedSession() {
    server_.set(zmq::sockopt::linger, 0);
    server_.bind("tcp://127.0.0.1:*");
  }
  zmq::socket_t connection() {
    zmq::socket_t made(context_, zmq::socket_type::push);
    made.set(zmq::sockopt::linger, 0);
    made.connect(server_.get(zmq::sockopt::last_endpoint));
    return made;
  }
  void send(zmq::socket_t& by, std::uint64_t sequence, const std::string& topic = "n") {
    by.send(zmq::buffer(event(sequence).SerializeAsString()), zmq::send_flags::none);
    zmq::message_t made;
    ASSERT_TRUE(server_.recv(made));
    zmq::message_t first(topic);
    pipeline.take(first, made);
    EXPECT_TRUE(pipeline.flush());
  }
  const SessionEntry& session() { return *state.sessions.find("tester", 77); }

  zmq::context_t context_;
  zmq::socket_t server_{context_, zmq::socket_type::pull};
};

TEST_F(SharedSession, ASequenceFarAheadByAnotherOpenConnectionIsRefused) {
  zmq::socket_t own = connection();
  zmq::socket_t other = connection();
  send(own, 1);
  send(other, std::uint64_t{1} << 63);
  send(other, 5'000);
  EXPECT_EQ(rejected(Refusal::sequence_jump), 2u);
  EXPECT_EQ(session().sequence, 1u);
  EXPECT_EQ(session().refused_sequence, 0u);
  EXPECT_EQ(session().connections, 1u);
  send(own, 10'000);
  EXPECT_EQ(session().sequence, 10'000u) << "a publisher may lose events";
}

TEST_F(PipelineTest, NumbersThatASessionDoesNotUseAreNoLoss) {
  v1::Event second = event(5'000);
  second.set_after_sequence(10);
  take("a", event(10));
  take("a", second);
  EXPECT_EQ(state.counters.published_total, 2u);
  EXPECT_EQ(state.counters.lost_before_total, 0u);
}

TEST_F(PipelineTest, AnEventWhoseSessionsEventBeforeItIsMissingIsRefused) {
  v1::Event third = event(30);
  third.set_after_sequence(20);
  take("a", event(10));
  take("a", third);
  EXPECT_EQ(rejected(Refusal::sequence_jump), 1u);
  v1::Event second = event(20);
  second.set_after_sequence(10);
  take("a", second);
  take("a", third);
  take("a", third);
  EXPECT_EQ(rejected(Refusal::repeat), 1u);
  EXPECT_EQ(state.counters.published_total, 3u);
  EXPECT_EQ(state.counters.lost_before_total, 0u);
  expect_balance();
}

TEST_F(PipelineTest, ASessionThatIsNewHereMayHaveBegunAtAnotherBroker) {
  v1::Event first = event(30);
  first.set_after_sequence(20);
  take("a", first);
  EXPECT_EQ(state.counters.published_total, 1u);
}

TEST_F(PipelineTest, LostEventsTakeTheirOffsetsAndAreNotSent) {
  take("a", event(1));
  v1::Event lost;
  lost.set_source("tester");
  lost.set_session(77);
  lost.set_sequence(2);
  lost.set_lost(3);
  take("a", lost);
  take("a", event(3));
  ASSERT_EQ(sink.sent.size(), 2u);
  EXPECT_EQ(sink.sent[1].stamp(), (wire::Stamp{state.stream, 3, 5, 2, 1'000}));
  expect_balance();
}

TEST_F(SharedSession, ARefusedEventIsCountedOnce) {
  zmq::socket_t own = connection();
  zmq::socket_t other = connection();
  send(own, 1);
  send(other, std::uint64_t{1} << 63, "not a topic");
  EXPECT_EQ(rejected(Refusal::bad_topic), 1u);
  EXPECT_EQ(rejected(Refusal::sequence_jump), 0u);
  EXPECT_EQ(session().refused_sequence, 0u);
}

TEST_F(SharedSession, TheConnectionsOfASessionAreCounted) {
  zmq::socket_t own = connection();
  zmq::socket_t other = connection();
  send(own, 1);
  send(own, 2);
  EXPECT_EQ(session().connections, 1u);
  send(other, 2);
  EXPECT_EQ(session().connections, 1u) << "a duplicate";
  send(other, 3);
  EXPECT_EQ(session().connections, 2u);
  send(own, 4);
  send(other, 5);
  EXPECT_EQ(session().connections, 2u) << "both are known";
  zmq::socket_t third = connection();
  send(third, 6, "not a topic");
  EXPECT_EQ(session().connections, 3u) << "a refused event has a sequence too";
}

TEST_F(SharedSession, ConnectionsWhoseEventsComeInTurnAreCountedOnce) {
  std::vector<zmq::socket_t> own;
  for (int i = 0; i < 4; ++i) own.push_back(connection());
  for (std::uint64_t sequence = 1; sequence <= 40; ++sequence) send(own[sequence % own.size()], sequence);
  EXPECT_EQ(session().connections, 4u);
}

TEST_F(SharedSession, AfterAReconnectThePublisherMayHaveLostEvents) {
  std::optional<zmq::socket_t> own = connection();
  send(*own, 1);
  own.reset();
  zmq::socket_t again = connection();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  std::uint64_t sequence = 100'000;
  while (session().sequence == 1 && std::chrono::steady_clock::now() < until) send(again, sequence++);
  EXPECT_GE(session().sequence, 100'000u);
  send(again, std::uint64_t{1} << 40);
  EXPECT_EQ(session().sequence, std::uint64_t{1} << 40) << "its own connection";
}

}  // namespace
}  // namespace backplane::broker
