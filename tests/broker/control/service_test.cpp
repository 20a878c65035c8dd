#include "broker/control/service.hpp"

#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include "core/log/line_writer.hpp"
#include "tests/broker/control/service_fixture.hpp"

namespace backplane::broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Service : public testing::Test {
 protected:
  ServiceFixture broker;
};

TEST_F(Service, RepliesContainTheBrokerItsStreamAndItsPosition) {
  broker.publish("a", "1");
  const auto reply = broker.hello("clock", 1);
  EXPECT_EQ(reply.version(), 1u);
  EXPECT_EQ(reply.broker(), "default");
  EXPECT_EQ(reply.stream(), ServiceFixture::stream);
  EXPECT_EQ(reply.position(), 1u);
  EXPECT_TRUE(reply.has_complete());
}

TEST_F(Service, EchoesAnyEnvelope) {
  v1::ControlRequest request;
  request.set_version(1);
  request.mutable_stats();
  const Envelope frames{"id", "proxy", "", ""};
  broker.service.request(frames, bytes_of(request.SerializeAsString()), broker.now);
  ASSERT_EQ(broker.replies.all.size(), 1u);
  EXPECT_EQ(broker.replies.all[0].envelope, frames);
}

// ── Hello, Admitted, Stats, Drain ──

TEST_F(Service, AHelloAnnouncesTheSource) {
  broker.state.draining = true;
  const auto reply = broker.hello("clock@host7", 1);
  EXPECT_EQ(reply.hello().max_event_bytes(), 1u << 20);
  EXPECT_TRUE(reply.hello().draining());
  EXPECT_FALSE(reply.hello().version().empty());
  EXPECT_THAT(broker.announced, ElementsAre("$SYS.source.clock@host7"));
}

TEST_F(Service, AGatewaysHelloIsRepliedToWithWhatTheFileStoreHolds) {
  v1::ControlRequest request;
  request.mutable_hello()->set_name("gateway@host7");
  request.mutable_hello()->set_role(v1::HelloRequest::ROLE_GATEWAY);
  EXPECT_TRUE(broker.send(request).hello().store().empty()) << "in memory";
  broker.state.store_kind = "file";
  broker.state.store_sync = "always";
  const auto store = broker.send(request).hello().store();
  EXPECT_EQ(store.at("store_info.file.always"), 1u);
  EXPECT_TRUE(store.contains("store_bytes"));
  EXPECT_FALSE(store.contains("received_total"));
  EXPECT_TRUE(broker.hello("clock@host7", 1).hello().store().empty());
}

TEST_F(Service, RefusesAHelloWithoutNameOrWithAnUnknownRole) {
  EXPECT_EQ(broker.hello("", 1).error().code(), "malformed");
  v1::ControlRequest request;
  request.mutable_hello()->set_name("x");
  for (const int role : {4, -1, 1'000'000}) {
    request.mutable_hello()->set_role(static_cast<v1::HelloRequest::Role>(role));
    EXPECT_EQ(broker.send(request).error().code(), "malformed") << role;
  }
  EXPECT_EQ(broker.participants.size(), 0u);
}

/// A replicated log, of which the test says how far it has been applied.
class ManualLog final : public CommitLog {
 public:
  [[nodiscard]] bool is_replicated() const override { return true; }
  [[nodiscard]] Appended append(const LogEntry& entry) override {
    appended.emplace_back(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size());
    return Appended::later;
  }
  [[nodiscard]] bool has_room() const override { return true; }
  void advance() override {}
  [[nodiscard]] CommittedBatch* next() override { return nullptr; }
  [[nodiscard]] std::uint64_t barrier() override { return ++last_barrier; }
  [[nodiscard]] bool reached(std::uint64_t barrier) const override { return barrier <= reached_barrier; }
  [[nodiscard]] int progress_fd() const override { return -1; }
  [[nodiscard]] Condition condition() const override { return {}; }

  std::vector<std::string> appended;
  std::uint64_t last_barrier{};
  std::uint64_t reached_barrier{};
};

