#pragma once
// A gateway without threads or sockets: a hub, a shard of the engine, and simulated clients.

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fanout/shard.hpp"
#include "gateway/hub/hub.hpp"
#include "gateway/protocols/detection/first_line_session.hpp"
#include "gateway/upstream/publish_gate.hpp"
#include "gateway/upstream/publish_queue.hpp"
#include "tests/fanout/simulated_stream.hpp"
#include "tests/gateway/fake_reader.hpp"

namespace backplane::gateway {

/// Accepts all events, and admits them when the test sets the status.
class FakePublisher final : public EventPublisher {
 public:
  Offer offer(std::string_view topic, std::string_view text) override {
    last_topic = topic;
    last_text = text;
    ++state.offered;
    return Offer::accepted;
  }
  Offer offer_with_parts(std::string_view topic, std::string_view text, const EventParts& parts) override {
    last_parts = parts;
    return offer(topic, text);
  }
  PublisherStatus status() override { return state; }
  void request_confirmation() override {}
  PublisherStatus state;
  EventParts last_parts;
  std::string last_topic;
  std::string last_text;
};

/// The engine on one thread: one shard, which gets each command at once.
class ShardOutlet final : public Outlet {
 public:
  ShardOutlet(fanout::Log& log, fanout::Shard& shard) : log_(log), shard_(shard) {}
  void append(std::string_view bytes, const fanout::MessageInfo& info) override {
    ++appended;
    log_.append(bytes, info);
  }
  void set_route(fanout::RouteId route, std::vector<fanout::AudienceId> audiences) override {
    ++routes_set;
    put([route, audiences = std::move(audiences)](fanout::Shard& to) { to.set_route(route, audiences); });
  }
  void set_interval(fanout::AudienceId audience, std::chrono::milliseconds interval) override {
    put([=](fanout::Shard& to) { to.set_interval(audience, interval); });
  }
  void join(fanout::ClientId client, fanout::AudienceId audience) override {
    put([=](fanout::Shard& to) { to.join(client, audience); });
  }
  void join_buffered(fanout::ClientId client, fanout::AudienceId audience) override {
    put([=](fanout::Shard& to) { to.join_buffered(client, audience); });
  }
  void release_join_buffer(fanout::ClientId client, fanout::AudienceId audience,
                           fanout::SkipPtr skip) override {
    put([=](fanout::Shard& to) { to.release_join_buffer(client, audience, skip); });
  }
  void transfer_skips(fanout::ClientId client, fanout::AudienceId from, fanout::AudienceId to) override {
    put([=](fanout::Shard& shard) { shard.transfer_skips(client, from, to); });
  }
  void leave(fanout::ClientId client, fanout::AudienceId audience) override {
    put([=](fanout::Shard& to) { to.leave(client, audience); });
  }
  void advance_low_watermark(fanout::StreamId stream, std::uint64_t position) override {
    put([=](fanout::Shard& to) { to.advance_low_watermark(stream, position); });
  }
  void post(fanout::ClientId client, std::function<void(fanout::Client&)> task) override {
    put([client, task = std::move(task)](fanout::Shard& to) {
      if (fanout::Client* const found = to.find(client)) task(*found);
    });
  }
  std::uint64_t appended{};
  std::uint64_t routes_set{};

 private:
  void put(std::function<void(fanout::Shard&)> run) {
    std::vector<fanout::Shard::Command> one;
    one.push_back({log_.appended(), std::move(run)});
    shard_.put_commands(one);
  }

  fanout::Log& log_;
  fanout::Shard& shard_;
};

/// The clock stands still until a test moves it.
class Stage : public ::testing::Test, public PublishListener {
 protected:
  /// The client's end of a connection.
  struct Peer {
    fanout::ClientId id{};
    std::shared_ptr<fanout::SimulatedStream> stream;
    /// The output since the last call.
    std::string take() { return std::exchange(stream->output, {}); }
  };
  class SharedStream final : public fanout::Stream {
   public:
    explicit SharedStream(std::shared_ptr<fanout::SimulatedStream> stream) : stream_(std::move(stream)) {}
    ssize_t read(std::span<char> into) noexcept override { return stream_->read(into); }
    ssize_t write(std::span<const iovec> pieces) noexcept override { return stream_->write(pieces); }
    bool end_output() noexcept override { return stream_->end_output(); }

   private:
    std::shared_ptr<fanout::SimulatedStream> stream_;
  };

  explicit Stage(HubLimits limits = {}, fanout::ShardOptions shard = {})
      : shard_(shard, log_, 0, now_), hub_(limits, outlet_, directory_, now_) {
    hub_.attach(upstream_);
    publisher_.state.ready = true;
  }

