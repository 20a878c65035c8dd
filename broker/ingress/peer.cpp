#include "broker/ingress/peer.hpp"

#include <charconv>
#include <cstring>

#include <sys/socket.h>
#include <sys/stat.h>
#include <zmq.h>

namespace backplane::broker {
namespace {

// libzmq keeps the properties of a connection once, and every message of the connection points to them.
const char* descriptor_text(zmq::message_t& message) noexcept {
  return zmq_msg_gets(message.handle(), "__fd");
}

std::uint64_t inode_of(int descriptor) noexcept {
  struct stat found {};
  return ::fstat(descriptor, &found) == 0 && S_ISSOCK(found.st_mode) ? found.st_ino : 0;
}

}  // namespace

Peer peer_of(zmq::message_t& message) noexcept {
  return Peer{reinterpret_cast<std::uintptr_t>(descriptor_text(message))};
}

int descriptor_of(zmq::message_t& message) noexcept {
  const char* const text = descriptor_text(message);
  int descriptor = -1;
  if (text == nullptr) return descriptor;
  return std::from_chars(text, text + std::strlen(text), descriptor).ec == std::errc{} ? descriptor : -1;
}

PeerSocket::PeerSocket(zmq::message_t& message) noexcept : descriptor_(descriptor_of(message)) {
  if (descriptor_ >= 0) inode_ = inode_of(descriptor_);
}

bool PeerSocket::is_open() const noexcept {
  return inode_ != 0 && inode_of(descriptor_) == inode_;
}

void PeerSocket::shut_down() const noexcept {
  if (is_open()) ::shutdown(descriptor_, SHUT_RDWR);
}

}  // namespace backplane::broker
