#include "broker/control/service.hpp"

#include <algorithm>
#include <deque>
#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/stubs/logging.h>

#include "backplane/v1/control.pb.h"
#include "broker/control/cursor.hpp"
#include "broker/control/fault.hpp"
#include "broker/control/permissions.hpp"
#include "broker/control/slice_reply.hpp"
#include "broker/log/commit_log.hpp"
#include "broker/operations/exposition.hpp"
#include "broker/state/participants.hpp"
#include "core/credentials/text_sealer.hpp"
#include "core/log/escape.hpp"
#include "core/payload/type_registry.hpp"
#include "core/wire/stamp.hpp"

namespace backplane::broker {
namespace {

constexpr std::uint32_t protocol_version = 1;

// The rest of a reply is for its content: this much is reserved for its own fields, with the longest cursor.
constexpr std::size_t head_bytes_max = 4096;
constexpr std::size_t content_bytes_max = reply_bytes_max - head_bytes_max;
constexpr std::size_t slice_bytes_max = content_bytes_max - reply_events_max * event_framing_bytes_max;

constexpr std::size_t pending_max = 1024;

// Checking a topic costs about 50 ns, and 10 ns per pattern. A request for a listing therefore takes at most
// one or two milliseconds.
constexpr std::size_t topics_scan_max = 10'000;
constexpr std::size_t patterns_max = 1'000;
constexpr std::size_t pattern_scans_max = 100'000;

constexpr std::size_t type_names_max = 512;
constexpr std::size_t type_names_bytes_max = 64u << 10;

constexpr std::size_t participants_page = 256;

// About what an entry of a listing takes, with a topic of common length.
constexpr std::size_t tail_bytes = 64;
constexpr std::size_t topic_bytes = 96;

/// The address of the reply to a request.
struct ReplyAddress {
  Envelope envelope;
  std::uint64_t id{};
};

/// Who has sent a request that waits. Meanwhile another policy may apply, with other users.
class WaitingSender {
 public:
  WaitingSender(const Sender& sender, const Access& access)
      : sender_{nullptr, sender.name, sender.address},
        is_own_(sender.user != nullptr && sender.user == access.own_user()) {}
  /// With the user by the policy of this moment.
  [[nodiscard]] Sender now(const Access& access) const {
    return {is_own_ ? access.own_user() : access.user_of_name(sender_.name), sender_.name, sender_.address};
  }

