// backplane sub --gateway HOST:PORT: reads from a gateway.

#include <algorithm>

#include <fmt/format.h>

#include "backplane/v1/session.pb.h"
#include "cli/connection/gateway_connection.hpp"
#include "cli/connection/gateway_item.hpp"
#include "cli/console/messages.hpp"
#include "cli/sub_options.hpp"
#include "core/time/duration.hpp"
#include "core/wire/write.hpp"
#include "follower/order/reader_progress.hpp"
#include "follower/order/resume_token.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using Clock = Waiter::Clock;
using Kind = GatewayItem::Kind;

constexpr std::chrono::milliseconds step_limit = 5s;
// How often the position is requested: if events have arrived since, and otherwise.
constexpr Clock::duration position_interval = 1s;
constexpr Clock::duration quiet_position_interval = 10s;
// Added to a period of history when it is requested again: requests take time.
constexpr std::chrono::nanoseconds ago_margin = 1s;
constexpr Clock::duration pause_min = 250ms;
constexpr Clock::duration pause_max = 5s;

/// Reads from one gateway, and reconnects when the connection is lost. Lives on the main thread. The
/// session's format is proto, or else json: text has no positions to resume at, so that the text formats are
/// made from json.
class GatewaySub {
 public:
  GatewaySub(const SubOptions& options, const GatewayEndpoint& endpoint, SubPrinter& printer, Waiter& waiter)
      : options_(options), endpoint_(endpoint), printer_(printer), waiter_(waiter) {}

  ExitCode run() {
    while (!ended()) {
      const auto limit = std::chrono::ceil<std::chrono::milliseconds>(step_end() - Clock::now());
      auto gateway = GatewayConnection::open(endpoint_, waiter_, limit);
      if (!gateway) problem_ = gateway.error().text;
      if (ended()) break;
      const Result<void> ended_by =
          gateway ? follow(*gateway) : Result<void>(tl::unexpected(gateway.error()));
      if (!ended_by) problem_ = ended_by.error().text;
      if (ended()) break;
      // A server that was a gateway, with a certificate that was right, may become one again. Another server
      // will not.
      const ErrorCode code = ended_by.error().code;
      if (code == ErrorCode::invalid_argument || (code == ErrorCode::protocol && !was_connected_)) {
        printer_.output().flush();
        print_message("sub", ended_by.error().text);
        return ExitCode::failed;
      }
      progress_.on_disconnected();
      report_lost(ended_by.error());
      const auto until = std::min(Clock::now() + pause_, options_.deadline);
      while (Clock::now() < until && waiter_.wait({}, until)) {
      }
      pause_ = std::min(2 * pause_, pause_max);
    }
    return printer_.finish(was_connected_ ? "" : never_connected());
  }

 private:
  [[nodiscard]] bool ended() const { return waiter_.stopped() || printer_.done() || printer_.timed_out(); }

  /// A step of connecting takes no longer than the command.
  [[nodiscard]] Clock::time_point step_end() const {
    return std::min(Clock::now() + step_limit, options_.deadline);
  }

  [[nodiscard]] std::string never_connected() const {
    if (!problem_.empty()) return problem_;
    return fmt::format("no connection to the gateway at {} within {}", endpoint_.address,
                       options_.timeout_text);
  }

  void report_lost(const Error& error) {
    printer_.output().flush();
    // Somebody may have to do something about another problem than a lost connection.
    const bool other_problem = error.code == ErrorCode::protocol && error.text != reported_problem_;
    if (std::exchange(reported_lost_, true) && !other_problem) return;
    if (error.code == ErrorCode::protocol) reported_problem_ = error.text;
    print_message("sub", error.text + "; reconnecting");
  }

  /// @returns why the connection ended.
  Result<void> follow(GatewayConnection& gateway) {
    if (auto subscribed = subscribe(gateway); !subscribed) return subscribed;
    while (!ended()) {
      auto received = gateway.receive();
      if (auto taken = take_all(gateway); !taken) return taken;
      if (!received) return received;
      printer_.output().flush();
      if (ended()) break;
      if (auto requested = request_position(gateway); !requested) return requested;
      gateway.wait_input(std::min(options_.deadline, position_due()));
    }
    return {};
  }

