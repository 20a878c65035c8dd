#pragma once
// Verification of clients' tokens.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/credentials/given_credentials.hpp"
#include "core/credentials/token_digest.hpp"
#include "core/policy/policy.hpp"
#include "core/thread/mutex.hpp"
#include "gateway/access/access_counters.hpp"

namespace backplane::gateway {

/// Splits `NAME:SECRET` at its first colon. @returns nothing if this is not the form of a token.
[[nodiscard]] std::optional<std::pair<std::string_view, std::string_view>> split_token(
    std::string_view token) noexcept;

/// Verifies tokens of the form NAME:SECRET. One verification takes 0.1 s and 64 MiB by design, so a thread of
/// low priority does one after the other, and few wait for it. A token that was right is recognised by a
/// keyed digest from then on, as long as the policy has its hash; a wrong one for as long as the policy
/// stays.
///
/// Wrong tokens are limited by address (of IPv6, by network of 64 bits) and user: after some, the next ones
/// are refused without verification for 1 to 10 s. Somebody who sends wrong tokens therefore delays neither
/// clients that are known, nor other users at the same address.
///
/// Any thread may call every method. Owns its thread, which the destructor ends: a verification that runs is
/// completed, those that wait are discarded.
class Authenticator {
 public:
  using Clock = std::chrono::steady_clock;
  /// An address without a port, of IPv6 or mapped into it.
  using Host = std::array<std::uint8_t, 16>;

  struct Verdict {
    AuthenticationResult result{AuthenticationResult::wrong};
    std::string user;  ///< if it was accepted
    std::string hash;  ///< of the policy, to which the token belongs
    std::chrono::seconds retry_after{};
  };
  /// Receives a verdict, on the authenticator's thread.
  using Done = std::function<void(const Verdict&)>;
  /// Compares a secret with a hash: is_token_of_hash().
  using Compare = std::function<bool(std::string_view secret, std::string_view hash)>;

  struct Limits {
    std::size_t waiting_max = 64;              ///< tokens to verify
    std::size_t waiting_per_address_max = 16;  ///< of one address
    std::size_t waiting_clients_max = 16'384;  ///< clients that wait for these
    std::size_t known_max = 16'384;            ///< tokens that were right
    std::size_t known_wrong_max = 4'096;
    std::size_t addresses_max = 16'384;
    std::uint32_t wrong_free = 5;  ///< wrong tokens before the first pause
    std::chrono::seconds pause_max{10};
    std::chrono::seconds forgotten_after{60};  ///< since the last wrong token; longer than a pause
  };

  explicit Authenticator(std::shared_ptr<const policy::Policy> policy);
  Authenticator(std::shared_ptr<const policy::Policy> policy, Limits limits, Compare compare);
  ~Authenticator();
  Authenticator(const Authenticator&) = delete;
  Authenticator& operator=(const Authenticator&) = delete;

  /// Later verdicts are by this policy. A verification that runs may still be by the one before: the receiver
  /// compares its user and hash with the policy.
  void set_policy(std::shared_ptr<const policy::Policy> policy);

  /// @returns the verdict if it is known at once; else `done` receives it later.
  std::optional<Verdict> verify(std::string_view token, const Host& host, Clock::time_point now, Done done);

 private:
  struct Known {
    std::string user;
    std::string hash;
  };
  struct Job {
    TokenDigest digest;
    Token secret;
    std::string user;
    std::vector<std::string> hashes;
    Host host;
    std::uint64_t generation;
    std::vector<Done> waiting;
  };
  using AttemptsKey = std::pair<Host, std::string>;  // "" stands for all names that no user has
  struct Attempts {
    std::uint32_t wrong{};
    Clock::time_point last{};
    Clock::time_point paused_until{};
  };

  [[nodiscard]] std::optional<Verdict> known(const TokenDigest& digest) REQUIRES(mutex_);
  [[nodiscard]] Clock::time_point paused_until(const AttemptsKey& key) REQUIRES(mutex_);
  void count_wrong(const AttemptsKey& key, Clock::time_point now) REQUIRES(mutex_);
  void complete(Job& job, std::optional<std::string> hash, std::vector<Done>& waiting, Verdict& verdict)
      REQUIRES(mutex_);
  void run();

  const Limits limits_;
  const Compare compare_;
  const TokenDigester digester_;
  Mutex mutex_;
  CondVar changed_;
  std::shared_ptr<const policy::Policy> policy_ GUARDED_BY(mutex_);
  std::uint64_t generation_ GUARDED_BY(mutex_){1};  // of the policy
  std::unordered_map<TokenDigest, Known, TokenDigestHash> right_ GUARDED_BY(mutex_);
  std::unordered_set<TokenDigest, TokenDigestHash> wrong_ GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<Job>> jobs_ GUARDED_BY(mutex_);  // the first one runs, or is next
  std::map<AttemptsKey, Attempts> attempts_ GUARDED_BY(mutex_);
  Clock::time_point attempts_cleaned_ GUARDED_BY(mutex_){};
  std::size_t waiting_clients_ GUARDED_BY(mutex_){};
  bool stopping_ GUARDED_BY(mutex_){};
  std::thread thread_;  // last: it uses everything above
};

}  // namespace backplane::gateway
