#include "core/process/signals.hpp"

#include <array>
#include <cerrno>
#include <csignal>

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

namespace backplane {
namespace {

bool is_readable(int fd) {
  pollfd waiting{fd, POLLIN, 0};
  return ::poll(&waiting, 1, 0) == 1;
}

TEST(Signals, ArriveAsEventsInsteadOfEndingTheProcess) {
  Signals signals;
  EXPECT_EQ(signals.next(), Signals::Event::none);
  ::kill(::getpid(), SIGTERM);
  EXPECT_TRUE(is_readable(signals.fd()));
  EXPECT_EQ(signals.next(), Signals::Event::stop);
  ::kill(::getpid(), SIGHUP);
  EXPECT_EQ(signals.next(), Signals::Event::reload);
  ::kill(::getpid(), SIGINT);
  EXPECT_EQ(signals.next(), Signals::Event::stop);
  EXPECT_FALSE(is_readable(signals.fd()));
}

TEST(Signals, SighupStopsAProgramThatHasNothingToReload) {
  Signals signals(Signals::Hangup::stop);
  ::kill(::getpid(), SIGHUP);
  EXPECT_TRUE(is_readable(signals.fd()));
  EXPECT_EQ(signals.next(), Signals::Event::stop);
  EXPECT_EQ(signals.next(), Signals::Event::none);
  ::kill(::getpid(), SIGHUP);  // one is enough: a second stop means that the user is in a hurry
  EXPECT_EQ(signals.next(), Signals::Event::none);
}

TEST(Signals, SighupDoesNotStopAProgramThatNohupStarted) {
  std::signal(SIGHUP, SIG_IGN);
  {
    Signals signals(Signals::Hangup::stop);
    ::kill(::getpid(), SIGHUP);
    EXPECT_EQ(signals.next(), Signals::Event::none);
  }
  {
    Signals signals;
    ::kill(::getpid(), SIGHUP);
    EXPECT_EQ(signals.next(), Signals::Event::reload);
  }
  std::signal(SIGHUP, SIG_DFL);
}

TEST(Signals, AClosedPipeIsAnErrorAndDoesNotKillTheProcess) {
  Signals signals;
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  ::close(ends[0]);
  EXPECT_EQ(::write(ends[1], "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  ::close(ends[1]);
}

}  // namespace
}  // namespace backplane
