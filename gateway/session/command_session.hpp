#pragma once
// Execution of commands, and the order of their replies, in every protocol that has commands.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "gateway/commands/command.hpp"
#include "gateway/session/session.hpp"

namespace backplane::gateway {

/// One client that sends commands, which a derived class parses. Lives on its worker; owned by its
/// fanout::Client.
///
/// Replies come in the order of the commands, except those to SUB and PUB, which come when the subscription
/// is active and when the event is admitted. A command that needs the hub goes there as a Request, and its
/// reply comes back in the hub's order. While such a reply is outstanding, a reply that does not need the hub
/// takes the same way, as an Echo request.
class CommandSession : public Session {
 public:
  CommandSession(fanout::Client& client, const Services& services, Format format)
      : Session(client, services, format), requested_format_(format) {}

  void on_subscribed(std::string_view pattern) override;
  void on_refused(std::string_view pattern, std::string_view code, std::string_view text) override;
  void on_unsubscribed(std::string_view pattern, bool was_subscribed) override;
  void on_format(Format format) override;
  void on_position(const StreamPositions& reached) override;
  void on_echo(std::string_view reply) override;
  void on_authenticated(const Rights& rights, const AccessRefusal& refusal,
                        std::chrono::seconds retry_after) override;
  void on_topics(std::span<const TopicInfo> topics) override;
  void on_topics_end(std::size_t count, std::string_view code, std::string_view text) override;
  void on_published(std::string_view topic, std::size_t bytes, std::string_view code,
                    std::string_view text) override;
  void on_quit() override;
  void on_subscriptions(bool any) override;

 protected:
  void run(const Command& command);
  /// No more commands are executed: the client has left, or is leaving.
  [[nodiscard]] bool done() noexcept { return quitting_ || !client().open(); }
  /// Replies with an error, in its turn and in the format of that moment.
  void error(std::string_view code, std::string_view text);
  /// Requests a format from the hub; on_format() confirms it.
  void request_format(Format format);
  /// Disconnects a client that has quit, or that has closed its side and waits for nothing. A client that has
  /// closed its side and is subscribed stays.
  void end_if_done();
  /// Disconnects a client that has quit. `reply` is the last one.
  virtual void end_after_quit(std::string_view reply) { client().end(reply); }

 private:
  void execute(const Nothing&) {}
  void execute(const Subscribe& command);
  void execute(const Unsubscribe& command);
  void execute(const Publish& command);
  virtual void execute(const SetFormat& command) = 0;
  void execute(const SetPolicy& command);
  void execute(const ListTopics& command);
  void execute(const ReportPosition& command);
  void execute(const Authenticate& command);
  void execute(const Ping&);
  void execute(const Help&);
  void execute(const Quit&);
  void execute(const BadCommand& command);

  /// Sends a request whose reply comes in its turn.
  template <class What>
  void request_in_turn(What what);
  /// Sends a reply whose turn has come.
  void send_in_turn(std::string_view reply);
  /// Sends a reply that does not need the hub, when its turn has come.
  void reply_in_turn(std::string reply);
  [[nodiscard]] std::string ok_reply(std::string_view verb, std::string_view what) const;
  [[nodiscard]] std::string error_reply(std::string_view code, std::string_view text) const;
  void pause_or_resume_input();

  // Small, because there are many sessions. The counts are bounded: above a limit, input is paused.
  std::uint32_t unpublished_{};        // PUBs that wait for their reply
  std::uint32_t unpublished_bytes_{};  // the bytes of their texts
  std::uint32_t subscribing_{};        // SUBs that wait for their reply
  std::uint32_t in_turn_{};            // other commands that wait for their reply
  std::uint32_t authenticating_{};     // AUTHs among these
  Format requested_format_;            // of replies to commands from here on
  bool subscribed_{};
  bool publishes_{};  // it has published something
  bool quitting_{};
  bool may_end_{};  // every command except PUBs has its reply
};

}  // namespace backplane::gateway
