#include "cli/console/top_view.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "cli/console/table.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

ParticipantInfo who(ParticipantInfo::Role role, const std::string& name,
                    std::map<std::string, std::uint64_t> counters) {
  ParticipantInfo info;
  info.role = role;
  info.name = name;
  info.up = true;
  info.counters = std::move(counters);
  return info;
}

/// A broker with so many topics, gateways and publishers, with counters in proportion to `factor`.
BrokerReading reading(std::size_t topics, std::size_t gateways, std::size_t publishers,
                      std::uint64_t factor) {
  BrokerReading reading;
  reading.endpoint = "tcp://127.0.0.1:5572";
  reading.taken = std::chrono::steady_clock::time_point{std::chrono::seconds(factor)};
  reading.topics.taken = reading.taken;
  reading.topics.unix_ns = 3600'000'000'000 + static_cast<std::int64_t>(factor);
  reading.topics.all = true;
  reading.stats.broker = "default";
  reading.stats.counters = {{"received_total", 1000 * factor},
                            {"published_bytes_total", 102'400 * factor},
                            {"rejected_total.repeat", 3},
                            {"lossy_sends_total", 2},
                            {"topics", topics},
                            {"subscriptions", 4},
                            {"history_bytes", 5u << 20}};
  for (std::size_t at = 0; at < topics; ++at) {
    TopicInfo topic;
    topic.name = fmt::format("topic.{:03}", at);
    topic.events = topic.offset = at * factor;
    reading.topics.topics.push_back(topic);
  }
  for (std::size_t at = 0; at < gateways; ++at) {
    reading.stats.participants.push_back(
        who(ParticipantInfo::Role::gateway, fmt::format("gateway{}", at),
            {{"clients", 7}, {"delivered_total", 500 * factor}, {"dropped_total.slow_consumer", 1}}));
  }
  for (std::size_t at = 0; at < publishers; ++at) {
    reading.stats.participants.push_back(who(ParticipantInfo::Role::publisher, fmt::format("publisher{}", at),
                                             {{"offered", 10 * factor}, {"confirmed", 10 * factor - 1}}));
  }
  return reading;
}

std::vector<std::string> text(const std::vector<ScreenLine>& lines) {
  std::vector<std::string> all;
  for (const ScreenLine& line : lines) all.push_back(line.text);
  return all;
}

std::string joined(const std::vector<ScreenLine>& lines) {
  return fmt::format("{}", fmt::join(text(lines), "\n"));
}

TEST(TopPicture, ShowsBrokersGatewaysPublishersAndTopicsWithRates) {
  const auto lines = top_picture({reading(2, 1, 1, 2)}, {reading(2, 1, 1, 1)}, {24, 80}, 1s);
  EXPECT_EQ(joined(lines),
            "backplane top   1 publisher, 1 gateway, 0 clients up   every 1s, q quits\n"
            "\n"
            "BROKER                IN/s  BYTES/s  REJECTED  DROPS  TOPICS  SUBS   HISTORY  UP\n"
            "default 127.0.0.1:5…  1000  100 KiB         3      2       2     4  5.00 MiB  1h\n"
            "\n"
            "GATEWAY   CLIENTS  SUBS  OUT/s   OUT  DROPS  BACKLOG  STATE\n"
            "gateway0        7     0    500  1000      1      0 B  up\n"
            "\n"
            "PUBLISHER OR CLIENT  ROLE       EVENTS/s  EVENTS  WAITING  REFUSED  STATE\n"
            "publisher0           publisher        10      20        1        0  up\n"
            "\n"
            "BUSIEST TOPICS  RATE/s  BYTES/s  EVENTS  BYTES  AGE\n"
            "topic.001          1.0      0 B       2    0 B   1h\n"
            "topic.000            0      0 B       0    0 B   1h");
}

TEST(TopPicture, AStoreOnDiskHasASectionOfItsOwn) {
  BrokerReading before = reading(0, 0, 0, 1);
  BrokerReading now = reading(0, 0, 0, 2);
  before.stats.counters.insert({{"store_info.file.1s", 1},
                                {"store_written_bytes_total", 1000},
                                {"store_syncs_total", 10},
                                {"store_sync_nanoseconds_total", 90'000'000}});
  now.stats.counters.insert({{"store_info.file.1s", 1},
                             {"store_bytes", 5u << 20},
                             {"store_bytes_max", std::uint64_t{16} << 30},
                             {"store_segments", 3},
                             {"history_events", 12'345},
                             {"store_oldest_seconds", 1800},
                             {"store_written_bytes_total", 3048},
                             {"store_syncs_total", 12},
                             {"store_sync_nanoseconds_total", 93'000'000},
                             {"store_queued_bytes", 512}});
  const auto lines = text(top_picture({now}, {before}, {24, 120}, 1s));
  EXPECT_THAT(lines, testing::IsSupersetOf({"STORE                   SYNC     BYTES     LIMIT  SEGMENTS  "
                                            "EVENTS  OLDEST  WRITTEN/s  SYNC TIME  "
                                            "QUEUE  DAMAGE  STATE",
                                            "default 127.0.0.1:5572  1s    5.00 MiB  16.0 GiB         3   "
                                            "12.3k     30m   2.00 KiB     1.5 ms  "
                                            "512 B       0  ok"}));
  now.stats.counters["store_full"] = 1;
  now.stats.counters["store_damaged_ranges"] = 2;
  EXPECT_THAT(
      text(top_picture({now}, {}, {24, 120}, 1s)),
      testing::Contains(testing::AllOf(HasSubstr("  2  full"), HasSubstr("default 127.0.0.1:5572  1s"))));
}

TEST(TopPicture, LinksHaveASectionOfTheirOwn) {
  using Role = ParticipantInfo::Role;
  BrokerReading before = reading(0, 0, 1, 1);
  BrokerReading now = reading(0, 0, 1, 2);
  const auto add = [](BrokerReading& to, Role role, const std::string& name, std::uint64_t passed, bool up) {
    ParticipantInfo link = who(role, name,
                               {{"link_passed_total", passed},
                                {"link_lost_total", 151},
                                {"link_refused_total", 2},
                                {"link_lag_positions", 12'345},
                                {"link_behind_milliseconds", 3500}});
    link.up = up;
    to.stats.participants.push_back(link);
  };
  add(before, Role::publisher, "link-1a2b3c4d", 10, true);
  add(now, Role::publisher, "link-1a2b3c4d", 30, true);
  add(now, Role::client, "link-5e6f7a8b", 7, false);
  const auto lines = text(top_picture({now}, {before}, {24, 100}, 1s));
  EXPECT_THAT(lines, testing::IsSupersetOf(
                         {"LINK           DIRECTION  EVENTS/s  EVENTS    LAG  BEHIND  LOST  REFUSED  STATE",
                          "link-1a2b3c4d  in               20      30  12.3k    3.5s   151        2  up",
                          "link-5e6f7a8b  out               0       7      -       -   151        2  down"}));
  EXPECT_THAT(lines, testing::Contains(testing::StartsWith("publisher0  ")));
  EXPECT_EQ(std::ranges::count_if(lines, [](const auto& line) { return line.starts_with("link-"); }), 2);
}

TEST(TopPicture, FitsAScreenOfAnySize) {
  const auto before = reading(500, 20, 50, 1);
  const auto now = reading(500, 20, 50, 2);
  for (const ScreenSize size :
       {ScreenSize{24, 80}, ScreenSize{10, 40}, ScreenSize{3, 20}, ScreenSize{1, 1}, ScreenSize{60, 200}}) {
    const auto lines = top_picture({now}, {before}, size, 1s);
    EXPECT_LE(lines.size(), size.rows);
    for (std::size_t at = 1; at < lines.size(); ++at) {
      EXPECT_LE(display_width(lines[at].text), size.columns) << lines[at].text;
    }
  }
}

TEST(TopPicture, OnASmallScreenEachSectionGetsItsMinimum) {
  const std::string picture =
      joined(top_picture({reading(500, 20, 50, 2)}, {reading(500, 20, 50, 1)}, {24, 80}, 1s));
  EXPECT_THAT(picture, HasSubstr("default"));
  EXPECT_THAT(picture, HasSubstr("… and 18 more"));
  EXPECT_THAT(picture, HasSubstr("… and 47 more"));
  EXPECT_THAT(picture, HasSubstr("topic.499")) << "the busiest";
}

TEST(TopPicture, AProblemIsShownAboveTheBrokersLastFigures) {
  BrokerReading silent = reading(2, 1, 0, 2);
  silent.problem = "cannot reach a broker at tcp://127.0.0.1:5572 within 5 s";
  const auto lines = top_picture({silent}, {}, {24, 80}, 1s);
  EXPECT_EQ(lines[1].text, silent.problem);
  EXPECT_EQ(lines[1].style, ScreenLine::Style::alarm);
  EXPECT_THAT(joined(lines), HasSubstr("default"));
}

TEST(TopPicture, GatewaysThatAreDownAreListedLast) {
  BrokerReading now = reading(0, 2, 0, 2);
  now.stats.participants.front().up = false;
  const auto lines = text(top_picture({now}, {}, {24, 80}, 1s));
  const auto at = [&](std::string_view name) {
    return std::find_if(lines.begin(), lines.end(),
                        [&](const std::string& line) { return line.starts_with(name); });
  };
  EXPECT_LT(at("gateway1"), at("gateway0"));
  EXPECT_THAT(*at("gateway0"), testing::EndsWith("down"));
}

TEST(TopPicture, ABrokerThatRestartedHasNoRates) {
  BrokerReading now = reading(1, 0, 0, 2);
  now.stats.stream = 99;
  const auto lines = text(top_picture({now}, {reading(1, 0, 0, 1)}, {24, 80}, 1s));
  const auto broker = std::find_if(lines.begin(), lines.end(),
                                   [](const std::string& line) { return line.starts_with("default "); });
  ASSERT_NE(broker, lines.end());
  EXPECT_THAT(*broker, HasSubstr("     0      0 B  "));
}

TEST(TopView, NamesOnceEachWhoServesOtherMachinesWithoutAuthentication) {
  BrokerReading first = reading(1, 2, 1, 2);
  BrokerReading second = reading(1, 2, 1, 2);
  second.stats.broker = "other";
  EXPECT_THAT(top_picture({first, second}, {}, {24, 120}, 1s)[1].text, testing::Not(HasSubstr("insecure")));
  first.stats.counters["insecure"] = 1;
  for (BrokerReading* each : {&first, &second}) {
    each->stats.participants[0].counters["insecure"] = 1;
    each->stats.participants[1].counters["insecure"] = 1;
    each->stats.participants[1].up = false;
  }
  EXPECT_EQ(top_picture({first, second}, {}, {24, 120}, 1s)[1].text,
            "insecure: clients of every address are served without authentication: default, gateway0");
}

TEST(TopView, DoesNotSayThatClientsOfAPolicyAreNotAuthenticated) {
  BrokerReading of = reading(1, 2, 0, 2);
  of.stats.counters["insecure"] = 1;
  of.stats.counters["policy_users"] = 3;
  for (ParticipantInfo& gateway : of.stats.participants) gateway.counters["insecure"] = 1;
  of.stats.participants[1].counters["policy"] = 1;
  const auto lines = text(top_picture({of}, {}, {24, 120}, 1s));
  EXPECT_EQ(lines[1], "insecure: clients of every address are served without authentication: gateway0");
  EXPECT_EQ(lines[2], "insecure: /metrics may be served to every address, without authentication: default");
  EXPECT_EQ(lines[3], "insecure: clients of every address are served without encryption: gateway1");
  of.stats.counters["insecure"] = 0;
  of.stats.participants[0].counters["insecure"] = of.stats.participants[1].counters["insecure"] = 0;
  EXPECT_THAT(joined(top_picture({of}, {}, {24, 120}, 1s)), testing::Not(HasSubstr("insecure")));
}

}  // namespace
}  // namespace backplane::cli