TEST(ServiceWithAReplicatedLog, TypesAreRegisteredInTheOrderOfTheLog) {
  auto owned = std::make_unique<ManualLog>();
  ManualLog& log = *owned;
  ServiceFixture broker({}, nullptr, 100, std::move(owned));
  const auto files_of = [](const char* name, const char* package, const char* needs = nullptr) {
    google::protobuf::FileDescriptorSet files;
    files.add_file()->set_name(name);
    files.mutable_file(0)->set_package(package);
    if (needs != nullptr) files.mutable_file(0)->add_dependency(needs);
    return files;
  };
  const auto request = [&](const char* who, const google::protobuf::FileDescriptorSet& files) {
    v1::ControlRequest types;
    types.set_version(1);
    *types.mutable_types()->mutable_register_files() = files;
    const std::string bytes = types.SerializeAsString();
    broker.service.request({who}, bytes_of(bytes), broker.now);
  };
  request("needs b", files_of("a.proto", "a", "b.proto"));
  request("conflict", files_of("b.proto", "other"));
  EXPECT_TRUE(broker.replies.all.empty());
  EXPECT_EQ(broker.service.pending(), 2u);
  ASSERT_EQ(log.appended.size(), 2u);

  // What it needs comes too late: another broker registers it after the first.
  broker.service.register_types(log.appended[0], true);
  broker.service.register_types(files_of("b.proto", "b").SerializeAsString(), false);
  broker.service.register_types(log.appended[1], true);
  ASSERT_EQ(broker.replies.all.size(), 2u);
  EXPECT_EQ(broker.replies.all[0].envelope, Envelope{"needs b"});
  EXPECT_EQ(broker.replies.all[0].reply.error().code(), "bad_types");
  EXPECT_EQ(broker.replies.all[1].reply.error().code(), "conflict");
  EXPECT_EQ(broker.types.files(), 1u);

  request("again", files_of("a.proto", "a", "b.proto"));
  broker.service.register_types(log.appended[2], true);
  ASSERT_EQ(broker.replies.all.size(), 3u);
  EXPECT_TRUE(broker.replies.all[2].reply.has_complete());
  request("known", files_of("b.proto", "b"));
  ASSERT_EQ(broker.replies.all.size(), 4u) << "at once";
  EXPECT_TRUE(broker.replies.all[3].reply.has_complete());
  EXPECT_EQ(log.appended.size(), 3u);
  EXPECT_EQ(broker.service.pending(), 0u);
}

TEST(ServiceWithAReplicatedLog, AReplayFromAPositionThatAnotherBrokerHasReachedWaits) {
  auto owned = std::make_unique<ManualLog>();
  ManualLog& log = *owned;
  ServiceFixture broker({}, nullptr, 100, std::move(owned));
  broker.publish("a", "1");
  const auto request = [&](const char* who, std::uint64_t after) {
    v1::ControlRequest replay;
    replay.set_version(1);
    replay.mutable_replay()->set_pattern("a");
    replay.mutable_replay()->mutable_after_position()->set_stream(ServiceFixture::stream);
    replay.mutable_replay()->mutable_after_position()->set_position(after);
    const std::string bytes = replay.SerializeAsString();
    broker.service.request({who}, bytes_of(bytes), broker.now);
  };
  request("reached soon", 2);
  request("never reached", 9);
  EXPECT_TRUE(broker.replies.all.empty());
  EXPECT_EQ(broker.service.pending(), 2u);
  broker.publish("a", "2");
  broker.publish("a", "3");
  broker.service.poll();
  ASSERT_EQ(broker.replies.all.size(), 1u);
  EXPECT_EQ(broker.replies.all[0].envelope, Envelope{"reached soon"});
  ASSERT_EQ(broker.replies.all[0].reply.replay().events_size(), 1);
  EXPECT_EQ(text_of(broker.replies.all[0].reply.replay().events(0)), "3");
  log.reached_barrier = 2;
  broker.service.poll();
  ASSERT_EQ(broker.replies.all.size(), 2u);
  EXPECT_EQ(broker.replies.all[1].reply.error().code(), "not_reached");
  EXPECT_EQ(broker.service.pending(), 0u);
}