 private:
  Sender sender_;
  bool is_own_;
};

/// A request about a publisher's session, which may have events in the log that are not applied here yet.
struct SessionRequest {
  ReplyAddress address;
  std::string source;
  std::uint64_t session{};
  WaitingSender sender;
  std::uint64_t barrier{};
};

/// A replay from a position that this broker has not reached. Another one may have: it waits for what is in
/// the log.
struct AheadReplay {
  ReplyAddress address;
  v1::ReplayRequest request;
  std::size_t bytes_max{};
  WaitingSender sender;
  std::uint64_t barrier{};
  std::optional<std::uint64_t> through{};  ///< the last position before the barrier, when that is reached
};

/// Types that are on their way through the log.
struct TypesRegistration {
  ReplyAddress address;
  v1::TypesRequest request;
  std::size_t bytes_max{};
  WaitingSender sender;
};

/// A reply that confirms a publisher's events up to `position`, once they are published, and up to the
/// store's `ticket`, once they are durable.
struct PendingConfirmation {
  ReplyAddress address;
  v1::AdmittedReply admitted;
  std::uint64_t position{};
  std::optional<std::uint64_t> ticket;  // once they are published
};

/// A reply with values that are not published yet.
struct EarlyReply {
  ReplyAddress address;
  std::string bytes;
  std::uint64_t through{};     ///< the last position in it
  std::uint64_t generation{};  ///< of the policy that permits it
};

/// A read that the history has not completed yet.
struct PendingRead {
  ReplyAddress address;
  CursorKind kind{};
  bool hides_topics{};           ///< the request has a filter
  std::uint64_t after_offset{};  ///< if the request names one
  std::uint64_t generation{};    ///< of the policy that permits it
};

ControlResult<Pattern> parse_pattern(std::string_view where, std::string_view text) {
  auto pattern = Pattern::parse(text);
  if (!pattern) return refuse("bad_pattern", fmt::format("{}: {}", where, pattern.error().text));
  return std::move(*pattern);
}

constexpr const char* foreign_cursor = "cursor: expected one from an earlier reply to this request";

// The place in a cursor; "" if the request has no cursor.
ControlResult<std::string_view> open_place(CursorKind kind, std::uint64_t stream, std::string_view cursor) {
  if (cursor.empty()) return std::string_view{};
  const OpenedCursor opened = open_cursor(kind, stream, cursor);
  switch (opened.fault) {
    case CursorFault::not_ours:
      return refuse("bad_cursor",
                    fmt::format("cursor: expected one from an earlier reply to this request, got {} "
                                "other bytes",
                                cursor.size()));
    case CursorFault::other_stream:
      return refuse(
          "other_stream",
          fmt::format(
              "cursor: expected one of stream {:016x}, got one of another stream: start without a cursor",
              stream));
    case CursorFault::none:
      break;
  }
  return opened.place;
}

ControlResult<std::uint64_t> number_of(std::string_view place) {
  if (place.empty()) return std::uint64_t{0};
  const auto number = read_number(place);
  if (!number) return refuse("bad_cursor", foreign_cursor);
  return *number;
}

// Unix time in nanoseconds, `ago_ns` before now by this machine's clock; 0 for anything before 1970.
std::int64_t unix_time_before(std::uint64_t ago_ns) {
  const std::int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
  return ago_ns >= static_cast<std::uint64_t>(now) ? 0 : now - static_cast<std::int64_t>(ago_ns);
}

std::string_view code_of(TypeRegistry::Refusal refusal) {
  switch (refusal) {
    case TypeRegistry::Refusal::conflict:
      return "conflict";
    case TypeRegistry::Refusal::too_large:
      return "too_large";
    case TypeRegistry::Refusal::none:
    case TypeRegistry::Refusal::bad_types:
      break;
  }
  return "bad_types";
}

/// The bytes of a reply that are for its content: `most`, or less if the client has requested a short reply.
std::size_t content_bytes(const v1::ControlRequest& request, std::size_t most = content_bytes_max) {
  const std::size_t requested = request.reply_bytes_max();
  return requested == 0 ? most : std::min(requested, most);
}

/// The same for entries of a listing, at least one.
std::size_t entries_max(std::size_t bytes_max, std::size_t entry_bytes) {
  return std::clamp<std::size_t>(bytes_max / entry_bytes, 1, reply_events_max);
}

void fill(const Participant& participant, v1::StatsReply::Participant& shown) {
  shown.set_name(participant.name);
  shown.set_session(participant.session);
  shown.set_role(static_cast<v1::HelloRequest::Role>(participant.role));
  shown.set_up(participant.up);
  for (const auto& [name, value] : participant.counters) (*shown.mutable_counters())[name] = value;
}

void fill(const ClusterReport& report, v1::Cluster& shown) {
  shown.set_member(report.member);
  shown.set_index(report.index);
  shown.set_first_index(report.first_index);
  shown.set_last_index(report.last_index);
  shown.set_checkpoint_index(report.checkpoint_index);
  for (const ClusterReport::Member& each : report.members) {
    v1::Cluster::Member& member = *shown.add_members();
    member.set_name(each.name);
    member.set_up(each.is_here);
    member.set_left(each.has_left);
    member.set_index(each.index);
    member.set_silent_ms(each.silent_ms);
  }
  for (const LogServer& each : report.servers) {
    v1::Cluster::Server& server = *shown.add_servers();
    server.set_name(each.name);
    server.set_leader(each.is_leader);
    server.set_current(each.is_current);
    server.set_offline(each.is_offline);
    server.set_lag(each.lag);
  }
  shown.set_quorum(report.has_quorum);
  shown.set_fault(report.fault);
}

bool is_lost(const StoredEvent& event) {
  return wire::lost_events(event.event) > 0;
}

/// The events of a slice without those that stand for lost events, which are reported like destroyed ones.
struct Separated {
  std::vector<StoredEvent> events;
  std::vector<DestroyedEvents> destroyed;
};

Separated separate_lost(std::span<const StoredEvent> events, std::span<const DestroyedEvents> destroyed,
                        std::uint64_t after_offset) {
  Separated parts{.events = {}, .destroyed = {destroyed.begin(), destroyed.end()}};
  for (const StoredEvent& event : events) {
    const std::uint64_t lost = wire::lost_events(event.event);
    const auto stamp = wire::read_stamp(event.event);
    if (lost == 0 || !stamp) {
      parts.events.push_back(event);
      continue;
    }
    parts.destroyed.push_back({.topic = std::string(event.topic),
                               .first = std::max(stamp->offset - lost, after_offset) + 1,
                               .last = stamp->offset,
                               .position = stamp->position,
                               .upstream = true});
  }
  std::ranges::stable_sort(parts.destroyed, {}, &DestroyedEvents::position);
  return parts;
}

std::uint64_t position_of(const StoredEvent& event) {
  const auto stamp = wire::read_stamp(event.event);
  return stamp ? stamp->position : 0;
}

}  // namespace

class ControlService::Impl {
 public:
  Impl(BackplaneState& state, Access& access, Participants& participants, TypeRegistry& types, CommitLog& log,
       ReplySink& sink, std::function<void()> on_drain)
      : state_(state),
        access_(access),
        permissions_(state, access),
        participants_(participants),
        types_(types),
        log_(log),
        sink_(sink),
        on_drain_(std::move(on_drain)) {}

  void request(Envelope envelope, std::span<const std::byte> bytes, Clock::time_point now,
               const Sender& sender);
  void poll();
  void register_types(std::string_view descriptor_set, bool is_own);
  void set_busy(bool busy) noexcept { busy_ = busy; }
  [[nodiscard]] std::size_t pending() const noexcept {
    return pending_.size() + session_requests_.size() + confirmations_.size() + early_.size() +
           registrations_.size() + ahead_.size();
  }

 private:
  // Reads of history, and what depends on the store: poll() sends the reply.
  ControlResult<ReadRequest> read_of(const v1::RetainedRequest& request, const Sender& sender);
  ControlResult<ReadRequest> read_of(const v1::ReplayRequest& request, const Sender& sender);
  ControlResult<ReadRequest> read_of(const v1::ReplayRequest& request, ReadRequest read) const;
  [[nodiscard]] std::uint64_t last_offset(std::string_view topic) const;
  void read(ReplyAddress address, CursorKind kind, std::size_t bytes_max, ControlResult<ReadRequest> request);
  void reply_slice(PendingRead pending, const ReadSlice& slice);
  void reply_history(const PendingRead& pending, const ReadSlice& slice);
  void reply_retained(PendingRead pending, const ReadSlice& slice);
  [[nodiscard]] bool refuse_pending(const ReplyAddress& address);
  void send_policy_changed(const ReplyAddress& address);
  void admitted(ReplyAddress address, const v1::AdmittedRequest& request, const Sender& sender);
  void admitted(SessionRequest request, const Sender& sender);
  [[nodiscard]] bool confirm(PendingConfirmation& pending);
  void confirm_published();
  [[nodiscard]] bool is_ahead(const v1::ReplayRequest& request) const;
  void wait_for_log(ReplyAddress address, v1::ReplayRequest request, std::size_t bytes_max,
                    const Sender& sender);
  void begin_waiting_replays();
  void append_types(ReplyAddress address, v1::ControlRequest& request, const Sender& sender);

