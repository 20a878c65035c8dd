#pragma once
// The line protocol of one client, and what it can change to: messages in protobuf.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "gateway/protocols/command.hpp"
#include "gateway/protocols/line/line_reader.hpp"
#include "gateway/protocols/proto/message_reader.hpp"
#include "gateway/session.hpp"

namespace backplane::gateway::line {

/// One client that speaks the line protocol: bytes in, commands out; answers in, bytes out. Lives on its
/// worker; owned by its fanout::Client. What needs the hub goes there as a Request and comes back in the
/// hub's order; so that every command is answered in its turn (but for SUB and PUB, which are answered when
/// they are in force and admitted), an answer that needs nobody goes the same way while another one is under
/// way.
class LineSession final : public Session {
 public:
  LineSession(fanout::Client& client, const Services& services);

  void on_bytes(std::string_view bytes) override;
  void on_input_end() override;

  void on_subscribed(std::string_view pattern) override;
  void on_refused(std::string_view pattern, std::string_view code, std::string_view text) override;
  void on_unsubscribed(std::string_view pattern, bool was) override;
  void on_format(Format format) override;
  void on_turn(std::string_view answer) override;
  void on_topics(std::span<const TopicInfo> topics) override;
  void on_topics_end(std::size_t count, std::string_view code, std::string_view text) override;
  void on_published(std::string_view topic, std::size_t bytes, std::string_view code,
                    std::string_view text) override;
  void on_quit() override;
  void on_interest(bool any) override;

 private:
  /// @returns whether the next line is to be read as one.
  bool on_line(std::string_view line, bool too_long);
  void on_messages(std::string_view bytes);
  bool obey(const Command& command);

  void execute(const Nothing&) {}
  void execute(const Subscribe& command);
  void execute(const Unsubscribe& command);
  void execute(const Publish& command);
  void execute(const SetFormat& command);
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
  void error(std::string_view code, std::string_view text);
  [[nodiscard]] std::string ok_answer(std::string_view verb, std::string_view what) const;
  [[nodiscard]] std::string error_answer(std::string_view code, std::string_view text) const;
  void hold_or_go_on();
  void end_if_done();

  LineReader lines_;
  std::unique_ptr<proto::MessageReader> messages_;  // what reads, from FORMAT proto on
  std::size_t unpublished_{};                       // PUBs that wait for their answer
  std::size_t unpublished_bytes_{};
  std::size_t subscribing_{};          // SUBs that do
  std::size_t in_turn_{};              // all others that do
  Format asked_format_{Format::text};  // in which answers in turn will be given
  bool subscribed_{};
  bool first_line_{true};
  bool quitting_{};
  bool may_end_{};  // all but PUBs is answered
};

}  // namespace backplane::gateway::line
