#include "cli/console/cluster_view.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;

BrokerStats a_cluster() {
  BrokerStats stats;
  stats.broker = "default";
  stats.stream = 0x51c0'e3a2'f4b7'0d19;
  stats.position = 120'411;
  ClusterInfo& cluster = stats.cluster.emplace();
  cluster.member = "h1";
  cluster.index = 4'711;
  cluster.first_index = 1'200;
  cluster.last_index = 4'711;
  cluster.checkpoint_index = 4'000;
  cluster.members = {{"h1", true, false, 4'711, 300ms},
                     {"h2", true, false, 4'709, 800ms},
                     {"h3", false, false, 3'102, 420s},
                     {"h4", false, true, 3'000, 500s}};
  cluster.servers = {
      {"b", true, true, false, 0}, {"a", false, true, false, 0}, {"c", false, false, true, 1'200}};
  cluster.quorum = true;
  return stats;
}

TEST(ClusterView, ShowsTheLogItsServersAndTheMembers) {
  EXPECT_THAT(
      cluster_lines(a_cluster()),
      ElementsAre("backplane   default",                               //
                  "stream      51c0e3a2f4b70d19 at position 120,411",  //
                  "log         index 1,200 to 4,711, checkpoint at 4,000",
                  "quorum      yes",  //
                  "servers     b (leader), a (current), c (offline, lag 1,200)",
                  "broker      h1: takes events",  //
                  "",                              //
                  "MEMBER  STATE  INDEX    LAG  LAST BATCH", "h1      up     4,711      0        0.3s",
                  "h2      up     4,709      2        0.8s", "h3      gone   3,102  1,609          7m",
                  "h4      left   3,000  1,711          8m"));
}

TEST(ClusterView, SaysWhyABrokerTakesNoEvents) {
  BrokerStats stats = a_cluster();
  stats.cluster->quorum = false;
  stats.cluster->servers.clear();
  stats.cluster->fault = "no response from the server\x1b[2J";
  const auto lines = cluster_lines(stats);
  EXPECT_THAT(lines, Contains("quorum      no: brokers take no events"));
  EXPECT_THAT(lines, Contains("servers     one, without copies"));
  EXPECT_THAT(lines, Contains("broker      h1: takes no events: no response from the server\\x1B[2J"));
}

TEST(ClusterView, IsOneJsonObject) {
  const std::string json = cluster_json(a_cluster());
  EXPECT_THAT(json, ::testing::StartsWith("{\"backplane\":\"default\",\"stream\":\"51c0e3a2f4b70d19\","));
  EXPECT_THAT(json, ::testing::HasSubstr(R"({"name":"c","state":"offline","lag":1200})"));
  EXPECT_THAT(json, EndsWith(R"({"name":"h4","state":"left","index":3000,"lag":1711,"silent_ms":500000}]})"));
}

}  // namespace
}  // namespace backplane::cli