  // The others fill the reply at once. They leave `end` unset if nothing follows.
  ControlResult<void> handle(const v1::HelloRequest& request, const Sender& sender, Clock::time_point now,
                             v1::ControlReply& reply);
  ControlResult<void> handle(const v1::TailsRequest& request, const Sender& sender, std::size_t bytes_max,
                             v1::ControlReply& reply);
  ControlResult<void> handle(const v1::TopicsRequest& request, const Sender& sender, std::size_t bytes_max,
                             v1::ControlReply& reply);
  ControlResult<void> handle(const v1::TypesRequest& request, const Sender& sender, std::size_t bytes_max,
                             v1::ControlReply& reply);
  ControlResult<void> handle(const v1::StatsRequest& request, const Sender& sender, std::size_t bytes_max,
                             v1::ControlReply& reply);
  ControlResult<void> handle_now(const v1::ControlRequest& request, const Sender& sender,
                                 Clock::time_point now, v1::ControlReply& reply);

  [[nodiscard]] v1::ControlReply begin_reply(std::uint64_t id) const;
  [[nodiscard]] ControlResult<std::string> place_of(CursorKind kind, std::string_view cursor,
                                                    bool hides_topics) const;
  void set_more(v1::ControlReply& reply, CursorKind kind, std::string_view place,
                bool hides_topics = false) const;
  void send(const ReplyAddress& address, const v1::ControlReply& reply);
  void send_fault(const ReplyAddress& address, const Fault& fault);

  BackplaneState& state_;
  Access& access_;
  Permissions permissions_;
  Participants& participants_;
  TypeRegistry& types_;
  CommitLog& log_;
  ReplySink& sink_;
  std::function<void()> on_drain_;
  std::unordered_map<std::uint64_t, PendingRead> pending_;  // by the history's tickets
  std::deque<SessionRequest> session_requests_;             // in the order of their barriers
  std::deque<PendingConfirmation> confirmations_;           // in the order of their positions
  std::vector<EarlyReply> early_;
  std::deque<TypesRegistration> registrations_;  // in the order of the log
  std::deque<AheadReplay> ahead_;                // in the order of their barriers
  // The place in a cursor may be a topic: also one that the client must not know.
  TextSealer hidden_places_;
  bool busy_{};
};

// ── every request ────────────────────────────────────────────────────────────────────────────────────────

void ControlService::Impl::request(Envelope envelope, std::span<const std::byte> bytes, Clock::time_point now,
                                   const Sender& sender) {
  ++state_.counters.control_requests_total;
  ReplyAddress address{std::move(envelope), 0};
  // Protobuf logs a line for every string that is not UTF-8. A flood of bad requests must not flood the log.
  const google::protobuf::LogSilencer silence;
  v1::ControlRequest request;
  if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return send_fault(
        address, {"malformed", fmt::format("expected a ControlRequest, got {} other bytes", bytes.size())});
  }
  address.id = request.id();
  if (request.version() != protocol_version) {
    return send_fault(address, {"version", fmt::format("version: expected {}, got {}", protocol_version,
                                                       request.version())});
  }
  if (const auto known = permissions_.known(sender); !known) return send_fault(address, known.error());
  switch (request.request_case()) {
    case v1::ControlRequest::kRetained:
      return read(std::move(address), CursorKind::retained, content_bytes(request, slice_bytes_max),
                  read_of(request.retained(), sender));
    case v1::ControlRequest::kReplay: {
      const std::size_t bytes_max = content_bytes(request, slice_bytes_max);
      if (log_.is_replicated() && is_ahead(request.replay())) {
        return wait_for_log(std::move(address), std::move(*request.mutable_replay()), bytes_max, sender);
      }
      return read(std::move(address), CursorKind::replay, bytes_max, read_of(request.replay(), sender));
    }
    case v1::ControlRequest::kAdmitted:
      return admitted(std::move(address), request.admitted(), sender);
    case v1::ControlRequest::kTypes:
      if (!log_.is_replicated() || !request.types().has_register_files()) break;
      if (types_.has(request.types().register_files())) break;
      return append_types(std::move(address), request, sender);
    default:
      break;
  }
  v1::ControlReply reply = begin_reply(address.id);
  if (auto handled = handle_now(request, sender, now, reply); !handled)
    return send_fault(address, handled.error());
  if (reply.end_case() == v1::ControlReply::END_NOT_SET) reply.mutable_complete();
  send(address, reply);
  if (request.has_drain()) on_drain_();
}

ControlResult<void> ControlService::Impl::handle_now(const v1::ControlRequest& request, const Sender& sender,
                                                     Clock::time_point now, v1::ControlReply& reply) {
  switch (request.request_case()) {
    case v1::ControlRequest::kHello:
      return handle(request.hello(), sender, now, reply);
    case v1::ControlRequest::kTails:
      return handle(request.tails(), sender, content_bytes(request), reply);
    case v1::ControlRequest::kTopics:
      return handle(request.topics(), sender, content_bytes(request), reply);
    case v1::ControlRequest::kTypes:
      return handle(request.types(), sender, content_bytes(request), reply);
    case v1::ControlRequest::kStats:
      return handle(request.stats(), sender, content_bytes(request), reply);
    case v1::ControlRequest::kDrain:
      if (auto permitted = permissions_.administer(sender, "drain the broker"); !permitted) return permitted;
      reply.mutable_drain();
      return {};
    default:
      return refuse("unknown_request",
                    "request: expected hello, retained, replay, tails, admitted, topics, types, stats or "
                    "drain, got none of them");
  }
}

