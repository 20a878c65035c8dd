// The engine with its threads and real sockets.
#include "fanout/engine.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "fanout/address.hpp"
#include "fanout/flush_window.hpp"
#include "fanout/listeners.hpp"

namespace backplane::fanout {
namespace {

using namespace std::chrono_literals;

/// Echoes what it receives, and reports each loss as "!<topic> <first> <last>\n".
class Echo final : public Handler {
 public:
  explicit Echo(Client& client) : client_(client) {}
  void on_bytes(std::string_view bytes) override { client_.reply(bytes); }
  void on_input_end() override {}
  void report_losses(std::span<const Loss> losses, std::string& out) override {
    for (const Loss& loss : losses) {
      out += "!" + std::to_string(static_cast<std::uint32_t>(loss.topic)) + " " + std::to_string(loss.first) +
             " " + std::to_string(loss.last) + "\n";
    }
  }
  void say_goodbye(std::string_view reason) override { client_.end("bye " + std::string(reason) + "\n"); }

 private:
  Client& client_;
};

/// The other side of a client, and the messages that it must receive.
struct Remote {
  ClientId id{};
  Descriptor socket;
  std::string received;
  std::set<std::pair<std::uint32_t, std::uint64_t>> expected;
  std::set<std::uint32_t> joined;
  bool reads{true};
  bool ended{};

