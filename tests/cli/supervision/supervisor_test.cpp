#include "cli/supervision/supervisor.hpp"

#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Role = Supervisor::Role;
using Outcome = Supervisor::Outcome;

class SupervisorTest : public testing::Test {
 protected:
  Signals signals_;
  std::vector<std::string> lines_;
  std::vector<std::string> reports_;
  Supervisor supervisor_{signals_,
                         {[this](std::string_view line) { lines_.emplace_back(line); },
                          [this](std::string_view text) { reports_.emplace_back(text); }}};

  void start(Role role, const std::string& name, const std::string& script) {
    ASSERT_TRUE(supervisor_.start(role, name, {"/bin/sh", "-c", script}).has_value());
  }

  /// Tends until `condition` holds, 10 s at most.
  template <class Condition>
  bool tend_until(Condition condition) {
    const auto deadline = Supervisor::Clock::now() + 10s;
    while (!condition() && Supervisor::Clock::now() < deadline) {
      static_cast<void>(supervisor_.tend(Supervisor::Clock::now() + 5ms));
    }
    return condition();
  }

  /// A script that prints a ready line, and on SIGTERM prints its name and exits.
  static std::string polite(const std::string& name) {
    return "trap 'echo " + name + " >&2; exit 0' TERM; echo ready role=" + name +
           "; while :; do sleep 0.05; done";
  }
  static constexpr const char* stubborn = "trap '' TERM; echo ready now; while :; do sleep 0.05; done";
};

TEST_F(SupervisorTest, CollectsReadyLinesAndRelaysStandardError) {
  start(Role::broker, "the broker",
        "echo ready role=broker name=a; echo ready name=b; echo hello >&2; exec sleep 600");
  EXPECT_EQ(supervisor_.wait_ready("the broker", 2, 10s), Outcome::ready);
  EXPECT_THAT(supervisor_.ready_lines("the broker"), ElementsAre("ready role=broker name=a", "ready name=b"));
  EXPECT_TRUE(tend_until([&] { return lines_ == std::vector<std::string>{"hello"}; }));
}

TEST_F(SupervisorTest, AChildThatExitsBeforeItIsReadyIsNotReportedAgain) {
  start(Role::broker, "the broker", "echo 'port 5570 is in use' >&2; exit 1");
  EXPECT_EQ(supervisor_.wait_ready("the broker", 1, 10s), Outcome::ended);
  EXPECT_THAT(lines_, ElementsAre("port 5570 is in use"));
  EXPECT_THAT(reports_, IsEmpty());
}

TEST_F(SupervisorTest, AChildKilledBeforeItIsReadyIsReported) {
  start(Role::broker, "the broker", "kill -9 $$");
  EXPECT_EQ(supervisor_.wait_ready("the broker", 1, 10s), Outcome::ended);
  EXPECT_THAT(reports_, ElementsAre(HasSubstr("the broker was killed by signal 9")));
}

TEST_F(SupervisorTest, WaitingForAReadyLineTimesOut) {
  start(Role::broker, "the broker", "exec sleep 600");
  EXPECT_EQ(supervisor_.wait_ready("the broker", 1, 1ms), Outcome::timeout);
}

TEST_F(SupervisorTest, AChildThatExitsUnexpectedlyIsRestartedAndReported) {
  start(Role::broker, "killer", "exit 3");
  EXPECT_TRUE(tend_until([&] { return !reports_.empty(); }));
  EXPECT_THAT(reports_.front(), "killer exited (exit code 3); restarting it in 200ms");
  EXPECT_TRUE(tend_until([&] { return reports_.size() >= 2; }));
  EXPECT_THAT(reports_[1], "killer exited (exit code 3); restarting it in 400ms") << "the delay doubles";
}

TEST_F(SupervisorTest, ARestartUsesTheNewArguments) {
  start(Role::broker, "the broker", "echo ready one; kill -9 $$");
  ASSERT_EQ(supervisor_.wait_ready("the broker", 1, 10s), Outcome::ready);
  supervisor_.set_arguments("the broker", {"/bin/sh", "-c", "echo ready two; exec sleep 600"});
  EXPECT_TRUE(tend_until(
      [&] { return supervisor_.ready_lines("the broker") == std::vector<std::string>{"ready two"}; }));
}

