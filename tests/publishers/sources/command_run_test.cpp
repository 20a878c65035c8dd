#include "publishers/sources/command_run.hpp"

#include <csignal>

#include <gmock/gmock.h>
#include <poll.h>

#include "tests/publishers/temporary_directory.hpp"

namespace backplane::sources {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

/// Runs a shell command and collects its output.
class ShellRun {
 public:
  explicit ShellRun(const std::string& command)
      : run_(Child::start({"/bin/sh", "-c", command}).value(), /*line_bytes_max=*/100) {}

  CommandRun& run() { return run_; }
  CommandRun::TakeLine take() {
    return [this](CommandRun::Stream stream, const LineSplitter& lines) {
      auto& collected = stream == CommandRun::Stream::output ? output : errors;
      collected.push_back(lines.too_long() ? "too long" : std::string(lines.text()));
      return true;
    };
  }
  /// Reads until the command has exited or printed this many lines, for at most a minute.
  void wait(std::size_t lines = ~std::size_t{0}) {
    const auto end = std::chrono::steady_clock::now() + 60s;
    while (!run_.ended() && output.size() < lines && std::chrono::steady_clock::now() < end) {
      pollfd descriptors[] = {
          {run_.output_fd(), POLLIN, 0}, {run_.errors_fd(), POLLIN, 0}, {run_.exit_fd(), POLLIN, 0}};
      ::poll(descriptors, 3, 1000);
      EXPECT_TRUE(run_.read(take()));
    }
  }

  std::vector<std::string> output;
  std::vector<std::string> errors;

 private:
  CommandRun run_;
};

TEST(CommandRun, ReportsTheLinesOfBothOutputsAndTheExitCode) {
  ShellRun shell("echo one; echo oops >&2; printf 'two\\nlast'; exit 3");
  shell.wait();
  EXPECT_TRUE(shell.run().finish(shell.take()));
  EXPECT_THAT(shell.output, ElementsAre("one", "two", "last"));
  EXPECT_THAT(shell.errors, ElementsAre("oops"));
  EXPECT_EQ(shell.run().exit()->code, 3);
}

TEST(CommandRun, MegabytesOfOutputArriveComplete) {
  ShellRun shell("seq 1 300000; head -c 1000 /dev/zero | tr '\\0' x");
  shell.wait();
  EXPECT_TRUE(shell.run().finish(shell.take()));
  ASSERT_EQ(shell.output.size(), 300'001U);
  EXPECT_EQ(shell.output[299'999], "300000");
  EXPECT_EQ(shell.output[300'000], "too long");
}

TEST(CommandRun, TerminateEndsTheWholeGroup) {
  ShellRun shell("sleep 1000 & echo $!; wait");
  shell.wait(1);
  ASSERT_EQ(shell.output.size(), 1U);
  EXPECT_TRUE(shell.run().terminate(60s, shell.take()));
  EXPECT_TRUE(shell.run().ended());
  EXPECT_TRUE(shell.run().finish(shell.take()));
  EXPECT_EQ(shell.run().exit()->signal, SIGTERM);
}

TEST(CommandRun, ACommandThatIgnoresSigtermIsKilled) {
  ShellRun shell("trap '' TERM; echo ready; while :; do read x < /dev/zero; done");
  shell.wait(1);
  EXPECT_TRUE(shell.run().terminate(1ms, shell.take()));
  EXPECT_EQ(shell.run().exit()->signal, SIGKILL);
}

TEST(CommandRun, ProcessesLeftBehindDoNotKeepTheRunAlive) {
  ShellRun shell("sleep 1000 & echo done");
  shell.wait();
  EXPECT_TRUE(shell.run().finish(shell.take()));
  EXPECT_THAT(shell.output, ElementsAre("done"));
  EXPECT_EQ(shell.run().exit()->code, 0);
}

TEST(CommandRun, ProgramsAreSearchedForInPath) {
  EXPECT_EQ(find_program("sh", "/nowhere::/bin").value(), "/bin/sh");
  EXPECT_EQ(find_program("./own", "").value(), "./own");
  const auto missing = find_program("no-such", "/bin");
  EXPECT_EQ(missing.error().text, "command: expected a program in PATH, got \"no-such\"");
}

}  // namespace
}  // namespace backplane::sources
