#pragma once
// Why a broker does not accept the keys of a connection.

#include <chrono>
#include <cstdint>
#include <string>

#include "core/zmq/client_keys.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::mq {

/// What is wrong with the keys of a connection.
enum class KeyProblem : std::uint8_t {
  none,
  required,      ///< the broker requires keys, the client has none
  not_used,      ///< the client has keys, the broker uses none
  wrong_server,  ///< the broker's key is not the one that the client expects
  refused,       ///< the broker does not admit the client's key
  not_checked,   ///< the broker cannot check keys now
};

/// Finds out what is wrong with the keys of a connection from its failed handshakes.
///
/// What a client sees of them, measured with libzmq 4.3.4 on DEALER, SUB and XPUB:
///   unknown user (ZAP replies 400)      FAILED_AUTH with the status. libzmq does not try again by itself.
///   ZAP replies 500                     the same.
///   ZAP replies 300                     nothing, until the server's handshake timeout of 30 s.
///   wrong server key                    FAILED_NO_DETAIL (EPIPE): the server closes the connection.
///   no keys at a CURVE server           FAILED_PROTOCOL (mechanism mismatch) in 8 to 50 % of the attempts,
///   keys at a server without CURVE      otherwise FAILED_NO_DETAIL, if the server was the first to close.
/// Only its greeting therefore tells a server without CURVE from one with another key: server_mechanism().
///
/// Lives on the thread of the connection.
class KeyCheck {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param endpoint  begins each text
  KeyCheck(SharedKeys keys, std::string endpoint) : keys_(std::move(keys)), endpoint_(std::move(endpoint)) {}

  /// A handshake with `address` (the endpoint, with a numeric address) has failed, or a connection has ended
  /// for another reason (Kind::none). May block for 0.2 s, once a second.
  void on_failure(const HandshakeFailure& failure, const std::string& address, Clock::time_point now);
  /// A handshake has succeeded.
  void on_connected();

  [[nodiscard]] KeyProblem problem() const noexcept { return problem_; }
  /// Whether the keys may be the reason for the last failure: the next one decides.
  [[nodiscard]] bool is_undecided() const noexcept;
  /// The problem on one line: `tcp://host7:5571: the broker requires keys (--key, --server-key)`; empty:
  /// none.
  [[nodiscard]] std::string text() const;

 private:
  [[nodiscard]] KeyProblem look_at(const std::string& address) const;

  SharedKeys keys_;
  std::string endpoint_;
  KeyProblem problem_{KeyProblem::none};
  int closed_{};  // handshakes that the peer ended without a word, since one succeeded
  Clock::time_point next_look_{Clock::time_point::min()};
};

}  // namespace backplane::mq