  void read() {
    std::array<char, 16'384> buffer;
    for (;;) {
      const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
      if (got > 0) {
        received.append(buffer.data(), static_cast<std::size_t>(got));
      } else {
        ended = ended || got == 0 || (errno != EAGAIN && errno != EINTR);
        if (got == 0 || errno == EAGAIN) return;
      }
    }
  }
  /// @returns false if nothing came for 20 s.
  bool wait_and_read() {
    pollfd ready{.fd = socket.get(), .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, 20'000) != 1) return false;
    read();
    return true;
  }
};

Remote connect(Engine& engine) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
  const int small = 4096;  // the kernel queues little
  EXPECT_EQ(::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  Remote remote;
  remote.socket = Descriptor(ends[1]);
  remote.id =
      engine.adopt(Descriptor(ends[0]), [](Client& client) { return std::make_unique<Echo>(client); });
  return remote;
}

void check(const Remote& remote) {
  auto expected = remote.expected;
  std::map<std::uint32_t, std::uint64_t> reached;
  std::istringstream lines(remote.received);
  std::string line;
  std::string last_line;
  const auto account = [&](std::uint32_t topic, std::uint64_t offset) {
    ASSERT_EQ(expected.erase({topic, offset}), 1u) << line;
    ASSERT_LT(reached[topic], offset) << line;
    reached[topic] = offset;
  };
  for (; std::getline(lines, line); last_line = line) {
    if (line.starts_with("bye")) continue;
    const bool is_loss = line[0] == '!';
    std::istringstream in(is_loss ? line.substr(1) : line);
    std::uint32_t topic = 0;
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    ASSERT_TRUE(in >> topic >> first) << line;
    ASSERT_TRUE(!is_loss || in >> last) << line;
    if (!is_loss) last = first;
    for (std::uint64_t offset = first; offset <= last; ++offset) account(topic, offset);
  }
  EXPECT_EQ(last_line, "bye drain");
  EXPECT_TRUE(expected.empty()) << expected.size() << " missing";
}

TEST(Engine, AcrossThreadsEveryMessageArrivesOrIsAnnounced) {
  constexpr std::uint32_t topics = 3;
  EngineOptions options;
  options.workers = 2;
  options.log.segment_bytes = 4096;  // segments are reused often
  options.log.spare_segments_max = 4;
  options.worker.shard.client.backlog_bytes_max = 60'000;
  options.worker.shard.linger = 20s;
  Engine engine(options);
  for (std::uint32_t topic = 0; topic < topics; ++topic) {
    engine.set_route(RouteId{topic}, {AudienceId{topic}});
  }
  std::vector<Remote> remotes;
  for (int i = 0; i < 24; ++i) {
    remotes.push_back(connect(engine));
    remotes.back().reads = i % 6 != 0;
  }
  std::uint64_t vanished = 0;
  for (std::uint64_t offset = 1; offset <= 6000; ++offset) {
    Remote& one = remotes[offset * 7 % remotes.size()];
    const auto changed = static_cast<std::uint32_t>(offset % topics);
    if (offset % 5 == 0 && one.socket) {
      if (one.joined.insert(changed).second) {
        engine.join(one.id, AudienceId{changed});
      } else if (offset % 10 == 0) {
        one.joined.erase(changed);
        engine.leave(one.id, AudienceId{changed});
      }
    }
    if (offset % 2000 == 0) {  // some vanish
      one.socket.reset();
      ++vanished;
    }
    for (std::uint32_t topic = 0; topic < topics; ++topic) {
      const std::string line =
          std::to_string(topic) + " " + std::to_string(offset) + std::string(offset % 50, ' ') + "\n";
      engine.append(line, {TopicId{topic}, RouteId{topic}, offset});
      for (Remote& remote : remotes) {
        if (remote.joined.contains(topic)) remote.expected.emplace(topic, offset);
      }
    }
    if (offset % 3 == 0) engine.publish();
    for (Remote& remote : remotes) {
      if (remote.reads && remote.socket && offset % 20 == 0) remote.read();
    }
  }
  engine.say_goodbye("drain");
  engine.publish();
  for (Remote& remote : remotes) {
    if (!remote.socket) continue;
    while (!remote.ended) ASSERT_TRUE(remote.wait_and_read());
    check(remote);
    remote.socket.reset();
  }
  EXPECT_GT(engine.counters().dropped, 0u);
  EXPECT_EQ(vanished, 3u);
}

TEST(Engine, AcrossThreadsAReplayJoinsTheLogWithoutHoleAndWithoutDuplicate) {
  constexpr StreamId stream{0};
  EngineOptions options;
  options.workers = 2;
  options.log.segment_bytes = 4096;
  options.worker.shard.linger = 20s;
  Engine engine(options);
  engine.set_route(RouteId{0}, {AudienceId{0}});
  std::vector<Remote> remotes;
  for (int i = 0; i < 8; ++i) remotes.push_back(connect(engine));
  std::string history;
  std::vector<std::size_t> ends{0};  // of each message in the history
  enum class State : std::uint8_t { out, buffering, joined };
  std::vector<State> states(remotes.size(), State::out);
  constexpr std::uint64_t count = 4000;
  for (std::uint64_t number = 1; number <= count; ++number) {
    const std::string line = "0 " + std::to_string(number) + "\n";
    history += line;
    ends.push_back(history.size());
  }
  for (std::uint64_t number = 1; number <= count; ++number) {
    const std::size_t one = number * 5 % remotes.size();
    Remote& remote = remotes[one];
    if (states[one] == State::out && number % 3 == 0) {
      engine.join_buffered(remote.id, AudienceId{0});
      states[one] = State::buffering;
    } else if (states[one] == State::buffering && number % 7 == 0) {
      // All messages so far, and some that are yet to be appended.
      const std::uint64_t reached = std::min(count, number + number % 5);
      engine.reply(remote.id, history.substr(0, ends[reached]));
      auto skip = std::make_shared<Skip>();
      skip->add_stream(stream, reached);
      engine.release_join_buffer(remote.id, AudienceId{0}, std::move(skip));
      states[one] = State::joined;
    }
    const std::string_view line =
        std::string_view(history).substr(ends[number - 1], ends[number] - ends[number - 1]);
    engine.append(line, {TopicId{0}, RouteId{0}, number, stream, number});
    if (number % 3 == 0) engine.publish();
  }
  engine.say_goodbye("drain");
  engine.publish();
  for (std::size_t i = 0; i < remotes.size(); ++i) {
    while (!remotes[i].ended) ASSERT_TRUE(remotes[i].wait_and_read());
    EXPECT_EQ(remotes[i].received, (states[i] == State::joined ? history : "") + "bye drain\n") << i;
    EXPECT_EQ(states[i], State::joined) << i;
  }
}

TEST(Engine, ClosedClientsAreReportedToTheOwner) {
  EngineOptions options;
  options.workers = 2;
  Engine engine(options);
  Remote one = connect(engine);
  Remote two = connect(engine);
  Remote three = connect(engine);
  engine.publish();
  EXPECT_TRUE(engine.take_closed_clients().empty());
  one.socket.reset();
  two.socket.reset();
  std::set<ClientId> departed;
  while (departed.size() < 2) {
    pollfd ready{.fd = engine.closed_clients_fd(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&ready, 1, 60'000), 1);
    for (const ClientId client : engine.take_closed_clients()) EXPECT_TRUE(departed.insert(client).second);
  }
  EXPECT_EQ(departed, (std::set<ClientId>{one.id, two.id}));
  EXPECT_EQ(engine.counters().clients, 1u);
}

TEST(Engine, ServesClientsOfItsListenersAndAcceptsOthersWhenTheyHaveClosed) {
  Engine engine({});
  Listeners listeners(
      {.connections_max = 1},
      [&](Accepted accepted) {
        return engine.adopt(std::move(accepted.socket),
                            [](Client& client) { return std::make_unique<Echo>(client); });
      },
      [](const Refused&) { return std::string("full\n"); });
  const auto listener = listeners.listen("127.0.0.1:0");
  ASSERT_TRUE(listener);
  const auto address = look_up(*parse_host_port(listener->address, "test"));
  const auto connect_to_listener = [&] {
    Remote remote;
    remote.socket = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(remote.socket.get(), address->get(), address->length), 0);
    EXPECT_EQ(::fcntl(remote.socket.get(), F_SETFL, O_NONBLOCK), 0);
    listeners.accept(Listeners::Clock::now());
    engine.publish();
    return remote;
  };
  for (int i = 0; i < 3; ++i) {
    Remote remote = connect_to_listener();
    ASSERT_EQ(::send(remote.socket.get(), "hello", 5, MSG_NOSIGNAL), 5);
    while (remote.received.size() < 5) ASSERT_TRUE(remote.wait_and_read());
    EXPECT_EQ(remote.received, "hello");
    Remote other = connect_to_listener();
    while (!other.ended) ASSERT_TRUE(other.wait_and_read());
    EXPECT_EQ(other.received, "full\n");
    // It vanishes. The end of its input alone would not end the connection.
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ASSERT_EQ(::setsockopt(remote.socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    remote.socket.reset();
    pollfd ready{.fd = engine.closed_clients_fd(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&ready, 1, 60'000), 1);
    for (const ClientId client : engine.take_closed_clients()) listeners.on_client_closed(client);
    EXPECT_EQ(listeners.counters().connections, 0u);
  }
}

TEST(Engine, LastWordsArriveEvenIfTheClientGoesOnSending) {
  EngineOptions options;
  options.worker.shard.linger = 60s;
  Engine engine(options);
  Remote remote = connect(engine);
  engine.publish();
  const std::string input(10'000, 'a');
  (void)::send(remote.socket.get(), input.data(), input.size(), MSG_NOSIGNAL);
  engine.say_goodbye("drain");
  engine.publish();
  (void)::send(remote.socket.get(), input.data(), input.size(), MSG_NOSIGNAL);
  while (!remote.ended) ASSERT_TRUE(remote.wait_and_read());
  EXPECT_TRUE(remote.received.ends_with("bye drain\n"));
}

TEST(Engine, AnIdleWorkerIsWokenByEachMessage) {
  Engine engine({});
  engine.set_route(RouteId{0}, {AudienceId{0}});
  Remote remote = connect(engine);
  engine.join(remote.id, AudienceId{0});
  std::string expected;
  for (std::uint64_t offset = 1; offset <= 2000; ++offset) {
    engine.append("x\n", {TopicId{0}, RouteId{0}, offset});
    engine.publish();
    expected += "x\n";
    while (remote.received.size() < expected.size()) ASSERT_TRUE(remote.wait_and_read());
  }
  EXPECT_EQ(remote.received, expected);
}

TEST(Engine, AHandlerReceivesFromItsClientAndReplies) {
  Engine engine({});
  Remote remote = connect(engine);
  engine.publish();
  const std::string input(100'000, 'a');
  std::size_t sent = 0;
  while (remote.received.size() < input.size()) {
    const ssize_t count = ::send(remote.socket.get(), input.data() + sent, input.size() - sent, MSG_NOSIGNAL);
    if (count > 0) sent += static_cast<std::size_t>(count);
    ASSERT_TRUE(remote.wait_and_read());
  }
  EXPECT_EQ(remote.received, input);
}

TEST(Engine, TasksRunOnTheClientsWorkerInOrder) {
  Engine engine({});
  Remote remote = connect(engine);
  engine.reply(remote.id, "one\n");
  engine.post(remote.id, [](Client& client) { client.reply("two\n"); });
  engine.post(ClientId{999}, [](Client&) { FAIL() << "no client has that number"; });
  engine.post(remote.id, [](Client& client) { client.end("three\n"); });
  engine.publish();
  while (!remote.ended) ASSERT_TRUE(remote.wait_and_read());
  EXPECT_EQ(remote.received, "one\ntwo\nthree\n");
}

TEST(Engine, IsCongestedWhileAWorkerHasManyCommandsToRun) {
  Engine engine({});
  Remote remote = connect(engine);
  std::promise<void> go;
  engine.post(remote.id, [wait = go.get_future().share()](Client&) { wait.wait(); });
  for (std::uint64_t i = 0; i < Engine::commands_waiting_max - 10; ++i) engine.reply(remote.id, "x");
  engine.publish();
  EXPECT_FALSE(engine.is_congested());
  for (int i = 0; i < 20; ++i) engine.reply(remote.id, "x");
  EXPECT_TRUE(engine.is_congested()) << "also before they are published";
  engine.publish();
  EXPECT_TRUE(engine.is_congested());
  go.set_value();
  while (remote.received.size() < Engine::commands_waiting_max + 10) ASSERT_TRUE(remote.wait_and_read());
  EXPECT_FALSE(engine.is_congested());
}

/// Simulates writes to 100 clients for 2 ms. Each takes `took`, and after each there is more to write.
/// @returns the end of the last write
FlushWindow::Clock::time_point fall_behind(FlushWindow& window, FlushWindow::Clock::time_point now,
                                           std::chrono::microseconds took, std::uint64_t bytes_a_send) {
  for (const auto until = now + 2ms; now < until; now += took) {
    EXPECT_LE(window.until(), now);
    window.wrote(now, now + took, 100, 100 * bytes_a_send, /*behind=*/true);
  }
  return now;
}

TEST(FlushWindow, AWorkerThatHasBeenBehindRestsAsLongAsItsSmallWritesTookAndAtMostTheWindow) {
  FlushWindow window(1ms);
  auto now = fall_behind(window, FlushWindow::Clock::time_point{1h}, 500us, 150);
  EXPECT_EQ(window.until(), now + 500us);
  now = window.until();
  window.wrote(now, now + 8ms, 1000, 1000 * 150, true);
  EXPECT_EQ(window.until(), now + 9ms);
}

TEST(FlushWindow, AWorkerThatHasCaughtUpDoesNotRest) {
  FlushWindow window(2ms);
  auto now = fall_behind(window, FlushWindow::Clock::time_point{1h}, 500us, 150);
  now = window.until();
  window.wrote(now, now + 500us, 100, 100 * 150, /*behind=*/false);
  EXPECT_LE(window.until(), now);
  fall_behind(window, now + 600us, 500us, 150);
}

TEST(FlushWindow, AWorkerDoesNotRestAfterLargeWritesOrNone) {
  FlushWindow window(2ms);
  const auto now = fall_behind(window, FlushWindow::Clock::time_point{1h}, 500us, 64'000);
  window.wrote(now, now + 1ms, 0, 0, true);
  EXPECT_LE(window.until(), now);
}

}  // namespace
}  // namespace backplane::fanout
