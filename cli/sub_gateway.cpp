// backplane sub --gateway HOST:PORT: reads from a gateway.

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "backplane/v1/session.pb.h"
#include "cli/connection/gateway_connection.hpp"
#include "cli/connection/gateway_item.hpp"
#include "cli/console/messages.hpp"
#include "cli/sub_options.hpp"
#include "core/time/duration.hpp"
#include "core/wire/write.hpp"
#include "follower/order/resume_token.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using Clock = Waiter::Clock;
using Kind = GatewayItem::Kind;

constexpr std::chrono::milliseconds step_limit = 5s;
constexpr Clock::duration pause_min = 250ms;
constexpr Clock::duration pause_max = 5s;

/// Reads from one gateway, and reconnects when the connection is lost. Lives on the main thread. The
/// session's format is proto, or else json: text has no positions to resume at, so that the text formats are
/// made from json.
class GatewaySub {
 public:
  GatewaySub(const SubOptions& options, std::string address, SubPrinter& printer, Waiter& waiter)
      : options_(options), address_(std::move(address)), printer_(printer), waiter_(waiter) {}

  ExitCode run() {
    while (!ended()) {
      auto gateway = GatewayConnection::open(address_, waiter_, step_limit);
      if (ended()) break;
      const Result<void> ended_by =
          gateway ? follow(*gateway) : Result<void>(tl::unexpected(gateway.error()));
      if (ended()) break;
      if (refused_) return ExitCode::failed;
      // A server that was a gateway may become one again. Another server will not.
      if (ended_by.error().code == ErrorCode::protocol && !was_connected_) {
        print_message("sub", ended_by.error().text);
        return ExitCode::failed;
      }
      report_lost(ended_by.error());
      const auto until = std::min(Clock::now() + pause_, options_.deadline);
      while (Clock::now() < until && waiter_.wait({}, until)) {
      }
      pause_ = std::min(2 * pause_, pause_max);
    }
    return printer_.finish();
  }

 private:
  [[nodiscard]] bool ended() const { return waiter_.stopped() || printer_.done() || printer_.timed_out(); }

  void report_lost(const Error& error) {
    printer_.output().flush();
    if (std::exchange(reported_lost_, true)) return;
    print_message("sub", error.text + "; reconnecting");
  }

  /// @returns why the connection ended.
  Result<void> follow(GatewayConnection& gateway) {
    if (auto subscribed = subscribe(gateway); !subscribed) return subscribed;
    const std::array fds{gateway.fd()};
    while (!ended()) {
      auto received = gateway.receive();
      if (auto taken = take_all(gateway); !taken) return taken;
      if (!received) return received;
      printer_.output().flush();
      if (!ended()) (void)waiter_.wait(fds, options_.deadline);
    }
    return {};
  }

