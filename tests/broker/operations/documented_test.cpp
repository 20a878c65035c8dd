// docs/operations.md and the code list the same metrics.

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "broker/operations/exposition.hpp"

namespace backplane::broker {
namespace {

struct Row {
  std::string kind;
  std::string labels;
  std::string meaning;
};

/// The rows of the table of metrics: | `name` | kind | labels | meaning |.
std::map<std::string, Row> documented_figures() {
  std::ifstream file(BACKPLANE_OPERATIONS_MD);
  EXPECT_TRUE(file.is_open()) << BACKPLANE_OPERATIONS_MD;
  const std::regex row(R"(^\| `([a-z_]+)` \| (counter|gauge|histogram) \| (.*?) \| (.+) \|$)");
  std::map<std::string, Row> rows;
  for (std::string line; std::getline(file, line);) {
    std::smatch found;
    if (!std::regex_match(line, found, row)) continue;
    if (found[1].str().starts_with("backplane_gateway_")) continue;  // the gateway's own table
    EXPECT_TRUE(rows.emplace(found[1], Row{found[2], found[3], found[4]}).second)
        << found[1] << " appears twice";
  }
  return rows;
}

std::string name_of(metrics::Kind kind) {
  if (kind == metrics::Kind::histogram) return "histogram";
  return kind == metrics::Kind::counter ? "counter" : "gauge";
}

std::map<std::string, metrics::Family> exposed_figures() {
  constexpr std::string_view prefix = "backplane_broker_";
  BackplaneSnapshot snapshot;
  snapshot.name = "default";
  std::map<std::string, metrics::Family> all;
  for (auto& family : families({&snapshot, 1})) {
    EXPECT_TRUE(family.name.starts_with(prefix)) << family.name;
    const std::string name = family.name.substr(prefix.size());
    all.emplace(name, std::move(family));
  }
  return all;
}

TEST(OperationsPage, ExplainsEveryMetric) {
  const auto documented = documented_figures();
  for (const auto& [name, family] : exposed_figures()) {
    const auto row = documented.find(name);
    ASSERT_NE(row, documented.end()) << name << " is exposed but not in docs/operations.md";
    EXPECT_EQ(row->second.kind, name_of(family.kind)) << name;
    std::string labels;
    for (const auto& label : family.samples.at(0).labels) {
      if (label.first != "backplane") labels += (labels.empty() ? "`" : ", `") + label.first + "`";
    }
    EXPECT_EQ(row->second.labels, labels) << name;
  }
}

TEST(OperationsPage, ExplainsNoMetricThatDoesNotExist) {
  const auto exposed = exposed_figures();
  for (const auto& [name, row] : documented_figures()) {
    EXPECT_TRUE(exposed.contains(name)) << name << " is in docs/operations.md but not exposed";
  }
}

TEST(OperationsPage, ExplainsEveryReasonForARefusal) {
  std::ifstream file(BACKPLANE_OPERATIONS_MD);
  const std::regex row(R"(^\| `([a-z_0-9]+)` \| ([^|]+) \|$)");
  std::set<std::string> documented;
  for (std::string line; std::getline(file, line) && line != "## Gateway metrics";) {
    std::smatch found;
    if (std::regex_match(line, found, row)) documented.insert(found[1]);
  }
  std::set<std::string> reasons;
  for (std::size_t reason = 1; reason < refusal_count; ++reason) {
    reasons.emplace(name(static_cast<Refusal>(reason)));
  }
  EXPECT_EQ(documented, reasons);
}

}  // namespace
}  // namespace backplane::broker
