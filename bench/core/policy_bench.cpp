// What a decision of a policy costs: medians of five rounds, and their spread (cv). The goal is at most 60 ns
// for one that is cached.

#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "core/policy/decision_cache.hpp"

namespace backplane::policy {
namespace {

/// Five hundred users. Each has a role of its own with `patterns` patterns, of which the last one matches.
std::shared_ptr<const Policy> policy_of(std::size_t patterns) {
  std::string text;
  for (int user = 0; user < 500; ++user) {
    text += fmt::format("[users.u{0}]\ncertificate = \"{0}\"\nroles = [\"r{0}\"]\n", user);
    text += fmt::format("[roles.r{}]\npublish = [", user);
    for (std::size_t other = 1; other < patterns; ++other)
      text += fmt::format("\"stock.other{}.>\", ", other);
    text += "\"stock.nasdaq.>\"]\n";
  }
  return std::make_shared<const Policy>(Policy::parse(text, "policy.toml").value());
}

std::vector<std::string> topics_of(std::int64_t count) {
  std::vector<std::string> topics;
  for (std::int64_t at = 0; at < count; ++at) topics.push_back(fmt::format("stock.nasdaq.MSFT.{:06}", at));
  return topics;
}

void in_rounds(benchmark::internal::Benchmark* bench) {
  bench->MinTime(0.1)->Repetitions(5)->ReportAggregatesOnly();
}

/// Without a cache: state.range(0) patterns are compared.
void decided_anew(benchmark::State& state) {
  const auto policy = policy_of(static_cast<std::size_t>(state.range(0)));
  const User& user = *policy->user("u7");
  const std::string topic = topics_of(1).front();
  for (auto _ : state) benchmark::DoNotOptimize(policy->may_publish(user, topic));
}
BENCHMARK(decided_anew)->Arg(1)->Arg(16)->Arg(256)->Apply(in_rounds);

/// state.range(0) topics in turn, all cached.
void cached(benchmark::State& state) {
  const auto policy = policy_of(16);
  const auto topics = topics_of(state.range(0));
  DecisionCache cache(policy);
  const User& user = *policy->user("u7");
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(cache.may_publish(user, topics[at]));
    if (++at == topics.size()) at = 0;
  }
}
BENCHMARK(cached)->Arg(1)->Arg(100)->Arg(4'000)->Apply(in_rounds);

/// The same with a user that is found by its name first, as the broker does for each event.
void cached_by_user_name(benchmark::State& state) {
  const auto policy = policy_of(16);
  const auto topics = topics_of(state.range(0));
  DecisionCache cache(policy);
  std::vector<std::string> names;
  for (int user = 0; user < 10; ++user) names.push_back(fmt::format("u{}", user));
  std::size_t at = 0;
  for (auto _ : state) {
    const User* const user = policy->user(names[at % names.size()]);
    benchmark::DoNotOptimize(user != nullptr && cache.may_publish(*user, topics[at]));
    if (++at == topics.size()) at = 0;
  }
}
BENCHMARK(cached_by_user_name)->Arg(1)->Arg(100)->Arg(4'000)->Apply(in_rounds);

/// state.range(0) topics in turn, far more than entries: every decision is made anew, and replaces another.
void replaced(benchmark::State& state) {
  const auto policy = policy_of(16);
  const auto topics = topics_of(state.range(0));
  DecisionCache cache(policy);
  const User& user = *policy->user("u7");
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(cache.may_publish(user, topics[at]));
    if (++at == topics.size()) at = 0;
  }
}
BENCHMARK(replaced)->Arg(1'000'000)->Apply(in_rounds);

}  // namespace
}  // namespace backplane::policy
