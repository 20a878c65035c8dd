#include "core/process/child.hpp"

#include <array>
#include <csignal>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/process/signals.hpp"

namespace backplane {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

Child shell(const std::string& script) {
  auto child = Child::start({"/bin/sh", "-c", script});
  if (!child) throw std::runtime_error(child.error().text);
  return std::move(*child);
}

/// Waits for the next line; "(none)" if the pipe ends or after 10 s.
std::string next_line(LinePipe& pipe) {
  for (;;) {
    if (auto line = pipe.next()) return *line;
    if (pipe.fd() < 0) return "(none)";
    pollfd waiting{pipe.fd(), POLLIN, 0};
    if (::poll(&waiting, 1, 10'000) != 1) return "(none)";
  }
}

TEST(Child, ItsLinesAndItsExitAreSeen) {
  Child child = shell("echo one; echo two >&2; printf three; exit 7");
  EXPECT_EQ(next_line(child.output()), "one");
  EXPECT_EQ(next_line(child.output()), "three") << "a last line without an end counts";
  EXPECT_EQ(next_line(child.output()), "(none)");
  EXPECT_EQ(next_line(child.errors()), "two");
  const auto exit = child.wait(10s);
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->code, 7);
  EXPECT_EQ(exit->str(), "exit code 7");
  EXPECT_FALSE(exit->clean());
}

TEST(Child, AMissingProgramIsAnErrorThatNamesIt) {
  const auto child = Child::start({"/nowhere/program"});
  ASSERT_FALSE(child.has_value());
  EXPECT_EQ(child.error().code, ErrorCode::not_found);
  EXPECT_EQ(child.error().text, "cannot start /nowhere/program: No such file or directory");
}

TEST(Child, AWaitForARunningChildTimesOut) {
  Child child = shell("echo up; read never");  // its standard input is empty: reading ends at once
  Child sleeper = shell("exec sleep 600");
  EXPECT_FALSE(sleeper.wait(1ms).has_value());
  EXPECT_TRUE(child.wait(10s).has_value());
}

TEST(Child, ASignalKillsItAndIsReported) {
  Child child = shell("exec sleep 600");
  child.signal(SIGTERM);
  const auto exit = child.wait(10s);
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->signal, SIGTERM);
  EXPECT_THAT(exit->str(), HasSubstr("signal 15"));
}

TEST(Child, ItDoesNotInheritOurSignalMask) {
  Signals signals;  // blocks SIGTERM here
  Child child = shell("exec sleep 600");
  child.signal(SIGTERM);
  EXPECT_TRUE(child.wait(10s).has_value());
}

TEST(Child, TheExitDescriptorIsReadableWhenItHasEnded) {
  Child child = shell("exit 0");
  pollfd ended{child.exit_fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, 10'000), 1);
  EXPECT_TRUE(child.wait(0ms).value().clean());
}

TEST(Child, HasAProcessGroupOfItsOwn) {
  Child child = shell("exec sleep 600");
  EXPECT_EQ(::getpgid(child.pid()), child.pid());
  EXPECT_NE(::getpgid(child.pid()), ::getpgrp());
}

TEST(Child, DestructionKillsIt) {
  pid_t pid = 0;
  {
    Child child = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    pid = child.pid();
    EXPECT_EQ(next_line(child.output()), "ready");
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(Child, DiesWithItsParent) {
  // A child that starts a child of its own as Child does, prints its pid, and is then killed.
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const pid_t middle = ::fork();
  if (middle == 0) {
    Child grandchild = shell("exec sleep 600");
    const pid_t pid = grandchild.pid();
    [[maybe_unused]] const ssize_t written = ::write(ends[1], &pid, sizeof pid);
    ::raise(SIGKILL);
  }
  pid_t pid = 0;
  ASSERT_EQ(::read(ends[0], &pid, sizeof pid), ssize_t{sizeof pid});
  ::waitpid(middle, nullptr, 0);
  const int pid_fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (pid_fd >= 0) {  // otherwise it has ended already
    pollfd ended{pid_fd, POLLIN, 0};
    EXPECT_EQ(::poll(&ended, 1, 10'000), 1);
    ::close(pid_fd);
  }
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(LinePipe, ALineWithoutEndComesInPieces) {
  Child child = shell("head -c 40000 /dev/zero | tr '\\0' x");
  EXPECT_EQ(next_line(child.output()).size(), LinePipe::line_bytes_max);
  EXPECT_EQ(next_line(child.output()).size(), LinePipe::line_bytes_max);
  EXPECT_EQ(next_line(child.output()).size(), 40'000 - 2 * LinePipe::line_bytes_max);
  EXPECT_EQ(next_line(child.output()), "(none)");
}

TEST(OwnExecutable, IsThisTest) {
  EXPECT_THAT(own_executable(), HasSubstr("core_tests"));
}

}  // namespace
}  // namespace backplane
