#pragma once
// One connection to a ZeroMQ peer, without its socket.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/credentials/key.hpp"
#include "core/zmtp/command.hpp"
#include "core/zmtp/curve.hpp"
#include "core/zmtp/fault.hpp"
#include "core/zmtp/greeting.hpp"
#include "core/zmtp/limits.hpp"
#include "core/zmtp/message_reader.hpp"
#include "core/zmtp/socket_type.hpp"

namespace backplane::zmtp {

/// Who a peer is, as far as its mechanism says.
struct Credentials {
  Mechanism mechanism{Mechanism::null};
  std::string_view username;  ///< PLAIN only; valid until the call returns, and so is password
  std::string_view password;
  PublicKey key{};  ///< CURVE only: the peer has proved that it has the other half
};

/// A peer whose handshake is complete.
struct Peer {
  Version version;
  Mechanism mechanism{Mechanism::null};
  SocketType type{};
  std::string_view identity;  ///< valid until the call returns; empty: it has none
};

/// One connection that a peer has opened: this is the server of its mechanism. Reads the peer's bytes, and
/// writes all of the handshake and PONGs itself. Belongs to one thread; makes no system call.
///
/// Of a SUB or XSUB, every subscription is given to on_subscription(), in the form of any version, and
/// nothing else is accepted. To a PUB or XPUB, this subscribes to everything. All other types send messages;
/// what these mean (the empty frame before a REQ's request, for example) is the listener's business.
class Connection final : private MessageReader::Sink {
 public:
  /// What the connection is for. Calls that return a fault end the connection with it.
  class Listener {
   public:
    virtual ~Listener() = default;
    /// Writes bytes to the peer. Valid until the call returns.
    virtual void send(std::string_view bytes) = 0;
    /// Decides about the peer by accept() or refuse(), now or later. Called once for each connection.
    virtual void on_credentials(const Credentials& credentials) = 0;
    /// Whether peers of this type are accepted.
    [[nodiscard]] virtual bool accepts(SocketType type) const = 0;
    /// The handshake is complete. Called once.
    virtual void on_ready(const Peer& peer) = 0;
    /// From a SUB or XSUB: it subscribes to the prefix, or cancels that. `prefix` is valid until the call
    /// returns.
    virtual Fault on_subscription(bool subscribe, std::string_view prefix) = 0;
    /// @param frames at least one; valid until the call returns
    virtual Fault on_message(std::span<const std::string_view> frames) = 0;
  };

  struct Options {
    bool null = true;
    bool plain = true;
    const SecretKey* curve_key = nullptr;  ///< nullptr: no CURVE. Outlives the connection.
    bool old_peers = true;                 ///< ZMTP 2.0, which has no security
    Limits limits{};
  };

  /// `options` and `listener` outlive it.
  Connection(const Options& options, Listener& listener) noexcept;

  /// Reads bytes of the peer. @returns what is wrong with them; then an ERROR has been sent if the peer can
  /// read it, and the caller must close the connection. After a fault, all bytes are ignored. Not to be
  /// called by the listener.
  [[nodiscard]] Fault read(std::string_view bytes);

  /// The peer is who it says, and may connect.
  void accept();
  /// The peer may not connect. Sends an ERROR; the caller must close the connection.
  /// @param reason for the peer: see append_error()
  void refuse(std::string_view reason);

  /// Sends a message, once the handshake is complete. Without CURVE, append_message() makes the same bytes.
  void send_message(std::span<const std::string_view> frames);

  [[nodiscard]] bool is_ready() const noexcept { return state_ == State::ready; }
  /// Whether bytes for this peer must be made by send_message(), because they are encrypted.
  [[nodiscard]] bool is_encrypted() const noexcept { return curve_ != nullptr; }

 private:
  enum class State : std::uint8_t {
    greeting,
    identity,  ///< of a peer with ZMTP 2.0, in its first message
    hello,     ///< NULL: its READY
    initiate,
    deciding,  ///< on_credentials() has been called
    ready,
    ended,
  };
  /// The frames of an incomplete message of CURVE, decrypted.
  struct Assembly {
    std::string bytes;
    std::vector<std::size_t> ends;
    std::vector<std::string_view> views;  // scratch memory
  };

  Fault on_message(std::span<const std::string_view> frames) override;
  Fault on_command(std::string_view command) override;

  Fault read_greeting(std::string_view& bytes);
  Fault end_greeting();
  void report(Fault fault);
  Fault decide(const Credentials& credentials);
  Fault read_ready(const Command& command);
  Fault read_plain(const Command& command);
  Fault read_curve(std::string_view body);
  Fault take_metadata(std::string_view data);
  void become_ready();
  Fault on_box(std::string_view message);
  Fault assemble(std::string_view body, bool more);
  Fault on_traffic(std::span<const std::string_view> frames);
  Fault on_traffic_command(std::string_view body);
  Fault on_subscription(bool subscribe, std::string_view prefix);
  void send_command(std::string_view name, std::string_view data);

  const Options& options_;
  Listener& listener_;
  std::unique_ptr<GreetingReader> greeting_;  // until it is complete
  std::optional<MessageReader> reader_;       // from then on
  std::unique_ptr<CurveServer> curve_;        // with CURVE only
  std::unique_ptr<Assembly> assembly_;        // with CURVE, from the first message of several frames on
  std::string identity_;                      // until the handshake is complete
  SocketType type_{};
  Version version_;
  Mechanism mechanism_{Mechanism::null};
  State state_{State::greeting};
  Fault fault_{Fault::none};
  bool signature_sent_{};
  bool reads_errors_{};  // the peer: its greeting is complete, its handshake is not
};

}  // namespace backplane::zmtp
