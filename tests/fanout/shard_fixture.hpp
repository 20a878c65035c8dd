#pragma once
// A log and a shard without threads or sockets, and clients that a test plays.

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

/// What outlives a client: its side of the wire, and what its handler was told.
struct Played {
  SimulatedStream stream;
  std::string received;
  std::vector<std::string> goodbyes;
  std::vector<AudienceId> lost_holds;
  int rooms{};
  std::function<void(Client&)> on_replies_drained;  ///< what its handler does then
  bool input_ended{};
  bool gone{};  ///< the handler is destroyed
};

class PlayedStream final : public Stream {
 public:
  explicit PlayedStream(std::shared_ptr<Played> played) : played_(std::move(played)) {}
  ssize_t read(std::span<char> into) noexcept override { return played_->stream.read(into); }
  ssize_t write(std::span<const iovec> pieces) noexcept override { return played_->stream.write(pieces); }
  void end_output() noexcept override { played_->stream.end_output(); }

 private:
  std::shared_ptr<Played> played_;
};

/// Reports each loss as "!<topic> <first> <last>\n" and says "!BYE <reason>\n".
class PlayedHandler final : public Handler {
 public:
  PlayedHandler(Client& client, std::shared_ptr<Played> played)
      : client_(client), played_(std::move(played)) {}
  ~PlayedHandler() override { played_->gone = true; }
  void on_bytes(std::string_view bytes) override { played_->received += bytes; }
  void on_input_end() override { played_->input_ended = true; }
  void report_losses(std::span<const Loss> losses, std::string& out) override {
    for (const Loss& loss : losses) {
      out += "!" + std::to_string(static_cast<std::uint32_t>(loss.topic)) + " " + std::to_string(loss.first) +
             " " + std::to_string(loss.last) + "\n";
    }
  }
  void say_goodbye(std::string_view reason) override {
    played_->goodbyes.emplace_back(reason);
    client_.end("!BYE " + std::string(reason) + "\n");
  }
  void on_replies_drained() override {
    ++played_->rooms;
    if (played_->on_replies_drained) played_->on_replies_drained(client_);
  }
  void on_join_buffer_full(AudienceId audience) override { played_->lost_holds.push_back(audience); }

 private:
  Client& client_;
  std::shared_ptr<Played> played_;
};

/// Time stands still until a test moves it.
class Stage {
 public:
  explicit Stage(ShardOptions options = {}, LogOptions log_options = {})
      : log(log_options, 1), shard(options, log, 0, now) {}

  std::shared_ptr<Played> add(std::uint64_t id) {
    auto played = std::make_shared<Played>();
    Client& client = shard.add(ClientId{id}, std::make_unique<PlayedStream>(played));
    client.set_handler(std::make_unique<PlayedHandler>(client, played));
    return played;
  }
  Client& client(std::uint64_t id) { return *shard.find(ClientId{id}); }

  /// "<topic> <offset>\n", padded in the middle.
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
  void catch_up() {
    log.publish();
    shard.catch_up(now);
  }
  /// Until nothing more can be done.
  void flush() {
    do shard.flush(now);
    while (shard.is_dirty());
  }
  void turn() {
    catch_up();
    flush();
  }
  void pass(std::chrono::milliseconds time) { now += time; }

  Shard::Clock::time_point now{std::chrono::hours{1}};
  Log log;
  Shard shard;
};

/// Two topics with a route and an audience each.
class ShardTest : public ::testing::Test {
 protected:
  ShardTest() : ShardTest(ShardOptions{}) {}
  explicit ShardTest(ShardOptions options, LogOptions log_options = {}) : stage_(options, log_options) {
    for (const std::uint32_t topic : {1u, 2u}) {
      stage_.shard.set_route(RouteId{topic}, {AudienceId{topic}});
    }
  }

  std::shared_ptr<Played> add(std::uint64_t id, std::initializer_list<std::uint32_t> audiences) {
    auto played = stage_.add(id);
    for (const std::uint32_t audience : audiences) stage_.shard.join(ClientId{id}, AudienceId{audience});
    return played;
  }
  void give_room(std::uint64_t id, Played& played, std::size_t room) {
    played.stream.room = room;
    stage_.client(id).on_writable();
    stage_.flush();
  }
  [[nodiscard]] const ShardCounters& counters() const { return stage_.shard.counters(); }
  [[nodiscard]] const DeliveryLedger& ledger() { return stage_.shard.ledger(); }

  Stage stage_;
};

}  // namespace backplane::fanout