v1::ControlReply ControlService::Impl::begin_reply(std::uint64_t id) const {
  v1::ControlReply reply;
  reply.set_version(protocol_version);
  reply.set_id(id);
  reply.set_broker(state_.name);
  reply.set_stream(state_.stream);
  reply.set_position(state_.published_position());
  return reply;
}

ControlResult<std::string> ControlService::Impl::place_of(CursorKind kind, std::string_view cursor,
                                                          bool hides_topics) const {
  const auto place = open_place(kind, state_.stream, cursor);
  if (!place) return tl::unexpected(place.error());
  if (place->empty() || !hides_topics) return std::string(*place);
  auto opened = hidden_places_.open(*place);
  if (!opened) return refuse("bad_cursor", foreign_cursor);
  return std::move(*opened);
}

void ControlService::Impl::set_more(v1::ControlReply& reply, CursorKind kind, std::string_view place,
                                    bool hides_topics) const {
  const std::string shown = hides_topics ? hidden_places_.seal(place) : std::string(place);
  reply.mutable_more()->set_cursor(seal_cursor(kind, state_.stream, shown));
}

void ControlService::Impl::send(const ReplyAddress& address, const v1::ControlReply& reply) {
  sink_.reply(address.envelope, reply.SerializeAsString());
}

void ControlService::Impl::send_fault(const ReplyAddress& address, const Fault& fault) {
  ++state_.counters.control_refused_total;
  v1::ControlReply reply = begin_reply(address.id);
  reply.mutable_error()->set_code(std::string(fault.code));
  reply.mutable_error()->set_text(fault.text);
  send(address, reply);
}

// ── history ──────────────────────────────────────────────────────────────────────────────────────────────

ControlResult<ReadRequest> ControlService::Impl::read_of(const v1::RetainedRequest& request,
                                                         const Sender& sender) {
  auto pattern = parse_pattern("retained.pattern", request.pattern());
  if (!pattern) return tl::unexpected(pattern.error());
  auto readable = permissions_.read(sender, "retained.pattern", *pattern);
  if (!readable) return tl::unexpected(readable.error());
  auto place = place_of(CursorKind::retained, request.cursor(), readable->hides_topics());
  if (!place) return tl::unexpected(place.error());
  ReadRequest read(std::move(*pattern));
  read.what = ReadRequest::What::retained;
  read.filter = std::move(readable->filter);
  read.cursor = std::move(*place);
  return read;
}

std::uint64_t ControlService::Impl::last_offset(std::string_view topic) const {
  const TopicEntry* const entry = std::as_const(state_.topics).find(topic);
  return entry == nullptr ? 0 : state_.published_tail(*entry).offset;
}

ControlResult<ReadRequest> ControlService::Impl::read_of(const v1::ReplayRequest& request,
                                                         const Sender& sender) {
  auto pattern = parse_pattern("replay.pattern", request.pattern());
  if (!pattern) return tl::unexpected(pattern.error());
  auto readable = permissions_.read(sender, "replay.pattern", *pattern);
  if (!readable) return tl::unexpected(readable.error());
  auto place = place_of(CursorKind::replay, request.cursor(), readable->hides_topics());
  if (!place) return tl::unexpected(place.error());
  ReadRequest read(std::move(*pattern));
  read.filter = std::move(readable->filter);
  read.cursor = std::move(*place);
  return read_of(request, std::move(read));
}

/// Where the read begins.
ControlResult<ReadRequest> ControlService::Impl::read_of(const v1::ReplayRequest& request,
                                                         ReadRequest read) const {
  read.until_position = request.until_position();
  read.earlier = request.earlier();
  read.partial = request.partial();
  switch (request.start_case()) {
    case v1::ReplayRequest::kAfterPosition:
      if (request.earlier() && state_.history->has_stream(request.after_position().stream())) {
        read.what = ReadRequest::What::after_position;
        read.stream = request.after_position().stream();
        read.position = request.after_position().position();
        return read;
      }
      if (request.after_position().stream() != state_.stream) {
        return refuse("other_stream",
                      fmt::format("replay.after_position.stream: expected {:016x}, got {:016x}",
                                  state_.stream, request.after_position().stream()));
      }
      if (request.after_position().position() > state_.published_position()) {
        return refuse("not_reached",
                      fmt::format("replay.after_position.position: expected at most {}, got {}",
                                  state_.published_position(), request.after_position().position()));
      }
      read.what = ReadRequest::What::after_position;
      read.position = request.after_position().position();
      return read;
    case v1::ReplayRequest::kAfterOffset:
      if (!read.pattern.is_exact()) {
        return refuse("bad_pattern",
                      fmt::format("replay.pattern: expected one topic with after_offset, got \"{}\"",
                                  log::escape(read.pattern.str())));
      }
      if (const std::uint64_t last = last_offset(read.pattern.str()); request.after_offset() > last) {
        return refuse("not_reached", fmt::format("replay.after_offset: expected at most {}, got {}", last,
                                                 request.after_offset()));
      }
      read.what = ReadRequest::What::after_offset;
      read.offset = request.after_offset();
      return read;
    case v1::ReplayRequest::kSinceNs:
      read.what = ReadRequest::What::since_time;
      read.since_ns = request.since_ns();
      return read;
    case v1::ReplayRequest::kSinceAgoNs:
      read.what = ReadRequest::What::since_time;
      read.since_ago_ns = request.since_ago_ns();
      read.since_ns = unix_time_before(request.since_ago_ns());
      return read;
    case v1::ReplayRequest::START_NOT_SET:
      break;
  }
  return refuse("malformed",
                "replay.start: expected after_position, after_offset, since_ns or since_ago_ns, got none");
}

