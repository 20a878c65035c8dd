#include "publishers/sources/sources.hpp"

#include <array>
#include <thread>

#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include "backplane/events/v1/clock_tick.pb.h"
#include "backplane/events/v1/earthquake.pb.h"
#include "backplane/events/v1/load_average.pb.h"
#include "backplane/events/v1/memory_use.pb.h"
#include "backplane/events/v1/quote.pb.h"
#include "backplane/events/v1/temperature.pb.h"
#include "core/log/line_writer.hpp"
#include "core/process/signals.hpp"
#include "tests/publishers/fake_ingress_broker.hpp"
#include "tests/publishers/temporary_directory.hpp"

namespace backplane::sources {
namespace {

using namespace std::chrono_literals;
using backplane::testing::FakeIngressBroker;
using backplane::testing::TemporaryDirectory;
using ::testing::HasSubstr;

/// Runs a source on its own thread until the test stops it or its input ends.
class Sources : public ::testing::Test {
 protected:
  template <class Run>
  void start(Run run) {
    thread_ = std::thread([this, run] { code_ = run(); });
  }
  ExitCode stop() {
    ::kill(::getpid(), SIGTERM);
    return join();
  }
  ExitCode join() {
    thread_.join();
    return code_;
  }
  SourceOptions options() const {
    SourceOptions options;
    options.brokers = {broker_.endpoints()};
    return options;
  }
  template <class Payload>
  static Payload payload(const FakeIngressBroker::Admitted& admitted) {
    Payload unpacked;
    EXPECT_TRUE(admitted.event.message().UnpackTo(&unpacked)) << admitted.event.message().type_url();
    return unpacked;
  }

  Signals signals_;  // before any thread starts
  FakeIngressBroker broker_;
  TemporaryDirectory files_;

