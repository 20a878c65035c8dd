#include "broker/operations/exposition.hpp"

#include <map>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/state/memory_history.hpp"

namespace backplane::broker {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Clock = BackplaneSnapshot::Clock;

BackplaneSnapshot snapshot_named(const std::string& name) {
  BackplaneSnapshot snapshot;
  snapshot.name = name;
  snapshot.taken = Clock::time_point{} + 1h;
  return snapshot;
}

TEST(Exposition, TheLedgerIsOnThePage) {
  BackplaneSnapshot snapshot = snapshot_named("default");
  snapshot.counters.received_total = 10;
  snapshot.counters.published_total = 7;
  snapshot.counters.rejected_total[static_cast<std::size_t>(Refusal::repeat)] = 3;
  const std::string text = expose_snapshots({&snapshot, 1});
  EXPECT_THAT(text, HasSubstr("# TYPE backplane_broker_received_total counter\n"));
  EXPECT_THAT(text, HasSubstr("backplane_broker_received_total{backplane=\"default\"} 10\n"));
  EXPECT_THAT(text, HasSubstr("backplane_broker_published_total{backplane=\"default\"} 7\n"));
  EXPECT_THAT(text,
              HasSubstr("backplane_broker_rejected_total{backplane=\"default\",reason=\"repeat\"} 3\n"));
  EXPECT_THAT(text,
              HasSubstr("backplane_broker_rejected_total{backplane=\"default\",reason=\"bad_topic\"} 0\n"));
  EXPECT_EQ(text.find("reason=\"none\""), std::string::npos);
}

TEST(Exposition, AllBackplanesShareAFamily) {
  const std::vector<BackplaneSnapshot> snapshots{snapshot_named("a"), snapshot_named("b")};
  std::set<std::string> names;
  for (const auto& family : families(snapshots)) {
    EXPECT_TRUE(names.insert(family.name).second) << family.name;
    EXPECT_FALSE(family.help.empty()) << family.name;
    EXPECT_EQ(family.kind == metrics::Kind::counter, family.name.ends_with("_total")) << family.name;
    EXPECT_GE(family.samples.size(), 2u) << family.name;
  }
}

TEST(Exposition, OfNoBackplaneIsStillAPage) {
  EXPECT_THAT(expose_snapshots({}), HasSubstr("# TYPE"));
}

TEST(NamedCounters, MatchTheMetricsPage) {
  BackplaneSnapshot snapshot = snapshot_named("default");
  snapshot.counters.subscriptions_total = 5;
  snapshot.counters.unsubscriptions_total = 2;
  snapshot.participants.up[static_cast<std::size_t>(Role::gateway)] = 1;
  snapshot.position = 99;
  std::map<std::string, std::uint64_t> named;
  for (auto& [name, value] : named_counters(snapshot)) EXPECT_TRUE(named.emplace(name, value).second) << name;
  EXPECT_EQ(named.at("subscriptions"), 3u);
  EXPECT_EQ(named.at("position"), 99u);
  EXPECT_EQ(named.at("participants.gateway.up"), 1u);
  EXPECT_EQ(named.at("rejected_total.topics_full"), 0u);
  std::size_t samples = 0;
  for (const auto& family : families({&snapshot, 1})) samples += family.samples.size();
  EXPECT_EQ(named.size(), samples + 1) << "store_write_seconds is a count and a sum";
}

TEST(Exposition, TheTimesOfTheStoreAreHistograms) {
  BackplaneSnapshot snapshot = snapshot_named("default");
  snapshot.history.syncs.add(3'000'000);
  snapshot.history.syncs.add(4'000'000);
  snapshot.history.writes.add(200'000);
  const std::string text = expose_snapshots({&snapshot, 1});
  EXPECT_THAT(text, HasSubstr("# TYPE backplane_broker_store_sync_seconds histogram\n"));
  EXPECT_THAT(
      text, HasSubstr("backplane_broker_store_sync_seconds_bucket{backplane=\"default\",le=\"0.005\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("backplane_broker_store_sync_seconds_count{backplane=\"default\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("backplane_broker_store_write_seconds_count{backplane=\"default\"} 1\n"));
  EXPECT_THAT(named_counters(snapshot),
              testing::IsSupersetOf({testing::Pair("store_syncs_total", 2u),
                                     testing::Pair("store_sync_nanoseconds_total", 7'000'000u),
                                     testing::Pair("store_writes_total", 1u),
                                     testing::Pair("store_write_nanoseconds_total", 200'000u)}));
}

TEST(Exposition, TheKindOfTheStoreIsALabel) {
  BackplaneSnapshot snapshot = snapshot_named("default");
  EXPECT_THAT(named_counters(snapshot), testing::Contains(testing::Pair("store_info.memory", 1u)));
  snapshot.store_kind = "file";
  snapshot.store_sync = "1s";
  EXPECT_THAT(expose_snapshots({&snapshot, 1}),
              HasSubstr("backplane_broker_store_info{backplane=\"default\",store=\"file\",sync=\"1s\"} 1\n"));
  EXPECT_THAT(named_counters(snapshot), testing::Contains(testing::Pair("store_info.file.1s", 1u)));
}

TEST(NamedCounters, TimesAreSecondsOnTheMetricsPageAndWholeNanosecondsElsewhere) {
  BackplaneSnapshot snapshot = snapshot_named("default");
  snapshot.counters.egress_wait_ns_total = 1'500'000'000;
  EXPECT_THAT(expose_snapshots({&snapshot, 1}),
              HasSubstr("backplane_broker_egress_wait_seconds_total{backplane=\"default\"} 1.5\n"));
  const auto named = named_counters(snapshot);
  EXPECT_THAT(named, testing::Contains(testing::Pair("egress_wait_nanoseconds_total", 1'500'000'000u)));
}

TEST(Snapshot, CoversTheWholeState) {
  BackplaneState state("default", 100, 100, std::make_unique<MemoryHistory>(HistoryLimits{}));
  Participants participants([](const std::string&, const v1::SourceStatus&) {});
  ASSERT_TRUE(participants.hello({"gateway", 1, Role::gateway, true, {}}, false, Clock::time_point{} + 1h));
  state.stream = 7;
  state.position = 3;
  state.draining = true;
  state.counters.turns_total = 4;
  ASSERT_NE(state.topics.find_or_add("a"), nullptr);
  bool is_new = false;
  state.sessions.use("clock", 1, is_new).sequence = 1;
  const BackplaneSnapshot snapshot = take_snapshot(state, participants, Clock::time_point{} + 1h);
  EXPECT_EQ(snapshot.name, "default");
  EXPECT_EQ(snapshot.stream, 7u);
  EXPECT_EQ(snapshot.position, 3u);
  EXPECT_EQ(snapshot.topics, 1u);
  EXPECT_EQ(snapshot.sessions, 1u);
  EXPECT_EQ(snapshot.counters.turns_total, 4u);
  EXPECT_EQ(snapshot.participants.up[static_cast<std::size_t>(Role::gateway)], 1u);
  EXPECT_TRUE(snapshot.draining);
}

TEST(Readiness, ALoopIsStuckThatHasShownNothingForTenSeconds) {
  BackplaneSnapshot snapshot = snapshot_named("default");
  const auto now = snapshot.taken;
  EXPECT_FALSE(is_stuck(BackplaneSnapshot{}, now));
  EXPECT_FALSE(is_stuck(snapshot, now + 9s));
  EXPECT_TRUE(is_stuck(snapshot, now + 10s));
  snapshot.draining = true;
  EXPECT_TRUE(is_stuck(snapshot, now + 10s));
}

TEST(Readiness, SaysWhyItIsNotReady) {
  BackplaneSnapshot snapshot = snapshot_named("default");
  const auto now = snapshot.taken;
  EXPECT_EQ(not_ready_reason(BackplaneSnapshot{}, now), "starting");
  EXPECT_EQ(not_ready_reason(snapshot, now), "");
  EXPECT_EQ(not_ready_reason(snapshot, now + 9s), "");
  EXPECT_EQ(not_ready_reason(snapshot, now + 10s),
            "the loop of backplane \"default\" has been stuck for 10 s");
  snapshot.store = {HistoryStore::Health::full, "cannot write x.log: No space left on device"};
  EXPECT_EQ(not_ready_reason(snapshot, now),
            "the store of backplane \"default\" is full: cannot write x.log: No space left on device");
  snapshot.draining = true;
  EXPECT_EQ(not_ready_reason(snapshot, now), "backplane \"default\" is draining");
}

TEST(SnapshotBoard, AnyThreadGetsTheLatestSnapshot) {
  SnapshotBoard board;
  EXPECT_EQ(board.latest().name, "");
  std::thread loop([&] {
    for (std::uint64_t position = 1; position <= 2000; ++position) {
      BackplaneSnapshot snapshot = snapshot_named("default");
      snapshot.position = position;
      snapshot.counters.received_total = position;
      board.publish(std::move(snapshot));
    }
  });
  std::uint64_t before = 0;
  while (before < 2000) {
    const BackplaneSnapshot seen = board.latest();
    ASSERT_GE(seen.position, before);
    ASSERT_EQ(seen.position, seen.counters.received_total);  // never a mixture of two snapshots
    before = seen.position;
  }
  loop.join();
}

}  // namespace
}  // namespace backplane::broker
