// The small parts of `backplane up`: status line, ready lines, banner, demo data.

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "cli/supervision/demo_data.hpp"
#include "cli/supervision/ready_line.hpp"
#include "cli/supervision/startup_banner.hpp"
#include "cli/supervision/status_line.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(StatusText, HasTotalsAndRates) {
  EXPECT_EQ(status_text({1'234'567, 100, 3}, StatusNumbers{1'234'557, 50, 2}, 2s),
            "events in 1,234,567 (5/s)   deliveries out 100 (25/s)   clients 3");
}

TEST(StatusText, TheFirstOneHasNoRates) {
  EXPECT_EQ(status_text({5, 0, 0}, {}, 0s), "events in 5   deliveries out 0   clients 0");
}

TEST(StatusText, ANumberThatWentBackHasNoRate) {
  EXPECT_EQ(status_text({1, 2, 0}, StatusNumbers{100, 0, 0}, 1s),
            "events in 1   deliveries out 2 (2/s)   clients 0");
}

TEST(ReadyValue, IsTakenFromTheLine) {
  constexpr std::string_view line =
      "ready role=broker name=default ingress=tcp://127.0.0.1:5570 metrics=127.0.0.1:9570";
  EXPECT_EQ(ready_value(line, "ingress"), "tcp://127.0.0.1:5570");
  EXPECT_EQ(ready_value(line, "metrics"), "127.0.0.1:9570");
  EXPECT_EQ(ready_value(line, "raw"), "") << "an endpoint that is off is absent";
  EXPECT_EQ(ready_value(line, "in"), "") << "the beginning of a key is not the key";
}

class StartupBanner : public testing::Test {
 protected:
  StartedDaemons daemons_{
      .broker = {"ready role=broker name=default ingress=tcp://127.0.0.1:5570 egress=tcp://127.0.0.1:5571 "
                 "control=tcp://127.0.0.1:5572 raw=tcp://127.0.0.1:5574 metrics=127.0.0.1:9570"},
      .gateway = "ready role=gateway listen=127.0.0.1:1601",
      .listeners = 1,
      .http = true,
      .program = "build/backplane"};
};

TEST_F(StartupBanner, HasAddressesAndCommandsToTry) {
  EXPECT_EQ(startup_banner(daemons_),
            "Backplane is up. Press Ctrl-C to stop it.\n"
            "  broker default:  ingress tcp://127.0.0.1:5570  egress tcp://127.0.0.1:5571  control "
            "tcp://127.0.0.1:5572  raw tcp://127.0.0.1:5574\n"
            "  metrics: http://127.0.0.1:9570/metrics\n"
            "  gateway: 127.0.0.1:1601\n"
            "  page: http://127.0.0.1:1601/\n"
            "Try in another terminal:\n"
            "  nc 127.0.0.1 1601        then type: SUB stock.>\n"
            "  build/backplane sub clock 'temperature.>'\n"
            "  build/backplane pub news.uk 'rain until Thursday'\n");
}

TEST_F(StartupBanner, WithAPolicyTheCommandsHaveKeys) {
  daemons_.key_options = " --key broker.key --server-key broker.pub";
  EXPECT_THAT(
      startup_banner(daemons_),
      HasSubstr("  nc 127.0.0.1 1601        then type: AUTH <user>:<secret>, then SUB stock.>\n"
                "  build/backplane sub clock 'temperature.>' --key broker.key --server-key broker.pub\n"
                "  build/backplane pub news.uk 'rain until Thursday' --key broker.key --server-key "
                "broker.pub\n"));
}

TEST_F(StartupBanner, HasAUrlThatABrowserCanOpen) {
  const auto page = [&](const std::string& listen) {
    daemons_.gateway = "ready role=gateway listen=" + listen;
    return startup_banner(daemons_);
  };
  EXPECT_THAT(page("[::1]:7000"), HasSubstr("  page: http://[::1]:7000/\n"));
  EXPECT_THAT(page("[::1]:7000"), HasSubstr("  nc ::1 7000 "));
  EXPECT_THAT(page("0.0.0.0:7000"), HasSubstr("  page: http://127.0.0.1:7000/\n"));
  EXPECT_THAT(page("[::]:7000"), HasSubstr("  page: http://[::1]:7000/\n"));
  daemons_.http = false;
  EXPECT_THAT(page("127.0.0.1:1601"), Not(HasSubstr("page:")));
}

TEST_F(StartupBanner, ListsFeedsApartFromListeners) {
  daemons_.gateway = "ready role=gateway listen=127.0.0.1:1601,[::1]:1601,127.0.0.1:1500";
  daemons_.listeners = 2;
  EXPECT_THAT(gateway_addresses(daemons_, /*feeds=*/false), ElementsAre("127.0.0.1:1601", "[::1]:1601"));
  EXPECT_THAT(gateway_addresses(daemons_, /*feeds=*/true), ElementsAre("127.0.0.1:1500"));
  EXPECT_THAT(startup_banner(daemons_),
              HasSubstr("  gateway: 127.0.0.1:1601  [::1]:1601\n  feeds: 127.0.0.1:1500\n  page: "));
  daemons_.gateway = "ready role=gateway listen=127.0.0.1:1500";
  daemons_.listeners = 0;
  const std::string feeds_alone = startup_banner(daemons_);
  EXPECT_THAT(feeds_alone, HasSubstr("  nc 127.0.0.1 1500\n"));
  EXPECT_THAT(feeds_alone, Not(HasSubstr("page:")));
}

TEST_F(StartupBanner, ShowsOptionsForEndpointsThatAreNotTheDefaults) {
  daemons_.broker = {
      "ready role=broker name=default ingress=tcp://127.0.0.1:5570 egress=ipc://e "
      "control=tcp://127.0.0.1:7"};
  const std::string text = startup_banner(daemons_);
  EXPECT_THAT(text, HasSubstr("sub clock 'temperature.>' --egress ipc://e --control tcp://127.0.0.1:7\n"));
  EXPECT_THAT(text, Not(HasSubstr("metrics")));
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

TEST_F(DemoData, IsFoundAboveTheExecutableOfABuildTree) {
  fill(root_ / "config" / "demo");
  EXPECT_EQ(find_demo_data("", root_ / "build" / "dev" / "bin" / "backplane").value(),
            root_ / "config" / "demo");
}

TEST_F(DemoData, IsFoundBesideAnInstalledExecutable) {
  fill(root_ / "share" / "backplane" / "demo");
  EXPECT_EQ(find_demo_data("", root_ / "bin" / "backplane").value(), root_ / "share" / "backplane" / "demo");
}

TEST_F(DemoData, AGivenFolderWithoutTheFilesIsAnErrorThatNamesIt) {
  const auto data = find_demo_data("/nowhere", "");
  ASSERT_FALSE(data.has_value());
  EXPECT_THAT(data.error().text, HasSubstr("--demo-data: expected a folder with stocks.csv"));
  EXPECT_THAT(data.error().text, HasSubstr("\"/nowhere\""));
}

}  // namespace
}  // namespace backplane::cli
