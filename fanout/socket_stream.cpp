#include "fanout/socket_stream.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace backplane::fanout {

ssize_t SocketStream::read(std::span<char> into) noexcept {
  return ::recv(socket_.get(), into.data(), into.size(), 0);
}

ssize_t SocketStream::write(std::span<const iovec> pieces) noexcept {
  if (pieces.size() == 1) {
    return ::send(socket_.get(), pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL);
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
}

bool SocketStream::end_output() noexcept {
  ::shutdown(socket_.get(), SHUT_WR);
  return true;
}

void SocketStream::tune(int unsent_bytes_max) noexcept {
  const auto set = [this](int level, int option, int value) {
    (void)::setsockopt(socket_.get(), level, option, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(IPPROTO_TCP, TCP_NOTSENT_LOWAT, unsent_bytes_max);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  // Telnet sends part of its commands as urgent data, which would otherwise not be among the bytes received.
  set(SOL_SOCKET, SO_OOBINLINE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 6);
}

}  // namespace backplane::fanout
