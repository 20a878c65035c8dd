// The engine with its threads and real sockets.
#include "fanout/engine.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "fanout/flush_window.hpp"

namespace backplane::fanout {
namespace {

using namespace std::chrono_literals;

/// Says back what it is told, and of losses "!<topic> <first> <last>\n".
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

/// The other side of a client, and what it is to receive.
struct Remote {
  ClientId id{};
  Descriptor socket;
  std::string received;
  std::set<std::pair<std::uint32_t, std::uint64_t>> wanted;
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
  /// @returns false where nothing came for long.
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
  const int small = 4096;  // so that little is queued in the kernel
  EXPECT_EQ(::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  Remote remote;
  remote.socket = Descriptor(ends[1]);
  remote.id =
      engine.adopt(Descriptor(ends[0]), [](Client& client) { return std::make_unique<Echo>(client); });
  return remote;
}

void check(const Remote& remote) {
  auto wanted = remote.wanted;
  std::map<std::uint32_t, std::uint64_t> reached;
  std::istringstream lines(remote.received);
  std::string line;
  std::string last_line;
  const auto account = [&](std::uint32_t topic, std::uint64_t offset) {
    ASSERT_EQ(wanted.erase({topic, offset}), 1u) << line;
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
  EXPECT_TRUE(wanted.empty()) << wanted.size() << " missing";
}

TEST(Engine, AcrossThreadsEveryMessageArrivesOrIsAnnounced) {
  constexpr std::uint32_t topics = 3;
  EngineOptions options;
  options.workers = 2;
  options.log.segment_bytes = 4096;  // so that segments come round often
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
  std::uint64_t gone = 0;
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
      ++gone;
    }
    for (std::uint32_t topic = 0; topic < topics; ++topic) {
      const std::string line =
          std::to_string(topic) + " " + std::to_string(offset) + std::string(offset % 50, ' ') + "\n";
      engine.append(line, {TopicId{topic}, RouteId{topic}, offset});
      for (Remote& remote : remotes) {
        if (remote.joined.contains(topic)) remote.wanted.emplace(topic, offset);
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
  EXPECT_EQ(gone, 3u);
}

TEST(Engine, AnIdleWorkerIsWokenByEachMessage) {
  Engine engine({});
  engine.set_route(RouteId{0}, {AudienceId{0}});
  Remote remote = connect(engine);
  engine.join(remote.id, AudienceId{0});
  std::string wanted;
  for (std::uint64_t offset = 1; offset <= 2000; ++offset) {
    engine.append("x\n", {TopicId{0}, RouteId{0}, offset});
    engine.publish();
    wanted += "x\n";
    while (remote.received.size() < wanted.size()) ASSERT_TRUE(remote.wait_and_read());
  }
  EXPECT_EQ(remote.received, wanted);
}

TEST(Engine, AHandlerHearsAndAnswersItsClient) {
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
  engine.post(ClientId{999}, [](Client&) { FAIL() << "nobody has that number"; });
  engine.post(remote.id, [](Client& client) { client.end("three\n"); });
  engine.publish();
  while (!remote.ended) ASSERT_TRUE(remote.wait_and_read());
  EXPECT_EQ(remote.received, "one\ntwo\nthree\n");
}

TEST(FlushWindow, AWorkerRestsAsLongAsSmallWritesTookAndAtMostTheWindow) {
  const FlushWindow::Clock::time_point now{1h};
  FlushWindow window(2ms);
  EXPECT_LE(window.until(), now);
  window.wrote(now, now + 300us, 100, 100 * 150);
  EXPECT_EQ(window.until(), now + 600us);
  window.wrote(now + 1ms, now + 9ms, 1000, 1000 * 150);
  EXPECT_EQ(window.until(), now + 11ms);
}

TEST(FlushWindow, AWorkerDoesNotRestAfterLargeWritesOrNone) {
  const FlushWindow::Clock::time_point now{1h};
  FlushWindow window(2ms);
  window.wrote(now, now + 1ms, 100, 100 * 64'000);
  window.wrote(now, now + 1ms, 0, 0);
  EXPECT_LE(window.until(), now);
}

}  // namespace
}  // namespace backplane::fanout