 private:
  std::thread thread_;
  ExitCode code_{};
};

TEST_F(Sources, TheClockTicksAtMultiplesOfItsInterval) {
  SourceOptions options = this->options();
  options.every = 20ms;
  start([&] { return run_clock(options, signals_); });
  ASSERT_TRUE(broker_.wait_admitted(5));
  EXPECT_EQ(stop(), ExitCode::done);
  const auto admitted = broker_.admitted();
  for (std::size_t i = 0; i < admitted.size(); ++i) {
    EXPECT_EQ(admitted[i].topic, "clock");
    const auto tick = payload<events::v1::ClockTick>(admitted[i]);
    EXPECT_EQ(tick.tick(), i + 1);
    EXPECT_EQ(tick.time().nanos() % 20'000'000, 0);
    EXPECT_EQ(tick.interval_seconds(), 0.02);
  }
  EXPECT_THAT(admitted[0].event.source(), ::testing::StartsWith("clock@"));
  EXPECT_TRUE(broker_.wait_goodbye());
}

TEST_F(Sources, AClockWithoutABrokerWaitsForItAndStopsOnASignal) {
  broker_.stop_listening();
  SourceOptions options = this->options();
  options.every = 1ms;
  start([&] { return run_clock(options, signals_); });
  broker_.listen_again();
  ASSERT_TRUE(broker_.wait_admitted(3));
  broker_.stop_listening();
  const auto begin = std::chrono::steady_clock::now();
  (void)stop();  // it may have published something meanwhile, which is lost
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
}

TEST_F(Sources, TheThermometerPublishesEachSensorAndTheLoad) {
  ThermometerOptions thermometer;
  thermometer.sysfs = files_.path();
  files_.write("class/hwmon/hwmon0/name", "chip\n");
  files_.write("class/hwmon/hwmon0/temp1_input", "21500\n");
  thermometer.load_average = files_.write("loadavg", "0.25 0.50 0.75 1/1 1\n");
  thermometer.memory = files_.write(
      "meminfo", "MemTotal: 4 kB\nMemFree: 1 kB\nMemAvailable: 2 kB\nSwapTotal: 1 kB\nSwapFree: 0 kB\n");
  const SourceOptions options = this->options();
  start([&] { return run_thermometer(options, thermometer, signals_); });
  ASSERT_TRUE(broker_.wait_admitted(3));
  EXPECT_EQ(stop(), ExitCode::done);
  const auto admitted = broker_.admitted();
  EXPECT_EQ(admitted[0].topic, "temperature.chip_temp1");
  EXPECT_EQ(payload<events::v1::Temperature>(admitted[0]).celsius(), 21.5);
  EXPECT_EQ(admitted[1].topic, "load");
  EXPECT_EQ(payload<events::v1::LoadAverage>(admitted[1]).fifteen_minutes(), 0.75);
  EXPECT_EQ(admitted[2].topic, "memory");
  EXPECT_EQ(payload<events::v1::MemoryUse>(admitted[2]).available_bytes(), 2048U);
}

TEST_F(Sources, TheThermometerPublishesTheReadingsOfAFile) {
  ThermometerOptions thermometer;
  thermometer.replay = ReplayOptions{.file = files_.write("seattle-hourly.csv",
                                                          "date,pressure,temperature,wind\n"
                                                          "2010-01-01T01:00:00,1016.6,4.0,3.8\n"),
                                     .rate = 1000,
                                     .once = true};
  const SourceOptions options = this->options();
  start([&] { return run_thermometer(options, thermometer, signals_); });
  EXPECT_EQ(join(), ExitCode::done);
  const auto admitted = broker_.admitted();
  ASSERT_EQ(admitted.size(), 1U);
  EXPECT_EQ(admitted[0].topic, "temperature.seattle-hourly");
  EXPECT_EQ(payload<events::v1::Temperature>(admitted[0]).celsius(), 4.0);
  EXPECT_EQ(payload<events::v1::Temperature>(admitted[0]).time().seconds(), 1'262'307'600);
}

TEST_F(Sources, QuotesHaveATopicPerSymbolAndBadRecordsAreSkipped) {
  const ReplayOptions replay{.file = files_.write("stocks.csv",
                                                  "symbol,date,price\n"
                                                  "MSFT,Jan 1 2000,39.81\n"
                                                  "MSFT,Feb 1 2000,dear\n"
                                                  "MSFT,no date,1\n"
                                                  "MSFT\n"
                                                  "\"BRK.B\",Mar 1 2000,43.22\n"),
                             .rate = 1000,
                             .once = true};
  const SourceOptions options = this->options();
  start([&] { return run_quotes(options, replay, signals_); });
  EXPECT_EQ(join(), ExitCode::done);
  const auto admitted = broker_.admitted();
  ASSERT_EQ(admitted.size(), 2U);
  EXPECT_EQ(admitted[0].topic, "stock.MSFT");
  EXPECT_EQ(payload<events::v1::Quote>(admitted[0]).price(), 39.81);
  EXPECT_EQ(payload<events::v1::Quote>(admitted[0]).time().seconds(), 946'684'800);
  EXPECT_EQ(admitted[1].topic, "stock.BRK_B");
  EXPECT_EQ(payload<events::v1::Quote>(admitted[1]).symbol(), "BRK.B");
}

TEST_F(Sources, QuotesStartAgainAtTheEndOfTheFile) {
  const ReplayOptions replay{
      .file = files_.write("q.csv", "symbol,date,price\nA,2000-01-01,1\nB,2000-01-01,2\n"),
      .rate = 2000,
      .once = false};
  const SourceOptions options = this->options();
  start([&] { return run_quotes(options, replay, signals_); });
  ASSERT_TRUE(broker_.wait_admitted(5));
  EXPECT_EQ(stop(), ExitCode::done);
  EXPECT_EQ(broker_.admitted()[4].topic, "stock.A");
}

TEST_F(Sources, ColumnsCanBeMappedAndTheDataCanSetThePace) {
  const ReplayOptions replay{.file = files_.write("daily.csv",
                                                  "Day,Ticker,Close\n"
                                                  "1000,A,1.5\n1001,A,2.5\n"),
                             .speed = 1000,
                             .once = true,
                             .columns = {{"symbol", "Ticker"}, {"price", "Close"}, {"time", "Day"}}};
  const SourceOptions options = this->options();
  start([&] { return run_quotes(options, replay, signals_); });
  EXPECT_EQ(join(), ExitCode::done);
  const auto admitted = broker_.admitted();
  ASSERT_EQ(admitted.size(), 2U);
  EXPECT_EQ(payload<events::v1::Quote>(admitted[1]).price(), 2.5);
  EXPECT_EQ(payload<events::v1::Quote>(admitted[1]).time().seconds(), 1001);
}

TEST_F(Sources, EarthquakesAreReadInTheFormatOfTheUsgs) {
  const ReplayOptions replay{
      .file = files_.write("feed.csv",
                           "time,latitude,longitude,depth,mag,net,id,place\n"
                           "2018-01-31T01:49:59.650Z,46.2035,-122.197,3.28,0.31,uw,uw61345682,\"37km NNE of "
                           "Amboy, Washington\"\n"
                           "2018-01-31T01:50:00Z,1,2,,,uw,uw2,nowhere\n"),
      .rate = 1000,
      .once = true};
  const SourceOptions options = this->options();
  start([&] { return run_earthquakes(options, replay, signals_); });
  EXPECT_EQ(join(), ExitCode::done);
  const auto admitted = broker_.admitted();
  ASSERT_EQ(admitted.size(), 1U) << "one has no magnitude";
  EXPECT_EQ(admitted[0].topic, "earthquake.uw");
  const auto quake = payload<events::v1::Earthquake>(admitted[0]);
  EXPECT_EQ(quake.place(), "37km NNE of Amboy, Washington");
  EXPECT_EQ(quake.depth_km(), 3.28);
  EXPECT_EQ(quake.time().nanos(), 650'000'000);
}

TEST_F(Sources, WithoutATypeRecordsAreReplayedAsJsonText) {
  const ReplayOptions replay{.file = files_.write("any.csv", "at,what,level,none\n5,\"a \"\"b\"\"\",1.50,\n"),
                             .once = true};
  SourceOptions options = this->options();
  options.topic = "any";
  start([&] {
    return run_replay(options, replay, {.type = "", .time_field = "at", .topic_field = "what"}, signals_);
  });
  EXPECT_EQ(join(), ExitCode::done);
  const auto admitted = broker_.admitted();
  ASSERT_EQ(admitted.size(), 1U);
  EXPECT_EQ(admitted[0].topic, "any.a__b_");
  EXPECT_EQ(admitted[0].event.text(), R"({"at":5,"what":"a \"b\"","level":1.50,"none":null})");
}

TEST_F(Sources, TheSameSeedGivesTheSamePrices) {
  const SourceOptions options = this->options();
  std::vector<std::string> first;
  for (int round = 0; round < 2; ++round) {
    const std::size_t before = broker_.admitted().size();
    start([&] {
      return run_random_walk(options, {.seed = 7, .symbols = 30, .rate = 1e6, .count = 50}, signals_);
    });
    EXPECT_EQ(join(), ExitCode::done);
    std::vector<std::string> prices;
    const auto admitted = broker_.admitted();
    ASSERT_EQ(admitted.size(), before + 50);
    for (std::size_t i = before; i < admitted.size(); ++i) {
      prices.push_back(admitted[i].topic + " " +
                       std::to_string(payload<events::v1::Quote>(admitted[i]).price()));
    }
    if (round == 0) first = prices;
    EXPECT_EQ(prices, first);
  }
}

TEST_F(Sources, WithStopOnErrorTheFirstBadRecordEndsTheSource) {
  const ReplayOptions replay{
      .file = files_.write("q.csv", "symbol,date,price\nA,2000-01-01,1\nB,2000-01-01,x\n"),
      .rate = 1000,
      .once = true};
  SourceOptions options = this->options();
  options.stop_on_error = true;
  start([&] { return run_quotes(options, replay, signals_); });
  EXPECT_EQ(join(), ExitCode::failed);
  EXPECT_EQ(broker_.admitted().size(), 1U) << "good records before it are delivered";
}

TEST_F(Sources, InvalidOptionsAndFilesAreReportedAtOnce) {
  const auto quotes = [&](const std::filesystem::path& file, double rate, const std::string& topic = "") {
    SourceOptions options = this->options();
    options.topic = topic;
    return run_quotes(options, {.file = file, .rate = rate, .once = true}, signals_);
  };
  const auto usage_error = [&](const std::filesystem::path& file, double rate) {
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(quotes(file, rate), ExitCode::usage);
    EXPECT_TRUE(log::standard_error().flush(5s));
    return ::testing::internal::GetCapturedStderr();
  };
  const auto good = files_.write("good.csv", "symbol,date,price\nA,2000-01-01,1\n");
  EXPECT_THAT(usage_error(files_.path() / "none.csv", 1), HasSubstr("none.csv: No such file"));
  const auto folder = files_.path() / "folder.csv";
  std::filesystem::create_directory(folder);
  EXPECT_THAT(usage_error(folder, 1), HasSubstr("got a directory"));
  EXPECT_THAT(usage_error(files_.write("data", "x"), 1), HasSubstr("or --format"));
  EXPECT_THAT(usage_error(files_.write("empty.csv", ""), 1), HasSubstr("got an empty file"));
  EXPECT_THAT(usage_error(files_.write("columns.csv", "symbol,price\nA,1\n"), 1),
              HasSubstr("columns.csv:1: expected columns symbol, date, price, got symbol, price"));
  EXPECT_THAT(usage_error(files_.write("bad.csv", "symbol,date,price\nA,2000-01-01,x\n"), 1),
              HasSubstr("expected at least one usable record"));
  EXPECT_THAT(usage_error(good, 0), HasSubstr("--rate: expected more than 0"));
  EXPECT_EQ(quotes(good, 1000, "a..b"), ExitCode::usage);
  EXPECT_EQ(quotes(good, 1000, "$SYS.mine"), ExitCode::usage);

  SourceOptions options = this->options();
  options.every = 1s;
  EXPECT_EQ(run_quotes(options, {.file = good, .rate = 1}, signals_), ExitCode::usage) << "two paces";
  options = this->options();
  EXPECT_EQ(run_quotes(options, {.file = good, .speed = 0}, signals_), ExitCode::usage);
  EXPECT_EQ(run_quotes(options, {.file = good, .columns = {{"volume", "price"}}}, signals_), ExitCode::usage);
  EXPECT_EQ(run_random_walk(options, {.symbols = 0}, signals_), ExitCode::usage);
  options.topic = "t";
  EXPECT_EQ(run_replay(options, {.file = good}, {.type = "Nothing"}, signals_), ExitCode::usage);
  EXPECT_EQ(run_replay(options, {.file = good, .columns = {{"a", "b"}}}, {}, signals_), ExitCode::usage);
  EXPECT_EQ(run_exec(options, {.command = {"no-such-program-anywhere"}}, signals_), ExitCode::usage);
  EXPECT_EQ(run_exec(options, {}, signals_), ExitCode::usage);
  EXPECT_EQ(run_file(options, {.path = files_.path()}, signals_), ExitCode::usage);
  const auto damaged = files_.write("damaged", "something else\n");
  EXPECT_EQ(run_file(options, {.path = good, .state = damaged}, signals_), ExitCode::usage);
  options = this->options();
  EXPECT_EQ(run_lines(options, {}, signals_), ExitCode::usage) << "lines have no default topic";
  options.every = 0ms;
  EXPECT_EQ(run_clock(options, signals_), ExitCode::usage);
  options = this->options();
  options.source_name = "two words";
  EXPECT_EQ(run_clock(options, signals_), ExitCode::usage);
}

TEST_F(Sources, LinesArePublishedAsTextUntilTheInputEnds) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  SourceOptions options = this->options();
  options.topic = "said";
  options.max_event_bytes = 200;
  start([&] { return run_lines(options, {.input = pipe[0]}, signals_); });
  const std::string text = "one\r\n" + std::string(300, 'x') + "\n" + std::string(200, 'y') + "\n\nlast";
  ASSERT_EQ(::write(pipe[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  ::close(pipe[1]);
  EXPECT_EQ(join(), ExitCode::done);
  ::close(pipe[0]);
  const auto admitted = broker_.admitted();
  ASSERT_EQ(admitted.size(), 3U) << "two are too long, one of them only with its envelope";
  EXPECT_EQ(admitted[0].topic, "said");
  EXPECT_EQ(admitted[0].event.text(), "one");
  EXPECT_EQ(admitted[1].event.text(), "");
  EXPECT_EQ(admitted[2].event.text(), "last");
}

TEST_F(Sources, LinesPrintsOnlyTheReadyLine) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  SourceOptions options = this->options();
  options.topic = "said";
  options.source_name = "me@here";
  ::testing::internal::CaptureStdout();
  start([&] { return run_lines(options, {.input = pipe[0]}, signals_); });
  ASSERT_EQ(::write(pipe[1], "x\n", 2), 2);
  ::close(pipe[1]);
  EXPECT_EQ(join(), ExitCode::done);
  ::close(pipe[0]);
  EXPECT_TRUE(log::standard_output().flush(std::chrono::seconds{5}));
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "ready role=publisher source=me@here\n");
}

}  // namespace
}  // namespace backplane::sources
