#pragma once
// A client as the hub speaks to it.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "fanout/client.hpp"
#include "follower/control/broker_info.hpp"
#include "follower/control/replay_slice.hpp"
#include "gateway/encode/encoder.hpp"

namespace backplane::gateway {

/// The protocol's side of one client: what became of what it asked for. Lives on the client's worker, where
/// all of this is called, in the hub's order and in its place among the client's events.
class Subscriber : public fanout::Handler {
 public:
  /// A SUB is in force; its events follow. Once for each that was accepted.
  virtual void on_subscribed(std::string_view /*pattern*/) {}
  /// Or it is not to be, for a reason: a word for programs and a text for people.
  virtual void on_refused(std::string_view /*pattern*/, std::string_view /*code*/,
                          std::string_view /*text*/) {}
  /// No more events of the pattern come. `was`: it was subscribed to.
  virtual void on_unsubscribed(std::string_view /*pattern*/, bool /*was*/) {}
  /// Events from here on are written so.
  virtual void on_format(Format /*format*/) {}
  /// Of the broker's stream, all that is subscribed to and lies up to here has been given. Only where a
  /// broker is known.
  virtual void on_position(const StreamPosition& /*reached*/) {}
  /// It is the turn of an answer that was the client's own, behind what the hub had to answer before.
  virtual void on_echo(std::string_view /*answer*/) {}
  /// Some of the topics asked for, in order of names.
  virtual void on_topics(std::span<const TopicInfo> /*topics*/) {}
  /// That were all: so many; or why there are no more. `code` is empty where all is well.
  virtual void on_topics_end(std::size_t /*count*/, std::string_view /*code*/, std::string_view /*text*/) {}
  /// A PUB is dealt with, in the order of those: `code` is empty where the broker has admitted it.
  virtual void on_published(std::string_view /*topic*/, std::size_t /*bytes*/, std::string_view /*code*/,
                            std::string_view /*text*/) {}
  /// All that came before the client's wish to leave is answered, but for PUBs.
  virtual void on_quit() {}
  /// Something is subscribed to, where nothing was; or nothing is any more.
  virtual void on_subscriptions(bool /*any*/) {}
  /// The broker is away, or back with all subscriptions in force. Only where something is subscribed to.
  virtual void on_broker(bool /*up*/) {}
};

}  // namespace backplane::gateway
