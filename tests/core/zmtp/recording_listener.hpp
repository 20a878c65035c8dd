#pragma once
// A connection's listener that records what it is given.

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/zmtp/connection.hpp"

namespace backplane::zmtp {

using Frames = std::vector<std::string>;

/// Accepts every peer and every type, unless a test says otherwise. Owned by a test.
struct RecordingListener final : Connection::Listener {
  std::string sent;
  std::vector<std::string> credentials;  ///< mechanism, username, password or key
  std::vector<std::pair<bool, std::string>> subscriptions;
  std::vector<Frames> messages;
  std::optional<Peer> peer;
  std::string identity;
  std::function<bool(SocketType)> accepted = [](SocketType) { return true; };
  /// Called with the credentials; must decide. Without it, the peer is accepted.
  std::function<void()> decide;
  Connection* connection{};

  void send(std::string_view bytes) override { sent.append(bytes); }
  void on_credentials(const Credentials& given) override {
    std::string text(name(given.mechanism));
    if (given.mechanism == Mechanism::plain)
      text.append(" ").append(given.username).append(" ").append(given.password);
    if (given.mechanism == Mechanism::curve) text.append(" ").append(to_text(given.key));
    credentials.push_back(text);
    if (decide) {
      decide();
    } else {
      connection->accept();
    }
  }
  [[nodiscard]] bool accepts(SocketType type) const override { return accepted(type); }
  void on_ready(const Peer& ready) override {
    identity = ready.identity;
    peer = ready;
    peer->identity = {};
  }
  Fault on_subscription(bool subscribe, std::string_view prefix) override {
    subscriptions.emplace_back(subscribe, prefix);
    return Fault::none;
  }
  Fault on_message(std::span<const std::string_view> frames) override {
    messages.emplace_back(frames.begin(), frames.end());
    return Fault::none;
  }
};

/// A connection and its listener.
struct Recorded {
  explicit Recorded(Connection::Options with = {}) : options(with), connection(options, listener) {
    listener.connection = &connection;
  }
  Connection::Options options;
  RecordingListener listener;
  Connection connection;

  /// Reads `bytes` in pieces of `piece` bytes.
  Fault read(std::string_view bytes, std::size_t piece = 1u << 20) {
    Fault fault = Fault::none;
    for (; !bytes.empty() && fault == Fault::none; bytes.remove_prefix(std::min(piece, bytes.size())))
      fault = connection.read(bytes.substr(0, piece));
    return fault;
  }
};

}  // namespace backplane::zmtp
