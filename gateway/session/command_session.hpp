#pragma once
// What all clients have in common that give commands: how these are carried out and answered.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "gateway/commands/command.hpp"
#include "gateway/session/session.hpp"

namespace backplane::gateway {

/// One client that gives commands; whoever derives from it reads them. Lives on its worker; owned by its
/// fanout::Client. What needs the hub goes there as a Request and comes back in the hub's order; so that
/// every command is answered in its turn (but for SUB and PUB, which are answered when they are in force and
/// admitted), an answer that needs nobody goes the same way while another one is under way.
class CommandSession : public Session {
 public:
  CommandSession(fanout::Client& client, const Services& services, Format format)
      : Session(client, services, format), asked_format_(format) {}

  void on_subscribed(std::string_view pattern) override;
  void on_refused(std::string_view pattern, std::string_view code, std::string_view text) override;
  void on_unsubscribed(std::string_view pattern, bool was) override;
  void on_format(Format format) override;
  void on_echo(std::string_view answer) override;
  void on_topics(std::span<const TopicInfo> topics) override;
  void on_topics_end(std::size_t count, std::string_view code, std::string_view text) override;
  void on_published(std::string_view topic, std::size_t bytes, std::string_view code,
                    std::string_view text) override;
  void on_quit() override;
  void on_subscriptions(bool any) override;

 protected:
  void obey(const Command& command);
  /// Nothing more is obeyed: the client has left, or is about to.
  [[nodiscard]] bool done() noexcept { return quitting_ || !client().open(); }
  /// Answers in its turn, in the format that will be in force then.
  void error(std::string_view code, std::string_view text);
  /// Asks the hub for a format, which on_format() answers.
  void ask_for_format(Format format);
  /// Half-closing is not leaving, but who neither sends nor waits for anything is done.
  void end_if_done();
  /// Ends it, as the client has wished: `answer` is the last one.
  virtual void end_as_asked(std::string_view answer) { client().end(answer); }

 private:
  void execute(const Nothing&) {}
  void execute(const Subscribe& command);
  void execute(const Unsubscribe& command);
  void execute(const Publish& command);
  virtual void execute(const SetFormat& command) = 0;
  void execute(const SetPolicy& command);
  void execute(const ListTopics& command);
  void execute(const Ping&);
  void execute(const Help&);
  void execute(const Quit&);
  void execute(const BadCommand& command);

  /// Asks for what is answered in its turn.
  template <class What>
  void ask_in_turn(What what);
  /// Gives an answer whose turn it is.
  void take_turn(std::string_view answer);
  /// Answers in its turn.
  void say(std::string answer);
  [[nodiscard]] std::string ok_answer(std::string_view verb, std::string_view what) const;
  [[nodiscard]] std::string error_answer(std::string_view code, std::string_view text) const;
  void hold_or_go_on();

  // Small, as there are many sessions; PUBs and what is in its turn are few, or nothing more is read.
  std::uint32_t unpublished_{};        // PUBs that wait for their answer
  std::uint32_t unpublished_bytes_{};  // and the bytes of their text
  std::uint32_t subscribing_{};        // SUBs that do
  std::uint32_t in_turn_{};            // all others that do
  Format asked_format_;                // in which answers in turn will be given
  bool subscribed_{};
  bool quitting_{};
  bool may_end_{};  // all but PUBs is answered
};

}  // namespace backplane::gateway
