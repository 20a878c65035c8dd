// A frozen SUB, a slow SUB and a SUB that comes and goes, each beside a healthy one that must lose nothing.

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <poll.h>

#include "backplane/v1/event.pb.h"
#include "core/process/child.hpp"
#include "core/process/host.hpp"
#include "core/wire/stamp.hpp"
#include "core/zmq/socket.hpp"

namespace backplane {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t events = 1'000'000;
constexpr double events_a_second = 200'000;
constexpr auto patience = 60s;
constexpr std::string_view topic = "load.one";

/// The real broker on free ports.
class RealBroker {
 public:
  RealBroker() {
    const char* program = std::getenv("BACKPLANE_PROGRAM");
    if (program == nullptr) throw std::runtime_error("BACKPLANE_PROGRAM names the program to test");
    const std::string any = "tcp://127.0.0.1:0";
    auto child = Child::start({program, "broker", "--ingress", any, "--egress", any, "--control", any,
                               "--raw", any, "--metrics", "127.0.0.1:0"});
    if (!child) throw std::runtime_error(child.error().text);
    child_.emplace(std::move(*child));
    read_ready_line();
  }

  [[nodiscard]] const std::string& operator[](const std::string& field) { return fields_[field]; }
  [[nodiscard]] bool ends_well() {
    child_->signal(SIGTERM);
    const auto exit = child_->wait(patience);
    return exit && exit->clean();
  }

 private:
  void read_ready_line() {
    const auto deadline = Clock::now() + patience;
    while (Clock::now() < deadline) {
      if (const auto line = child_->output().next()) {
        std::istringstream words(*line);
        for (std::string word; words >> word;) {
          if (const auto at = word.find('='); at != std::string::npos)
            fields_[word.substr(0, at)] = word.substr(at + 1);
        }
        return;
      }
      pollfd readable{child_->output().fd(), POLLIN, 0};
      ::poll(&readable, 1, 100);
    }
    throw std::runtime_error("the broker printed no ready line");
  }

  std::optional<Child> child_;
  std::map<std::string, std::string> fields_;
};

/// A plain SUB, as any binding has it.
class Subscriber {
 public:
  Subscriber(mq::Context& context, const std::string& egress, int receive_hwm)
      : socket_(context.raw(), zmq::socket_type::sub) {
    socket_.set(zmq::sockopt::rcvhwm, receive_hwm);
    socket_.set(zmq::sockopt::sndhwm, 0);
    socket_.set(zmq::sockopt::linger, 0);
    socket_.connect(egress);
    socket_.set(zmq::sockopt::subscribe, topic);
  }

  /// Waits until everything subscribed to before is in force.
  void wait_live() {
    const std::string nonce = "$SYS.live." + std::to_string(random_id());
    socket_.set(zmq::sockopt::subscribe, nonce);
    const auto deadline = Clock::now() + patience;
    std::string name;
    while (name != nonce) {
      ASSERT_TRUE(next(deadline, &name)) << "no answer to " << nonce;
    }
  }

  /// The stamp of the next event. @returns false at the deadline.
  bool next(Clock::time_point deadline, std::string* name = nullptr, wire::Stamp* stamp = nullptr) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    socket_.set(zmq::sockopt::rcvtimeo, static_cast<int>(std::max<long>(0, left.count())));
    zmq::message_t first;
    zmq::message_t second;
    if (!socket_.recv(first) || !socket_.recv(second)) return false;
    if (name != nullptr) *name = first.to_string();
    if (stamp != nullptr) *stamp = *wire::read_stamp({second.data<std::byte>(), second.size()});
    return true;
  }

 private:
  zmq::socket_t socket_;
};