  Peer connect() {
    Peer peer{fanout::ClientId{++last_client_}, std::make_shared<fanout::SimulatedStream>()};
    fanout::Client& client = shard_.add(peer.id, std::make_unique<SharedStream>(peer.stream));
    client.set_handler(std::make_unique<FirstLineSession>(client, services_));
    hub_.add(peer.id, Format::text);
    return peer;
  }
  void send(Peer& peer, std::string_view text) {
    peer.stream->input += text;
    if (fanout::Client* const client = shard_.find(peer.id)) client->on_readable();
    turn();
  }
  void end_input(Peer& peer) {
    peer.stream->input_ends = true;
    if (fanout::Client* const client = shard_.find(peer.id)) client->on_readable();
    turn();
  }
  void read_all(Peer& peer) {
    peer.stream->room = fanout::SimulatedStream::no_limit;
    if (fanout::Client* const client = shard_.find(peer.id)) client->on_writable();
    turn();
  }
  /// Runs hub and shard until neither has work.
  void turn() {
    for (bool more = true; more;) {
      for (Request& request : requests_.take()) {
        if (auto* const publish = std::get_if<request::Publish>(&request.what)) {
          if (services_.access != nullptr) {
            publish_gate_.publish(request.client, publish->topic, publish->text, now_,
                                  std::move(publish->parts));
          } else {
            publish_queue_.publish(request.client, publish->topic, publish->text, now_,
                                   std::move(publish->parts));
          }
        } else {
          hub_.handle(std::move(request), now_);
        }
      }
      // As in a gateway: after what they had sent.
      for (const fanout::ClientId gone : std::exchange(departed_, {})) hub_.remove(gone);
      publish_gate_.pump(now_);
      hub_.tick(now_);
      log_.publish();
      shard_.read_log(now_);
      do shard_.flush(now_);
      while (shard_.is_dirty());
      departed_ = std::exchange(shard_.closed_clients(), {});
      more = !requests_.empty() || shard_.is_behind() || !departed_.empty();
    }
  }
  void come_up() {
    hub_.on_connection(true);
    prove();
  }
  void prove() {
    hub_.on_live(upstream_.tickets);
    turn();
  }
  NumberedEvents::Event publish(const std::string& topic, const std::string& text = "x") {
    NumberedEvents::Event event = broker_.publish(topic, text);
    deliver(event);
    return event;
  }
  void deliver(const NumberedEvents::Event& event) {
    Delivery delivery = event.delivery();
    delivery.mark = &marks_[{event.stamp.stream, event.topic}];  // kept per topic, as by a follower
    hub_.on_event(delivery);
    turn();
  }
  void retained(std::uint64_t request, const NumberedEvents::Event& event) {
    hub_.on_retained(request, event.delivery());
  }
  void retained_end(std::uint64_t request) {
    hub_.on_retained_end(request, RetainedEnd{{{broker_.stream(), broker_.position()}}, std::nullopt});
    turn();
  }
  void admit_all() {
    publisher_.state.confirmed = publisher_.state.offered;
    publish_queue_.pump(now_);
    turn();
  }
  void on_published(fanout::ClientId client, std::string_view topic, std::size_t bytes, std::string_view code,
                    std::string_view text) override {
    outlet_.post(client, [topic = std::string(topic), bytes, code = std::string(code),
                          text = std::string(text)](fanout::Client& of) {
      static_cast<Subscriber&>(of.handler()).on_published(topic, bytes, code, text);
    });
  }

  void on_tagged(fanout::ClientId client, std::uint32_t tag, std::size_t bytes, std::string_view code,
                 std::string_view text) override {
    outlet_.post(client,
                 [tag, bytes, code = std::string(code), text = std::string(text)](fanout::Client& of) {
                   static_cast<Subscriber&>(of.handler()).on_event_result(tag, bytes, code, text);
                 });
  }

  Hub::Clock::time_point now_{std::chrono::hours{1}};
  FakeReader upstream_;
  NumberedEvents broker_;
  std::map<std::pair<std::uint64_t, std::string>, std::uint64_t> marks_;
  FakePublisher publisher_;
  Requests requests_;
  TopicDirectory directory_;
  websocket::Counters websockets_;
  SessionCounters sessions_;
  ZmtpServices zmtp_{};
  mqtt::Counters mqtt_;
  Services services_{requests_, directory_, {1000, 2000}, websockets_, sessions_,
                     nullptr,   nullptr,    &zmtp_,       &mqtt_};
  fanout::Log log_{{}, 1};
  fanout::Shard shard_;
  ShardOutlet outlet_{log_, shard_};
  PublishQueue publish_queue_{publisher_, *this, std::chrono::hours{1}, 1u << 20};
  Hub hub_;
  /// Used if there is a policy.
  PublishGate publish_gate_{publish_queue_,
                            [this](fanout::ClientId client, std::uint64_t& ticket) {
                              return hub_.awaits_subscription(client, ticket);
                            },
                            std::chrono::hours{1}, 1u << 20,
                            [this](fanout::ClientId client, std::string_view topic) {
                              AccessRefusal refused = hub_.check_publish(client, topic);
                              return PublishGate::Refusal{refused.code, std::move(refused.text)};
                            }};

 private:
  std::vector<fanout::ClientId> departed_;
  std::uint64_t last_client_{};
};

}  // namespace backplane::gateway