void ControlService::Impl::read(ReplyAddress address, CursorKind kind, std::size_t bytes_max,
                                ControlResult<ReadRequest> request) {
  if (!request) return send_fault(address, request.error());
  if (refuse_pending(address)) return;
  request->events_max = busy_ ? busy_reply_events_max : reply_events_max;
  request->bytes_max = bytes_max;
  const std::uint64_t ticket = state_.history->start_read(*request);
  pending_.emplace(ticket, PendingRead{std::move(address), kind, request->filter != nullptr, request->offset,
                                       access_.generation()});
  poll();
}

/// Refuses a request that would have to wait while too many do. @returns whether it did.
bool ControlService::Impl::refuse_pending(const ReplyAddress& address) {
  if (pending() < pending_max) return false;
  send_fault(address,
             {"busy", fmt::format("limit of {} pending requests reached: try again later", pending_max)});
  return true;
}

void ControlService::Impl::poll() {
  while (!session_requests_.empty() && log_.reached(session_requests_.front().barrier)) {
    SessionRequest request = std::move(session_requests_.front());
    session_requests_.pop_front();
    const Sender sender = request.sender.now(access_);
    if (const auto known = permissions_.known(sender); !known) {
      send_fault(request.address, known.error());
    } else {
      admitted(std::move(request), sender);
    }
  }
  begin_waiting_replays();
  confirm_published();
  while (auto slice = state_.history->next_slice()) {
    const auto pending = pending_.find(slice->ticket);
    CHECK(pending != pending_.end(), "the history completes each read once");
    PendingRead read = std::move(pending->second);
    pending_.erase(pending);
    reply_slice(std::move(read), *slice);
  }
  std::erase_if(early_, [&](const EarlyReply& each) {
    if (each.through > state_.published_position()) return false;
    if (each.generation != access_.generation()) {
      send_policy_changed(each.address);
      return true;
    }
    sink_.reply(each.address.envelope, each.bytes);
    return true;
  });
}

bool ControlService::Impl::is_ahead(const v1::ReplayRequest& request) const {
  return request.has_after_position() && request.after_position().stream() == state_.stream &&
         request.after_position().position() > state_.published_position();
}

void ControlService::Impl::wait_for_log(ReplyAddress address, v1::ReplayRequest request,
                                        std::size_t bytes_max, const Sender& sender) {
  if (refuse_pending(address)) return;
  ahead_.push_back(
      {std::move(address), std::move(request), bytes_max, WaitingSender(sender, access_), log_.barrier()});
}

/// If the position is still not reached when everything is applied and published that was in the log, no
/// broker can have reached it.
void ControlService::Impl::begin_waiting_replays() {
  while (!ahead_.empty()) {
    AheadReplay& first = ahead_.front();
    if (is_ahead(first.request)) {
      if (!log_.reached(first.barrier)) return;
      if (!first.through) first.through = state_.position;
      if (state_.published_position() < *first.through) return;
    }
    const AheadReplay replay = std::move(first);
    ahead_.pop_front();
    read(replay.address, CursorKind::replay, replay.bytes_max,
         read_of(replay.request, replay.sender.now(access_)));
  }
}

/// A reply that is ready when the policy changes may contain what the client may no longer read.
void ControlService::Impl::send_policy_changed(const ReplyAddress& address) {
  send_fault(address, {"busy", "the policy has changed meanwhile: try again"});
}

void ControlService::Impl::reply_slice(PendingRead pending, const ReadSlice& slice) {
  if (pending.generation != access_.generation()) return send_policy_changed(pending.address);
  switch (slice.end) {
    case ReadSlice::End::complete:
    case ReadSlice::End::more:
      if (pending.kind == CursorKind::retained) return reply_retained(std::move(pending), slice);
      return reply_history(pending, slice);
    case ReadSlice::End::gone: {
      v1::ControlReply reply = begin_reply(pending.address.id);
      reply.mutable_gone()->set_first_available(slice.first_available);
      reply.mutable_gone()->set_first_available_offset(slice.first_available_offset);
      if (slice.stream != 0) reply.mutable_replay()->set_stream(slice.stream);
      return send(pending.address, reply);
    }
    case ReadSlice::End::bad_cursor:
      return send_fault(pending.address, {"bad_cursor", foreign_cursor});
  }
}

/// History ends before what is not published yet: the store has it, but may not have synced it.
void ControlService::Impl::reply_history(const PendingRead& pending, const ReadSlice& slice) {
  const bool is_earlier = slice.stream != 0 && slice.stream != state_.stream;
  const std::uint64_t published =
      is_earlier ? std::numeric_limits<std::uint64_t>::max() : state_.published_position();
  std::span<const StoredEvent> events = slice.events;
  while (!events.empty() && position_of(events.back()) > published) events = events.first(events.size() - 1);
  const bool is_cut = events.size() < slice.events.size() || slice.through_position > published;
  v1::ControlReply head = begin_reply(pending.address.id);
  if (is_cut || slice.end == ReadSlice::End::complete) {
    head.mutable_complete();
  } else {
    set_more(head, pending.kind, slice.cursor, pending.hides_topics);
  }
  const std::string head_bytes = head.SerializeAsString();
  const std::uint64_t through = std::min(slice.through_position, published);
  if (std::ranges::none_of(events, [](const StoredEvent& each) { return is_lost(each); })) {
    return sink_.reply(pending.address.envelope,
                       replay_reply(head_bytes, events, through, slice.destroyed, slice.stream));
  }
  const Separated parts = separate_lost(events, slice.destroyed, pending.after_offset);
  sink_.reply(pending.address.envelope,
              replay_reply(head_bytes, parts.events, through, parts.destroyed, slice.stream));
}

