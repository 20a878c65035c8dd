// The small parts of `backplane up`: the status line's text, ready lines, the demo's data.

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "cli/demo_data.hpp"
#include "cli/ready_line.hpp"
#include "cli/status_line.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(StatusText, TellsTotalsAndRates) {
  EXPECT_EQ(status_text({1'234'567, 100, 3}, StatusNumbers{1'234'557, 50, 2}, 2s),
            "events in 1,234,567 (5/s)   deliveries out 100 (25/s)   clients 3");
}

TEST(StatusText, TheFirstOneHasNoRates) {
  EXPECT_EQ(status_text({5, 0, 0}, {}, 0s), "events in 5   deliveries out 0   clients 0");
}

TEST(StatusText, NumbersThatWentBackHaveNoRate) {
  EXPECT_EQ(status_text({1, 2, 0}, StatusNumbers{100, 0, 0}, 1s),
            "events in 1   deliveries out 2 (2/s)   clients 0");
}

TEST(ReadyValue, IsTakenFromTheLine) {
  constexpr std::string_view line =
      "ready role=broker name=default ingress=tcp://127.0.0.1:5570 metrics=127.0.0.1:9570";
  EXPECT_EQ(ready_value(line, "ingress"), "tcp://127.0.0.1:5570");
  EXPECT_EQ(ready_value(line, "metrics"), "127.0.0.1:9570");
  EXPECT_EQ(ready_value(line, "raw"), "") << "off is absent";
  EXPECT_EQ(ready_value(line, "in"), "") << "a beginning is not the key";
}

class DemoData : public testing::Test {
 protected:
  std::filesystem::path root_ =
      std::filesystem::path(testing::TempDir()) / ("backplane-demo-" + std::to_string(::getpid()));
  void TearDown() override { std::filesystem::remove_all(root_); }
  void fill(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder);
    for (const char* name : {"stocks.csv", "seattle-hourly.csv"}) std::ofstream(folder / name) << "x\n";
  }
};

TEST_F(DemoData, IsFoundAboveABuildTreesExecutable) {
  fill(root_ / "config" / "demo");
  EXPECT_EQ(find_demo_data("", root_ / "build" / "dev" / "bin" / "backplane").value(),
            root_ / "config" / "demo");
}

TEST_F(DemoData, IsFoundBesideAnInstalledExecutable) {
  fill(root_ / "share" / "backplane" / "demo");
  EXPECT_EQ(find_demo_data("", root_ / "bin" / "backplane").value(), root_ / "share" / "backplane" / "demo");
}

TEST_F(DemoData, AGivenFolderWithoutItIsAnErrorThatNamesIt) {
  const auto data = find_demo_data("/nowhere", "");
  ASSERT_FALSE(data.has_value());
  EXPECT_THAT(data.error().text, HasSubstr("--data: wanted a folder with stocks.csv"));
  EXPECT_THAT(data.error().text, HasSubstr("\"/nowhere\""));
}

}  // namespace
}  // namespace backplane::cli
