#include "gateway/access/authenticator.hpp"

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

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

  /// An address of IPv6, in one of 256 networks.
  static Authenticator::Host host_6(std::uint8_t network, std::uint8_t last) {
    return {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, network, 0, 0, 0, 0, 0, 0, 0, last};
  }

  Result verify(std::string_view token, std::uint8_t from = 1) { return verify(token, host(from)); }
  Result verify(std::string_view token, const Authenticator::Host& from) {
    std::atomic<bool> done{false};
    Verdict later;
    const auto at_once = authenticator_.verify(token, from, now_, [&](const Verdict& verdict) {
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

TEST_F(AuthenticatorTest, AllAddressesOfAnIpv6NetworkCountAsOne) {
  for (std::uint8_t i = 0; i < 5; ++i) {
    EXPECT_EQ(verify("anna:" + std::to_string(i), host_6(1, i)), Result::wrong);
  }
  now_ = Authenticator::Clock::now();
  EXPECT_EQ(verify("anna:5", host_6(1, 200)), Result::throttled);
  EXPECT_EQ(verify("anna:6", host_6(2, 200)), Result::wrong) << "another network";
  EXPECT_EQ(compared_, 6);
}

TEST_F(AuthenticatorTest, EachAddressOfIpv4IsANetwork) {
  for (std::uint8_t i = 0; i < 20; ++i) {
    EXPECT_EQ(verify("anna:" + std::to_string(i), host(i)), Result::wrong);
  }
}

TEST_F(AuthenticatorTest, PausesAnAddressAfterWrongTokensForNamesThatNoUserHas) {
  for (int i = 0; i < 5; ++i) EXPECT_EQ(verify(std::to_string(i) + ":x"), Result::wrong);
  now_ = Authenticator::Clock::now();
  EXPECT_EQ(verify("5:x"), Result::throttled);
  EXPECT_EQ(verify("anna:x"), Result::wrong) << "of a user";
}

TEST_F(AuthenticatorTest, TokensThatAreKnownToBeWrongCount) {
  for (int i = 0; i < 5; ++i) EXPECT_EQ(verify("anna:x"), Result::wrong);
  EXPECT_EQ(compared_, 1);
  now_ = Authenticator::Clock::now();
  EXPECT_EQ(verify("anna:y"), Result::throttled);
}

TEST_F(AuthenticatorTest, PausesGetLongerUpToALimit) {
  const auto pause_after_another = [&](int number) {
    now_ = Authenticator::Clock::now() + 11s;  // no pause is longer
    EXPECT_EQ(verify("anna:" + std::to_string(number)), Result::wrong) << number;
    now_ = Authenticator::Clock::now();
  };
  for (int i = 1; i <= 7; ++i) pause_after_another(i);
  for (const auto& [number, pause] : {std::pair{8, 8s}, std::pair{9, 10s}, std::pair{10, 10s}}) {
    pause_after_another(number);
    EXPECT_EQ(verify("anna:z"), Result::throttled);
    EXPECT_LE(last_.retry_after, pause);
    EXPECT_GT(last_.retry_after, pause / 2);
  }
}

TEST_F(AuthenticatorTest, WrongTokensOfAnAddressAreForgotten) {
  for (int i = 0; i < 4; ++i) EXPECT_EQ(verify("anna:" + std::to_string(i)), Result::wrong);
  now_ = Authenticator::Clock::now() + 61s;
  EXPECT_EQ(verify("anna:0"), Result::wrong) << "counted at once, because it is known";
  EXPECT_EQ(verify("anna:y"), Result::wrong);
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

TEST_F(AuthenticatorTest, FewTokensOfAnIpv6NetworkWait) {
  const std::lock_guard slow(slow_);
  const auto busy = [&](std::string_view token, const Authenticator::Host& from) {
    const auto verdict = authenticator_.verify(token, from, now_, [](const Verdict&) {});
    return verdict && verdict->result == Result::busy;
  };
  EXPECT_FALSE(busy("anna:1", host_6(1, 1)));
  EXPECT_FALSE(busy("anna:2", host_6(1, 2)));
  EXPECT_TRUE(busy("anna:3", host_6(1, 3)));
  EXPECT_FALSE(busy("anna:4", host_6(2, 3)));
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