/// A value that is not published yet has replaced the one before: the reply waits until it is.
void ControlService::Impl::reply_retained(PendingRead pending, const ReadSlice& slice) {
  std::uint64_t through = 0;
  for (const StoredEvent& event : slice.events) through = std::max(through, position_of(event));
  v1::ControlReply head = begin_reply(pending.address.id);
  head.set_position(std::max(head.position(), through));
  if (slice.end == ReadSlice::End::complete) {
    head.mutable_complete();
  } else {
    set_more(head, pending.kind, slice.cursor, pending.hides_topics);
  }
  std::string bytes = retained_reply(head.SerializeAsString(), slice.events, slice.valid_ns, slice.destroyed);
  if (through <= state_.published_position()) return sink_.reply(pending.address.envelope, bytes);
  early_.push_back({std::move(pending.address), std::move(bytes), through, pending.generation});
}

// ── participants and sessions ────────────────────────────────────────────────────────────────────────────

ControlResult<void> ControlService::Impl::handle(const v1::HelloRequest& request, const Sender& sender,
                                                 Clock::time_point now, v1::ControlReply& reply) {
  Participant participant;
  participant.name = request.name();
  participant.session = request.session();
  participant.user = access_.number_of(sender.user);
  if (request.role() < 0 || request.role() >= static_cast<int>(role_count)) {
    return refuse("malformed", fmt::format("hello.role: expected 0 to {}, got {}", role_count - 1,
                                           static_cast<int>(request.role())));
  }
  participant.role = static_cast<Role>(request.role());
  if (auto permitted = permissions_.appear(sender, participants_, participant); !permitted) return permitted;
  for (const auto& [name, value] : request.counters()) participant.counters.emplace_back(name, value);
  if (const auto taken = participants_.hello(std::move(participant), request.closing(), now); !taken) {
    const bool full = taken.error().code == ErrorCode::exhausted;
    return refuse(full ? "busy" : "malformed", taken.error().text);
  }
  reply.mutable_hello()->set_version(BACKPLANE_VERSION);
  reply.mutable_hello()->set_draining(state_.draining);
  reply.mutable_hello()->set_max_event_bytes(state_.max_event_bytes);
  // Anybody can say that it is a gateway. The figures are statistics, which need `admin`.
  if (request.role() == v1::HelloRequest::ROLE_GATEWAY && state_.store_kind == "file" &&
      access_.is_admin(sender.user)) {
    for (const auto& [name, value] : named_counters(take_snapshot(state_, participants_))) {
      if (name.starts_with("store_")) (*reply.mutable_hello()->mutable_store())[name] = value;
    }
  }
  return {};
}

/// The session is looked up when everything is applied that was in the log when the request came: its events
/// may have come by another broker. With one broker, that is now.
void ControlService::Impl::admitted(ReplyAddress address, const v1::AdmittedRequest& request,
                                    const Sender& sender) {
  const std::uint64_t barrier = log_.barrier();
  SessionRequest asked{std::move(address), request.source(), request.session(),
                       WaitingSender(sender, access_), barrier};
  if (log_.reached(barrier)) return admitted(std::move(asked), sender);
  if (refuse_pending(asked.address)) return;
  session_requests_.push_back(std::move(asked));
}

/// The reply says what is admitted now. It waits until that is written and published.
void ControlService::Impl::admitted(SessionRequest request, const Sender& sender) {
  const SessionEntry* session = state_.sessions.find(request.source, request.session);
  // It belongs to nobody yet: see StateMachine::claim().
  const bool is_claimed = session != nullptr && session->sequence > 0;
  if (!is_claimed && session != nullptr && session->user != access_.number_of(sender.user)) session = nullptr;
  if (const auto permitted = permissions_.confirm(sender, session); !permitted) {
    return send_fault(request.address, permitted.error());
  }
  if (refuse_pending(request.address)) return;
  PendingConfirmation& pending = confirmations_.emplace_back();
  pending.address = std::move(request.address);
  pending.position = state_.position;
  v1::AdmittedReply& admitted = pending.admitted;
  if (session != nullptr) {
    admitted.set_sequence(session->sequence);
    admitted.set_connections(session->connections);
    if (session->refused > 0) {
      admitted.set_refused_sequence(session->refused_sequence);
      admitted.set_refused(session->refused);
      CHECK(session->refused_reason < refusal_count, "a session's last refusal is one of the reasons");
      admitted.set_refused_reason(std::string(name(static_cast<Refusal>(session->refused_reason))));
    }
  }
  confirm_published();
}

void ControlService::Impl::confirm_published() {
  while (!confirmations_.empty() && confirm(confirmations_.front())) confirmations_.pop_front();
}

