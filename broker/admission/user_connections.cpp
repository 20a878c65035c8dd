#include "broker/admission/user_connections.hpp"

#include <charconv>
#include <cstring>
#include <utility>

#include <sys/socket.h>
#include <sys/stat.h>
#include <zmq.h>

namespace backplane::broker {
namespace {

ino_t socket_of(int descriptor) noexcept {
  struct stat found {};
  return ::fstat(descriptor, &found) == 0 && S_ISSOCK(found.st_mode) ? found.st_ino : 0;
}

std::size_t slot_of(const char* user) noexcept {
  return (reinterpret_cast<std::uintptr_t>(user) >> 4) % UserConnections::noted_max;
}

}  // namespace

void UserConnections::accepted(int descriptor) {
  open_[descriptor] = Connection{socket_of(descriptor), {}};
}

void UserConnections::closed(int descriptor) {
  open_.erase(descriptor);
  noted_.fill(nullptr);
}

bool UserConnections::knows(zmq::message_t& message) const noexcept {
  const char* const user = zmq_msg_gets(message.handle(), "User-Id");
  // The unsubscriptions that libzmq makes when a connection closes have no user.
  return user == nullptr || noted_[slot_of(user)] == user;
}

void UserConnections::saw(zmq::message_t& message) {
  const char* const user = zmq_msg_gets(message.handle(), "User-Id");
  const char* const text = zmq_msg_gets(message.handle(), "__fd");
  int descriptor = -1;
  if (user == nullptr || text == nullptr) return;
  if (std::from_chars(text, text + std::strlen(text), descriptor).ec != std::errc{}) return;
  if (saw(descriptor, user)) noted_[slot_of(user)] = user;
}

bool UserConnections::saw(int descriptor, std::string_view user) {
  const auto found = open_.find(descriptor);
  if (found == open_.end()) return false;
  found->second.user = user;
  const policy::User* const known = policy_->user(user);
  if (known == nullptr || !rule_.admits(*policy_, *known)) end(descriptor, found->second);
  return true;
}

void UserConnections::set_policy(std::shared_ptr<const policy::Policy> policy,
                                 const UserNames& to_disconnect) {
  policy_ = std::move(policy);
  noted_.fill(nullptr);
  if (to_disconnect.empty()) return;
  for (const auto& [descriptor, connection] : open_) {
    if (connection.user.empty() || to_disconnect.contains(connection.user)) end(descriptor, connection);
  }
}

/// libzmq owns the socket, and closes it when it reads the end of the input.
void UserConnections::end(int descriptor, const Connection& connection) {
  if (connection.socket == 0 || socket_of(descriptor) != connection.socket) return;
  ::shutdown(descriptor, SHUT_RDWR);
  ++ended_;
}

}  // namespace backplane::broker
