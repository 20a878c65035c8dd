#include "bench/gateway/peers.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backplane/publisher.hpp"
#include "bench/fanout/raw_broadcast.hpp"
#include "core/process/child.hpp"

namespace backplane::bench {
namespace {

using backplane::Descriptor;

constexpr const char* redis_program = "/usr/bin/redis-server";

[[noreturn]] void exit_with_error(const std::string& what) {
  fmt::print(stderr, "bench_gateway: {}\n", what);
  std::exit(1);
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

Descriptor listen_anywhere() {
  Descriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(0);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    exit_with_error("cannot bind");
  if (::listen(fd.get(), 4096) != 0) exit_with_error("cannot listen");
  return fd;
}

std::uint16_t port_of(const Descriptor& fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  (void)::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

Descriptor connect_to(std::uint16_t port, int attempts) {
  const sockaddr_in address = loopback(port);
  for (int i = 0; i < attempts; ++i) {
    Descriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      const int one = 1;
      (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      return fd;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
  exit_with_error(fmt::format("expected a server on port {}, got none", port));
}

/// Bytes for a server, sent in batches.
class Pipe {
 public:
  explicit Pipe(Descriptor fd) : fd_(std::move(fd)) {}
  std::string& buffer() { return buffer_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  void flush() {
    std::string_view rest = buffer_;
    while (!rest.empty()) {
      const ssize_t sent = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent <= 0) exit_with_error("cannot send to the server");
      rest.remove_prefix(static_cast<std::size_t>(sent));
    }
    buffer_.clear();
  }

 private:
  Descriptor fd_;
  std::string buffer_;
};

// ---- raw ----

constexpr std::string_view raw_greeting = "hello\n";

[[noreturn]] void serve_raw(const Descriptor& clients, const Descriptor& publishers, std::size_t count) {
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::vector<Descriptor> sockets;
  for (std::size_t i = 0; i < count; ++i) {
    Descriptor socket(::accept4(clients.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.get() < 0) ::_exit(1);
    const int one = 1;
    (void)::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)::send(socket.get(), raw_greeting.data(), raw_greeting.size(), MSG_NOSIGNAL);
    sockets.push_back(std::move(socket));
  }
  RawBroadcast broadcast(std::move(sockets));
  const Descriptor publisher(::accept4(publishers.get(), nullptr, nullptr, SOCK_CLOEXEC));
  std::vector<char> buffer(64u << 10);
  for (;;) {
    broadcast.serve_until_readable(publisher.get());
    const ssize_t got = ::recv(publisher.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) ::_exit(0);
    broadcast.send({buffer.data(), static_cast<std::size_t>(got)});
  }
}

class Raw final : public Peer {
 public:
  explicit Raw(std::size_t clients) {
    const Descriptor for_clients = listen_anywhere();
    const Descriptor for_publishers = listen_anywhere();
    port_ = port_of(for_clients);
    pid_ = ::fork();
    if (pid_ == 0) serve_raw(for_clients, for_publishers, clients);
    pipe_ = std::make_unique<Pipe>(connect_to(port_of(for_publishers), 1));
  }
  ~Raw() override {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;

  std::uint16_t port() const override { return port_; }
  std::string request(const std::vector<std::string>&) const override { return {}; }
  std::size_t reply_bytes(const std::vector<std::string>&) const override { return raw_greeting.size(); }
  Framing framing(std::string_view topic) const override {
    return {topic.size() + 1 + payload_bytes + 1, topic.size() + 1};
  }
  void publish(std::string_view topic, std::string_view payload) override {
    pipe_->buffer().append(topic).append(" ").append(payload).append("\n");
  }
  void flush() override { pipe_->flush(); }

 protected:
  std::vector<pid_t> processes() const override { return {pid_}; }

 private:
  std::uint16_t port_{};
  pid_t pid_{};
  std::unique_ptr<Pipe> pipe_;
};

// ---- Redis ----

std::string bulk(std::string_view text) {
  return fmt::format("${}\r\n{}\r\n", text.size(), text);
}

class Redis final : public Peer {
 public:
  explicit Redis(std::size_t clients)
      : port_(port_of(listen_anywhere())), config_(write_config(port_, clients)), child_(start(config_)) {
    pipe_ = std::make_unique<Pipe>(connect_to(port_, 500));
  }

  ~Redis() override {
    std::error_code ignored;
    std::filesystem::remove(config_, ignored);
  }
  Redis(const Redis&) = delete;
  Redis& operator=(const Redis&) = delete;

  std::uint16_t port() const override { return port_; }
  std::string request(const std::vector<std::string>& topics) const override {
    std::string all = fmt::format("*{}\r\n{}", topics.size() + 1, bulk("SUBSCRIBE"));
    for (const std::string& topic : topics) all += bulk(topic);
    return all;
  }
  std::size_t reply_bytes(const std::vector<std::string>& topics) const override {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < topics.size(); ++i) {
      bytes += fmt::format("*3\r\n{}{}:{}\r\n", bulk("subscribe"), bulk(topics[i]), i + 1).size();
    }
    return bytes;
  }
  Framing framing(std::string_view topic) const override {
    const std::size_t head =
        fmt::format("*3\r\n{}{}${}\r\n", bulk("message"), bulk(topic), payload_bytes).size();
    return {head + payload_bytes + 2, head};
  }
  void publish(std::string_view topic, std::string_view payload) override {
    pipe_->buffer() += fmt::format("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{}\r\n${}\r\n{}\r\n", topic.size(), topic,
                                   payload.size(), payload);
  }
  void flush() override {
    pipe_->flush();
    std::array<char, 16u << 10> replies;
    while (::recv(pipe_->fd(), replies.data(), replies.size(), MSG_DONTWAIT) > 0) {
    }
  }

 protected:
  std::vector<pid_t> processes() const override { return {child_.pid()}; }

 private:
  static std::filesystem::path write_config(std::uint16_t port, std::size_t clients) {
    auto path = std::filesystem::temp_directory_path() / fmt::format("bench_gateway_redis_{}.conf", port);
    std::ofstream(path) << fmt::format(
        "port {}\nbind 127.0.0.1\nsave \"\"\nappendonly no\nlogfile /dev/null\nmaxclients {}\n"
        "client-output-buffer-limit pubsub 0 0 0\n",
        port, clients + 100);
    return path;
  }
  static Child start(const std::filesystem::path& config) {
    auto child = Child::start({redis_program, config.string()});
    if (!child) exit_with_error(child.error().text);
    return std::move(*child);
  }

  std::uint16_t port_;
  std::filesystem::path config_;
  Child child_;
  std::unique_ptr<Pipe> pipe_;
};

// ---- Backplane ----

/// A program that has printed its ready line, and the fields of that line.
class Daemon {
 public:
  explicit Daemon(const std::vector<std::string>& arguments) : child_(start(arguments)) {
    for (int i = 0; i < 3'000; ++i) {
      if (auto line = child_.output().next()) {
        ready_ = *line;
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
    exit_with_error("expected a ready line, got none");
  }
  [[nodiscard]] std::string field(const std::string& key) const {
    const std::size_t at = ready_.find(" " + key + "=");
    if (at == std::string::npos)
      exit_with_error(fmt::format("expected {} in the ready line, got \"{}\"", key, ready_));
    const std::size_t begin = at + key.size() + 2;
    return ready_.substr(begin, ready_.find(' ', begin) - begin);
  }
  [[nodiscard]] pid_t pid() const { return child_.pid(); }

 private:
  static Child start(const std::vector<std::string>& arguments) {
    std::vector<std::string> command{
        std::filesystem::path(own_executable()).replace_filename("backplane").string()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    auto child = Child::start(command);
    if (!child) exit_with_error(child.error().text);
    return std::move(*child);
  }

  Child child_;
  std::string ready_;
};

enum class Processes { broker_and_gateway, serve };

class Backplane : public Peer {
 public:
  explicit Backplane(Processes processes = Processes::broker_and_gateway)
      : broker_(broker_arguments(processes)), gateway_(start_gateway(processes, broker_)) {
    const std::string listen = with_clients().field("listen");
    port_ = static_cast<std::uint16_t>(std::stoi(listen.substr(listen.rfind(':') + 1)));
    Publisher::Options options;
    options.brokers = {{broker_.field("ingress"), broker_.field("control")}};
    options.source = "bench@gateway";
    publisher_ = std::make_unique<Publisher>(std::move(options));
    if (!publisher_->wait_ready(std::chrono::seconds{20}))
      exit_with_error("expected a connected publisher, got none");
  }

  std::uint16_t port() const override { return port_; }
  std::string request(const std::vector<std::string>& topics) const override {
    std::string all;
    for (const std::string& topic : topics) all += "SUB " + topic + "\n";
    return all;
  }
  std::size_t reply_bytes(const std::vector<std::string>& topics) const override {
    std::size_t bytes = 0;
    for (const std::string& topic : topics) bytes += std::string_view("+OK SUB \n").size() + topic.size();
    return bytes;
  }
  Framing framing(std::string_view topic) const override {
    return {topic.size() + 1 + payload_bytes + 1, topic.size() + 1};
  }
  void publish(std::string_view topic, std::string_view payload) override {
    for (;;) {
      const Offer offer = publisher_->offer_text(topic, payload);
      if (offer == Offer::accepted) return;
      if (offer != Offer::backpressured) exit_with_error("cannot offer an event");
      std::this_thread::sleep_for(std::chrono::microseconds{100});
    }
  }
  void flush() override {}

 protected:
  std::vector<pid_t> processes() const override {
    if (!gateway_) return {broker_.pid()};
    return {gateway_->pid(), broker_.pid()};
  }

 private:
  static std::vector<std::string> broker_arguments(Processes processes) {
    constexpr const char* any = "tcp://127.0.0.1:0";
    std::vector<std::string> all{"broker",   "--log-level", "error",      "--ingress", any,
                                 "--egress", any,           "--control",  any,         "--raw",
                                 any,        "--metrics",   "127.0.0.1:0"};
    if (processes == Processes::broker_and_gateway) return all;
    all.front() = "serve";
    all.insert(all.end(), {"--listen", "127.0.0.1:0"});
    return all;
  }
  static std::unique_ptr<Daemon> start_gateway(Processes processes, const Daemon& broker) {
    if (processes == Processes::serve) return nullptr;
    return std::make_unique<Daemon>(std::vector<std::string>{
        "gateway", "--log-level", "error", "--listen", "127.0.0.1:0", "--ingress", broker.field("ingress"),
        "--egress", broker.field("egress"), "--control", broker.field("control")});
  }
  [[nodiscard]] const Daemon& with_clients() const { return gateway_ ? *gateway_ : broker_; }

  Daemon broker_;
  std::unique_ptr<Daemon> gateway_;  // nullptr: it is in the broker's process
  std::uint16_t port_{};
  std::unique_ptr<Publisher> publisher_;
};

/// Events in json, in any wrapping.
class BackplaneFor final : public Backplane {
 public:
  explicit BackplaneFor(Speech speech) : speech_(speech) {}

  std::string request(const std::vector<std::string>& topics) const override {
    const std::string command = "SUB " + topics.at(0);
    const std::string head = fmt::format(" HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n", port());
    switch (speech_) {
      case Speech::line_json:
        return "FORMAT json\n" + command + "\n";
      case Speech::sse:
        return "GET /v1/events?topic=" + topics.at(0) + head + "\r\n";
      case Speech::websocket:
        break;
    }
    const std::string handshake =
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    const std::string frame{'\x81', static_cast<char>(0x80U | command.size()), 0, 0, 0,
                            0};  // a mask of zeros
    return "GET /v1/socket" + head + handshake + frame + command;
  }

  /// Found by subscribing: the heads of HTTP responses depend on the server.
  std::size_t reply_bytes(const std::vector<std::string>& topics) const override {
    if (reply_bytes_ > 0) return reply_bytes_;
    const std::string end = speech_ == Speech::sse         ? "retry: 2000\n\n"
                            : speech_ == Speech::websocket ? "+OK SUB " + topics.at(0)
                                                           : "+OK SUB " + topics.at(0) + "\n";
    Pipe pipe(connect_to(port(), 1));
    pipe.buffer() = request(topics);
    pipe.flush();
    std::string reply;
    std::size_t at = 0;
    while ((at = reply.find(end)) == std::string::npos) {
      std::array<char, 4096> bytes;
      const ssize_t got = ::recv(pipe.fd(), bytes.data(), bytes.size(), 0);
      if (got <= 0) exit_with_error("expected a subscription, got: " + reply);
      reply.append(bytes.data(), static_cast<std::size_t>(got));
    }
    reply_bytes_ = at + end.size();  // in SSE an id follows, which may be longer next time
    return reply_bytes_;
  }

  /// The only @ is in the source's name, and the text is last.
  Framing framing(std::string_view) const override {
    return {.message_bytes = 0, .payload_at = 0, .once = '@', .before_payload = "\"text\":\""};
  }

 private:
  Speech speech_;
  mutable std::size_t reply_bytes_{};
};

}  // namespace

std::chrono::nanoseconds Peer::cpu_time() const {
  std::chrono::nanoseconds all{0};
  for (const pid_t pid : processes()) {
    clockid_t clock{};
    timespec time{};
    if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0)
      exit_with_error("cannot read the CPU clock");
    all += std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
  }
  return all;
}

std::size_t Peer::memory_bytes() const {
  std::ifstream status(fmt::format("/proc/{}/status", processes().front()));
  for (std::string word; status >> word;) {
    if (word != "RssAnon:") continue;
    std::size_t kib = 0;
    status >> kib;
    return kib << 10;
  }
  exit_with_error("expected RssAnon in /proc, got none");
}

std::unique_ptr<Peer> make_raw(std::size_t clients) {
  return std::make_unique<Raw>(clients);
}
std::unique_ptr<Peer> make_redis(std::size_t clients) {
  return std::make_unique<Redis>(clients);
}
std::unique_ptr<Peer> make_backplane(std::size_t) {
  return std::make_unique<Backplane>();
}
std::unique_ptr<Peer> make_serve(std::size_t) {
  return std::make_unique<Backplane>(Processes::serve);
}

std::unique_ptr<Peer> make_backplane_for(Speech speech) {
  return std::make_unique<BackplaneFor>(speech);
}

bool has_redis() {
  return ::access(redis_program, X_OK) == 0;
}

}  // namespace backplane::bench
