// Any bytes of a ZeroMQ peer. The first byte determines what is accepted, the second the pieces, the rest is
// what the peer sends.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/credentials/key.hpp"
#include "core/zmtp/connection.hpp"
#include "tests/fuzz/expect.hpp"

namespace {

using namespace backplane;
using namespace backplane::zmtp;

const Limits limits{.frame_bytes_max = 2000,
                    .message_bytes_max = 3000,
                    .frames_max = 8,
                    .command_bytes_max = 1000,
                    .subscription_bytes_max = 100,
                    .identity_bytes_max = 20};

/// Writes down what it is given, as text.
struct Recorder final : Connection::Listener {
  std::string record;
  std::size_t sent{};
  Connection* connection{};
  bool refuses{};
  bool ready{};

  void send(std::string_view bytes) override { sent += bytes.size(); }
  void on_credentials(const Credentials& credentials) override {
    record.append("credentials ").append(credentials.username).append("/").append(credentials.password);
    if (refuses) {
      connection->refuse("400");
    } else {
      connection->accept();
    }
  }
  [[nodiscard]] bool accepts(SocketType type) const override { return type != SocketType::pair; }
  void on_ready(const Peer& peer) override {
    fuzz::expect(!ready, "a handshake is complete once");
    fuzz::expect(peer.identity.size() <= limits.identity_bytes_max, "an identity is within its limit");
    ready = true;
    record.append("ready ").append(name(peer.type)).append(peer.identity);
  }
  Fault on_subscription(bool subscribe, std::string_view prefix) override {
    fuzz::expect(ready, "nothing arrives before the handshake is complete");
    fuzz::expect(prefix.size() <= limits.subscription_bytes_max, "a prefix is within its limit");
    record.append(subscribe ? "subscribe " : "cancel ").append(prefix);
    return Fault::none;
  }
  Fault on_message(std::span<const std::string_view> frames) override {
    fuzz::expect(ready, "nothing arrives before the handshake is complete");
    fuzz::expect(!frames.empty() && frames.size() <= limits.frames_max, "a message has its frames");
    std::size_t bytes = 0;
    for (const std::string_view frame : frames) {
      fuzz::expect(frame.size() <= limits.frame_bytes_max, "a frame is within its limit");
      bytes += frame.size();
      record.append("frame ").append(frame);
    }
    fuzz::expect(bytes <= limits.message_bytes_max, "a message is within its limit");
    return Fault::none;
  }
};

std::string read(const Connection::Options& options, bool refuses, std::string_view bytes,
                 std::size_t piece) {
  Recorder recorder;
  recorder.refuses = refuses;
  Connection connection(options, recorder);
  recorder.connection = &connection;
  Fault fault = Fault::none;
  for (; !bytes.empty() && fault == Fault::none; bytes.remove_prefix(std::min(piece, bytes.size())))
    fault = connection.read(bytes.substr(0, piece));
  fuzz::expect(connection.is_ready() <= recorder.ready, "a peer that is ready was reported");
  if (fault != Fault::none) {
    fuzz::expect(connection.read("x") == fault, "a fault is for good");
    fuzz::expect(!connection.is_ready(), "a connection with a fault is not ready");
  }
  return recorder.record.append(" fault ").append(name(fault));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const SecretKey key(std::array<std::uint8_t, key_bytes>{1, 2, 3});
  if (size < 2) return 0;
  const unsigned choice = data[0];
  const Connection::Options options{.null = (choice & 1) == 0,
                                    .plain = (choice & 2) == 0,
                                    .curve_key = (choice & 4) == 0 ? &key : nullptr,
                                    .old_peers = (choice & 8) == 0,
                                    .limits = limits};
  const bool refuses = (choice & 16) != 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 2, size - 2};
  fuzz::expect(read(options, refuses, bytes, std::max<std::size_t>(bytes.size(), 1)) ==
                   read(options, refuses, bytes, data[1] % 16u + 1u),
               "what is read is the same however the bytes come");
  return 0;
}