/// If the store promises more than that, the reply waits until it has kept the promise.
/// @returns whether the reply is sent
bool ControlService::Impl::confirm(PendingConfirmation& pending) {
  if (state_.published_position() < pending.position) return false;
  if (!pending.ticket) {
    const bool promises = state_.history->guarantee() == HistoryStore::Guarantee::machine;
    pending.ticket = promises ? state_.last_ticket : 0;
  }
  if (state_.history->progress().durable < *pending.ticket) return false;
  v1::ControlReply reply = begin_reply(pending.address.id);
  reply.mutable_complete();
  pending.admitted.set_draining(state_.draining);
  *reply.mutable_admitted() = std::move(pending.admitted);
  send(pending.address, reply);
  return true;
}

ControlResult<void> ControlService::Impl::handle(const v1::StatsRequest& request, const Sender& sender,
                                                 std::size_t bytes_max, v1::ControlReply& reply) {
  if (auto permitted = permissions_.administer(sender, "read statistics"); !permitted) return permitted;
  const auto place = place_of(CursorKind::participants, request.cursor(), false);
  if (!place) return tl::unexpected(place.error());
  const auto after = number_of(*place);
  if (!after) return tl::unexpected(after.error());

  v1::StatsReply& stats = *reply.mutable_stats();
  stats.set_started_ns(state_.started_ns);
  if (place->empty()) {
    for (const auto& [name, value] : named_counters(take_snapshot(state_, participants_))) {
      (*stats.mutable_counters())[name] = value;
    }
    if (state_.cluster) fill(*state_.cluster, *stats.mutable_cluster());
  }
  const Participants::Page page = participants_.list(*after, participants_page);
  std::size_t bytes = stats.ByteSizeLong();
  bool more = page.more;
  std::uint64_t last = *after;
  for (std::size_t at = 0; at < page.participants.size(); ++at) {
    fill(*page.participants[at], *stats.add_participants());
    bytes += stats.participants().rbegin()->ByteSizeLong() + 4;  // with its tag and length
    if (bytes > bytes_max && stats.participants_size() > 1) {
      stats.mutable_participants()->RemoveLast();
      more = true;
      break;
    }
    last = page.numbers[at];
  }
  if (more) set_more(reply, CursorKind::participants, fmt::to_string(last));
  return {};
}

// ── listings ─────────────────────────────────────────────────────────────────────────────────────────────

ControlResult<void> ControlService::Impl::handle(const v1::TailsRequest& request, const Sender& sender,
                                                 std::size_t bytes_max, v1::ControlReply& reply) {
  const auto asked = static_cast<std::size_t>(request.patterns_size());
  if (asked == 0 || asked > patterns_max) {
    return refuse(asked == 0 ? "bad_pattern" : "too_large",
                  fmt::format("tails.patterns: expected 1 to {}, got {}", patterns_max, asked));
  }
  std::vector<Pattern> patterns;
  patterns.reserve(asked);
  for (const std::string& text : request.patterns()) {
    auto pattern = parse_pattern("tails.patterns", text);
    if (!pattern) return tl::unexpected(pattern.error());
    patterns.push_back(std::move(*pattern));
  }
  const auto readable = permissions_.read_some(sender, "tails.patterns", patterns);
  if (!readable) return tl::unexpected(readable.error());
  const auto place = place_of(CursorKind::tails, request.cursor(), readable->hides_topics());
  if (!place) return tl::unexpected(place.error());
  const auto reached = number_of(*place);
  if (!reached) return tl::unexpected(reached.error());

  const auto scan_max =
      std::min(topics_scan_max, pattern_scans_max / (patterns.size() + readable->patterns()));
  const TopicTable::Page page =
      state_.topics.changed_after(patterns, std::max<std::uint64_t>(request.after_position(), *reached),
                                  entries_max(bytes_max, tail_bytes), scan_max, readable->filter.get());
  v1::TailsReply& tails = *reply.mutable_tails();
  for (const TopicEntry* topic : page.topics) {
    const BackplaneState::Tail last = state_.published_tail(*topic);
    if (last.position <= request.after_position()) continue;
    v1::TailsReply::Tail& tail = *tails.add_tails();
    tail.set_topic(std::string(topic->name));
    tail.set_position(last.position);
    tail.set_offset(last.offset);
  }
  if (!page.cursor.empty()) set_more(reply, CursorKind::tails, page.cursor, readable->hides_topics());
  return {};
}

ControlResult<void> ControlService::Impl::handle(const v1::TopicsRequest& request, const Sender& sender,
                                                 std::size_t bytes_max, v1::ControlReply& reply) {
  const auto pattern = parse_pattern("topics.pattern", request.pattern());
  if (!pattern) return tl::unexpected(pattern.error());
  const auto readable = permissions_.read(sender, "topics.pattern", *pattern);
  if (!readable) return tl::unexpected(readable.error());
  const auto place = place_of(CursorKind::topics, request.cursor(), readable->hides_topics());
  if (!place) return tl::unexpected(place.error());

  const auto scan_max = std::min(topics_scan_max, pattern_scans_max / (1 + readable->patterns()));
  const TopicTable::Page page = state_.topics.list(*pattern, *place, entries_max(bytes_max, topic_bytes),
                                                   scan_max, readable->filter.get());
  v1::TopicsReply& topics = *reply.mutable_topics();
  for (const TopicEntry* entry : page.topics) {
    const BackplaneState::Tail last = state_.published_tail(*entry);
    if (last.offset == 0) continue;
    const HistoryStore::TopicFigures stored = state_.history->figures(entry->name);
    v1::TopicsReply::Topic& topic = *topics.add_topics();
    topic.set_name(std::string(entry->name));
    topic.set_offset(last.offset);
    topic.set_position(last.position);
    topic.set_received_ns(entry->received_ns);
    topic.set_events(last.offset);  // offsets count 1, 2, 3, …
    topic.set_bytes(entry->bytes);
    topic.set_value_bytes(stored.value_bytes);
    topic.set_history_events(stored.history_events);
  }
  if (!page.cursor.empty()) set_more(reply, CursorKind::topics, page.cursor, readable->hides_topics());
  return {};
}

