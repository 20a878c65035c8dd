#include "gateway/access/authenticator.hpp"

#include <algorithm>

#include <sys/resource.h>

#include "core/credentials/token_hash.hpp"

namespace backplane::gateway {
namespace {

// Clients' events come first.
constexpr int niceness = 10;
// The hash of a random token that nobody has: the time to refuse a token does not show whether its user
// exists.
constexpr std::string_view nobody =
    "$argon2id$v=19$m=65536,t=2,p=1$pI6AvZtWZHpnw36gAjDtYg$2NxcahA+Lg2t7OQBKvPyMXsNAjZk3zx1vpiv0HFyWUk";

constexpr std::size_t mapped_prefix_bytes = 12;

/// Of an IPv6 address, the network: a single machine has all of its addresses.
Authenticator::Host network_of(Authenticator::Host host) noexcept {
  constexpr Authenticator::Host mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (!std::equal(host.begin(), host.begin() + mapped_prefix_bytes, mapped.begin())) {
    std::fill(host.begin() + host.size() / 2, host.end(), std::uint8_t{0});
  }
  return host;
}

std::chrono::seconds seconds_until(Authenticator::Clock::time_point at,
                                   Authenticator::Clock::time_point now) {
  return std::chrono::ceil<std::chrono::seconds>(at - now);
}

}  // namespace

std::optional<std::pair<std::string_view, std::string_view>> split_token(std::string_view token) noexcept {
  const std::size_t colon = token.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == token.size()) return std::nullopt;
  return std::pair{token.substr(0, colon), token.substr(colon + 1)};
}

Authenticator::Authenticator(std::shared_ptr<const policy::Policy> policy)
    : Authenticator(std::move(policy), Limits{}, is_token_of_hash) {}

Authenticator::Authenticator(std::shared_ptr<const policy::Policy> policy, Limits limits, Compare compare)
    : limits_(limits), compare_(std::move(compare)), policy_(std::move(policy)), thread_([this] { run(); }) {}

Authenticator::~Authenticator() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Authenticator::set_policy(std::shared_ptr<const policy::Policy> policy) {
  const MutexLock lock(mutex_);
  policy_ = std::move(policy);
  ++generation_;
  wrong_.clear();
  std::erase_if(right_, [&](const auto& each) REQUIRES(mutex_) {
    const policy::User* const user = policy_->user(each.second.user);
    return user == nullptr ||
           std::find(user->tokens.begin(), user->tokens.end(), each.second.hash) == user->tokens.end();
  });
}

std::optional<Authenticator::Verdict> Authenticator::known(const TokenDigest& digest) {
  if (const auto right = right_.find(digest); right != right_.end()) {
    return Verdict{
        .result = AuthenticationResult::accepted, .user = right->second.user, .hash = right->second.hash};
  }
  if (wrong_.contains(digest)) return Verdict{};
  return std::nullopt;
}

Authenticator::Clock::time_point Authenticator::paused_until(const AttemptsKey& key) {
  const auto known = attempts_.find(key);
  return known == attempts_.end() ? Clock::time_point::min() : known->second.paused_until;
}

void Authenticator::count_wrong(const AttemptsKey& key, Clock::time_point now) {
  if (attempts_.size() >= limits_.addresses_max && !attempts_.contains(key)) {
    // Not at each wrong token: it looks at all of them.
    if (now - attempts_cleaned_ >= std::chrono::seconds{1}) {
      attempts_cleaned_ = now;
      std::erase_if(attempts_,
                    [&](const auto& each) { return now - each.second.last > limits_.forgotten_after; });
    }
    if (attempts_.size() >= limits_.addresses_max) attempts_.erase(attempts_.begin());
  }
  Attempts& of_key = attempts_[key];
  if (now - of_key.last > limits_.forgotten_after) of_key = {};
  ++of_key.wrong;
  of_key.last = now;
  if (of_key.wrong < limits_.wrong_free) return;
  const std::uint32_t doublings = std::min(of_key.wrong - limits_.wrong_free, 16U);
  of_key.paused_until = now + std::min(std::chrono::seconds{1U << doublings}, limits_.pause_max);
}

