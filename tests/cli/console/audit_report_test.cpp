#include "cli/console/audit_report.hpp"

#include <gmock/gmock.h>

namespace backplane::cli {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

BrokerStats balanced() {
  BrokerStats stats;
  stats.broker = "default";
  stats.counters = {{"received_total", 12},
                    {"published_total", 9},
                    {"rejected_total.bad_topic", 1},
                    {"rejected_total.repeat", 2},
                    {"system_published_total", 4},
                    {"position", 13},
                    {"history_events", 10},
                    {"history_expired_events_total", 2},
                    {"history_evicted_events_total", 1},
                    {"history_refused_total", 0}};
  return stats;
}

constexpr TopicsTotal topics{.topics = 3, .events = 13, .first_position = 13, .last_position = 13};

TEST(AuditReport, TheLedgerOfABrokerBalances) {
  const auto all = ledgers(balanced(), topics);
  EXPECT_TRUE(all_balance(all));
  EXPECT_THAT(
      report(all),
      ElementsAre("broker default",                                      //
                  "  ok        received 12 = published 9 + rejected 3",  //
                  "  ok        position 13 = published 9 + system 4",    //
                  "  ok        position 13 = in history 10 + expired 2 + evicted 1 + refused by history 0",
                  "  ok        position 13 = events of 3 topics 13",  //
                  "all 4 equations balance"));
}

TEST(AuditReport, AStoreOnDiskHasAnEquationOfWhatItHasWritten) {
  BrokerStats stats = balanced();
  stats.counters.insert({{"store_info.file.1s", 1}, {"store_written_events_total", 13}});
  auto lines = report(ledgers(stats, topics));
  EXPECT_THAT(lines, Contains("  ok        position 13 = written to the store 13 + refused by history 0"));
  EXPECT_EQ(lines.back(), "all 5 equations balance");
  // After a restart.
  stats.counters["start_position"] = 6;
  stats.counters["history_missing_at_start"] = 0;
  stats.counters["published_total"] = 3;
  stats.counters["received_total"] = 6;
  stats.counters["store_written_events_total"] = 7;
  stats.counters["store_damaged_ranges"] = 2;
  lines = report(ledgers(stats, topics));
  EXPECT_THAT(lines, Contains("  ok        position 13 = written to the store 7 + refused by history 0 + "
                              "before the restart 6"));
  EXPECT_THAT(
      lines, Contains("  note      2 places in the store's files could not be read: see docs/durability.md"));
  EXPECT_EQ(lines.back(), "all 5 equations balance");
  stats.counters["store_written_events_total"] = 5;
  EXPECT_THAT(report(ledgers(stats, topics)),
              Contains(HasSubstr("OFF BY 2  position 13 = written to the store 5")));
}

TEST(AuditReport, AnEquationThatDoesNotBalanceShowsTheDifference) {
  BrokerStats stats = balanced();
  stats.counters["received_total"] = 15;
  stats.counters["system_published_total"] = 5;
  const auto all = ledgers(stats, topics);
  EXPECT_FALSE(all_balance(all));
  EXPECT_THAT(report(all), Contains("  OFF BY 3  received 15 = published 9 + rejected 3"));
  EXPECT_THAT(report(all), Contains("  OFF BY -1 position 13 = published 9 + system 5"));
  EXPECT_EQ(report(all).back(), "2 of 4 equations do not balance");
}

TEST(AuditReport, EventsThatArriveWhileTopicsAreReadMayBeInTheListOrNot) {
  // Position went from 100 to 120 during the list.
  for (const std::uint64_t events : {100u, 110u, 120u}) {
    const Equation equation{{"position", 120}, {{"events of 3 topics", events}}, 20};
    EXPECT_TRUE(equation.balances()) << events;
  }
  EXPECT_EQ((Equation{{"position", 120}, {{"events of 3 topics", 99}}, 20}).difference(), 1);
  EXPECT_EQ((Equation{{"position", 120}, {{"events of 3 topics", 121}}, 20}).difference(), -1);
}

TEST(AuditReport, AGatewayHasEquationsForItsClientsItsBrokerAndItsPublishing) {
  BrokerStats stats = balanced();
  ParticipantInfo gateway;
  gateway.name = "gateway@host7";
  gateway.role = ParticipantInfo::Role::gateway;
  gateway.up = true;
  gateway.counters = {{"matched_total", 100},
                      {"delivered_total", 80},
                      {"conflated_total", 5},
                      {"skipped_total", 1},
                      {"pending", 2},
                      {"dropped_total.slow_consumer", 11},
                      {"dropped_total.client_gone", 1},
                      {"expected_total", 50},
                      {"seen_total", 38},
                      {"unwanted_total", 1},
                      {"awaited", 1},
                      {"recovered_total", 4},
                      {"lost_total.history_gone", 5},
                      {"lost_total.recovery_timeout", 1},
                      {"publish_received_total", 9},
                      {"publish_admitted_total", 6},
                      {"publish_refused_total", 1},
                      {"publish_waiting", 2}};
  stats.participants = {gateway};
  const auto all = ledgers(stats, topics);
  EXPECT_TRUE(all_balance(all));
  const auto lines = report(all);
  EXPECT_THAT(lines, Contains("gateway gateway@host7"));
  EXPECT_THAT(lines, Contains("  ok        matched 100 = delivered 80 + conflated 5 + "
                              "dropped.client_gone 1 + dropped.slow_consumer 11 + skipped 1 + pending 2"));
  EXPECT_THAT(lines, Contains("  ok        expected 50 = seen 38 + recovered 4 + lost.history_gone 5 + "
                              "lost.recovery_timeout 1 + unwanted 1 + awaited 1"));
  EXPECT_THAT(lines, Contains("  ok        publish_received 9 = publish_admitted 6 + publish_refused 1 + "
                              "publish_waiting 2"));
  EXPECT_THAT(lines,
              Contains("  note      11 events were dropped, and announced, because clients were too slow"));
  stats.participants.front().counters["pending"] = 0;
  EXPECT_THAT(report(ledgers(stats, topics)), Contains(HasSubstr("OFF BY 2  matched 100")));
}

TEST(AuditReport, AGatewayIsListedOnceAlthoughItIsAPublisherToo) {
  BrokerStats stats = balanced();
  ParticipantInfo publisher;
  publisher.name = "gateway@host7";
  publisher.role = ParticipantInfo::Role::publisher;
  publisher.up = true;
  publisher.counters = {{"offered", 3}, {"confirmed", 2}};
  ParticipantInfo gateway = publisher;
  gateway.role = ParticipantInfo::Role::gateway;
  gateway.counters = {{"matched_total", 0}};
  ParticipantInfo clock = publisher;
  clock.name = "clock@host7";
  stats.participants = {publisher, gateway, clock};
  EXPECT_THAT(report(ledgers(stats, topics)),
              AllOf(Contains("gateway gateway@host7"), Not(Contains("publisher gateway@host7")),
                    Contains("publisher clock@host7"),
                    Contains("  ok        offered 3 = confirmed 2 + waiting 1").Times(2)));
  stats.participants = {publisher, clock};
  EXPECT_THAT(report(ledgers(stats, topics)), Contains("publisher gateway@host7"));
  stats.participants = {gateway, publisher, gateway, publisher};
  EXPECT_THAT(report(ledgers(stats, topics)),
              AllOf(Contains("gateway gateway@host7").Times(2), Not(Contains("publisher gateway@host7"))));
}

TEST(AuditReport, AParticipantThatIsDownIsNotedButNotChecked) {
  BrokerStats stats = balanced();
  ParticipantInfo gone;
  gone.name = "clock@host7";
  gone.role = ParticipantInfo::Role::publisher;
  gone.counters = {{"offered", 1}, {"confirmed", 5}};
  stats.participants = {gone};
  const auto lines = report(ledgers(stats, topics));
  EXPECT_THAT(lines, Not(Contains("publisher clock@host7")));
  EXPECT_THAT(lines, Contains("  note      1 participant down, not checked"));
}

TEST(AuditReport, AClientThatIsDownIsNotNoted) {
  BrokerStats stats = balanced();
  ParticipantInfo gone;
  gone.name = "sub@host7";
  gone.role = ParticipantInfo::Role::client;
  stats.participants = {gone};
  EXPECT_THAT(report(ledgers(stats, topics)), Not(Contains(HasSubstr("down"))));
}

TEST(AuditReport, APublisherCannotHaveMoreEventsConfirmedThanOffered) {
  BrokerStats stats = balanced();
  ParticipantInfo clock;
  clock.name = "clock@host7";
  clock.role = ParticipantInfo::Role::publisher;
  clock.up = true;
  clock.counters = {{"offered", 10}, {"confirmed", 8}};
  stats.participants = {clock};
  EXPECT_THAT(report(ledgers(stats, topics)), Contains("  ok        offered 10 = confirmed 8 + waiting 2"));
  stats.participants.front().counters["confirmed"] = 11;
  EXPECT_THAT(report(ledgers(stats, topics)), Contains("  OFF BY -1 offered 10 = confirmed 11 + waiting 0"));
}

TEST(AuditReport, LossesAreNotedAlthoughTheEquationsBalance) {
  BrokerStats stats = balanced();
  stats.counters["lost_before_total"] = 1'234;
  EXPECT_THAT(report(ledgers(stats, topics)),
              Contains("  note      1,234 events were lost before they reached the broker"));
}

TEST(AuditReport, ANameWithALineBreakCannotForgeALine) {
  BrokerStats stats = balanced();
  stats.broker = "x\nall 9 equations balance";
  EXPECT_EQ(report(ledgers(stats, topics)).front(), "broker x\\nall 9 equations balance");
}

}  // namespace
}  // namespace backplane::cli
