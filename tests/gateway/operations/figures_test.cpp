// docs/operations.md and the code have the same metrics of a gateway, and the ledgers balance.
#include "gateway/operations/figures.hpp"

#include <array>
#include <cstddef>
#include <fstream>
#include <map>
#include <regex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

namespace backplane::gateway {
namespace {

struct Row {
  std::string kind;
  std::string labels;
};

/// The rows of the gateway's table: | `backplane_gateway_name` | kind | labels | meaning |.
std::map<std::string, Row> documented_figures() {
  std::ifstream file(BACKPLANE_OPERATIONS_MD);
  EXPECT_TRUE(file.is_open()) << BACKPLANE_OPERATIONS_MD;
  const std::regex row(R"(^\| `(backplane_gateway_[a-z_]+)` \| (counter|gauge) \| (.*?) \| (.+) \|$)");
  std::map<std::string, Row> rows;
  for (std::string line; std::getline(file, line);) {
    std::smatch found;
    if (!std::regex_match(line, found, row)) continue;
    EXPECT_TRUE(rows.emplace(found[1], Row{found[2], found[3]}).second)
        << found[1] << ": expected once, got it twice";
  }
  return rows;
}

std::map<std::string, metrics::Family> exposed_figures(const Figures& figures = {}) {
  std::map<std::string, metrics::Family> all;
  for (auto& family : families({&figures, 1})) {
    EXPECT_TRUE(all.emplace(family.name, family).second) << family.name << ": expected once, got it twice";
  }
  return all;
}

TEST(GatewayOperationsPage, DescribesEveryMetric) {
  const auto documented = documented_figures();
  for (const auto& [name, family] : exposed_figures()) {
    const auto row = documented.find(name);
    ASSERT_NE(row, documented.end()) << name << " is exposed but not in docs/operations.md";
    EXPECT_EQ(row->second.kind, family.kind == metrics::Kind::counter ? "counter" : "gauge") << name;
    const auto& labels = family.samples.at(0).labels;
    EXPECT_EQ(row->second.labels, labels.size() > 1 ? "`" + labels.at(1).first + "`" : "") << name;
    EXPECT_FALSE(family.help.empty()) << name;
  }
}

TEST(GatewayOperationsPage, DescribesNoOtherMetric) {
  const auto exposed = exposed_figures();
  for (const auto& [name, row] : documented_figures()) {
    EXPECT_TRUE(exposed.contains(name)) << name << " is in docs/operations.md but not exposed";
  }
}

double sum(const metrics::Family& family) {
  double all = 0;
  for (const metrics::Sample& sample : family.samples) all += sample.value;
  return all;
}

TEST(GatewayFigures, TheLedgersAddUp) {
  Figures figures;
  figures.engine.matched = 100;
  figures.engine.delivered = 50;
  figures.engine.conflated = 20;
  figures.engine.dropped = 10;
  figures.engine.client_gone = 5;
  figures.engine.unsubscribed = 1;
  figures.engine.join_buffer_full = 2;
  figures.engine.skipped = 3;
  figures.engine.pending = 9;
  figures.upstream.expected = 19;
  figures.upstream.unwanted = 2;
  figures.upstream.awaited = 4;
  figures.upstream.seen = 7;
  figures.upstream.recovered = 3;
  figures.upstream.lost_history_gone = 2;
  figures.upstream.lost_recovery_timeout = 1;
  auto all = exposed_figures(figures);
  const auto of = [&](const std::string& name) { return sum(all.at("backplane_gateway_" + name)); };
  EXPECT_EQ(of("matched_total"), of("delivered_total") + of("conflated_total") + of("dropped_total") +
                                     of("skipped_total") + of("pending"));
  EXPECT_EQ(of("expected_total"), of("seen_total") + of("recovered_total") + of("lost_total") +
                                      of("unwanted_total") + of("awaited"));
}

TEST(GatewayFigures, EveryReasonAndCodeHasACounter) {
  Figures figures;
  for (std::size_t i = 0; i < goodbye_reasons.size(); ++i) figures.sessions.goodbyes.at(i) = 10 + i;
  for (std::size_t i = 0; i < refusal_codes.size(); ++i) figures.sessions.refusals.at(i) = 20 + i;
  figures.listeners.refused_connection_limit = 1;
  figures.listeners.refused_address_limit = 2;
  figures.listeners.refused_descriptor_limit = 3;
  const auto all = exposed_figures(figures);
  const auto check = [&](const std::string& name, std::span<const std::string_view> words, double first) {
    const auto& samples = all.at("backplane_gateway_" + name).samples;
    ASSERT_EQ(samples.size(), words.size()) << name;
    for (std::size_t i = 0; i < words.size(); ++i) {
      EXPECT_EQ(samples.at(i).labels.at(1), (std::pair<std::string, std::string>("reason", words[i])));
      EXPECT_EQ(samples.at(i).value, first + static_cast<double>(i)) << words[i];
    }
  };
  check("goodbyes_total", goodbye_reasons, 10);
  check("commands_refused_total", refusal_codes, 20);
  constexpr std::array<std::string_view, 3> limits{
      "too_many_connections", "too_many_connections_from_address", "too_many_open_files"};
  check("connections_refused_total", limits, 1);
}

TEST(GatewayFigures, AGatewayIsReadyWhenEveryBackplaneHasItsBroker) {
  std::vector<Figures> all;
  EXPECT_NE(not_ready_reason(all), "");
  all.resize(2);
  all[0].connected = true;
  all[1].backplane = "second";
  EXPECT_EQ(not_ready_reason(all), "backplane second: no broker is connected");
  all[1].connected = true;
  EXPECT_EQ(not_ready_reason(all), "");
}

}  // namespace
}  // namespace backplane::gateway
