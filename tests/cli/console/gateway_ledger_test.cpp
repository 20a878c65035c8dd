// The counters of a gateway, as `audit` adds them up: it finds a counter that missed an event.
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "cli/console/audit_report.hpp"
#include "gateway/operations/figures.hpp"
#include "tests/fanout/shard_fixture.hpp"

namespace backplane::cli {
namespace {

using testing::Contains;
using testing::HasSubstr;

BrokerStats stats_of(const gateway::Figures& figures) {
  ParticipantInfo info;
  info.name = "gateway@host7";
  info.role = ParticipantInfo::Role::gateway;
  info.up = true;
  for (const auto& [name, value] : gateway::hello_counters(figures)) info.counters.emplace(name, value);
  BrokerStats stats;
  stats.broker = "default";
  stats.participants = {info};
  return stats;
}

bool balances(const gateway::Figures& figures) {
  return all_balance(ledgers(stats_of(figures), {}));
}

/// The figures of an engine with clients that are slow, disconnect, unsubscribe, join with a replay, or have
/// an interval.
gateway::Figures busy_engine() {
  using namespace fanout;
  ShardOptions options;
  options.client.backlog_bytes_max = 250;
  fanout::ShardRig stage(options);
  for (std::uint32_t topic = 1; topic <= 2; ++topic) {
    stage.shard.set_route(RouteId{topic}, {AudienceId{1}, AudienceId{2}});
  }
  stage.shard.set_interval(AudienceId{2}, std::chrono::seconds{1});
  std::vector<std::shared_ptr<Peer>> clients;
  for (std::uint64_t id = 1; id <= 7; ++id) clients.push_back(stage.add(id));
  for (const std::uint64_t id : {1u, 2u, 3u, 4u}) stage.shard.join(ClientId{id}, AudienceId{1});
  stage.client(2).set_policy(Policy::latest);
  for (const std::size_t slow : {0u, 1u, 2u}) clients[slow]->stream.room = 10;
  stage.shard.join(ClientId{5}, AudienceId{2});
  stage.shard.join_buffered(ClientId{6}, AudienceId{1});  // has received a part of it by a replay
  stage.shard.join_buffered(ClientId{7}, AudienceId{1});  // until its join buffer is full
  for (std::uint64_t offset = 1; offset <= 60; ++offset) {
    stage.append_at(1 + offset % 2, (offset + 1) / 2, StreamId{0}, offset);
    stage.turn();
    if (offset != 3) continue;
    auto skip = std::make_shared<Skip>();
    skip->add_stream(StreamId{0}, 2);
    stage.shard.release_join_buffer(ClientId{6}, AudienceId{1}, std::move(skip));
  }
  stage.shard.leave(ClientId{5}, AudienceId{2});
  clients[2]->stream.error = ECONNRESET;
  stage.client(3).on_writable();
  stage.flush();
  gateway::Figures figures;
  static_cast<DeliveryLedger&>(figures.engine) = stage.shard.ledger();
  return figures;
}

TEST(GatewayLedger, OfABusyEngineBalancesAndFindsAnErrorInAnyCounter) {
  const gateway::Figures figures = busy_engine();
  EXPECT_TRUE(balances(figures)) << testing::PrintToString(report(ledgers(stats_of(figures), {})));
  fanout::DeliveryLedger broken = figures.engine;
  fanout::DeliveryLedger::each(broken, figures.engine, [&](std::uint64_t& counter, std::uint64_t counted) {
    EXPECT_GT(counted, 0u) << "each counter was used";
    ++counter;
    gateway::Figures wrong = figures;
    static_cast<fanout::DeliveryLedger&>(wrong.engine) = broken;
    EXPECT_FALSE(balances(wrong));
    --counter;
  });
}

TEST(GatewayLedger, OfReadingAndPublishingBalancesAndFindsAnErrorInAnyCounter) {
  gateway::Figures figures;
  figures.upstream.expected = 70;
  figures.upstream.seen = 40;
  figures.upstream.recovered = 9;
  figures.upstream.lost_history_gone = 8;
  figures.upstream.lost_recovery_timeout = 7;
  figures.upstream.unwanted = 4;
  figures.upstream.awaited = 2;
  figures.published = {10, 5, 3, 2};
  EXPECT_TRUE(balances(figures));
  const std::vector<std::function<std::uint64_t*(gateway::Figures&)>> counters{
      [](auto& f) { return &f.upstream.expected; },
      [](auto& f) { return &f.upstream.seen; },
      [](auto& f) { return &f.upstream.recovered; },
      [](auto& f) { return &f.upstream.lost_history_gone; },
      [](auto& f) { return &f.upstream.lost_recovery_timeout; },
      [](auto& f) { return &f.upstream.unwanted; },
      [](auto& f) { return &f.upstream.awaited; },
      [](auto& f) { return &f.published.received; },
      [](auto& f) { return &f.published.admitted; },
      [](auto& f) { return &f.published.refused; },
      [](auto& f) { return &f.published.waiting; }};
  for (const auto& counter : counters) {
    gateway::Figures wrong = figures;
    ++*counter(wrong);
    EXPECT_FALSE(balances(wrong)) << &counter - counters.data();
    EXPECT_THAT(report(ledgers(stats_of(wrong), {})), Contains(HasSubstr("OFF BY")));
  }
}

}  // namespace
}  // namespace backplane::cli
