// The hub on its thread, sessions on the engine's workers, clients on real sockets: tests the thread
// crossings, mainly under ThreadSanitizer.
#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fanout/engine.hpp"
#include "gateway/hub/hub.hpp"
#include "gateway/protocols/line/line_session.hpp"
#include "tests/gateway/accounted_offsets.hpp"
#include "tests/gateway/fake_reader.hpp"

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;

fanout::EngineOptions small_backlog() {
  fanout::EngineOptions options;
  options.workers = 2;
  options.worker.shard.client.backlog_bytes_max = 16u << 10;
  options.worker.unsent_bytes_max = 8u << 10;
  return options;
}

class EngineHubTest : public ::testing::Test {
 protected:
  using Clock = Hub::Clock;
  EngineHubTest() { hub_.attach(upstream_); }

  /// @returns the client's end.
  int connect() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    const int buffer = 4096;
    EXPECT_EQ(::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer), 0);
    EXPECT_EQ(::fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    const auto client = engine_.adopt(Descriptor(ends[0]), [this](fanout::Client& of) {
      return std::make_unique<line::LineSession>(of, services_);
    });
    hub_.add(client, Format::text);
    return ends[1];
  }
  void turn() {
    for (Request& request : requests_.take()) hub_.handle(std::move(request), Clock::now());
    hub_.on_live(upstream_.tickets);
    hub_.tick(Clock::now());
    engine_.publish();
    for (const fanout::ClientId gone : engine_.take_closed_clients()) hub_.remove(gone);
  }

  FakeReader upstream_;
  NumberedEvents broker_;
  Requests requests_;
  TopicDirectory directory_;
  websocket::Counters websockets_;
  SessionCounters sessions_;
  const Services services_{requests_, directory_, {}, websockets_, sessions_};
  fanout::Engine engine_{small_backlog()};
  EngineOutlet outlet_{engine_};
  Hub hub_{{}, outlet_, directory_, Clock::now()};
};

/// Reads once `go` is set, up to the line `end`.
std::string read_until(int socket, const std::string& end, const std::atomic<bool>& go) {
  while (!go.load()) std::this_thread::yield();
  std::string all;
  std::array<char, 4096> buffer;
  while (!all.ends_with(end)) {
    const ssize_t got = ::read(socket, buffer.data(), buffer.size());
    if (got <= 0) break;
    all.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return all;
}

TEST_F(EngineHubTest, FastAndSlowClientsReceiveOrLoseAnnouncedEveryPublishedEvent) {
  constexpr std::size_t count = 8;
  constexpr int events = 4000;
  hub_.on_connection(true);
  std::vector<int> sockets;
  std::vector<std::thread> readers;
  std::vector<std::string> received(count);
  std::atomic<bool> at_once{true};
  std::atomic<bool> later{false};
  for (std::size_t i = 0; i < count; ++i) {
    const int socket = sockets.emplace_back(connect());
    const std::string commands = "FORMAT text+offset\nSUB t.*\nSUB end\n";
    ASSERT_EQ(::write(socket, commands.data(), commands.size()), static_cast<ssize_t>(commands.size()));
    readers.emplace_back([socket, &into = received[i], &go = i % 2 == 0 ? at_once : later] {
      into = read_until(socket, "end 1 x\n", go);
    });
  }
  const auto deadline = Clock::now() + 60s;
  while (hub_.counters().subscriptions < 2 * count && Clock::now() < deadline) turn();
  ASSERT_EQ(hub_.counters().subscriptions, 2 * count);
  for (int i = 0; i < 3; ++i) turn();
  std::map<std::string, std::uint64_t> published;
  for (int i = 0; i < events; ++i) {
    const std::string topic = "t." + std::to_string(i % 50);
    ++published[topic];
    if (i % 97 == 0) {
      const std::uint64_t lost = broker_.lose(topic);
      hub_.on_gap({broker_.stream(), topic, lost, lost, GapReason::history_gone});
    } else {
      hub_.on_event(broker_.publish(topic, std::string(60, 'x')).delivery());
    }
    if (i % 10 == 0) turn();
  }
  hub_.on_event(broker_.publish("end", "x").delivery());
  later.store(true);
  turn();
  for (std::thread& reader : readers) reader.join();
  ++published["end"];
  for (const std::string& all : received) EXPECT_EQ(accounted_offsets(all), published);
  EXPECT_GT(engine_.counters().dropped, 0u);
  for (const int socket : sockets) ::close(socket);
  while (hub_.counters().clients > 0 && Clock::now() < deadline) turn();
  EXPECT_EQ(hub_.counters().clients, 0u);
}

}  // namespace
}  // namespace backplane::gateway
