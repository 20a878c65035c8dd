#include "fanout/worker.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <system_error>
#include <utility>

#include <pthread.h>
#include <sys/epoll.h>

#include "core/error/error.hpp"
#include "core/time/deadline.hpp"
#include "fanout/socket_stream.hpp"
#include "fanout/tls_stream.hpp"

namespace backplane::fanout {

Worker::Worker(WorkerOptions options, Log& log, ClosedClients& closed_clients, std::size_t index)
    : options_(std::move(options)),
      closed_clients_(closed_clients),
      shard_(options_.shard, log, index, Clock::now()),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      window_(options_.flush_window) {
  if (options_.tls.context) tls_ = std::make_unique<TlsConnections>(options_.tls, shard_.timers());
  if (!epoll_) throw std::system_error(errno, std::system_category(), "epoll_create1");
  epoll_event event{};
  event.events = EPOLLIN;  // data.ptr stays nullptr, which stands for the waker
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, waker_.fd(), &event) != 0) {
    throw std::system_error(errno, std::system_category(), "epoll_ctl");
  }
}

Worker::~Worker() {
  if (!thread_.joinable()) return;
  stopping_.store(true);
  waker_.wake();
  thread_.join();
}

void Worker::start() {
  thread_ = std::thread([this] { run(); });
}

std::chrono::nanoseconds Worker::cpu_time() const {
  clockid_t clock{};
  timespec time{};
  // A thread that has not started has no handle.
  const auto handle = const_cast<std::thread&>(thread_).native_handle();
  if (!thread_.joinable() || ::pthread_getcpuclockid(handle, &clock) != 0 ||
      ::clock_gettime(clock, &time) != 0) {
    return {};
  }
  return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

void Worker::add(ClientId id, Descriptor socket, const MakeHandler& make) {
  SocketStream plain(std::move(socket));
  plain.tune(options_.unsent_bytes_max);
  const int fd = plain.fd();
  std::unique_ptr<Stream> stream;
  TlsStream* tls = nullptr;
  if (tls_) {
    auto either = std::make_unique<TlsStream>(std::move(plain), *tls_);
    tls = either.get();
    stream = std::move(either);
  } else {
    stream = std::make_unique<SocketStream>(std::move(plain));
  }
  Client& client = shard_.add(id, std::move(stream));
  if (tls != nullptr) tls->attach(client);
  client.set_handler(make(client));
  epoll_event event{};
  // Edge-triggered: otherwise each client whose socket is full would cost an epoll_ctl().
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &client;
  // Out of memory, or above epoll's own limit: only this client is closed.
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) client.abort();
}

void Worker::set_tls_context(std::shared_ptr<const TlsContext> context) {
  CHECK(tls_, "only the context of a worker with TLS is replaced");
  tls_->set_context(std::move(context));
}

void Worker::continue_handshakes() {
  tls_->begin_turn();
  while (const auto id = tls_->next_deferred()) {
    if (Client* const client = shard_.find(*id)) client->on_readable();
  }
}

void Worker::wait(Clock::time_point now) {
  // While the worker rests, published messages wait for the end of the rest, and nothing needs to wake it.
  const bool resting = now < window_.until();
  Clock::time_point until = shard_.next_deadline();
  bool sleeps = !shard_.is_dirty();
  if (resting) {
    until = std::min(until, window_.until());
  } else {
    waker_.fall_asleep();
    sleeps = sleeps && !shard_.is_behind();
  }
  sleeps = sleeps && !stopping_.load() && !(tls_ && tls_->has_deferred());
  const timespec timeout = as_timespec(sleeps ? time_left(until, now) : std::chrono::nanoseconds{0});
  std::array<epoll_event, 256> events;
  const int ready =
      ::epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &timeout, nullptr);
  if (!resting) waker_.wake_up();
  CHECK(ready >= 0 || errno == EINTR, "a worker can wait for its sockets");
  if (tls_) continue_handshakes();
  shard_.begin_input();
  for (int i = 0; i < ready; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    auto* const client = static_cast<Client*>(event.data.ptr);
    if (client == nullptr) {
      waker_.drain();
      continue;
    }
    // After a reset nothing can be written. The end of the input alone (EPOLLRDHUP) does not end the
    // connection.
    if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) client->abort();
    if ((event.events & (EPOLLIN | EPOLLRDHUP)) != 0) client->on_readable();
    if ((event.events & EPOLLOUT) != 0) client->on_writable();
  }
}

void Worker::turn() {
  wait(Clock::now());
  const auto began = Clock::now();
  const std::uint64_t sends = shard_.counters().sends.get();
  const std::uint64_t bytes = shard_.counters().sent_bytes.get();
  const bool rested = began >= window_.until();
  if (rested) shard_.read_log(began);
  shard_.flush(began);
  shard_.publish_ledger();
  if (!shard_.closed_clients().empty()) closed_clients_.put(shard_.closed_clients());
  if (rested) {
    window_.wrote(began, Clock::now(), shard_.counters().sends.get() - sends,
                  shard_.counters().sent_bytes.get() - bytes,
                  shard_.is_behind() && !shard_.has_commands_left());
  }
}

void Worker::run() {
  while (!stopping_.load()) turn();
}

}  // namespace backplane::fanout