std::optional<Authenticator::Verdict> Authenticator::verify(std::string_view token, const Host& host,
                                                            Clock::time_point now, Done done) {
  const Host network = network_of(host);
  const auto parts = split_token(token);
  const bool well_formed = parts && check_token(token, "").has_value();
  const TokenDigest digest = digester_.digest(token);
  const MutexLock lock(mutex_);
  const policy::User* const user = well_formed ? policy_->user(parts->first) : nullptr;
  const bool has_tokens = user != nullptr && !user->tokens.empty();
  const AttemptsKey key{network, has_tokens ? user->name : std::string()};
  if (auto verdict = known(digest)) {
    if (verdict->result == AuthenticationResult::wrong) count_wrong(key, now);
    return verdict;
  }
  if (!well_formed) {
    count_wrong(key, now);
    return Verdict{};
  }
  if (const Clock::time_point until = paused_until(key); until > now) {
    return Verdict{.result = AuthenticationResult::throttled,
                   .user = {},
                   .hash = {},
                   .retry_after = seconds_until(until, now)};
  }
  const Verdict busy{
      .result = AuthenticationResult::busy, .user = {}, .hash = {}, .retry_after = std::chrono::seconds{1}};
  if (waiting_clients_ >= limits_.waiting_clients_max) return busy;
  const auto same = std::find_if(jobs_.begin(), jobs_.end(), [&, generation = generation_](const auto& job) {
    return job->generation == generation && job->digest == digest;
  });
  if (same != jobs_.end()) {
    (*same)->waiting.push_back(std::move(done));
    ++waiting_clients_;
    return std::nullopt;
  }
  const auto of_address =
      std::count_if(jobs_.begin(), jobs_.end(), [&](const auto& job) { return job->host == network; });
  if (jobs_.size() >= limits_.waiting_max ||
      static_cast<std::size_t>(of_address) >= limits_.waiting_per_address_max) {
    return busy;
  }
  auto job = std::make_shared<Job>(Job{digest,
                                       Token(std::string(parts->second)),
                                       key.second,
                                       has_tokens ? user->tokens : std::vector{std::string(nobody)},
                                       network,
                                       generation_,
                                       {}});
  job->waiting.push_back(std::move(done));
  ++waiting_clients_;
  jobs_.push_back(std::move(job));
  changed_.notify_all();
  return std::nullopt;
}

/// A verification has ended. Takes those that wait for it.
/// @param hash the one to which the token belongs
void Authenticator::complete(Job& job, std::optional<std::string> hash, std::vector<Done>& waiting,
                             Verdict& verdict) {
  const AttemptsKey key{job.host, job.user};
  const bool right = hash.has_value() && !job.user.empty();
  if (right) {
    attempts_.erase(key);
    verdict = {.result = AuthenticationResult::accepted, .user = job.user, .hash = *hash};
  } else {
    count_wrong(key, Clock::now());
  }
  if (job.generation == generation_) {
    if (right) {
      if (right_.size() >= limits_.known_max) right_.erase(right_.begin());
      right_.insert_or_assign(job.digest, Known{job.user, *std::move(hash)});
    } else {
      if (wrong_.size() >= limits_.known_wrong_max) wrong_.erase(wrong_.begin());
      wrong_.insert(job.digest);
    }
  }
  waiting_clients_ -= job.waiting.size();
  waiting = std::move(job.waiting);
}

void Authenticator::run() {
  (void)::setpriority(PRIO_PROCESS, 0, niceness);  // of this thread only, on Linux
  while (true) {
    std::shared_ptr<Job> job;
    {
      const MutexLock lock(mutex_);
      while (jobs_.empty() && !stopping_) {
        (void)changed_.wait_until(mutex_, Clock::now() + std::chrono::hours{1});
      }
      if (stopping_) return;
      job = jobs_.front();
    }
    const auto found = std::find_if(job->hashes.begin(), job->hashes.end(), [&](const std::string& hash) {
      return compare_(job->secret.secret(), hash);
    });
    const bool right = found != job->hashes.end();
    std::vector<Done> waiting;
    Verdict verdict;
    {
      const MutexLock lock(mutex_);
      jobs_.pop_front();
      complete(*job, right ? std::optional(*found) : std::nullopt, waiting, verdict);
    }
    for (const Done& done : waiting) done(verdict);
  }
}

}  // namespace backplane::gateway