ControlResult<void> ControlService::Impl::handle(const v1::TypesRequest& request, const Sender& sender,
                                                 std::size_t bytes_max, v1::ControlReply& reply) {
  // Publishers register their types on each connection.
  if (!request.has_register_files() || types_.has(request.register_files())) {
    permissions_.permit();
  } else if (auto permitted = permissions_.administer(sender, "register types that the broker does not know");
             !permitted) {
    return permitted;
  }
  const auto place = place_of(CursorKind::types, request.cursor(), false);
  if (!place) return tl::unexpected(place.error());
  const auto after = number_of(*place);
  if (!after) return tl::unexpected(after.error());
  std::size_t names_bytes = 0;
  for (const std::string& name : request.names()) names_bytes += name.size();
  if (static_cast<std::size_t>(request.names_size()) > type_names_max || names_bytes > type_names_bytes_max) {
    return refuse("too_large",
                  fmt::format("types.names: expected at most {} of {} bytes together, got {} of {}",
                              type_names_max, type_names_bytes_max, request.names_size(), names_bytes));
  }
  v1::TypesReply& types = *reply.mutable_types();
  if (request.has_register_files()) {
    const std::size_t known = types_.files();
    const auto registered = types_.add(request.register_files());
    if (registered.refusal != TypeRegistry::Refusal::none) {
      return refuse(code_of(registered.refusal), "types.register_files: " + registered.text);
    }
    if (types_.files() > known) state_.history->remember_types(request.register_files().SerializeAsString());
    if (request.names_size() == 0) return {};
  }
  const std::vector<std::string> names(request.names().begin(), request.names().end());
  const std::size_t unknown_bytes_max = names_bytes + names.size() * 4;
  TypeRegistry::Page page = types_.find(names, static_cast<std::size_t>(*after),
                                        bytes_max - std::min(bytes_max, unknown_bytes_max));
  for (const auto* file : page.files) *types.mutable_files()->add_file() = *file;
  for (std::string& name : page.unknown) types.add_unknown(std::move(name));
  if (page.next != 0) set_more(reply, CursorKind::types, fmt::to_string(page.next));
  return {};
}

/// All brokers register the same types, in the order of the log.
void ControlService::Impl::append_types(ReplyAddress address, v1::ControlRequest& request,
                                        const Sender& sender) {
  if (auto permitted = permissions_.administer(sender, "register types that the broker does not know");
      !permitted) {
    return send_fault(address, permitted.error());
  }
  const std::string set = request.types().register_files().SerializeAsString();
  const std::size_t set_bytes_max = std::min(state_.max_event_bytes, TypeRegistry::Limits{}.set_bytes_max);
  if (set.size() > set_bytes_max) {
    return send_fault(address,
                      {"too_large", fmt::format("types.register_files: expected at most {} bytes, got {}",
                                                set_bytes_max, set.size())});
  }
  if (refuse_pending(address)) return;
  LogEntry entry;
  entry.kind = LogEntry::Kind::types;
  entry.bytes = std::as_bytes(std::span(set));
  CHECK(log_.append(entry) == CommitLog::Appended::later, "a replicated log commits later");
  const std::size_t bytes_max = content_bytes(request);
  registrations_.push_back(
      {std::move(address), std::move(*request.mutable_types()), bytes_max, WaitingSender(sender, access_)});
}

void ControlService::Impl::register_types(std::string_view descriptor_set, bool is_own) {
  const std::size_t known = types_.files();
  const TypeRegistry::Registered registered = types_.add(descriptor_set);
  if (types_.files() > known) state_.history->remember_types(descriptor_set);
  if (!is_own) return;
  CHECK(!registrations_.empty(), "each own registration comes back once, in order");
  TypesRegistration waiting = std::move(registrations_.front());
  registrations_.pop_front();
  if (registered.refusal != TypeRegistry::Refusal::none) {
    return send_fault(waiting.address,
                      {code_of(registered.refusal), "types.register_files: " + registered.text});
  }
  v1::ControlReply reply = begin_reply(waiting.address.id);
  reply.mutable_types();
  if (waiting.request.names_size() > 0) {
    auto handled = handle(waiting.request, waiting.sender.now(access_), waiting.bytes_max, reply);
    if (!handled) return send_fault(waiting.address, handled.error());
  }
  if (reply.end_case() == v1::ControlReply::END_NOT_SET) reply.mutable_complete();
  send(waiting.address, reply);
}

// ── interface ────────────────────────────────────────────────────────────────────────────────────────────

ControlService::ControlService(BackplaneState& state, Access& access, Participants& participants,
                               TypeRegistry& types, CommitLog& log, ReplySink& sink,
                               std::function<void()> on_drain)
    : impl_(std::make_unique<Impl>(state, access, participants, types, log, sink, std::move(on_drain))) {}
ControlService::~ControlService() = default;

void ControlService::request(Envelope envelope, std::span<const std::byte> bytes, Clock::time_point now,
                             const Sender& sender) {
  impl_->request(std::move(envelope), bytes, now, sender);
}
void ControlService::register_types(std::string_view descriptor_set, bool is_own) {
  impl_->register_types(descriptor_set, is_own);
}
void ControlService::poll() {
  impl_->poll();
}
void ControlService::set_busy(bool busy) noexcept {
  impl_->set_busy(busy);
}
std::size_t ControlService::pending() const noexcept {
  return impl_->pending();
}

}  // namespace backplane::broker
