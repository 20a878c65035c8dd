// What stage 2 decides. Most of it is tested through the pipeline (tests/broker/pipeline_test.cpp).

#include "broker/log/state_machine.hpp"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/wire/stamp.hpp"
#include "tests/broker/log/entries.hpp"
#include "tests/broker/state/manual_history.hpp"

namespace backplane::broker {
namespace {

using testing::MadeEntry;

class Sources : public ::testing::Test {
 protected:
  static constexpr std::uint64_t h1 = 101;  // incarnations
  static constexpr std::uint64_t h2 = 102;
  static constexpr std::uint64_t h3 = 103;

  /// @returns whether it is published.
  bool change(std::uint64_t session, bool up, std::uint64_t owner, const std::string& name = "clock") {
    MadeEntry made("$SYS.source." + name, {.session = session, .up = up, .owner = owner});
    const StateMachine::Outcome outcome = machine.admit(made.entry);
    refusal = outcome.refusal;
    return outcome.refusal == Refusal::none && !outcome.changes_nothing;
  }
  bool up(std::uint64_t session, std::uint64_t owner) { return change(session, true, owner); }
  bool down(std::uint64_t session, std::uint64_t owner) { return change(session, false, owner); }

  BackplaneState state{"test", 16, 16, std::make_unique<ManualHistory>()};
  StateMachine machine{state};
  Refusal refusal{};
};

TEST_F(Sources, ComeUpAndGoDownOnce) {
  EXPECT_TRUE(up(1, h1));
  EXPECT_FALSE(up(1, h1));
  EXPECT_TRUE(down(1, h1));
  EXPECT_FALSE(down(1, h1));
  EXPECT_TRUE(up(1, h1));
}

TEST_F(Sources, OneThatMovesToAnotherBrokerStaysUp) {
  EXPECT_TRUE(up(1, h1));
  EXPECT_FALSE(up(1, h2));
  EXPECT_FALSE(down(1, h1)) << "it is silent there";
  EXPECT_TRUE(down(1, h2));
}

TEST_F(Sources, ThoseOfABrokerThatIsGoneGoDownOnceWhoeverAnnouncesIt) {
  EXPECT_TRUE(up(1, h1));
  EXPECT_TRUE(down(1, h1));   // by h2
  EXPECT_FALSE(down(1, h1));  // by h3
  EXPECT_TRUE(up(1, h3));
  EXPECT_FALSE(down(1, h1)) << "late";
}

TEST_F(Sources, ANewSessionTakesTheNameAndTheEndOfTheOldOneIsNotAnnounced) {
  EXPECT_TRUE(up(1, h1));
  EXPECT_TRUE(up(2, h1));
  EXPECT_FALSE(down(1, h1));
  EXPECT_TRUE(down(2, h1));
}

TEST_F(Sources, OneThatIsNotKnownIsNotAnnouncedAsDown) {
  EXPECT_FALSE(down(1, h1));
  EXPECT_EQ(state.topics.size(), 0u);
}

TEST_F(Sources, TheirTopicsAreLimited) {
  EXPECT_TRUE(change(1, true, h1, "a"));
  EXPECT_TRUE(change(1, true, h1, "b"));
  EXPECT_FALSE(change(1, true, h1, "c"));
  EXPECT_EQ(refusal, Refusal::topics_full);
  EXPECT_EQ(state.sources.size(), 2u);
  EXPECT_TRUE(change(1, false, h1, "b"));
}

}  // namespace
}  // namespace backplane::broker
