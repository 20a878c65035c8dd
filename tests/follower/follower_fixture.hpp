#pragma once
// The fixture of a Follower's tests: a recording listener, and turns of follower and broker.

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "follower/follower.hpp"
#include "tests/follower/fake_broker.hpp"

namespace backplane::testing {

/// Records every call, and the order of most calls in one list.
class Recorder : public ReaderListener {
 public:
  void on_event(const Delivery& delivery) override {
    texts.push_back(text_of(delivery.event));
    topics.emplace_back(delivery.topic);
    positions.push_back(delivery.stamp.position);
    order.push_back("event " + texts.back());
  }
  void on_live(std::uint64_t ticket) override {
    live = ticket;
    order.push_back("live");
  }
  void on_connection(bool up) override {
    connections.push_back(up);
    order.push_back(up ? "up" : "down");
  }
  void on_key_problem(const std::string& problem) override { key_problems.push_back(problem); }
  void on_retained(std::uint64_t request, const Delivery& delivery) override {
    retained[request].push_back(std::string(delivery.topic) + "=" + text_of(delivery.event));
  }
  void on_retained_end(std::uint64_t request, const RetainedEnd& end) override {
    ended[request] = end.error;
    if (!end.as_of.empty()) retained_positions[request] = end.as_of.front();
  }
  void on_gap(const Gap& gap) override {
    gaps.push_back(std::string(gap.topic) + " " + std::to_string(gap.first) + " " + std::to_string(gap.last) +
                   " " + std::string(name(gap.reason)));
    order.push_back("gap " + gaps.back());
  }
  void on_reset(const Reset& reset) override {
    resets.push_back(reset);
    order.emplace_back("reset");
  }

  void on_replayed(std::uint64_t request, const Delivery& delivery) override {
    replayed[request].push_back(text_of(delivery.event));
  }
  void on_replay_slice(std::uint64_t request, const ReplaySlice& slice) override {
    slices[request].push_back(slice);
  }

  std::vector<std::string> texts;
  std::vector<std::string> topics;
  std::vector<std::uint64_t> positions;
  std::uint64_t live{};
  std::vector<bool> connections;
  std::vector<std::string> key_problems;
  std::map<std::uint64_t, std::vector<std::string>> retained;
  std::map<std::uint64_t, std::optional<Error>> ended;
  std::map<std::uint64_t, StreamPosition> retained_positions;  ///< of each retained()
  std::map<std::uint64_t, std::vector<std::string>> replayed;
  std::map<std::uint64_t, std::vector<ReplaySlice>> slices;
  std::vector<std::string> gaps;
  std::vector<Reset> resets;
  std::vector<std::string> order;
};

/// A follower of a fake broker, both on one thread.
class FollowerFixture : public ::testing::Test {
 protected:
  using Clock = std::chrono::steady_clock;

  Follower::Options options() {
    Follower::Options options;
    options.broker.egress = broker.egress();
    options.broker.control = broker.control();
    return options;
  }
  void start(const Follower::Options& with) { follower.emplace(context, with, recorder); }
  void start() { start(options()); }

  /// Runs both sides until `condition` is true. @returns false if that takes more than 10 s.
  template <class Condition>
  bool until(Condition condition) {
    const auto limit = Clock::now() + std::chrono::seconds{10};
    while (!condition()) {
      if (Clock::now() > limit) return false;
      turn();
    }
    return true;
  }
  void turn() {
    broker.do_work();
    if (follower) follower->do_work(Clock::now() + ahead);
  }

  FakeBroker broker;
  mq::Context context;
  Recorder recorder;
  std::optional<Follower> follower;
  Clock::duration ahead{};  ///< how far the follower's time is ahead
};

}  // namespace backplane::testing
