#pragma once
// A control service with the state of a backplane, used through its own messages.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "backplane/v1/control.pb.h"
#include "backplane/v1/event.pb.h"
#include "backplane/v1/system.pb.h"
#include "broker/control/service.hpp"
#include "broker/log/commit_log.hpp"
#include "broker/state/memory_history.hpp"
#include "broker/state/participants.hpp"
#include "core/payload/type_registry.hpp"

namespace backplane::broker {

/// The replies, in order.
class Replies final : public ReplySink {
 public:
  struct One {
    Envelope envelope;
    v1::ControlReply reply;
    std::size_t bytes{};
  };
  void reply(const Envelope& envelope, std::string_view bytes) override {
    One one{envelope, {}, bytes.size()};
    EXPECT_TRUE(one.reply.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
    all.push_back(std::move(one));
  }
  std::vector<One> all;
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// Owns everything. `history` replaces the one in memory.
class ServiceFixture {
 public:
  static constexpr std::uint64_t stream = 0x00000001'00000002;

  explicit ServiceFixture(HistoryLimits limits = {}, std::unique_ptr<HistoryStore> history = nullptr,
                          std::size_t topics_max = 100'000,
                          std::unique_ptr<CommitLog> commit_log = std::make_unique<LocalLog>())
      : log(std::move(commit_log)),
        state("default", topics_max, 100,
              history ? std::move(history) : std::make_unique<MemoryHistory>(std::move(limits))),
        participants(
            [this](const std::string& topic, const v1::SourceStatus&) { announced.push_back(topic); }),
        service(state, access, participants, types, *log, replies, [this] { ++drains; }) {
    state.stream = stream;
    state.max_event_bytes = 1u << 20;
    state.started_ns = 1'000'000'000;
  }

  /// Publishes as the pipeline does. @returns the event's position.
  std::uint64_t publish(std::string_view topic, const std::string& text) {
    v1::Event event;
    event.set_text(text);
    return publish(topic, event);
  }
  std::uint64_t publish(std::string_view topic, const v1::Event& event) {
    TopicEntry* entry = state.topics.find_or_add(topic);
    const wire::Stamp stamp{.stream = stream,
                            .position = ++state.position,
                            .offset = ++entry->offset,
                            .previous = entry->position,
                            .received_ns = static_cast<std::int64_t>(state.position) * 1'000'000};
    std::string bytes = event.SerializeAsString();
    const bool clears = event.payload_case() == v1::Event::PAYLOAD_NOT_SET;
    std::array<std::byte, wire::stamp_bytes> tail;
    wire::write_stamp(stamp, tail);
    bytes.append(reinterpret_cast<const char*>(tail.data()), tail.size());
    entry->position = stamp.position;
    entry->bytes += bytes.size();
    entry->received_ns = stamp.received_ns;
    state.topics.touched(*entry);
    const HistoryAppend append{topic, bytes_of(bytes), stamp, clears};
    EXPECT_EQ(state.history->append({&append, 1}).result, HistoryStore::Accepted::accepted);
    return stamp.position;
  }

  /// Sends a request. @returns its reply.
  v1::ControlReply send(v1::ControlRequest request) {
    if (request.version() == 0) request.set_version(1);
    request.set_id(++id_);
    v1::ControlReply reply = send_bytes(request.SerializeAsString());
    EXPECT_EQ(reply.id(), id_);
    return reply;
  }
  v1::ControlReply send_bytes(std::string_view bytes) {
    replies.all.clear();
    service.request({"client", ""}, bytes_of(bytes), now, sender());
    EXPECT_EQ(replies.all.size(), 1u);
    if (replies.all.empty()) return {};
    EXPECT_EQ(replies.all[0].envelope, (Envelope{"client", ""}));
    return replies.all[0].reply;
  }

  v1::ControlReply replay(const std::string& pattern, std::uint64_t after, const std::string& cursor = "",
                          std::uint64_t until = 0) {
    v1::ControlRequest request;
    request.mutable_replay()->set_pattern(pattern);
    request.mutable_replay()->mutable_after_position()->set_stream(stream);
    request.mutable_replay()->mutable_after_position()->set_position(after);
    request.mutable_replay()->set_cursor(cursor);
    request.mutable_replay()->set_until_position(until);
    return send(request);
  }
  v1::ControlReply retained(const std::string& pattern, const std::string& cursor = "") {
    v1::ControlRequest request;
    request.mutable_retained()->set_pattern(pattern);
    request.mutable_retained()->set_cursor(cursor);
    return send(request);
  }
  v1::ControlReply tails(const std::vector<std::string>& patterns, std::uint64_t after,
                         const std::string& cursor = "") {
    v1::ControlRequest request;
    for (const auto& pattern : patterns) request.mutable_tails()->add_patterns(pattern);
    request.mutable_tails()->set_after_position(after);
    request.mutable_tails()->set_cursor(cursor);
    return send(request);
  }
  v1::ControlReply topics(const std::string& pattern, const std::string& cursor = "") {
    v1::ControlRequest request;
    request.mutable_topics()->set_pattern(pattern);
    request.mutable_topics()->set_cursor(cursor);
    return send(request);
  }
  v1::ControlReply hello(const std::string& name, std::uint64_t session) {
    v1::ControlRequest request;
    request.mutable_hello()->set_name(name);
    request.mutable_hello()->set_session(session);
    request.mutable_hello()->set_role(v1::HelloRequest::ROLE_PUBLISHER);
    return send(request);
  }

  /// Who sends the requests; "": nobody.
  std::string user;
  std::unique_ptr<CommitLog> log;
  ControlService::Clock::time_point now = ControlService::Clock::time_point{} + std::chrono::hours{1};
  BackplaneState state;
  Access access;
  std::vector<std::string> announced;  ///< topics of source statuses
  int drains{};
  Participants participants;
  TypeRegistry types;
  Replies replies;
  ControlService service;

 private:
  [[nodiscard]] Sender sender() const {
    return user.empty() ? Sender{} : Sender{access.user_of_name(user), user, "192.0.2.7"};
  }
  std::uint64_t id_{};
};

/// The position in an event's stamp.
inline std::uint64_t position_of(const v1::StoredEvent& stored) {
  v1::Event event;
  EXPECT_TRUE(event.ParseFromString(stored.event()));
  return event.stamp().position();
}

inline std::string text_of(const v1::StoredEvent& stored) {
  v1::Event event;
  EXPECT_TRUE(event.ParseFromString(stored.event()));
  return event.text();
}

}  // namespace backplane::broker