  Result<void> subscribe(GatewayConnection& gateway) {
    unconfirmed_ = options_.patterns.size();
    position_requested_ = false;
    positions_received_ = 0;
    reported_positions_.clear();
    start_requested_ = false;
    resumed_ = true;
    repeats_request_ = false;
    binary_now_ = false;
    if (auto sent = gateway.send_line(options_.format.binary() ? "FORMAT proto" : "FORMAT json"); !sent)
      return sent;
    const auto until = step_end();
    for (;;) {
      const auto reply = gateway.wait_line(until);
      if (!reply) return tl::unexpected(reply.error());
      const auto item = parse_gateway_line(*reply);
      if (!item) return tl::unexpected(item.error());
      if (item->kind == Kind::ok) break;
      if (!handle(*item, *reply)) return refusal(*item);
    }
    binary_now_ = options_.format.binary();
    if (!has_begun_ && is_live_only()) {
      start_requested_ = true;
      if (auto sent = send_position_request(gateway); !sent) return sent;
    }
    const SubscribeOptions request = next_request();
    for (const std::string& pattern : options_.patterns) {
      auto sent = binary_now_ ? send(gateway, message_for(pattern, request))
                              : gateway.send_line(line_for(pattern, request));
      if (!sent) return sent;
    }
    return {};
  }

  Result<void> take_all(GatewayConnection& gateway) {
    while (!printer_.done()) {
      std::optional<std::string_view> piece;
      if (binary_now_) {
        const auto message = gateway.take_message();
        if (!message) return tl::unexpected(message.error());
        piece = *message;
      } else {
        piece = gateway.take_line();
      }
      if (!piece) return {};
      const auto item = binary_now_ ? parse_gateway_message(*piece) : parse_gateway_line(*piece);
      if (!item) return tl::unexpected(item.error());
      if (!handle(*item, *piece)) return refusal(*item);
    }
    return {};
  }

  /// @returns where it begins in the output's buffer.
  std::size_t append(const GatewayItem& item, std::string_view piece) {
    // Reports write what is in the buffer: its size is that of this moment.
    std::string& buffer = printer_.output().buffer();
    const std::size_t begin = buffer.size();
    append_gateway_item(options_.format, item, piece, buffer);
    return begin;
  }

  /// @returns whether to continue.
  bool handle(const GatewayItem& item, std::string_view piece) {
    // Losses from this client's backlog can be announced right after the reply to POSITION.
    if (item.kind != Kind::gap) progress_.complete(std::exchange(reported_positions_, {}));
    switch (item.kind) {
      case Kind::event:
        has_begun_ = true;
        if (repeats_request_ && !progress_.follows(item.topic, item.stream, item.offset)) report_missed();
        if (options_.every.count() == 0 &&
            !progress_.admit(item.topic, item.stream, item.position, item.offset)) {
          return true;
        }
        events_since_position_ = true;
        printer_.paint_event(append(item, piece), item.topic);
        printer_.count_event();
        return true;
      case Kind::gap:
      case Kind::reset:
        if (item.kind == Kind::reset) progress_.restart(item.stream);
        if (item.kind == Kind::gap && item.first > 0) progress_.lose(item.topic, item.stream, item.last);
        printer_.paint_notice(append(item, piece));
        printer_.count_miss();
        return true;
      case Kind::ok:
        if (item.text.starts_with("POSITION")) {
          on_position(item.text);
        } else if (unconfirmed_ > 0) {
          has_begun_ = true;
          if (--unconfirmed_ == 0) on_subscribed();
        }
        return true;
      case Kind::wait:
        print_message("sub", fmt::format("the gateway at {} is waiting for a broker", endpoint_.address));
        return true;
      case Kind::live:
        print_message("sub",
                      fmt::format("the gateway at {} is connected to a broker again", endpoint_.address));
        return true;
      case Kind::error:
        // An older gateway does not know POSITION.
        if (std::exchange(start_requested_, false)) return true;
        if (unconfirmed_ > 0 || !position_requested_) return false;
        position_requested_ = false;
        positions_received_ = 2;
        position_received_at_ = Clock::now();
        return true;
      case Kind::bye:
        return false;
      case Kind::other:
        break;
    }
    return true;
  }

