#pragma once
// A client as the hub sees it.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "fanout/client.hpp"
#include "follower/control/broker_info.hpp"
#include "follower/control/replay_slice.hpp"
#include "gateway/access/rights.hpp"
#include "gateway/encode/encoder.hpp"

namespace backplane::gateway {

/// One client's session: receives the results of the client's requests. Lives on the client's worker. Every
/// method is called there, in the hub's order and in its place among the client's events.
class Subscriber : public fanout::Handler {
 public:
  /// A subscription is active; its events follow. Called once for each Subscribe request.
  virtual void on_subscribed(std::string_view /*pattern*/) {}
  /// A Subscribe request was refused: a code for programs and a text for people.
  virtual void on_refused(std::string_view /*pattern*/, std::string_view /*code*/,
                          std::string_view /*text*/) {}
  /// No more events of the pattern follow. `was_subscribed`: there was a subscription.
  virtual void on_unsubscribed(std::string_view /*pattern*/, bool /*was_subscribed*/) {}
  /// Events from here on have this format.
  virtual void on_format(Format /*format*/) {}
  /// Returns a ReportPosition request. Everything up to these positions that the client is subscribed to,
  /// from where its subscriptions began, comes before this; if verified positions were requested, nothing of
  /// it can come later, not even late. Empty if nothing is known yet.
  virtual void on_position(const StreamPositions& /*reached*/) {}
  /// Returns an Echo request: every earlier request has its reply.
  virtual void on_echo(std::string_view /*reply*/) {}
  /// Returns an Authenticate request. `refusal` has a code if the credentials were refused: then the client
  /// is who it was before, and `rights` are of that user. `retry_after` is above 0 if they were not verified.
  virtual void on_authenticated(const Rights& /*rights*/, const AccessRefusal& /*refusal*/,
                                std::chrono::seconds /*retry_after*/) {}
  /// Some of the requested topics, ordered by name.
  virtual void on_topics(std::span<const TopicInfo> /*topics*/) {}
  /// Ends the list: the number of topics, or why there are no more. `code` is empty if the list is complete.
  virtual void on_topics_end(std::size_t /*count*/, std::string_view /*code*/, std::string_view /*text*/) {}
  /// The result of a Publish request, in the order of these: `code` is empty if the broker has admitted the
  /// event.
  virtual void on_published(std::string_view /*topic*/, std::size_t /*bytes*/, std::string_view /*code*/,
                            std::string_view /*text*/) {}
  /// The result of a Publish request whose event has parts with a tag; instead of on_published().
  virtual void on_event_result(std::uint32_t /*tag*/, std::size_t /*bytes*/, std::string_view /*code*/,
                               std::string_view /*text*/) {}
  /// Returns a ClaimName request: the client has the name.
  virtual void on_name_claimed() {}
  /// Receives retained values or history that a subscription begins with, in the client's format.
  virtual void on_backfill(fanout::Client& client, const std::string& text) { client.reply(text); }
  /// Every request before Quit has its reply, except Publish requests.
  virtual void on_quit() {}
  /// The client's first subscription was added, or its last one ended.
  virtual void on_subscriptions(bool /*any*/) {}
  /// The broker has gone, or is back with all subscriptions active. Called only if the client has
  /// subscriptions.
  virtual void on_broker(bool /*up*/) {}
};

}  // namespace backplane::gateway
