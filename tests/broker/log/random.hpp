#pragma once
// Random numbers that a seed repeats.

#include <cstdint>
#include <random>

namespace backplane::broker::testing {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t below(std::uint64_t limit) {
    return std::uniform_int_distribution<std::uint64_t>(0, limit - 1)(engine_);
  }
  bool one_in(std::uint64_t many) { return below(many) == 0; }
  std::uint64_t operator()() { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

}  // namespace backplane::broker::testing