TEST(ServiceWithAReplicatedLog, ARequestOfTheProcessItselfMayWait) {
  auto owned = std::make_unique<ManualLog>();
  ManualLog& log = *owned;
  ServiceFixture broker({}, nullptr, 100, std::move(owned));
  broker.access.set_policy(std::make_shared<const policy::Policy>(
      policy::Policy::parse("[users.a]\ncertificate = \"a\"\n", "policy.toml").value()));
  bool is_new = false;
  SessionEntry& session = broker.state.sessions.use("gateway", 7, is_new);
  session.sequence = 41;
  session.user = broker.access.number_of(broker.access.own_user());
  v1::ControlRequest request;
  request.set_version(1);
  request.mutable_admitted()->set_source("gateway");
  request.mutable_admitted()->set_session(7);
  const std::string bytes = request.SerializeAsString();
  broker.service.request({"first"}, bytes_of(bytes), broker.now, broker.access.own_sender());
  log.reached_barrier = 1;
  broker.service.poll();
  ASSERT_EQ(broker.replies.all.size(), 1u);
  EXPECT_EQ(broker.replies.all[0].reply.admitted().sequence(), 41u)
      << broker.replies.all[0].reply.DebugString();
}

TEST(ServiceWithAReplicatedLog, AdmittedWaitsForWhatWasInTheLogWhenItWasRequested) {
  auto owned = std::make_unique<ManualLog>();
  ManualLog& log = *owned;
  ServiceFixture broker({}, nullptr, 100, std::move(owned));
  bool is_new = false;
  broker.state.sessions.use("clock", 7, is_new).sequence = 41;
  v1::ControlRequest request;
  request.set_version(1);
  request.mutable_admitted()->set_source("clock");
  request.mutable_admitted()->set_session(7);
  const std::string bytes = request.SerializeAsString();
  broker.service.request({"first"}, bytes_of(bytes), broker.now);
  broker.service.request({"second"}, bytes_of(bytes), broker.now);
  broker.service.poll();
  EXPECT_TRUE(broker.replies.all.empty());
  EXPECT_EQ(broker.service.pending(), 2u);

  broker.state.sessions.use("clock", 7, is_new).sequence = 42;
  log.reached_barrier = 1;
  broker.service.poll();
  ASSERT_EQ(broker.replies.all.size(), 1u);
  EXPECT_EQ(broker.replies.all[0].envelope, Envelope{"first"});
  EXPECT_EQ(broker.replies.all[0].reply.admitted().sequence(), 42u);
  broker.state.sessions.use("clock", 7, is_new).sequence = 43;
  log.reached_barrier = 2;
  broker.service.poll();
  ASSERT_EQ(broker.replies.all.size(), 2u);
  EXPECT_EQ(broker.replies.all[1].reply.admitted().sequence(), 43u);
  EXPECT_EQ(broker.service.pending(), 0u);
}

TEST_F(Service, AdmittedReportsTheSequencesOfASession) {
  bool is_new = false;
  SessionEntry& session = broker.state.sessions.use("clock", 7, is_new);
  session.sequence = 41;
  v1::ControlRequest request;
  request.mutable_admitted()->set_source("clock");
  request.mutable_admitted()->set_session(7);
  auto admitted = broker.send(request).admitted();
  EXPECT_EQ(admitted.sequence(), 41u);
  EXPECT_EQ(admitted.refused_reason(), "");
  EXPECT_FALSE(admitted.draining());

  SessionEntry& again = broker.state.sessions.use("clock", 7, is_new);
  again.refused = 2;
  again.refused_sequence = 43;
  again.refused_reason = static_cast<std::uint8_t>(Refusal::too_large);
  broker.state.draining = true;
  admitted = broker.send(request).admitted();
  EXPECT_EQ(admitted.refused_sequence(), 43u);
  EXPECT_EQ(admitted.refused(), 2u);
  EXPECT_EQ(admitted.refused_reason(), "too_large");
  EXPECT_TRUE(admitted.draining());

  request.mutable_admitted()->set_session(8);
  EXPECT_EQ(broker.send(request).admitted().sequence(), 0u);
}

