#include "core/zmq/key_check.hpp"

#include <fmt/format.h>

#include "core/zmq/mechanism.hpp"

namespace backplane::mq {
namespace {

constexpr std::chrono::milliseconds look_time_max{200};
constexpr std::chrono::seconds look_interval{1};
// A broker that stops can end one handshake.
constexpr int closed_min = 2;
constexpr int status_unknown_user = 400;

}  // namespace

void KeyCheck::on_failure(const HandshakeFailure& failure, const std::string& address,
                          Clock::time_point now) {
  using Kind = HandshakeFailure::Kind;
  switch (failure.kind) {
    case Kind::refused:
      problem_ = failure.status == status_unknown_user ? KeyProblem::refused : KeyProblem::not_checked;
      return;
    case Kind::mechanism:
      problem_ = keys_ ? KeyProblem::not_used : KeyProblem::required;
      return;
    case Kind::crypto:
      problem_ = KeyProblem::wrong_server;
      return;
    case Kind::closed:
      if (++closed_ < closed_min || now < next_look_) return;
      next_look_ = now + look_interval;
      problem_ = look_at(address);
      return;
    case Kind::none:
    case Kind::other:
      return;
  }
}

KeyProblem KeyCheck::look_at(const std::string& address) const {
  switch (server_mechanism(address, look_time_max)) {
    case Mechanism::null:
      return keys_ ? KeyProblem::not_used : KeyProblem::none;
    case Mechanism::curve:
      return keys_ ? KeyProblem::wrong_server : KeyProblem::required;
    case Mechanism::unknown:
      break;
  }
  return problem_;  // the broker may have gone away, which says nothing about keys
}

bool KeyCheck::is_undecided() const noexcept {
  return problem_ == KeyProblem::none && closed_ > 0 && closed_ < closed_min;
}

void KeyCheck::on_connected() {
  problem_ = KeyProblem::none;
  closed_ = 0;
  next_look_ = Clock::time_point::min();
}

std::string KeyCheck::text() const {
  switch (problem_) {
    case KeyProblem::none:
      return {};
    case KeyProblem::required:
      return fmt::format("{}: the broker requires keys (--key, --server-key)", endpoint_);
    case KeyProblem::not_used:
      return fmt::format("{}: the broker uses no keys; connect without them", endpoint_);
    case KeyProblem::wrong_server:
      return fmt::format("{}: the broker's key is not the one in {}", endpoint_,
                         keys_->files.server_key_file);
    case KeyProblem::refused:
      if (!keys_) return fmt::format("{}: the broker does not admit clients without keys", endpoint_);
      return fmt::format(
          "{}: the broker does not admit the key in {}: its policy has no user with it, or the user may not "
          "connect to this endpoint",
          endpoint_, keys_->files.key_file);
    case KeyProblem::not_checked:
      return fmt::format("{}: the broker cannot check keys now", endpoint_);
  }
  return {};
}

}  // namespace backplane::mq
