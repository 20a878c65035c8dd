#pragma once
// CURVE keys, and a ZAP handler that admits or refuses every client, for tests.

#include <array>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <zmq.h>

#include "core/zmq/client_keys.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::testing {

/// A key pair.
struct CurveKeys {
  CurveKeys() {
    std::array<char, 41> public_text{};
    std::array<char, 41> secret_text{};
    if (zmq_curve_keypair(public_text.data(), secret_text.data()) != 0)
      throw std::runtime_error("libzmq was built without CURVE");
    zmq_z85_decode(public_key.data(), public_text.data());
    zmq_z85_decode(secret_key.data(), secret_text.data());
  }
  std::array<std::uint8_t, 32> public_key{};
  std::array<std::uint8_t, 32> secret_key{};
};

/// The keys of a client for a server. The files are only names.
inline mq::SharedKeys client_keys(const CurveKeys& client, const CurveKeys& server) {
  return std::make_shared<const mq::ClientKeys>(
      mq::ClientKeys{{client.secret_key, client.public_key, server.public_key}, {"me.key", "broker.pub"}});
}

inline mq::CurveServer curve_server(const CurveKeys& server) {
  return {server.secret_key, "test"};
}

/// Replies to every ZAP request of a context with one status. Owns its thread. Create it before the sockets
/// bind; destroy it before the context.
class ZapServer {
 public:
  explicit ZapServer(mq::Context& context, std::string status = "200")
      : socket_(context.raw(), zmq::socket_type::rep), status_(std::move(status)) {
    socket_.bind("inproc://zeromq.zap.01");
    thread_ = std::thread([this] { run(); });
  }
  ~ZapServer() {
    ending_ = true;
    thread_.join();
  }
  ZapServer(const ZapServer&) = delete;
  ZapServer& operator=(const ZapServer&) = delete;

 private:
  void run() {
    while (!ending_) {
      zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
      if (zmq_poll(&item, 1, 5) <= 0) continue;
      std::vector<std::string> request;
      zmq::message_t frame;
      do {
        (void)socket_.recv(frame);
        request.push_back(frame.to_string());
      } while (frame.more());
      const std::array<std::string, 6> reply{"1.0", request.at(1), status_, "text", "user", ""};
      for (std::size_t i = 0; i < reply.size(); ++i) {
        const auto flags = i + 1 < reply.size() ? zmq::send_flags::sndmore : zmq::send_flags::none;
        (void)socket_.send(zmq::buffer(reply[i]), flags);
      }
    }
    socket_.close();
  }

  zmq::socket_t socket_;
  const std::string status_;
  std::atomic<bool> ending_{};
  std::thread thread_;
};

}  // namespace backplane::testing
