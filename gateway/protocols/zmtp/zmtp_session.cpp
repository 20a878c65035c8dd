#include "gateway/protocols/zmtp/zmtp_session.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "core/topic/pattern.hpp"
#include "core/topic/topic.hpp"
#include "gateway/commands/command.hpp"
#include "gateway/session/notice.hpp"

namespace backplane::gateway {
namespace {

using zmtp::Fault;
using zmtp::SocketType;

// From the first byte until the handshake is complete.
constexpr std::chrono::seconds handshake_timeout{10};
// After so many subscriptions, the session requests an echo; with more than echoes_max of these, its input is
// paused.
constexpr std::uint32_t requests_per_echo = 256;
constexpr std::uint32_t echoes_max = 4;
// With more unpublished events, so.
constexpr std::uint32_t unpublished_max = 1024;
constexpr std::uint32_t unpublished_bytes_max = 1u << 20;
constexpr std::size_t gap_prefixes_max = 64;

constexpr std::string_view live_prefix = "$SYS.live.";
constexpr std::string_view last_prefix = "$SYS.last.";

}  // namespace

void ZmtpSession::begin(fanout::Client& client, const Services& services, std::string_view bytes) {
  client.switch_handler(std::make_unique<ZmtpSession>(client, services), bytes);
  client.set_alarm(client.now() + handshake_timeout);
}

ZmtpSession::ZmtpSession(fanout::Client& client, const Services& services)
    : Session(client, services, Format::zmtp), connection_(services.zmtp->options, *this) {
  send_request(request::SetFormat{Format::zmtp});
}

void ZmtpSession::on_bytes(std::string_view bytes) {
  const Fault fault = connection_.read(bytes);
  if (fault == Fault::none || !client().open()) return;
  services().zmtp->counters.count_fault(fault);
  say_goodbye(fault == Fault::not_authenticated ? not_permitted : "malformed");
}

// ---- the handshake ----

/// PLAIN is accepted only with a policy: its name and password are a token. A client with NULL is who its
/// certificate says, or anonymous.
void ZmtpSession::on_credentials(const zmtp::Credentials& credentials) {
  if (credentials.mechanism != zmtp::Mechanism::plain) return connection_.accept();
  std::string token = fmt::format("{}:{}", credentials.username, credentials.password);
  if (check_sent_token(token)) return connection_.refuse("400");
  send_request(request::Authenticate{std::move(token)});
}

void ZmtpSession::on_authenticated(const Rights& /*rights*/, const AccessRefusal& refusal,
                                   std::chrono::seconds /*retry_after*/) {
  if (!client().open()) return;
  if (refusal.code.empty()) return connection_.accept();
  connection_.refuse("400");
  services().zmtp->counters.count_fault(Fault::not_authenticated);
  say_goodbye(not_permitted);
}

bool ZmtpSession::accepts(SocketType type) const {
  return zmtp::subscribes(type) || zmtp::publishes(type);
}

void ZmtpSession::on_ready(const zmtp::Peer& peer) {
  client().cancel_alarm();
  // It may be silent for as long as it likes: TCP's keepalive finds out whether it is there.
  client().exempt_from_timeouts(true);
  subscribes_ = zmtp::subscribes(peer.type);
  if (subscribes_) {
    services().zmtp->counters.count_subscriber();
  } else {
    services().zmtp->counters.count_publisher();
  }
}

// ---- SUB ----

Fault ZmtpSession::on_subscription(bool subscribe, std::string_view prefix) {
  if (prefix.starts_with(live_prefix) && prefix.size() > live_prefix.size()) {
    if (subscribe) send_request(request::Live{std::string(prefix)});
  } else if (prefix.starts_with(last_prefix)) {
    subscribe_to_last(subscribe, prefix.substr(last_prefix.size()));
  } else {
    if (asks_for_gaps(prefix)) note_gap_prefix(subscribe, prefix);
    if (!client().open()) return Fault::none;
    send_request(request::Prefix{subscribe, std::string(prefix)});
  }
  count_request();
  return Fault::none;
}

/// The retained values under a prefix that ends with a token, or of one topic. Their events follow.
void ZmtpSession::subscribe_to_last(bool subscribe, std::string_view prefix) {
  std::string text(prefix);
  if (prefix.empty() || prefix.ends_with('.')) text += '>';
  auto pattern = Pattern::parse(text);
  if (!pattern) return services().sessions.refusal("bad_topic");
  if (!subscribe) return send_request(request::Unsubscribe{std::move(text)});
  send_request(request::Subscribe{*std::move(pattern), {.every = {}, .last = true, .since = {}}});
}

void ZmtpSession::note_gap_prefix(bool subscribe, std::string_view prefix) {
  if (subscribe) {
    gap_prefixes_.emplace(prefix);
    if (gap_prefixes_.size() > gap_prefixes_max) say_goodbye("too_many_subscriptions");
  } else if (const auto found = gap_prefixes_.find(prefix); found != gap_prefixes_.end()) {
    gap_prefixes_.erase(found);
  }
}

/// The hub is not to be flooded: it returns an echo after some hundred requests.
void ZmtpSession::count_request() {
  if (++requests_ < requests_per_echo) return;
  requests_ = 0;
  ++echoes_;
  send_request(request::Echo{});
  pause_or_resume_input();
}

void ZmtpSession::on_echo(std::string_view /*reply*/) {
  --echoes_;
  pause_or_resume_input();
}

void ZmtpSession::on_refused(std::string_view /*pattern*/, std::string_view code, std::string_view /*text*/) {
  services().sessions.refusal(code);
}

void ZmtpSession::report_losses(std::span<const fanout::Loss> losses, std::string& out) {
  if (gap_prefixes_.empty()) return;
  services().directory.report(format(), losses, out, [this](std::string_view topic) {
    return std::any_of(gap_prefixes_.begin(), gap_prefixes_.end(),
                       [&](const std::string& prefix) { return asks_for_gaps(prefix, topic); });
  });
}

// ---- PUB ----

Fault ZmtpSession::on_message(std::span<const std::string_view> frames) {
  if (frames.size() != 2) {
    services().sessions.refusal("wrong_frames");
    return Fault::none;
  }
  if (check_published(frames[0])) {
    services().sessions.refusal("bad_topic");
    return Fault::none;
  }
  ++unpublished_;
  unpublished_bytes_ += static_cast<std::uint32_t>(frames[1].size());
  send_request(request::Publish{std::string(frames[0]), std::string(frames[1])});
  pause_or_resume_input();
  return Fault::none;
}

void ZmtpSession::on_published(std::string_view /*topic*/, std::size_t bytes, std::string_view code,
                               std::string_view /*text*/) {
  --unpublished_;
  unpublished_bytes_ -= static_cast<std::uint32_t>(bytes);
  if (!code.empty()) services().sessions.refusal(code);
  pause_or_resume_input();
}

void ZmtpSession::pause_or_resume_input() {
  const bool many =
      echoes_ > echoes_max || unpublished_ > unpublished_max || unpublished_bytes_ > unpublished_bytes_max;
  const bool few = echoes_ <= echoes_max / 2 && unpublished_ <= unpublished_max / 2 &&
                   unpublished_bytes_ <= unpublished_bytes_max / 2;
  if (many) client().pause_input(true);
  if (few) client().pause_input(false);
}

}  // namespace backplane::gateway