TEST_F(Service, StatsHaveTheCountersAndTheParticipants) {
  broker.state.counters.received_total = 5;
  broker.state.counters.rejected_total[static_cast<std::size_t>(Refusal::bad_topic)] = 2;
  broker.hello("clock", 1);
  v1::ControlRequest request;
  request.mutable_stats();
  const auto reply = broker.send(request);
  EXPECT_EQ(reply.stats().counters().at("received_total"), 5u);
  EXPECT_EQ(reply.stats().counters().at("rejected_total.bad_topic"), 2u);
  EXPECT_EQ(reply.stats().counters().at("participants.publisher.up"), 1u);
  EXPECT_EQ(reply.stats().counters().at("control_requests_total"), 2u);
  EXPECT_EQ(reply.stats().started_ns(), 1'000'000'000);
  ASSERT_EQ(reply.stats().participants_size(), 1);
  EXPECT_EQ(reply.stats().participants(0).name(), "clock");
  EXPECT_TRUE(reply.stats().participants(0).up());
}

TEST_F(Service, ARequestForShortRepliesGetsShortListings) {
  for (int i = 0; i < 200; ++i) broker.publish("topic." + std::to_string(1000 + i), "x");
  v1::ControlRequest request;
  request.set_reply_bytes_max(2048);
  for (const bool tails : {false, true}) {
    int entries = 0;
    std::string cursor;
    for (bool more = true; more;) {
      if (tails) {
        request.mutable_tails()->clear_patterns();
        request.mutable_tails()->add_patterns(">");
        request.mutable_tails()->set_cursor(cursor);
      } else {
        request.mutable_topics()->set_pattern(">");
        request.mutable_topics()->set_cursor(cursor);
      }
      const auto reply = broker.send(request);
      EXPECT_LE(broker.replies.all[0].bytes, 2048u + 200);
      const int in_reply = reply.tails().tails_size() + reply.topics().topics_size();
      ASSERT_GT(in_reply, 0);
      entries += in_reply;
      more = reply.has_more();
      cursor = reply.more().cursor();
    }
    EXPECT_EQ(entries, 200);
  }
}

TEST_F(Service, ParticipantsComeInPagesThatFit) {
  for (std::uint64_t session = 1; session <= 1000; ++session) {
    Participant who{std::string(200, 'x'), session, Role::client, true, {}};
    for (int i = 0; i < 64; ++i) who.counters.emplace_back(std::to_string(i) + std::string(60, 'c'), session);
    ASSERT_TRUE(broker.participants.hello(who, false, broker.now));
  }
  v1::ControlRequest request;
  std::vector<std::uint64_t> seen;
  for (bool more = true; more;) {
    request.mutable_stats();
    const auto reply = broker.send(request);
    ASSERT_LE(broker.replies.all[0].bytes, reply_bytes_max);
    EXPECT_EQ(reply.stats().counters_size() > 0, seen.empty());
    ASSERT_GT(reply.stats().participants_size(), 0);
    for (const auto& who : reply.stats().participants()) seen.push_back(who.session());
    more = reply.has_more();
    request.mutable_stats()->set_cursor(reply.more().cursor());
  }
  ASSERT_EQ(seen.size(), 1000u);
  for (std::uint64_t i = 0; i < 1000; ++i) ASSERT_EQ(seen[i], i + 1);
}

TEST_F(Service, RepliesBeforeItDrains) {
  v1::ControlRequest request;
  request.mutable_drain();
  const auto reply = broker.send(request);
  EXPECT_TRUE(reply.has_drain());
  EXPECT_TRUE(reply.has_complete());
  EXPECT_EQ(broker.drains, 1);
}

// ── listings ──

TEST_F(Service, ListsTopicsWithWhatIsStoredOfThem) {
  broker.publish("stock.MSFT", "39.81");
  broker.publish("stock.MSFT", "39.82");
  broker.publish("stock.AAPL", "1");
  broker.publish("clock", "1");
  const auto reply = broker.topics("stock.>");
  ASSERT_TRUE(reply.has_complete());
  ASSERT_EQ(reply.topics().topics_size(), 2);
  EXPECT_EQ(reply.topics().topics(0).name(), "stock.AAPL");
  const auto& topic = reply.topics().topics(1);
  EXPECT_EQ(topic.name(), "stock.MSFT");
  EXPECT_EQ(topic.offset(), 2u);
  EXPECT_EQ(topic.position(), 2u);
  EXPECT_EQ(topic.events(), 2u);
  EXPECT_EQ(topic.history_events(), 2u);
  EXPECT_GT(topic.value_bytes(), 5u);
  EXPECT_EQ(topic.received_ns(), 2'000'000);
}

TEST_F(Service, ListsManyTopicsInPagesThatMissNothing) {
  const std::string tail(200, 'x');
  for (int i = 0; i < 3000; ++i) broker.publish("t." + std::to_string(i) + "." + tail, "1");
  std::set<std::string> seen;
  std::string cursor;
  do {
    const auto reply = broker.topics(">", cursor);
    ASSERT_LE(broker.replies.all[0].bytes, reply_bytes_max);
    ASSERT_LE(reply.topics().topics_size(), 512);
    for (const auto& topic : reply.topics().topics()) EXPECT_TRUE(seen.insert(topic.name()).second);
    cursor = reply.more().cursor();
  } while (!cursor.empty());
  EXPECT_EQ(seen.size(), 3000u);
}

TEST_F(Service, TailsAreTheTopicsThatChangedAfterAPosition) {
  broker.publish("a", "1");
  broker.publish("b", "1");
  broker.publish("c", "1");
  broker.publish("a", "2");
  const auto reply = broker.tails({"a", "c", "x"}, 2);
  ASSERT_TRUE(reply.has_complete());
  ASSERT_EQ(reply.tails().tails_size(), 2);
  EXPECT_EQ(reply.tails().tails(0).topic(), "c");
  EXPECT_EQ(reply.tails().tails(1).topic(), "a");
  EXPECT_EQ(reply.tails().tails(1).position(), 4u);
  EXPECT_EQ(reply.tails().tails(1).offset(), 2u);
  EXPECT_EQ(broker.tails({">"}, 4).tails().tails_size(), 0);
}

TEST_F(Service, ManyTailsComeInPagesThatMissNothingAlthoughTheWorkIsBounded) {
  for (int i = 0; i < 3000; ++i) broker.publish("t." + std::to_string(i), "1");
  std::vector<std::string> patterns(1000, "nothing");
  patterns.emplace_back("t.2*");
  patterns.back() = "t.*";
  patterns.erase(patterns.begin());
  std::uint64_t seen = 0;
  int requests = 0;
  std::string cursor;
  do {
    const auto reply = broker.tails(patterns, 0, cursor);
    ASSERT_FALSE(reply.has_error()) << reply.error().text();
    for (const auto& tail : reply.tails().tails()) EXPECT_EQ(tail.position(), ++seen);
    cursor = reply.more().cursor();
    ASSERT_LT(++requests, 100);
  } while (!cursor.empty());
  EXPECT_EQ(seen, 3000u);
}

TEST_F(Service, RefusesTailsOfNoPatternAndOfTooMany) {
  EXPECT_EQ(broker.tails({}, 0).error().code(), "bad_pattern");
  EXPECT_EQ(broker.tails(std::vector<std::string>(1001, "a"), 0).error().code(), "too_large");
  EXPECT_EQ(broker.tails({"a", "b..c"}, 0).error().code(), "bad_pattern");
}

// ── types ──

TEST_F(Service, RegistersAndReturnsTypes) {
  v1::ControlRequest request;
  auto& file = *request.mutable_types()->mutable_register_files()->add_file();
  file.set_name("a.proto");
  file.set_package("shop");
  file.add_message_type()->set_name("A");
  auto reply = broker.send(request);
  ASSERT_TRUE(reply.has_complete()) << reply.error().text();
  EXPECT_EQ(reply.types().files().file_size(), 0);

  request.mutable_types()->Clear();
  request.mutable_types()->add_names("shop.A");
  request.mutable_types()->add_names("shop.B");
  reply = broker.send(request);
  ASSERT_EQ(reply.types().files().file_size(), 1);
  EXPECT_EQ(reply.types().files().file(0).name(), "a.proto");
  EXPECT_THAT(reply.types().unknown(), ElementsAre("shop.B"));
}

TEST_F(Service, ReportsWhyTypesAreRefused) {
  v1::ControlRequest request;
  auto& file = *request.mutable_types()->mutable_register_files()->add_file();
  file.set_name("a.proto");
  file.add_dependency("nowhere.proto");
  const auto nonsense = broker.send(request);
  EXPECT_EQ(nonsense.error().code(), "bad_types");
  EXPECT_THAT(nonsense.error().text(), HasSubstr("nowhere.proto"));

  file.clear_dependency();
  EXPECT_TRUE(broker.send(request).has_complete());
  file.set_package("other");
  EXPECT_EQ(broker.send(request).error().code(), "conflict");

  request.mutable_types()->Clear();
  for (int i = 0; i < 513; ++i) request.mutable_types()->add_names("x");
  EXPECT_EQ(broker.send(request).error().code(), "too_large");
}

TEST_F(Service, ManyTypesComeInPagesThatFit) {
  for (int i = 0; i < 100; ++i) {
    v1::ControlRequest request;
    auto& file = *request.mutable_types()->mutable_register_files()->add_file();
    file.set_name(std::to_string(i) + ".proto");
    file.set_package("p" + std::to_string(i));
    for (int k = 0; k < 1000; ++k) file.add_message_type()->set_name("Message" + std::to_string(k));
    ASSERT_TRUE(broker.send(request).has_complete());
  }
  int files = 0;
  std::string cursor;
  do {
    v1::ControlRequest request;
    request.mutable_types()->set_cursor(cursor);
    const auto reply = broker.send(request);
    ASSERT_LE(broker.replies.all[0].bytes, reply_bytes_max);
    files += reply.types().files().file_size();
    cursor = reply.more().cursor();
  } while (!cursor.empty());
  EXPECT_EQ(files, 100);
}

// ── bad requests ──

TEST_F(Service, ReportsTheVersionItExpects) {
  v1::ControlRequest request;
  request.set_version(7);
  request.mutable_stats();
  const auto reply = broker.send(request);
  EXPECT_EQ(reply.error().code(), "version");
  EXPECT_EQ(reply.error().text(), "version: expected 1, got 7");
}

TEST_F(Service, AnUnknownRequestIsRefused) {
  v1::ControlRequest request;
  EXPECT_EQ(broker.send(request).error().code(), "unknown_request");
  // Field 99, a request of a later version.
  const auto reply = broker.send_bytes("\x08\x01\x10\x05\x9a\x06\x02\x08\x01");
  EXPECT_EQ(reply.error().code(), "unknown_request");
  EXPECT_EQ(reply.id(), 5u);
}

TEST_F(Service, BytesThatAreNotARequestAreRefused) {
  const auto reply = broker.send_bytes("hello?");
  EXPECT_EQ(reply.error().code(), "malformed");
  EXPECT_THAT(reply.error().text(), HasSubstr("6 other bytes"));
  EXPECT_EQ(broker.send_bytes("").error().code(), "version");
}

TEST_F(Service, BadRequestsLogNothing) {
  testing::internal::CaptureStderr();
  broker.send_bytes("\x08\x01\x62\x03\x0a\x01\xff");                      // replay.pattern, not UTF-8
  broker.send_bytes("\x08\x01\x82\x01\x07\x0a\x05\x0a\x03\x0a\x01\xff");  // the name of a file of types
  EXPECT_EQ(broker.state.counters.control_refused_total, 2u);
  EXPECT_TRUE(log::standard_error().flush(std::chrono::seconds{5}));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_F(Service, CountsRequestsAndRefusals) {
  broker.hello("clock", 1);
  broker.send_bytes("hello?");
  broker.topics("a..b");
  EXPECT_EQ(broker.state.counters.control_requests_total, 3u);
  EXPECT_EQ(broker.state.counters.control_refused_total, 2u);
}

TEST_F(Service, BadPatternsGetAShortErrorOfOneLine) {
  for (const std::string& pattern :
       {std::string(), std::string("a..b"), std::string("a b"), std::string("a.>.b"),
        std::string(1u << 20, 'x'), std::string("\x1b[2J\n")}) {
    for (const auto& reply : {broker.retained(pattern), broker.replay(pattern, 0), broker.topics(pattern),
                              broker.tails({pattern}, 0)}) {
      EXPECT_EQ(reply.error().code(), "bad_pattern");
      EXPECT_LT(reply.error().text().size(), 500u);
      EXPECT_EQ(reply.error().text().find_first_of("\n\x1b"), std::string::npos);
    }
  }
}

TEST_F(Service, ForgedCursorsAreRefused) {
  for (int i = 0; i < 2000; ++i) broker.publish("t." + std::to_string(i), "1");
  const std::string real = broker.topics(">").more().cursor();
  ASSERT_FALSE(real.empty());
  const auto all = [&](const std::string& cursor) {
    v1::ControlRequest types;
    types.mutable_types()->set_cursor(cursor);
    v1::ControlRequest stats;
    stats.mutable_stats()->set_cursor(cursor);
    return std::vector{broker.retained(">", cursor), broker.replay(">", 0, cursor),
                       broker.tails({">"}, 0, cursor), broker.send(types), broker.send(stats)};
  };
  for (const std::string& cursor :
       {std::string("x"), real, std::string(100'000, 't'), std::string(64, '\0')}) {
    for (const auto& reply : all(cursor))
      EXPECT_EQ(reply.error().code(), "bad_cursor") << reply.DebugString();
  }
}

TEST_F(Service, CursorsOfAnEarlierIncarnationAreRefused) {
  for (int i = 0; i < 2000; ++i) broker.publish("t." + std::to_string(i), "1");
  const std::string topics = broker.topics(">").more().cursor();
  const std::string replay = broker.replay(">", 0).more().cursor();
  broker.state.stream += 1;
  EXPECT_EQ(broker.topics(">", topics).error().code(), "other_stream");
  v1::ControlRequest request;
  request.mutable_replay()->set_pattern(">");
  request.mutable_replay()->set_since_ns(0);
  request.mutable_replay()->set_cursor(replay);
  EXPECT_EQ(broker.send(request).error().code(), "other_stream");
}

TEST_F(Service, DamagedRequestsGetOneReplyEach) {
  broker.publish("a.b", "1");
  v1::ControlRequest request;
  request.set_version(1);
  request.mutable_replay()->set_pattern("a.>");
  request.mutable_replay()->mutable_after_position()->set_stream(ServiceFixture::stream);
  request.mutable_replay()->set_cursor("12345678901234567890");
  const std::string whole = request.SerializeAsString();
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) broker.send_bytes(whole.substr(0, bytes));
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string damaged = whole;
    for (int k = 0; k < 3; ++k) damaged[random() % damaged.size()] = static_cast<char>(random());
    broker.send_bytes(damaged);
  }
  for (int i = 0; i < 5000; ++i) {
    std::string noise(random() % 200, '\0');
    for (char& c : noise) c = static_cast<char>(random());
    broker.send_bytes(noise);
  }
}

}  // namespace
}  // namespace backplane::broker
