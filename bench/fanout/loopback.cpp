#include "bench/fanout/loopback.hpp"

#include <cstdio>
#include <cstdlib>

#include <netinet/tcp.h>
#include <sys/socket.h>

namespace backplane::bench {

using backplane::Descriptor;

void must(bool works, const char* what) {
  if (works) return;
  std::perror(what);
  std::exit(1);
}

Loopback::Loopback() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  address_.sin_family = AF_INET;
  address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address_;
  auto* const generic = reinterpret_cast<sockaddr*>(&address_);
  must(::bind(listener_.get(), generic, length) == 0, "bind");
  must(::listen(listener_.get(), SOMAXCONN) == 0, "listen");
  must(::getsockname(listener_.get(), generic, &length) == 0, "getsockname");
}

Descriptor Loopback::connect() const {
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto* const generic = reinterpret_cast<const sockaddr*>(&address_);
  must(socket.get() >= 0 && ::connect(socket.get(), generic, sizeof address_) == 0, "connect");
  return socket;
}

Descriptor Loopback::accept() const {
  Descriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  must(socket.get() >= 0, "accept4");
  const int one = 1;
  must(::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0, "setsockopt");
  return socket;
}

}  // namespace backplane::bench
