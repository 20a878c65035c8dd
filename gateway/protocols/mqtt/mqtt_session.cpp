#include "gateway/protocols/mqtt/mqtt_session.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/process/host.hpp"
#include "core/time/duration.hpp"
#include "core/wire/scan.hpp"
#include "gateway/commands/command.hpp"
#include "gateway/encode/mqtt_fields.hpp"
#include "gateway/encode/mqtt_message.hpp"
#include "gateway/protocols/mqtt/publication.hpp"
#include "gateway/session/mqtt_counters.hpp"

namespace backplane::gateway::mqtt {
namespace {

using namespace std::chrono_literals;

constexpr auto connect_timeout = 10s;
// Client identifier, user name and password of 64 KiB each, and a will, have room in it.
constexpr std::size_t connect_bytes_max = 384u << 10;
constexpr std::size_t client_id_bytes_max = 1024;
// A PUBLISH has a topic and properties besides the event's payload.
constexpr std::size_t packet_bytes_extra = 64u << 10;
// Messages of QoS 1 and 2 of one client that are not acknowledged: its own, and those sent to it.
constexpr std::uint16_t incoming_max = 256;
constexpr std::uint16_t outgoing_max = 1024;
constexpr std::uint16_t aliases_max = 32;
// Above these, no input is read until some have their result.
constexpr std::uint32_t unpublished_max = 512;
constexpr std::uint32_t unpublished_bytes_max = 1u << 20;
constexpr std::size_t awaited_max = 1024;

// Of a text from the hub.
constexpr std::size_t reason_bytes_max = 1024;

constexpr std::string_view gap_topic = "$SYS/gap";

/// Of a PUBLISH: what the hub returns with its result.
constexpr std::uint32_t tag_of(std::uint8_t qos, std::uint16_t packet_id) noexcept {
  return 1U << 31U | static_cast<std::uint32_t>(qos) << 16U | packet_id;
}

ReasonCode reason_of_refusal(std::string_view code) noexcept {
  if (code.empty()) return ReasonCode::success;
  if (code == not_permitted || code == not_authenticated) return ReasonCode::not_authorized;
  if (code == "bad_topic") return ReasonCode::topic_name_invalid;
  if (code == "too_large") return ReasonCode::quota_exceeded;
  if (code == "unavailable") return ReasonCode::implementation_specific_error;
  return ReasonCode::unspecified_error;
}

ReasonCode reason_of_subscribe_refusal(std::string_view code) noexcept {
  if (code == not_permitted || code == not_authenticated) return ReasonCode::not_authorized;
  if (code == "too_many_subscriptions" || code == "too_many_values") return ReasonCode::quota_exceeded;
  return ReasonCode::unspecified_error;
}

/// The reason of a DISCONNECT for that of say_goodbye().
ReasonCode reason_of_goodbye(std::string_view reason) noexcept {
  constexpr std::array<std::pair<std::string_view, ReasonCode>, 8> reasons{{
      {"drain", ReasonCode::server_shutting_down},
      {"slow_consumer", ReasonCode::quota_exceeded},
      {"replies_unread", ReasonCode::quota_exceeded},
      {"too_many_commands", ReasonCode::quota_exceeded},
      {"taken_over", ReasonCode::session_taken_over},
      {"revoked", ReasonCode::not_authorized},
      {"not_permitted", ReasonCode::not_authorized},
      {"keep_alive", ReasonCode::keep_alive_timeout},
  }};
  for (const auto& [name, code] : reasons) {
    if (name == reason) return code;
  }
  return ReasonCode::administrative_action;
}

/// NAME:SECRET, from the user name and the password. A password that is a whole token may stand alone, or
/// with the same name.
std::string token_of(const Connect& connect) {
  const std::string_view user = connect.user_name.value_or("");
  const std::string_view password = connect.password.value_or("");
  if (user.empty()) return std::string(password);
  if (password.size() > user.size() && password.starts_with(user) && password[user.size()] == ':') {
    return std::string(password);
  }
  return fmt::format("{}:{}", user, password);
}

std::int64_t unix_now_s() {
  return unix_now_ns() / 1'000'000'000;
}

void count(Counters* counters, std::atomic<std::uint64_t> Counters::*which) noexcept {
  if (counters != nullptr) (counters->*which).fetch_add(1, std::memory_order_relaxed);
}

/// The version of a CONNECT that cannot be parsed, as far as its bytes show it.
std::optional<Version> version_of(std::string_view body) noexcept {
  constexpr std::string_view name("\0\4MQTT", 6);
  if (body.size() <= name.size() || !body.starts_with(name)) return std::nullopt;
  return static_cast<unsigned char>(body[name.size()]) >= 5 ? Version::v5_0 : Version::v3_1_1;
}

}  // namespace

std::string refuse_connect(std::string_view begun, ReasonCode reason) {
  std::string out;
  if (!begins_as_mqtt(begun)) return out;
  // The length has 1 to 4 bytes.
  for (std::size_t head = 2; head <= 5 && head < begun.size(); ++head) {
    const auto version = version_of(begun.substr(head));
    if (!version) continue;
    append_packet(*version, Connack{false, reason, {}}, out);
    return out;
  }
  return out;
}

void MqttSession::begin(fanout::Client& client, const Services& services, std::string_view rest) {
  client.switch_handler(std::make_unique<MqttSession>(client, services), rest);
  client.set_alarm(client.now() + connect_timeout);  // the switch has cancelled the constructor's
}

MqttSession::MqttSession(fanout::Client& client, const Services& services)
    : Session(client, services, Format::mqtt_3), reader_(connect_bytes_max), received_at_(client.now()) {
  client.set_alarm(client.now() + connect_timeout);
}

MqttSession::~MqttSession() {
  publish_will();
}

void MqttSession::send(const Packet& packet) {
  std::string bytes;
  append_packet(version_, packet, bytes);
  client().reply(bytes);
}

/// The packet with a reason for people, if the client wants one, and if that is not too much for it.
template <class Of>
std::string MqttSession::with_reason(Of packet, std::string_view text) const {
  std::string bytes;
  if (is_v5() && problem_information_ && !text.empty()) {
    packet.properties.reason_string = text.substr(0, reason_bytes_max);
    append_packet(version_, packet, bytes);
    if (client_packet_max_ == 0 || bytes.size() <= client_packet_max_) return bytes;
    bytes.clear();
    packet.properties.reason_string.reset();
  }
  append_packet(version_, packet, bytes);
  return bytes;
}

// ---- input ----

void MqttSession::on_bytes(std::string_view bytes) {
  received_at_ = client().now();
  const auto fault = reader_.read(bytes, [this](const RawPacket& raw) { return on_packet(raw); });
  if (fault && client().open()) fail(*fault);
}

/// A half-closed connection cannot acknowledge anything: it is over.
void MqttSession::on_input_end() {
  end({});
}

bool MqttSession::on_packet(const RawPacket& raw) {
  switch (state_) {
    case State::awaiting_connect:
      return on_connect(raw);
    case State::connecting:
      // A client may send more before it has its CONNACK. Input is paused: this is the rest of one read.
      if (!early_) early_ = std::make_unique<std::deque<EarlyPacket>>();
      early_->push_back({raw, std::string(raw.body)});
      return true;
    case State::connected:
      return dispatch(raw);
    case State::ended:
      break;
  }
  return false;
}

bool MqttSession::dispatch(const RawPacket& raw) {
  const auto packet = parse_packet(version_, raw);
  if (!packet) {
    fail(packet.error());
    return false;
  }
  std::visit([this](const auto& each) { handle(each); }, *packet);
  return state_ == State::connected && client().open();
}

void MqttSession::pause_or_resume_input() {
  const std::size_t awaited = connected_ ? connected_->awaited.size() : 0;
  const bool many = state_ == State::connecting || unpublished_ > unpublished_max ||
                    unpublished_bytes_ > unpublished_bytes_max || awaited > awaited_max;
  const bool few = state_ != State::connecting && unpublished_ <= unpublished_max / 2 &&
                   unpublished_bytes_ <= unpublished_bytes_max / 2 && awaited <= awaited_max / 2;
  if (many == paused_ || (!many && !few)) return;
  paused_ = many;
  client().pause_input(many);
  // What came meanwhile has not been read.
  if (!many) received_at_ = client().now();
}

// ---- connecting ----

bool MqttSession::on_connect(const RawPacket& raw) {
  if (raw.type != PacketType::connect) {
    // It may be anything: no reply.
    count(services().mqtt, &Counters::protocol_errors);
    end({});
    return false;
  }
  const auto packet = parse_packet(version_, raw);
  version_ = version_of(raw.body).value_or(Version::v3_1_1);
  if (packet) {
    begin_connect(std::get<Connect>(*packet));
  } else if (packet.error().reason == ReasonCode::unsupported_protocol_version || is_v5()) {
    refuse(packet.error().reason, packet.error().text);
  } else {
    fail(packet.error());  // 3.1.1 has no code for it
  }
  return client().open();
}

void MqttSession::refuse(ReasonCode reason, std::string_view text) {
  count(services().mqtt, &Counters::refused);
  will_.reset();
  end(with_reason(Connack{false, reason, {}}, text));
}

void MqttSession::begin_connect(const Connect& connect) {
  version_ = connect.version;
  const Properties& properties = connect.properties;
  problem_information_ = properties.request_problem_information.value_or(1) != 0;
  keep_alive_ = connect.keep_alive;
  client_window_ = properties.receive_maximum.value_or(0xffff);
  client_packet_max_ = properties.maximum_packet_size.value_or(0);
  requested_expiry_ = properties.session_expiry.value_or(0);
  if (properties.authentication_method) {
    return refuse(ReasonCode::bad_authentication_method, "there is no authentication method");
  }
  if (connect.client_id.empty() && !is_v5() && !connect.clean_start) {
    return refuse(ReasonCode::client_identifier_not_valid,
                  "a session that is to be kept needs a client identifier");
  }
  if (connect.client_id.size() > client_id_bytes_max) {
    return refuse(ReasonCode::client_identifier_not_valid, "the client identifier has more than 1,024 bytes");
  }
  assigned_id_ = connect.client_id.empty();
  client_id_ = assigned_id_ ? fmt::format("auto-{:016x}", random_id()) : std::string(connect.client_id);
  if (connect.will) {
    const Will& will = *connect.will;
    auto event = publication_event({will.topic, will.payload, will.qos, will.retain, will.properties}, {},
                                   unix_now_s(), tag_of(0, 0));
    if (!event) return refuse(event.error().reason, event.error().text);
    if (will.payload.size() > services().limits.publish_bytes_max) {
      return refuse(ReasonCode::packet_too_large, "the will is above the limit of an event");
    }
    will_ = std::make_unique<request::Publish>(*std::move(event));
  }
  state_ = State::connecting;
  pause_or_resume_input();
  identify(client().peer_certificate_name());
  if (services().access == nullptr || (!connect.user_name && !connect.password)) return claim();
  std::string token = token_of(connect);
  if (check_sent_token(token)) {
    return refuse(ReasonCode::bad_user_name_or_password,
                  "expected a user name and its token as the password");
  }
  send_request(request::Authenticate{std::move(token)});
}

void MqttSession::on_authenticated(const Rights&, const AccessRefusal& refusal,
                                   std::chrono::seconds retry_after) {
  if (state_ != State::connecting) return;
  if (refusal.code.empty()) return claim();
  services().sessions.refusal(refusal.code);
  refuse(
      retry_after.count() > 0 ? ReasonCode::connection_rate_exceeded : ReasonCode::bad_user_name_or_password,
      refusal.text);
}

void MqttSession::claim() {
  send_request(request::ClaimName{client_id_});
}

void MqttSession::on_name_claimed() {
  if (state_ == State::connecting) accept();
}

void MqttSession::accept() {
  state_ = State::connected;
  count(services().mqtt, is_v5() ? &Counters::connects_5 : &Counters::connects_3);
  connected_ = std::make_unique<Connected>(std::min(client_window_, outgoing_max));
  connected_->client_packet_max = client_packet_max_;
  const std::size_t packet_max =
      std::min(services().limits.publish_bytes_max + packet_bytes_extra, remaining_length_max);
  reader_.set_bytes_max(packet_max);
  set_format(is_v5() ? Format::mqtt_5 : Format::mqtt_3);
  send_request(request::SetFormat{format()});
  if (client_packet_max_ != 0) use_records();
  Connack connack;
  if (is_v5()) {
    Properties& properties = connack.properties;
    // A session ends with its connection.
    if (requested_expiry_ != 0) properties.session_expiry = 0;
    properties.receive_maximum = incoming_max;
    properties.maximum_packet_size = static_cast<std::uint32_t>(packet_max);
    if (assigned_id_) properties.assigned_client_id = client_id_;
    properties.topic_alias_maximum = aliases_max;
    properties.shared_subscriptions_available = 0;
  }
  std::string bytes;
  append_packet(version_, connack, bytes);
  if (client_packet_max_ != 0 && bytes.size() > client_packet_max_) {
    will_.reset();  // it was never connected
    return end({});
  }
  client().reply(bytes);
  client_id_ = {};
  // From here on, the keep-alive decides.
  client().exempt_from_timeouts(true);
  client().cancel_alarm();
  received_at_ = client().now();
  watch_keep_alive();
  pause_or_resume_input();
  if (!early_) return;
  const auto early = std::move(early_);
  for (EarlyPacket& each : *early) {
    each.raw.body = each.body;
    if (!on_packet(each.raw)) return;
  }
}

// ---- the end ----

void MqttSession::watch_keep_alive() {
  if (keep_alive_ == 0) return;
  client().set_alarm(received_at_ + std::chrono::milliseconds(keep_alive_ * 1500));
}

void MqttSession::on_alarm() {
  if (state_ == State::awaiting_connect || state_ == State::connecting) return say_goodbye("silent");
  if (paused_) received_at_ = client().now();
  if (client().now() >= received_at_ + std::chrono::milliseconds(keep_alive_ * 1500)) {
    return say_goodbye("keep_alive");
  }
  watch_keep_alive();
}

void MqttSession::fail(const Fault& fault) {
  Counters* const counters = services().mqtt;
  switch (fault.reason) {
    case ReasonCode::malformed_packet:
      count(counters, &Counters::malformed);
      break;
    case ReasonCode::protocol_error:
      count(counters, &Counters::protocol_errors);
      break;
    case ReasonCode::packet_too_large:
      count(counters, &Counters::too_large);
      break;
    default:
      count(counters, &Counters::other_faults);
  }
  disconnect(fault.reason, fault.text,
             fault.reason == ReasonCode::packet_too_large ? "message_too_long" : "malformed");
}

/// @param counted the reason in the metrics
void MqttSession::disconnect(ReasonCode reason, std::string_view text, std::string_view counted) {
  if (!client().open()) return;
  services().sessions.goodbye(counted);
  std::string bytes;
  if (is_v5() && state_ == State::connected) {
    bytes = with_reason(Disconnect{reason, {}}, text);
  }
  end(bytes);
}

void MqttSession::close_with_reason(std::string_view reason) {
  if (!client().open()) return;
  if (reason == "taken_over") count(services().mqtt, &Counters::taken_over);
  std::string bytes;
  if (state_ == State::connecting) {
    append_packet(version_, Connack{false, ReasonCode::server_unavailable, {}}, bytes);
  } else if (state_ == State::connected && is_v5()) {
    append_packet(version_, Disconnect{reason_of_goodbye(reason), {}}, bytes);
  }
  end(bytes);
}

void MqttSession::end(std::string_view last_words) {
  publish_will();
  state_ = State::ended;
  client().end(last_words);
}

/// Does nothing if it was published, or was discarded by a DISCONNECT. The delay of a will is over when the
/// session ends, which is now.
void MqttSession::publish_will() {
  if (!will_ || state_ != State::connected) return;
  count(services().mqtt, &Counters::wills);
  send_request(std::move(*std::exchange(will_, nullptr)));
}

// ---- publishing ----

tl::expected<std::string, Fault> MqttSession::resolve_topic(const Publish& packet) {
  const auto& alias = packet.properties.topic_alias;
  if (!alias) return std::string(packet.topic);
  if (*alias > aliases_max) {
    return tl::unexpected(Fault{ReasonCode::topic_alias_invalid, "the topic alias is above the maximum"});
  }
  std::vector<std::string>& aliases = connected_->aliases;
  if (!packet.topic.empty()) {
    if (aliases.size() < *alias) aliases.resize(*alias);
    aliases[*alias - 1U] = packet.topic;
    return std::string(packet.topic);
  }
  if (*alias > aliases.size() || aliases[*alias - 1U].empty()) {
    return tl::unexpected(Fault{ReasonCode::protocol_error, "the topic alias stands for no topic"});
  }
  return aliases[*alias - 1U];
}

void MqttSession::handle(const Publish& packet) {
  if (!packet.properties.subscription_ids.empty()) {
    return fail({ReasonCode::protocol_error, "a client's PUBLISH has a subscription identifier"});
  }
  const auto topic = resolve_topic(packet);
  if (!topic) return fail(topic.error());
  auto& incoming = connected_->incoming;
  if (packet.qos > 0) {
    const auto known = incoming.find(packet.packet_id);
    if (known != incoming.end()) {
      // Of QoS 2, the message is there already. Its PUBREC comes with its result, unless it has come.
      if (packet.qos == 2 && known->second == Incoming::admitted) {
        acknowledge(packet.packet_id, 2, ReasonCode::success, {});
      } else if (packet.qos == 1 && !packet.duplicate && is_v5()) {
        acknowledge(packet.packet_id, 1, ReasonCode::packet_identifier_in_use, "the identifier is in use");
      }
      return;
    }
    if (incoming.size() >= incoming_max && is_v5()) {
      return fail({ReasonCode::receive_maximum_exceeded,
                   "more messages than the receive maximum are unacknowledged"});
    }
  }
  auto event = publication_event({*topic, packet.payload, packet.qos, packet.retain, packet.properties},
                                 connected_->origin, unix_now_s(), tag_of(packet.qos, packet.packet_id));
  if (!event) return refuse_publish(packet, event.error());
  if (packet.qos > 0) incoming.emplace(packet.packet_id, Incoming::waiting);
  ++unpublished_;
  unpublished_bytes_ += static_cast<std::uint32_t>(packet.payload.size());
  send_request(*std::move(event));
  pause_or_resume_input();
}

/// Before it was sent to the hub.
void MqttSession::refuse_publish(const Publish& packet, const Fault& fault) {
  if (packet.qos > 0 && is_v5()) return acknowledge(packet.packet_id, packet.qos, fault.reason, fault.text);
  // Nothing else can tell the client.
  fail(fault);
}

void MqttSession::acknowledge(std::uint16_t packet_id, std::uint8_t qos, ReasonCode reason,
                              std::string_view text) {
  PublishReply reply;
  reply.type = qos == 1 ? PacketType::puback : PacketType::pubrec;
  reply.packet_id = packet_id;
  reply.reason = reason;
  client().reply(with_reason(reply, is_error(reason) ? text : std::string_view{}));
}

void MqttSession::on_event_result(std::uint32_t tag, std::size_t bytes, std::string_view code,
                                  std::string_view text) {
  if (state_ != State::connected) return;
  const auto packet_id = static_cast<std::uint16_t>(tag & 0xffffU);
  const auto qos = static_cast<std::uint8_t>(tag >> 16U & 3U);
  --unpublished_;
  unpublished_bytes_ -= static_cast<std::uint32_t>(bytes);
  pause_or_resume_input();
  if (!code.empty()) services().sessions.refusal(code);
  if (qos == 0) return;
  auto& incoming = connected_->incoming;
  if (code.empty() && qos == 2) {
    incoming[packet_id] = Incoming::admitted;
  } else {
    incoming.erase(packet_id);
  }
  // An acknowledgement of 3.1.1 cannot report a refusal.
  if (!code.empty() && !is_v5()) return disconnect(ReasonCode::unspecified_error, {}, code);
  acknowledge(packet_id, qos, reason_of_refusal(code), text);
}

void MqttSession::handle(const PublishReply& packet) {
  Outgoing& outgoing = connected_->outgoing;
  const std::uint16_t id = packet.packet_id;
  switch (packet.type) {
    case PacketType::puback:
      if (outgoing.awaits(id) == Outgoing::Awaits::puback) complete_delivery(id);
      return;
    case PacketType::pubrec: {
      const auto awaits = outgoing.awaits(id);
      const bool known = awaits == Outgoing::Awaits::pubrec || awaits == Outgoing::Awaits::pubcomp;
      if (known && is_error(packet.reason)) return complete_delivery(id);
      if (known) outgoing.advance(id, Outgoing::Awaits::pubcomp);
      PublishReply pubrel;
      pubrel.type = PacketType::pubrel;
      pubrel.packet_id = id;
      if (!known) pubrel.reason = ReasonCode::packet_identifier_not_found;
      return send(pubrel);
    }
    case PacketType::pubcomp:
      if (outgoing.awaits(id) == Outgoing::Awaits::pubcomp) complete_delivery(id);
      return;
    default:
      return on_released(id);
  }
}

void MqttSession::on_released(std::uint16_t packet_id) {
  auto& incoming = connected_->incoming;
  const auto known = incoming.find(packet_id);
  if (known != incoming.end() && known->second == Incoming::waiting) {
    return fail({ReasonCode::protocol_error, "PUBREL came before the PUBREC that it replies to"});
  }
  PublishReply pubcomp;
  pubcomp.type = PacketType::pubcomp;
  pubcomp.packet_id = packet_id;
  if (known == incoming.end()) {
    pubcomp.reason = ReasonCode::packet_identifier_not_found;
  } else {
    incoming.erase(known);
  }
  send(pubcomp);
}

// ---- subscriptions ----

/// From here on, the client gets records, not shared packets.
void MqttSession::use_records() {
  if (std::exchange(records_requested_, true)) return;
  send_request(request::SetFormat{Format::mqtt_record});
}

void MqttSession::on_format(Format format) {
  set_format(format);
  if (format == Format::mqtt_record) client().rewrite_messages();
}

void MqttSession::handle(const Subscribe& packet) {
  const std::uint32_t id =
      packet.properties.subscription_ids.empty() ? 0 : packet.properties.subscription_ids.front();
  const std::uint64_t key = ++connected_->last_subscribe;
  PendingSubscribe& pending = connected_->subscribes[key];
  pending.packet_id = packet.packet_id;
  pending.reasons.resize(packet.topics.size());
  // Held, so that no result ends it before the last filter.
  ++pending.waiting;
  for (std::size_t i = 0; i < packet.topics.size(); ++i) subscribe(packet.topics[i], id, key, i);
  --pending.waiting;
  end_subscribe(key);
  pause_or_resume_input();
}

void MqttSession::subscribe(const TopicRequest& topic, std::uint32_t id, std::uint64_t key,
                            std::size_t index) {
  PendingSubscribe& pending = connected_->subscribes[key];
  const auto patterns = patterns_of(topic.filter);
  if (!patterns) {
    pending.reasons[index] = patterns.error().reason;
    return;
  }
  const bool is_new = connected_->filters.find(topic.filter) == nullptr;
  connected_->filters.set(topic.filter, *patterns,
                          {topic.qos, topic.no_local, topic.retain_as_published, id});
  pending.reasons[index] = static_cast<ReasonCode>(topic.qos);
  if (topic.no_local && connected_->origin.empty()) connected_->origin = fmt::format("{:016x}", random_id());
  if (filter_matches(topic.filter, gap_topic)) gap_notices_ = true;
  if (topic.qos > 0 || topic.no_local || topic.retain_as_published || id != 0 || gap_notices_) use_records();
  using RetainHandling = TopicRequest::RetainHandling;
  const bool last = topic.retain_handling == RetainHandling::send ||
                    (topic.retain_handling == RetainHandling::send_if_new && is_new);
  for (const bool is_parent : {true, false}) {
    const std::string& text = is_parent ? patterns->parent : patterns->pattern;
    if (text.empty()) continue;
    ++pending.waiting;
    connected_->awaited.emplace(text,
                                AwaitedPattern{std::string(topic.filter), key, index, is_parent, is_new});
    // patterns_of() has checked it.
    send_request(
        request::Subscribe{*Pattern::parse(text), {.last = last, .again = true, .since = std::nullopt}});
  }
}

void MqttSession::on_subscribed(std::string_view pattern) {
  if (state_ == State::connected) on_result(pattern, ReasonCode::success);
}

void MqttSession::on_refused(std::string_view pattern, std::string_view code, std::string_view) {
  if (state_ != State::connected) return;
  services().sessions.refusal(code);
  on_result(pattern, reason_of_subscribe_refusal(code));
}

void MqttSession::on_result(std::string_view pattern, ReasonCode reason) {
  auto& awaited = connected_->awaited;
  const auto found = awaited.lower_bound(pattern);  // the oldest of that pattern
  if (found == awaited.end() || found->first != pattern) return;
  const AwaitedPattern result = std::move(found->second);
  awaited.erase(found);
  PendingSubscribe& pending = connected_->subscribes[result.subscribe];
  --pending.waiting;
  // If only the parent is refused, its user may not read it, and the rest is hidden from the client as well.
  if (is_error(reason) && !result.is_parent) {
    pending.reasons[result.index] = reason;
    if (result.is_new) {
      for (const std::string& unused : connected_->filters.remove(result.filter)) {
        if (unused != pattern) send_request(request::Unsubscribe{unused});
      }
    }
  }
  end_subscribe(result.subscribe);
  pause_or_resume_input();
}

void MqttSession::end_subscribe(std::uint64_t key) {
  const auto found = connected_->subscribes.find(key);
  if (found == connected_->subscribes.end() || found->second.waiting > 0) return;
  SubscribeReply suback;
  suback.type = PacketType::suback;
  suback.packet_id = found->second.packet_id;
  suback.reasons = std::move(found->second.reasons);
  connected_->subscribes.erase(found);
  send(suback);
}

void MqttSession::handle(const Unsubscribe& packet) {
  SubscribeReply unsuback;
  unsuback.type = PacketType::unsuback;
  unsuback.packet_id = packet.packet_id;
  for (const std::string_view filter : packet.filters) {
    const bool known = connected_->filters.find(filter) != nullptr;
    unsuback.reasons.push_back(known ? ReasonCode::success : ReasonCode::no_subscription_existed);
    for (std::string& unused : connected_->filters.remove(filter)) {
      send_request(request::Unsubscribe{std::move(unused)});
    }
  }
  std::string reply;
  append_packet(version_, unsuback, reply);
  // In its turn: no event of the filters follows, except those that wait to be written.
  send_request(request::Echo{std::move(reply)});
}

void MqttSession::on_echo(std::string_view reply) {
  client().reply(reply);
}

// ---- other packets ----

void MqttSession::handle(const Connect&) {
  fail({ReasonCode::protocol_error, "a client sends CONNECT once"});
}

void MqttSession::handle(const Ping& packet) {
  if (packet.type != PacketType::pingreq)
    return fail({ReasonCode::protocol_error, "PINGRESP is for servers"});
  send(Ping{PacketType::pingresp});
}

void MqttSession::handle(const Disconnect& packet) {
  if (packet.properties.session_expiry.value_or(0) != 0 && requested_expiry_ == 0) {
    return fail(
        {ReasonCode::protocol_error, "DISCONNECT extends a session that was to end with its connection"});
  }
  if (packet.properties.server_reference) {
    return fail({ReasonCode::malformed_packet, "a client's DISCONNECT has a server reference"});
  }
  if (packet.reason == ReasonCode::success) will_.reset();
  end({});
}

void MqttSession::handle(const Auth&) {
  fail({ReasonCode::protocol_error, "the connection has no authentication method"});
}

/// What only servers send: CONNACK, SUBACK, UNSUBACK.
template <class Other>
void MqttSession::handle(const Other&) {
  fail({ReasonCode::protocol_error, "the packet is for servers only"});
}

// ---- delivery ----

void MqttSession::complete_delivery(std::uint16_t packet_id) {
  connected_->outgoing.end(packet_id);
  send_backfill();
  client().continue_rewriting();
}

/// @returns false if the client's receive maximum is reached.
bool MqttSession::append_message(const Record& record, std::string& out) {
  if (record.is_notice) {
    if (!gap_notices_) return true;
    const std::string_view json = record.notice.substr(0, record.notice.size() - 1);
    append_publish({gap_topic, 0, false, false, std::nullopt, {}, {}, json}, is_v5(), out);
    return true;
  }
  const Message& message = record.message;
  const bool own = !message.origin.empty() && message.origin == connected_->origin;
  const Filters::Match& match = connected_->filters.match(message.topic, own);
  if (!match.any) return true;
  std::optional<std::uint32_t> expiry_s;
  if (message.expires_s) {
    const std::int64_t left = *message.expires_s - unix_now_s();
    if (left <= 0) return true;
    expiry_s =
        static_cast<std::uint32_t>(std::min<std::int64_t>(left, std::numeric_limits<std::uint32_t>::max()));
  }
  Publish publish;
  publish.topic = message.topic;
  publish.payload = message.payload;
  publish.qos = std::min(message.qos, match.qos);
  publish.retain = message.retained || (match.retain_as_published && message.retain);
  if (publish.qos > 0 && connected_->outgoing.full()) return false;
  std::string head;
  append_string(publish.topic, head);
  std::string properties;
  if (is_v5()) {
    if (expiry_s) {
      append_byte(0x02, properties);
      append_four_bytes(*expiry_s, properties);
    }
    properties += message.properties;
    for (const std::uint32_t id : match.ids) {
      append_byte(0x0b, properties);
      append_varint(id, properties);
    }
  }
  std::size_t length = head.size() + (publish.qos > 0 ? 2 : 0) + message.payload.size();
  if (is_v5()) length += wire::varint_bytes(properties.size()) + properties.size();
  const std::size_t packet = 1 + wire::varint_bytes(length) + length;
  const bool too_large = connected_->client_packet_max != 0 && packet > connected_->client_packet_max;
  if (too_large || length > remaining_length_max) {
    count(services().mqtt, &Counters::not_delivered);
    return true;
  }
  append_byte(static_cast<std::uint8_t>(0x30U | static_cast<unsigned>(publish.qos) << 1U |
                                        (publish.retain ? 1U : 0U)),
              out);
  append_varint(static_cast<std::uint32_t>(length), out);
  out += head;
  if (publish.qos > 0) {
    const auto awaits = publish.qos == 1 ? Outgoing::Awaits::puback : Outgoing::Awaits::pubrec;
    append_two_bytes(connected_->outgoing.begin(awaits), out);
  }
  if (is_v5()) {
    append_varint(static_cast<std::uint32_t>(properties.size()), out);
    out += properties;
  }
  out.append(message.payload);
  return true;
}

fanout::TakeResult MqttSession::rewrite(std::string_view message, std::string& out) {
  if (!connected_ || has_backfill()) return fanout::TakeResult::later;
  // From before the format changed: a whole PUBLISH.
  constexpr unsigned char publish_at_least = 0x30;
  if (static_cast<unsigned char>(message.front()) >= publish_at_least) {
    out.append(message);
    return fanout::TakeResult::taken;
  }
  return append_message(take_record(message), out) ? fanout::TakeResult::taken : fanout::TakeResult::later;
}

void MqttSession::on_backfill(fanout::Client& client, const std::string& text) {
  if (!connected_) return;
  if (format() != Format::mqtt_record) return client.reply(text);
  connected_->backfill += text;
  send_backfill();
}

void MqttSession::send_backfill() {
  if (!has_backfill()) return;
  std::string& backfill = connected_->backfill;
  std::string out;
  while (has_backfill()) {
    std::string_view rest = std::string_view(backfill).substr(connected_->backfill_sent);
    if (!append_message(take_record(rest), out)) break;
    connected_->backfill_sent = backfill.size() - rest.size();
  }
  client().reply(out);
  if (has_backfill()) return;
  backfill = {};
  connected_->backfill_sent = 0;
  if (std::exchange(connected_->hub_waits, false)) Session::on_replies_drained();
  client().continue_rewriting();
}

void MqttSession::on_replies_drained() {
  if (has_backfill()) {
    connected_->hub_waits = true;
  } else {
    Session::on_replies_drained();
  }
}

void MqttSession::report_losses(std::span<const fanout::Loss> losses, std::string& out) {
  if (!gap_notices_) return;
  std::string lines;
  services().directory.report(Format::json, losses, lines);
  for (std::string_view rest = lines; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    append_publish({gap_topic, 0, false, false, std::nullopt, {}, {}, rest.substr(0, end)}, is_v5(), out);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

}  // namespace backplane::gateway::mqtt