  Result<void> subscribe(GatewayConnection& gateway) {
    unconfirmed_ = options_.patterns.size();
    binary_now_ = false;
    if (auto sent = gateway.send_line(options_.format.binary() ? "FORMAT proto" : "FORMAT json"); !sent)
      return sent;
    const auto until = Clock::now() + step_limit;
    for (;;) {
      const auto reply = gateway.wait_line(until);
      if (!reply) return tl::unexpected(reply.error());
      const auto item = parse_gateway_line(*reply);
      if (!item) return tl::unexpected(item.error());
      if (item->kind == Kind::ok) break;
      if (!handle(*item, *reply)) return refusal(*item);
    }
    binary_now_ = options_.format.binary();
    for (const std::string& pattern : options_.patterns) {
      auto sent = binary_now_ ? send(gateway, message_for(pattern)) : gateway.send_line(line_for(pattern));
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

  /// @returns whether to continue.
  bool handle(const GatewayItem& item, std::string_view piece) {
    switch (item.kind) {
      case Kind::event:
        append_gateway_item(options_.format, item, piece, printer_.output().buffer());
        printer_.count_event();
        seen_[item.stream] = std::max(seen_[item.stream], item.position);
        return true;
      case Kind::gap:
      case Kind::reset:
        append_gateway_item(options_.format, item, piece, printer_.output().buffer());
        printer_.count_miss();
        return true;
      case Kind::ok:
        if (unconfirmed_ > 0 && --unconfirmed_ == 0) on_subscribed();
        return true;
      case Kind::wait:
        print_message("sub", fmt::format("the gateway at {} is waiting for a broker", address_));
        return true;
      case Kind::live:
        print_message("sub", fmt::format("the gateway at {} is connected to a broker again", address_));
        return true;
      case Kind::error:
      case Kind::bye:
        return false;
      case Kind::other:
        break;
    }
    return true;
  }

  tl::unexpected<Error> refusal(const GatewayItem& item) {
    if (item.kind == Kind::bye) {
      return fail(ErrorCode::unavailable,
                  fmt::format("the gateway at {} closed the connection: {}", address_, item.text));
    }
    printer_.output().flush();
    print_message("sub", fmt::format("the gateway at {} refused the subscription: {}", address_, item.text));
    refused_ = true;
    return fail(ErrorCode::invalid_argument, item.text);
  }

  /// All subscriptions are active.
  void on_subscribed() {
    pause_ = pause_min;
    if (std::exchange(reported_lost_, false)) {
      printer_.output().flush();
      const bool resumed = !resume().empty();
      print_message("sub", fmt::format("connected to the gateway at {}{}", address_,
                                       resumed || !was_connected_ ? "" : "; events may have been missed"));
      if (was_connected_ && !resumed) printer_.count_miss();
    }
    was_connected_ = true;
  }

  /// The resume token after the last event; empty if there is none, or with --every, which skips events.
  [[nodiscard]] std::string resume() const {
    if (options_.every.count() > 0) return {};
    std::vector<StreamPosition> positions;
    for (const auto& [stream, position] : seen_) positions.push_back({stream, position});
    return resume_token(positions);
  }

  [[nodiscard]] std::string line_for(const std::string& pattern) const {
    std::string line = "SUB " + pattern;
    if (options_.every.count() > 0) line += " every=" + format_duration(options_.every);
    if (const std::string token = resume(); !token.empty()) return line + " since=" + token;
    if (options_.last) line += " last";
    if (const auto* ago = std::get_if<std::chrono::nanoseconds>(&options_.since)) {
      line += " since=" + format_duration(*ago);
    } else if (const auto* offset = std::get_if<AfterOffset>(&options_.since)) {
      line += fmt::format(" since={}", offset->offset);
    } else if (const auto* after = std::get_if<AfterPositions>(&options_.since)) {
      line += " since=" + resume_token(after->positions);
    }
    return line;
  }

  [[nodiscard]] v1::ClientMessage message_for(const std::string& pattern) const {
    v1::ClientMessage message;
    v1::ClientMessage::Subscribe& subscribe = *message.mutable_subscribe();
    subscribe.set_pattern(pattern);
    const auto set = [](std::chrono::nanoseconds from, google::protobuf::Duration& into) {
      into.set_seconds(from.count() / 1'000'000'000);
      into.set_nanos(static_cast<std::int32_t>(from.count() % 1'000'000'000));
    };
    if (options_.every.count() > 0) set(options_.every, *subscribe.mutable_every());
    if (const std::string token = resume(); !token.empty()) {
      subscribe.set_resume(token);
      return message;
    }
    subscribe.set_last(options_.last);
    if (const auto* ago = std::get_if<std::chrono::nanoseconds>(&options_.since)) {
      set(*ago, *subscribe.mutable_ago());
    } else if (const auto* offset = std::get_if<AfterOffset>(&options_.since)) {
      subscribe.set_offset(offset->offset);
    } else if (const auto* after = std::get_if<AfterPositions>(&options_.since)) {
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
  std::string address_;
  SubPrinter& printer_;
  Waiter& waiter_;
  std::map<std::uint64_t, std::uint64_t> seen_;  // the last position of each stream
  std::size_t unconfirmed_{};                    // subscriptions
  bool binary_now_{};                            // the session has switched to proto
  bool was_connected_{};
  bool reported_lost_{};
  bool refused_{};
  Clock::duration pause_ = pause_min;
};

}  // namespace

ExitCode sub_through_gateway(const SubOptions& options, const std::string& gateway, SubPrinter& printer,
                             Waiter& waiter) {
  return GatewaySub(options, gateway, printer, waiter).run();
}

}  // namespace backplane::cli
