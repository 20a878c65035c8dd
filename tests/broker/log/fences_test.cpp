#include "broker/log/fences.hpp"

#include <gtest/gtest.h>

namespace backplane::broker {
namespace {

using Verdict = Fences::Verdict;

class FencesTest : public ::testing::Test {
 protected:
  Verdict join(std::uint64_t incarnation, std::uint64_t replaces) {
    return fences.pass({.broker = "h1", .incarnation = incarnation, .number = 0}, replaces);
  }
  Verdict batch(std::uint64_t incarnation, std::uint64_t number) {
    return fences.pass({.broker = "h1", .incarnation = incarnation, .number = number}, 0);
  }
  Fences fences;
};

TEST_F(FencesTest, BatchesAreAppliedInOrderAndOnce) {
  EXPECT_EQ(join(10, 0), Verdict::apply);
  EXPECT_EQ(batch(10, 1), Verdict::apply);
  EXPECT_EQ(batch(10, 1), Verdict::duplicate);
  EXPECT_EQ(batch(10, 2), Verdict::apply);
  EXPECT_EQ(batch(10, 1), Verdict::duplicate);
  EXPECT_EQ(join(10, 0), Verdict::duplicate);
  EXPECT_EQ(batch(10, 3), Verdict::apply);
}

TEST_F(FencesTest, ABatchAfterAMissingOneIsSkippedUntilThatHasCome) {
  EXPECT_EQ(join(10, 0), Verdict::apply);
  EXPECT_EQ(batch(10, 2), Verdict::hole);
  EXPECT_EQ(batch(10, 1), Verdict::apply);
  EXPECT_EQ(batch(10, 3), Verdict::hole);
  EXPECT_EQ(batch(10, 2), Verdict::apply);
}

TEST_F(FencesTest, NothingIsAppliedOfABrokerThatHasNotJoined) {
  EXPECT_EQ(batch(10, 1), Verdict::fenced);
  EXPECT_EQ(join(10, 0), Verdict::apply);
  EXPECT_EQ(fences.pass({.broker = "h2", .incarnation = 10, .number = 1}, 0), Verdict::fenced);
}

TEST_F(FencesTest, LateBatchesOfAReplacedIncarnationAreSkipped) {
  EXPECT_EQ(join(10, 0), Verdict::apply);
  EXPECT_EQ(batch(10, 1), Verdict::apply);
  EXPECT_EQ(join(20, 10), Verdict::apply);
  EXPECT_EQ(batch(10, 2), Verdict::fenced);
  EXPECT_EQ(join(10, 0), Verdict::fenced) << "a late copy of its join";
  EXPECT_EQ(batch(20, 1), Verdict::apply);
}

TEST_F(FencesTest, OfTwoThatReplaceTheSameIncarnationTheFirstOneWins) {
  EXPECT_EQ(join(10, 0), Verdict::apply);
  EXPECT_EQ(join(20, 10), Verdict::apply);
  EXPECT_EQ(join(30, 10), Verdict::fenced);
  EXPECT_EQ(batch(30, 1), Verdict::fenced);
  EXPECT_EQ(fences.incarnation_of("h1"), 20u);
}

}  // namespace
}  // namespace backplane::broker