TEST_F(SupervisorTest, APublisherThatIsDoneIsNotRestarted) {
  start(Role::publisher, "lines", "echo done >&2");
  start(Role::publisher, "wrong", "exit 2");
  EXPECT_TRUE(tend_until([&] { return !lines_.empty() && !reports_.empty(); }));
  EXPECT_THAT(reports_, ElementsAre("wrong exited: it cannot run with this configuration"));
  EXPECT_EQ(supervisor_.tend(Supervisor::Clock::now() + 1ms), Outcome::timeout);
}

TEST_F(SupervisorTest, ADaemonWithAWrongConfigurationEndsSupervision) {
  start(Role::broker, "the broker", "exit 2");
  EXPECT_EQ(supervisor_.tend(Supervisor::Clock::now() + 10s), Outcome::ended);
}

TEST_F(SupervisorTest, StopsPublishersThenTheBrokerThenTheGateway) {
  start(Role::gateway, "gateway", polite("gateway"));
  start(Role::broker, "broker", polite("broker"));
  start(Role::publisher, "publisher", polite("publisher"));
  ASSERT_TRUE(tend_until([&] {
    return !supervisor_.ready_lines("gateway").empty() && !supervisor_.ready_lines("broker").empty() &&
           !supervisor_.ready_lines("publisher").empty();
  }));
  EXPECT_TRUE(supervisor_.stop());
  EXPECT_THAT(lines_, ElementsAre("publisher", "broker", "gateway"));
  EXPECT_THAT(reports_, IsEmpty());
}

TEST_F(SupervisorTest, AChildThatFailsWhileItStopsIsReported) {
  start(Role::publisher, "p", "trap 'exit 1' TERM; echo ready now; while :; do sleep 0.05; done");
  ASSERT_EQ(supervisor_.wait_ready("p", 1, 10s), Outcome::ready);
  EXPECT_FALSE(supervisor_.stop());
  EXPECT_THAT(reports_, ElementsAre("p exited (exit code 1)"));
}

TEST_F(SupervisorTest, AChildThatDoesNotExitIsKilledAfterTheLimitOfItsRole) {
  Supervisor supervisor{
      signals_,
      {[](std::string_view) {}, [this](std::string_view text) { reports_.emplace_back(text); }},
      {.publishers = 100ms, .broker = 200ms, .gateway = 300ms, .silence = 150ms}};
  for (const auto& [role, name] :
       {std::pair{Role::publisher, "p"}, {Role::broker, "b"}, {Role::gateway, "g"}}) {
    ASSERT_TRUE(supervisor.start(role, name, {"/bin/sh", "-c", stubborn}).has_value());
    ASSERT_EQ(supervisor.wait_ready(name, 1, 10s), Outcome::ready);
  }
  const auto begin = Supervisor::Clock::now();
  EXPECT_FALSE(supervisor.stop());
  EXPECT_GE(Supervisor::Clock::now() - begin, 300ms);
  EXPECT_THAT(
      reports_,
      ElementsAre("p did not stop in time and was killed", "waiting for b to stop; Ctrl-C again kills it",
                  "b did not stop in time and was killed", "waiting for g to stop; Ctrl-C again kills it",
                  "g did not stop in time and was killed"));
}

TEST_F(SupervisorTest, AfterASecondStopSignalChildrenAreKilledAtOnce) {
  start(Role::publisher, "p", stubborn);
  ASSERT_EQ(supervisor_.wait_ready("p", 1, 10s), Outcome::ready);
  ::kill(::getpid(), SIGINT);
  EXPECT_EQ(supervisor_.tend(Supervisor::Clock::now() + 10s), Outcome::stop);
  ::kill(::getpid(), SIGINT);
  const auto begin = Supervisor::Clock::now();
  supervisor_.stop();
  EXPECT_LT(Supervisor::Clock::now() - begin, 3s);  // the limit of publishers
}

TEST_F(SupervisorTest, SighupIsRelayedToBrokerAndGateway) {
  start(Role::broker, "b", "trap 'echo reloaded >&2' HUP; echo ready now; while :; do sleep 0.05; done");
  start(Role::gateway, "g", "trap 'echo reloaded >&2' HUP; echo ready now; while :; do sleep 0.05; done");
  ASSERT_EQ(supervisor_.wait_ready("b", 1, 10s), Outcome::ready);
  ASSERT_EQ(supervisor_.wait_ready("g", 1, 10s), Outcome::ready);
  ::kill(::getpid(), SIGHUP);
  EXPECT_TRUE(tend_until([&] { return lines_ == std::vector<std::string>{"reloaded", "reloaded"}; }));
}

}  // namespace
}  // namespace backplane::cli
