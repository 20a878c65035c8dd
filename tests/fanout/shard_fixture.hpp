#pragma once
// A log and a shard without threads or sockets, and clients whose peers are simulated.

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fanout/shard.hpp"
#include "tests/fanout/simulated_stream.hpp"

namespace backplane::fanout {

/// The other side of a client, and a record of its handler's calls. Outlives the client.
struct Peer {
  SimulatedStream stream;
  std::string received;
  std::vector<std::string> goodbyes;
  std::vector<AudienceId> full_join_buffers;
  int drained{};
  std::function<void(Client&)> on_replies_drained;  ///< called by the handler
  std::function<void()> on_bytes;                   ///< called by the handler, if there is one
  bool input_ended{};
  bool handler_destroyed{};
};

class PeerStream final : public Stream {
 public:
  explicit PeerStream(std::shared_ptr<Peer> peer) : peer_(std::move(peer)) {}
  ssize_t read(std::span<char> into) noexcept override { return peer_->stream.read(into); }
  ssize_t write(std::span<const iovec> pieces) noexcept override { return peer_->stream.write(pieces); }
  bool end_output() noexcept override { return peer_->stream.end_output(); }
  [[nodiscard]] std::size_t unsent() const noexcept override { return peer_->stream.unsent(); }

 private:
  std::shared_ptr<Peer> peer_;
};

/// Reports each loss as "!<topic> <first> <last>\n", and a goodbye as "!BYE <reason>\n".
class RecordingHandler final : public Handler {
 public:
  RecordingHandler(Client& client, std::shared_ptr<Peer> peer) : client_(client), peer_(std::move(peer)) {}
  ~RecordingHandler() override { peer_->handler_destroyed = true; }
  void on_bytes(std::string_view bytes) override {
    peer_->received += bytes;
    if (peer_->on_bytes) peer_->on_bytes();
  }
  void on_input_end() override { peer_->input_ended = true; }
  void report_losses(std::span<const Loss> losses, std::string& out) override {
    for (const Loss& loss : losses) {
      out += "!" + std::to_string(static_cast<std::uint32_t>(loss.topic)) + " " + std::to_string(loss.first) +
             " " + std::to_string(loss.last) + "\n";
    }
  }
  void say_goodbye(std::string_view reason) override {
    peer_->goodbyes.emplace_back(reason);
    client_.end("!BYE " + std::string(reason) + "\n");
  }
  void on_replies_drained() override {
    ++peer_->drained;
    if (peer_->on_replies_drained) peer_->on_replies_drained(client_);
  }
  void on_join_buffer_full(AudienceId audience) override { peer_->full_join_buffers.push_back(audience); }

 private:
  Client& client_;
  std::shared_ptr<Peer> peer_;
};

/// A log, a shard that reads it, and a clock that the test advances.
class ShardRig {
 public:
  explicit ShardRig(ShardOptions options = {}, LogOptions log_options = {})
      : log(log_options, 1), shard(options, log, 0, now) {}

  std::shared_ptr<Peer> add(std::uint64_t id) {
    auto peer = std::make_shared<Peer>();
    Client& client = shard.add(ClientId{id}, std::make_unique<PeerStream>(peer));
    client.set_handler(std::make_unique<RecordingHandler>(client, peer));
    return peer;
  }
  Client& client(std::uint64_t id) { return *shard.find(ClientId{id}); }

  /// "<topic> <offset> <padding>\n".
  static std::string text(std::uint32_t topic, std::uint64_t offset, std::size_t padding = 0) {
    return std::to_string(topic) + " " + std::to_string(offset) + " " + std::string(padding, '.') + "\n";
  }
  void append(std::uint32_t topic, std::uint64_t offset, std::size_t padding = 0) {
    log.append(text(topic, offset, padding), {TopicId{topic}, RouteId{topic}, offset});
  }
  /// The same, as a message of `stream`.
  void append_at(std::uint32_t topic, std::uint64_t offset, StreamId stream, std::uint64_t position,
                 std::size_t padding = 0) {
    log.append(text(topic, offset, padding), {TopicId{topic}, RouteId{topic}, offset, stream, position});
  }
  void read_log() {
    log.publish();
    shard.read_log(now);
  }
  /// Flushes until nothing is left to do.
  void flush() {
    do shard.flush(now);
    while (shard.is_dirty());
  }
  void turn() {
    read_log();
    flush();
  }
  void pass(std::chrono::milliseconds time) { now += time; }

  Shard::Clock::time_point now{std::chrono::hours{1}};
  Log log;
  Shard shard;
};

/// A rig with two topics, each with a route and an audience.
class ShardTest : public ::testing::Test {
 protected:
  ShardTest() : ShardTest(ShardOptions{}) {}
  explicit ShardTest(ShardOptions options, LogOptions log_options = {}) : rig_(options, log_options) {
    for (const std::uint32_t topic : {1u, 2u}) {
      rig_.shard.set_route(RouteId{topic}, {AudienceId{topic}});
    }
  }

  std::shared_ptr<Peer> add(std::uint64_t id, std::initializer_list<std::uint32_t> audiences) {
    auto peer = rig_.add(id);
    for (const std::uint32_t audience : audiences) rig_.shard.join(ClientId{id}, AudienceId{audience});
    return peer;
  }
  void give_room(std::uint64_t id, Peer& peer, std::size_t room) {
    peer.stream.room = room;
    rig_.client(id).on_writable();
    rig_.flush();
  }
  [[nodiscard]] const ShardCounters& counters() const { return rig_.shard.counters(); }
  [[nodiscard]] const DeliveryLedger& ledger() { return rig_.shard.ledger(); }

  ShardRig rig_;
};

}  // namespace backplane::fanout
