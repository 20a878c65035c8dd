#include "broker/ingress/handshakes.hpp"

#include <gtest/gtest.h>

namespace backplane::broker {
namespace {

using namespace std::chrono_literals;

constexpr Handshakes::Clock::time_point start{};

TEST(Handshakes, AConnectionThatClosesWithoutAHandshakeIsCountedAtOnce) {
  Handshakes handshakes;
  handshakes.accepted(5, start);
  handshakes.closed(5);
  EXPECT_EQ(handshakes.failed(), 1u);
}

TEST(Handshakes, AConnectionThatCompletesItsHandshakeIsNotCountedWhenItCloses) {
  Handshakes handshakes;
  handshakes.accepted(5, start);
  handshakes.completed();
  handshakes.closed(5);
  EXPECT_EQ(handshakes.failed(), 0u);
}

TEST(Handshakes, EstablishedConnectionsDoNotDelayTheCountOfALaterOne) {
  Handshakes handshakes;
  for (int peer : {5, 6, 7}) {
    handshakes.accepted(peer, start);
    handshakes.completed();
  }
  handshakes.accepted(8, start + 1s);
  handshakes.closed(8);
  EXPECT_EQ(handshakes.failed(), 1u);
  handshakes.closed(6);
  EXPECT_EQ(handshakes.failed(), 1u);
}

TEST(Handshakes, OverlappingConnectionsAreDecidedWhenTheHandshakeLimitHasPassed) {
  Handshakes handshakes;
  handshakes.accepted(5, start);
  handshakes.accepted(6, start);
  handshakes.completed();  // of 5 or of 6
  handshakes.closed(6);
  EXPECT_EQ(handshakes.failed(), 0u);
  handshakes.tick(start + Handshakes::handshake_limit - 1ms);
  EXPECT_EQ(handshakes.failed(), 0u);
  handshakes.tick(start + Handshakes::handshake_limit);
  EXPECT_EQ(handshakes.failed(), 1u);
}

TEST(Handshakes, OverlappingConnectionsAreDecidedAtOnceWhenEachOneCompletes) {
  Handshakes handshakes;
  handshakes.accepted(5, start);
  handshakes.accepted(6, start);
  handshakes.completed();
  handshakes.closed(6);
  handshakes.completed();  // 5, since 6 has closed: both completed
  handshakes.tick(start + 1h);
  EXPECT_EQ(handshakes.failed(), 0u);
}

TEST(Handshakes, ADescriptorThatIsUsedAgainIsANewConnection) {
  Handshakes handshakes;
  for (int round = 0; round < 3; ++round) {
    handshakes.accepted(5, start);
    handshakes.closed(5);
  }
  EXPECT_EQ(handshakes.failed(), 3u);
}

}  // namespace
}  // namespace backplane::broker