  [[nodiscard]] tl::unexpected<Error> refusal(const GatewayItem& item) const {
    if (item.kind == Kind::bye) return tl::unexpected(closed_error(endpoint_.address, item.text));
    return fail(ErrorCode::invalid_argument, fmt::format("the gateway at {} refused the subscription: {}",
                                                         endpoint_.address, refusal_text(item.text)));
  }

  /// All subscriptions are active.
  void on_subscribed() {
    pause_ = pause_min;
    reported_problem_.clear();
    if (std::exchange(reported_lost_, false)) {
      printer_.output().flush();
      print_message("sub", fmt::format("connected to the gateway at {}{}", endpoint_.address,
                                       resumed_ ? "" : "; events may have been missed"));
      if (!resumed_) printer_.count_miss();
    }
    was_connected_ = true;
  }

  /// History no longer has everything between the last connection and this one.
  void report_missed() {
    repeats_request_ = false;  // reported once per connection
    printer_.output().flush();
    print_message("sub", "history no longer has all events since the connection was lost; some were missed");
    printer_.count_miss();
  }

  // ---- positions ----

  /// When the position is to be requested; never while the gateway has a request, or cannot reply.
  [[nodiscard]] Clock::time_point position_due() const {
    if (unconfirmed_ > 0 || position_requested_ || options_.every.count() > 0)
      return Clock::time_point::max();
    if (positions_received_ < 2) return Clock::time_point::min();  // the second reply confirms the first
    return position_received_at_ + (events_since_position_ ? position_interval : quiet_position_interval);
  }

  Result<void> request_position(GatewayConnection& gateway) {
    if (Clock::now() < position_due()) return {};
    position_requested_ = true;
    return send_position_request(gateway);
  }

  Result<void> send_position_request(GatewayConnection& gateway) {
    if (!binary_now_) return gateway.send_line("POSITION");
    v1::ClientMessage message;
    message.mutable_report_position();
    return send(gateway, message);
  }

  /// `POSITION <token>`: everything up to these positions has arrived. The first reply of all comes before
  /// the subscriptions are active: what is before it is not wanted.
  void on_position(std::string_view reply) {
    if (!std::exchange(start_requested_, false)) {
      position_requested_ = false;
      position_received_at_ = Clock::now();
      ++positions_received_;
      events_since_position_ = false;
    }
    const std::size_t space = reply.find(' ');
    if (space == std::string_view::npos) return;
    if (auto positions = parse_resume_token(reply.substr(space + 1)))
      reported_positions_ = std::move(*positions);
  }

  struct SubscribeOptions {
    bool last{};
    Since since{};
  };

  /// What to request: the options of the command line at first, later what resumes. Sets resumed_.
  SubscribeOptions next_request() {
    SubscribeOptions request{options_.last, options_.since};
    const Clock::time_point now = Clock::now();
    if (!has_begun_) begun_at_ = now;
    if (!has_begun_) return request;
    resumed_ = options_.every.count() == 0;  // it leaves events out
    if (!resumed_) return request;
    if (StreamPositions positions = progress_.resume_at(); !positions.empty()) {
      return {false, AfterPositions{std::move(positions)}};
    }
    // The first request is made again, and what has arrived since is ignored. Values newer than those that
    // arrived do not show what came between them, and a period of history does not show whether all is there.
    if (options_.last || is_live_only()) resumed_ = false;
    repeats_request_ = resumed_;
    const std::chrono::nanoseconds elapsed = now - begun_at_ + ago_margin;
    if (const auto* ago = std::get_if<std::chrono::nanoseconds>(&options_.since)) {
      request.since = std::min<std::chrono::nanoseconds>(*ago + elapsed, since_max);
    } else if (!options_.last && std::holds_alternative<std::monostate>(options_.since)) {
      request.since = elapsed;
    }
    return request;
  }

