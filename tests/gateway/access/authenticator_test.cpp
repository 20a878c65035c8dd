#include "gateway/access/authenticator.hpp"

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "tests/gateway/access/policies.hpp"

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;
using Result = AuthenticationResult;
using Verdict = Authenticator::Verdict;

class AuthenticatorTest : public ::testing::Test {
 protected:
  static std::string two_users() { return user_text("anna", "a1", "") + user_text("bert", "b1", ""); }
  static Authenticator::Limits limits() {
    Authenticator::Limits limits;
    limits.waiting_max = 3;
    limits.waiting_per_address_max = 2;
    return limits;
  }
  static Authenticator::Host host(std::uint8_t last) {
    return {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, last};
  }

  Result verify(std::string_view token, std::uint8_t from = 1) {
    std::atomic<bool> done{false};
    Verdict later;
    const auto at_once = authenticator_.verify(token, host(from), now_, [&](const Verdict& verdict) {
      later = verdict;
      done = true;
    });
    if (at_once) later = *at_once;
    const auto limit = std::chrono::steady_clock::now() + 60s;
    while (!at_once && !done && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
    EXPECT_TRUE(at_once || done);
    last_ = later;
    return later.result;
  }

  Authenticator::Clock::time_point now_{std::chrono::steady_clock::now()};
  Verdict last_;
  std::mutex slow_;  // locked: no verification ends
  std::atomic<int> compared_{0};
  Authenticator authenticator_{policy_of(two_users()), limits(),
                               [this](std::string_view secret, std::string_view hash) {
                                 const std::lock_guard wait(slow_);
                                 ++compared_;
                                 return is_secret_of(secret, hash);
                               }};
};

TEST_F(AuthenticatorTest, AcceptsTheTokenOfAUserAndRemembersIt) {
  EXPECT_EQ(verify("anna:a1"), Result::accepted);
  EXPECT_EQ(last_.user, "anna");
  EXPECT_EQ(last_.hash, hash_of("a1"));
  EXPECT_EQ(verify("anna:a1", 2), Result::accepted);
  EXPECT_EQ(compared_, 1);
}

TEST_F(AuthenticatorTest, RefusesEveryOtherToken) {
  std::uint8_t from = 0;
  for (const char* const token : {"anna:b1", "anna:", ":a1", "anna", "a1", "", "nobody:a1", "anonymous:a1",
                                  "anna:a1:", "bert:a1", "anna:a1 "}) {
    EXPECT_EQ(verify(token, ++from), Result::wrong) << token;
  }
}

TEST_F(AuthenticatorTest, AWrongTokenIsVerifiedOnce) {
  EXPECT_EQ(verify("anna:x", 1), Result::wrong);
  EXPECT_EQ(verify("anna:x", 2), Result::wrong);
  EXPECT_EQ(compared_, 1);
}

TEST_F(AuthenticatorTest, PausesAnAddressAfterWrongTokensForOneUser) {
  for (int i = 0; i < 5; ++i) EXPECT_EQ(verify("anna:" + std::to_string(i)), Result::wrong);
  now_ = Authenticator::Clock::now();
  EXPECT_EQ(verify("anna:a1"), Result::throttled);
  EXPECT_GE(last_.retry_after, 1s);
  EXPECT_EQ(compared_, 5);
  EXPECT_EQ(verify("bert:b1"), Result::accepted) << "another user at the address";
  EXPECT_EQ(verify("anna:a1", 2), Result::accepted) << "the user at another address";
  EXPECT_EQ(verify("anna:a1"), Result::accepted) << "it is known by now";
}

TEST_F(AuthenticatorTest, APauseEnds) {
  for (int i = 0; i < 20; ++i) (void)verify("anna:" + std::to_string(i));
  now_ = Authenticator::Clock::now() + 11s;
  EXPECT_EQ(verify("anna:a1"), Result::accepted);
}

TEST_F(AuthenticatorTest, TheSameTokenOfManyClientsIsVerifiedOnce) {
  std::atomic<int> accepted{0};
  {
    const std::lock_guard slow(slow_);
    for (std::uint8_t i = 0; i < 100; ++i) {
      EXPECT_FALSE(authenticator_.verify("anna:a1", host(i), now_, [&](const Verdict& verdict) {
        accepted += verdict.result == Result::accepted ? 1 : 0;
      }));
    }
  }
  const auto limit = std::chrono::steady_clock::now() + 60s;
  while (accepted < 100 && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
  EXPECT_EQ(accepted, 100);
  EXPECT_EQ(compared_, 1);
}

TEST_F(AuthenticatorTest, FewTokensWaitAndFewerOfOneAddress) {
  const std::lock_guard slow(slow_);
  const auto ignore = [](const Verdict&) {};
  const auto busy = [&](std::string_view token, std::uint8_t from) {
    const auto verdict = authenticator_.verify(token, host(from), now_, ignore);
    return verdict && verdict->result == Result::busy;
  };
  EXPECT_FALSE(busy("anna:1", 1));
  EXPECT_FALSE(busy("anna:2", 1));
  EXPECT_TRUE(busy("anna:3", 1));
  EXPECT_FALSE(busy("anna:4", 2));
  EXPECT_TRUE(busy("anna:5", 3));
}

TEST_F(AuthenticatorTest, ANewPolicyEndsWhatItDoesNotContain) {
  EXPECT_EQ(verify("anna:a1"), Result::accepted);
  EXPECT_EQ(verify("bert:b1"), Result::accepted);
  EXPECT_EQ(verify("bert:b2"), Result::wrong);
  authenticator_.set_policy(policy_of(user_text("anna", "a1", "") + user_text("bert", "b2", "")));
  EXPECT_EQ(verify("anna:a1"), Result::accepted);
  EXPECT_EQ(compared_, 3) << "it is still known";
  EXPECT_EQ(verify("bert:b1"), Result::wrong);
  EXPECT_EQ(verify("bert:b2"), Result::accepted);
}

}  // namespace
}  // namespace backplane::gateway
