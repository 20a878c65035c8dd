#pragma once
// A TCP socket whose client may use TLS.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <sys/types.h>
#include <sys/uio.h>

#include "fanout/socket_stream.hpp"
#include "fanout/stream.hpp"
#include "fanout/timer_wheel.hpp"
#include "fanout/tls/context.hpp"
#include "fanout/tls_connections.hpp"

namespace backplane::fanout {

class Client;

/// Owns a non-blocking socket. The client's first byte decides whether it uses TLS. Without TLS, the stream
/// passes everything through, or refuses the client if TLS is required: then nothing but the refusal is ever
/// written. Lives on its worker's thread.
///
/// Encrypts what is written, in records of at most 16 KiB. Records that the kernel does not take at once are
/// kept, at most three of them, and no more is accepted until they are sent.
class TlsStream final : public Stream, private TimerWheel::Timer {
 public:
  /// `shared` outlives it.
  TlsStream(SocketStream socket, TlsConnections& shared) : socket_(std::move(socket)), shared_(shared) {}
  ~TlsStream() override;

  /// To be called once, before any other function. `client` owns the stream.
  void attach(Client& client);

  ssize_t read(std::span<char> into) noexcept override;
  ssize_t write(std::span<const iovec> pieces) noexcept override;
  [[nodiscard]] std::size_t unsent() const noexcept override { return unsent_; }
  [[nodiscard]] bool end_output() noexcept override;
  [[nodiscard]] bool is_encrypted() const noexcept override { return state_ == State::encrypted; }
  [[nodiscard]] std::string_view peer_certificate_name() const noexcept override { return peer_name_; }

  /// Another handshake takes its place.
  void give_way() noexcept;

 private:
  enum class State : std::uint8_t {
    undecided,  ///< no byte has come
    plain,
    refused,  ///< for its plaintext, which is read until the answer is known
    handshake,
    encrypted,
    closing,  ///< the last bytes are sent; the rest of the input is discarded
    broken,
  };
  /// Its BIO is the way of OpenSSL to the socket.
  struct Bio;
  friend struct Bio;

  using Clock = TimerWheel::Clock;

  void on_time(Clock::time_point now) override;
  void break_off() noexcept;

  bool decide();
  void become_plain();
  void refuse_plaintext(bool last);
  ssize_t read_refused();
  void close_soon();
  ssize_t discard_input() noexcept;

  void begin_handshake();
  bool continue_handshake();
  void complete_handshake();
  void leave_handshake() noexcept;
  void note_left_handshake();

  ssize_t read_encrypted(std::span<char> into);
  ssize_t write_encrypted(std::span<const iovec> pieces);
  bool send_output() noexcept;
  bool send_kept() noexcept;
  std::size_t send(std::string_view bytes) noexcept;

  SocketStream socket_;
  TlsConnections& shared_;
  Client* client_{};
  State state_{State::undecided};
  bool deferred_{};      ///< its handshake waits for the next turn
  bool would_block_{};   ///< the socket had no more input for OpenSSL
  bool input_ended_{};   ///< the peer will send no more
  bool end_notified_{};  ///< TLS's end of the output is written
  bool send_failed_{};   ///< the socket takes no more
  bool answered_{};      ///< the client has an answer to its first message of the handshake
  bool counted_{};       ///< among the open connections
  Clock::time_point plain_after_{};
  std::shared_ptr<const TlsContext> context_;  ///< of ssl_
  SslPointer ssl_;
  std::optional<TlsConnections::Handshakes::iterator> handshake_;
  /// Encrypted, and not sent yet. While plaintext is refused: what has come of it.
  std::string kept_;
  std::size_t unsent_{};  ///< bytes before encryption, of the records that are not sent completely
  std::string peer_name_;
};

}  // namespace backplane::fanout