  /// Whether neither values nor history are wanted, and every event is.
  [[nodiscard]] bool is_live_only() const {
    return !options_.last && options_.every.count() == 0 &&
           std::holds_alternative<std::monostate>(options_.since);
  }

  [[nodiscard]] std::string line_for(const std::string& pattern, const SubscribeOptions& request) const {
    std::string line = "SUB " + pattern;
    if (options_.every.count() > 0) line += " every=" + format_duration(options_.every);
    if (request.last) line += " last";
    if (const auto* ago = std::get_if<std::chrono::nanoseconds>(&request.since)) {
      line += " since=" + format_duration(*ago);
    } else if (const auto* offset = std::get_if<AfterOffset>(&request.since)) {
      line += fmt::format(" since={}", offset->offset);
    } else if (const auto* after = std::get_if<AfterPositions>(&request.since)) {
      line += " since=" + resume_token(after->positions);
    }
    return line;
  }

  [[nodiscard]] v1::ClientMessage message_for(const std::string& pattern,
                                              const SubscribeOptions& request) const {
    v1::ClientMessage message;
    v1::ClientMessage::Subscribe& subscribe = *message.mutable_subscribe();
    subscribe.set_pattern(pattern);
    const auto set = [](std::chrono::nanoseconds from, google::protobuf::Duration& into) {
      into.set_seconds(from.count() / 1'000'000'000);
      into.set_nanos(static_cast<std::int32_t>(from.count() % 1'000'000'000));
    };
    if (options_.every.count() > 0) set(options_.every, *subscribe.mutable_every());
    subscribe.set_last(request.last);
    if (const auto* ago = std::get_if<std::chrono::nanoseconds>(&request.since)) {
      set(*ago, *subscribe.mutable_ago());
    } else if (const auto* offset = std::get_if<AfterOffset>(&request.since)) {
      subscribe.set_offset(offset->offset);
    } else if (const auto* after = std::get_if<AfterPositions>(&request.since)) {
      subscribe.set_resume(resume_token(after->positions));
    }
    return message;
  }

  static Result<void> send(GatewayConnection& gateway, const v1::ClientMessage& message) {
    std::string bytes;
    wire::append_varint(message.ByteSizeLong(), bytes);
    message.AppendToString(&bytes);
    return gateway.send_bytes(bytes);
  }

  const SubOptions& options_;
  const GatewayEndpoint& endpoint_;
  SubPrinter& printer_;
  Waiter& waiter_;
  ReaderProgress progress_;
  std::size_t unconfirmed_{};  // subscriptions
  bool binary_now_{};          // the session has switched to proto
  bool position_requested_{};  // and the reply has not arrived
  bool start_requested_{};     // the same, for the position before the first subscription
  bool events_since_position_{};
  Clock::time_point position_received_at_{};
  int positions_received_{};            // on this connection
  StreamPositions reported_positions_;  // by the last reply, until the next line shows that they are complete
  Clock::time_point begun_at_{};        // when the first request that had an effect was made
  bool resumed_{true};                  // nothing was missed between the last connection and this one
  bool repeats_request_{};              // instead of resuming at positions
  bool has_begun_{};                    // a subscription has been active
  bool was_connected_{};                // all of them have been
  bool reported_lost_{};
  std::string reported_problem_;  // since the last connection, other than that it was lost
  std::string problem_ = fmt::format("cannot reach a gateway at {}: it does not reply", endpoint_.address);
  Clock::duration pause_ = pause_min;
};

}  // namespace

ExitCode sub_through_gateway(const SubOptions& options, const GatewayEndpoint& gateway, SubPrinter& printer,
                             Waiter& waiter) {
  return GatewaySub(options, gateway, printer, waiter).run();
}

}  // namespace backplane::cli