/// Publishes numbered events at a steady pace.
class Load {
 public:
  Load(mq::Context& context, const std::string& ingress) : socket_(context.raw(), zmq::socket_type::xpub) {
    const int nodrop = 1;
    zmq_setsockopt(socket_.handle(), ZMQ_XPUB_NODROP, &nodrop, sizeof nodrop);
    socket_.set(zmq::sockopt::linger, 10'000);
    socket_.connect(ingress);
    zmq::message_t subscription;
    if (!socket_.recv(subscription)) throw std::runtime_error("no subscription from the broker");
    event_.set_source("load@test");
    event_.set_session(random_id());
    event_.set_binary(std::string(128, 'x'));
  }

  void publish(std::uint64_t count, double a_second) {
    const auto begin = Clock::now();
    for (std::uint64_t i = 0; i < count; ++i) {
      if (i % 64 == 0) {
        const std::chrono::duration<double> due{static_cast<double>(i) / a_second};
        // Pacing is part of the load, not a hope: a poll on nothing gives the processor away until then.
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(begin + due - Clock::now());
        if (left > 0ms) ::poll(nullptr, 0, static_cast<int>(left.count()));
      }
      event_.set_sequence(++sequence_);
      event_.SerializeToString(&bytes_);
      socket_.send(zmq::buffer(topic), zmq::send_flags::sndmore);
      socket_.send(zmq::buffer(bytes_), zmq::send_flags::none);
    }
  }

 private:
  zmq::socket_t socket_;
  v1::Event event_;
  std::string bytes_;
  std::uint64_t sequence_{};
};

/// Runs the load with a healthy subscriber that must see every event, beside `stalled`, which is notified
/// when to end. @returns the number of offsets that the healthy one missed.
class StalledSubscribers : public ::testing::Test {
 protected:
  void run_load(const std::function<void(const std::atomic<bool>& end)>& stalled) {
    Subscriber healthy(healthy_context_, broker_["egress"], 0);
    healthy.wait_live();
    std::atomic<bool> end{false};
    std::thread beside([&] { stalled(end); });
    std::thread publisher([&] { load_.publish(events, events_a_second); });

    std::uint64_t expected = 1;
    std::uint64_t missed = 0;
    wire::Stamp stamp;
    while (expected <= events && healthy.next(Clock::now() + patience, nullptr, &stamp)) {
      missed += stamp.offset - expected;
      expected = stamp.offset + 1;
    }
    publisher.join();
    end = true;
    beside.join();
    EXPECT_EQ(expected, events + 1) << "the healthy subscriber did not get to the end";
    EXPECT_EQ(missed, 0u) << "events lost to the healthy subscriber";
  }

  RealBroker broker_;
  mq::Context healthy_context_{1};
  mq::Context stalled_context_{1};
  mq::Context load_context_{1};
  Load load_{load_context_, broker_["ingress"]};
};

TEST_F(StalledSubscribers, FrozenOneCostsTheHealthyOneNothingAndGetsWhatIsNewWhenItWakes) {
  Subscriber frozen(stalled_context_, broker_["egress"], 1'000);
  frozen.wait_live();
  run_load([](const std::atomic<bool>&) {});

  // It wakes: old messages from the buffers, then, once there is room again, what is new.
  std::uint64_t last = 0;
  wire::Stamp stamp;
  const auto deadline = Clock::now() + patience;
  while (last <= events && Clock::now() < deadline) {
    load_.publish(1, events_a_second);
    while (last <= events && frozen.next(Clock::now() + 10ms, nullptr, &stamp)) last = stamp.offset;
  }
  EXPECT_GT(last, events) << "the frozen subscriber got nothing new after it woke";
  EXPECT_TRUE(broker_.ends_well());
}

TEST_F(StalledSubscribers, SlowOneCostsTheHealthyOneNothing) {
  Subscriber slow(stalled_context_, broker_["egress"], 1'000);
  slow.wait_live();
  run_load([&](const std::atomic<bool>& end) {
    while (!end) {
      (void)slow.next(Clock::now() + 100ms);
      ::poll(nullptr, 0, 1);  // its work on each event
    }
  });
  EXPECT_TRUE(broker_.ends_well());
}

TEST_F(StalledSubscribers, OneThatComesAndGoesCostsTheHealthyOneNothing) {
  run_load([&](const std::atomic<bool>& end) {
    while (!end) {
      Subscriber visitor(stalled_context_, broker_["egress"], 100);
      for (int i = 0; i < 50 && !end; ++i) (void)visitor.next(Clock::now() + 100ms);
    }
  });
  EXPECT_TRUE(broker_.ends_well());
}

}  // namespace
}  // namespace backplane
