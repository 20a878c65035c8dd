#include "follower/control/control_requests.hpp"

#include <algorithm>
#include <utility>

#include "backplane/v1/control.pb.h"
#include "follower/control/control_channel.hpp"

namespace backplane::follower {
namespace {

constexpr std::size_t types_bytes_max = 16u << 20;
constexpr std::size_t participants_max = 100'000;

Error cursor_error(std::string_view what) {
  return Error{ErrorCode::protocol, std::string(what) + ": the broker repeats its cursor"};
}

TopicsPage page_of(const v1::ControlReply& reply) {
  TopicsPage page;
  page.stream = reply.stream();
  page.position = reply.position();
  for (const v1::TopicsReply::Topic& topic : reply.topics().topics()) {
    page.topics.push_back({topic.name(), topic.offset(), topic.position(), topic.value_bytes(),
                           topic.received_ns(), topic.events(), topic.bytes(), topic.history_events()});
  }
  if (reply.has_more()) page.cursor = reply.more().cursor();
  return page;
}

ParticipantInfo::Role role_of(v1::HelloRequest::Role role) {
  switch (role) {
    case v1::HelloRequest::ROLE_PUBLISHER:
      return ParticipantInfo::Role::publisher;
    case v1::HelloRequest::ROLE_GATEWAY:
      return ParticipantInfo::Role::gateway;
    case v1::HelloRequest::ROLE_CLIENT:
      return ParticipantInfo::Role::client;
    default:
      return ParticipantInfo::Role::unspecified;
  }
}

ClusterInfo cluster_of(const v1::Cluster& from) {
  ClusterInfo cluster;
  cluster.member = from.member();
  cluster.index = from.index();
  cluster.first_index = from.first_index();
  cluster.last_index = from.last_index();
  cluster.checkpoint_index = from.checkpoint_index();
  for (const v1::Cluster::Member& each : from.members()) {
    cluster.members.push_back(
        {each.name(), each.up(), each.left(), each.index(),
         std::chrono::milliseconds(std::min<std::uint64_t>(each.silent_ms(), 1ull << 52))});
  }
  for (const v1::Cluster::Server& each : from.servers()) {
    cluster.servers.push_back({each.name(), each.leader(), each.current(), each.offline(), each.lag()});
  }
  cluster.quorum = from.quorum();
  cluster.fault = from.fault();
  return cluster;
}

void add_to(BrokerStats& stats, const v1::ControlReply& reply) {
  stats.broker = reply.broker();
  stats.stream = reply.stream();
  stats.position = reply.position();
  stats.started_ns = reply.stats().started_ns();
  if (reply.stats().has_cluster()) stats.cluster = cluster_of(reply.stats().cluster());
  for (const auto& [name, value] : reply.stats().counters()) stats.counters[name] = value;
  for (const v1::StatsReply::Participant& from : reply.stats().participants()) {
    ParticipantInfo& participant = stats.participants.emplace_back();
    participant.name = from.name();
    participant.session = from.session();
    participant.role = role_of(from.role());
    participant.up = from.up();
    for (const auto& [name, value] : from.counters()) participant.counters[name] = value;
  }
}

}  // namespace

ControlRequests::ControlRequests(ControlChannel& channel, std::chrono::milliseconds timeout)
    : channel_(channel), timeout_(timeout) {}
ControlRequests::~ControlRequests() = default;

void ControlRequests::topics(std::string_view pattern, std::string_view cursor, Handler<TopicsPage> handler) {
  v1::ControlRequest request;
  request.mutable_topics()->set_pattern(std::string(pattern));
  request.mutable_topics()->set_cursor(std::string(cursor));
  channel_.send(request, timeout_, ControlChannel::Urgency::can_wait,
                [alive = alive_.token(), handler = std::move(handler),
                 cursor = std::string(cursor)](const Result<const v1::ControlReply*>& reply) {
                  if (alive.expired()) return;
                  if (!reply) return handler(tl::unexpected(reply.error()));
                  TopicsPage page = page_of(**reply);
                  if (!page.cursor.empty() && page.cursor == cursor) {
                    return handler(tl::unexpected(cursor_error("topics")));
                  }
                  handler(std::move(page));
                });
}

void ControlRequests::types(const std::vector<std::string>& names, Handler<TypesReply> handler) {
  request_types(names, {}, std::make_shared<TypesReply>(), std::move(handler));
}

void ControlRequests::request_types(const std::vector<std::string>& names, const std::string& cursor,
                                    std::shared_ptr<TypesReply> so_far, Handler<TypesReply> handler) {
  v1::ControlRequest request;
  for (const std::string& name : names) request.mutable_types()->add_names(name);
  request.mutable_types()->set_cursor(cursor);
  channel_.send(request, timeout_, ControlChannel::Urgency::can_wait,
                [this, alive = alive_.token(), names, cursor, so_far = std::move(so_far),
                 handler = std::move(handler)](const Result<const v1::ControlReply*>& result) mutable {
                  if (alive.expired()) return;
                  if (!result) return handler(tl::unexpected(result.error()));
                  const v1::ControlReply& reply = **result;
                  // Protobuf concatenates the repeated fields of concatenated messages.
                  reply.types().files().AppendToString(&so_far->files);
                  for (const std::string& name : reply.types().unknown()) so_far->unknown.push_back(name);
                  if (!reply.has_more()) return handler(std::move(*so_far));
                  if (reply.more().cursor() == cursor) return handler(tl::unexpected(cursor_error("types")));
                  if (so_far->files.size() > types_bytes_max) {
                    return handler(fail(ErrorCode::exhausted, "types: the broker's reply exceeds 16 MiB"));
                  }
                  request_types(names, reply.more().cursor(), std::move(so_far), std::move(handler));
                });
}

void ControlRequests::stats(Handler<BrokerStats> handler) {
  request_stats({}, std::make_shared<BrokerStats>(), std::move(handler));
}

void ControlRequests::request_stats(const std::string& cursor, std::shared_ptr<BrokerStats> so_far,
                                    Handler<BrokerStats> handler) {
  v1::ControlRequest request;
  request.mutable_stats()->set_cursor(cursor);
  channel_.send(
      request, timeout_, ControlChannel::Urgency::can_wait,
      [this, alive = alive_.token(), cursor, so_far = std::move(so_far),
       handler = std::move(handler)](const Result<const v1::ControlReply*>& result) mutable {
        if (alive.expired()) return;
        if (!result) return handler(tl::unexpected(result.error()));
        const v1::ControlReply& reply = **result;
        add_to(*so_far, reply);
        if (!reply.has_more()) return handler(std::move(*so_far));
        if (reply.more().cursor() == cursor) return handler(tl::unexpected(cursor_error("stats")));
        if (so_far->participants.size() > participants_max) {
          return handler(fail(ErrorCode::exhausted, "stats: the broker has more than 100,000 participants"));
        }
        request_stats(reply.more().cursor(), std::move(so_far), std::move(handler));
      });
}

void ControlRequests::identify(std::string_view name, Handler<BrokerIdentity> handler) {
  v1::ControlRequest request;
  // The goodbye of somebody who was never there changes nothing.
  request.mutable_hello()->set_name(std::string(name));
  request.mutable_hello()->set_session(1);
  request.mutable_hello()->set_closing(true);
  channel_.send(
      request, timeout_, ControlChannel::Urgency::can_wait,
      [alive = alive_.token(), handler = std::move(handler)](const Result<const v1::ControlReply*>& reply) {
        if (alive.expired()) return;
        if (!reply) return handler(tl::unexpected(reply.error()));
        const v1::HelloReply& hello = (*reply)->hello();
        handler(
            BrokerIdentity{(*reply)->broker(), hello.version(), hello.draining(), hello.max_event_bytes()});
      });
}

void ControlRequests::drain(Handler<void> handler) {
  v1::ControlRequest request;
  request.mutable_drain();
  channel_.send(
      request, timeout_, ControlChannel::Urgency::can_wait,
      [alive = alive_.token(), handler = std::move(handler)](const Result<const v1::ControlReply*>& reply) {
        if (alive.expired()) return;
        if (!reply) return handler(tl::unexpected(reply.error()));
        handler({});
      });
}

}  // namespace backplane::follower
