#pragma once
// The line protocol of one client.

#include <cstddef>
#include <string>
#include <string_view>

#include "fanout/session.hpp"
#include "gateway/hub.hpp"
#include "gateway/loss_ledger.hpp"
#include "gateway/protocols/line/command.hpp"
#include "gateway/protocols/line/line_reader.hpp"
#include "gateway/upstream/publish_desk.hpp"

namespace backplane::gateway::line {

/// What the sessions of one gateway share.
struct Services {
  Hub& hub;
  PublishDesk& desk;
  LineReader::Limits limits;
};

/// One client that speaks the line protocol: bytes in, commands out; events in, bytes out. Lives on its
/// server's thread; owned by its fanout::Session. Every command gets one `+OK …` or `-ERR …`, at once,
/// but for SUB (when it is in force) and PUB (when the broker has admitted it).
class LineSession final : public fanout::Connection, public Subscriber, public PublishClient {
 public:
  /// `session` and `services` outlive it.
  LineSession(fanout::Session& session, Services services);
  ~LineSession() override;
  LineSession(const LineSession&) = delete;
  LineSession& operator=(const LineSession&) = delete;

  void on_bytes(std::string_view bytes) override;
  void on_input_end() override;
  void on_dropped(const fanout::Message& message) override;
  void report_losses(std::string& out) override;
  /// Says `!BYE reason`.
  void say_goodbye(std::string_view reason) override;

  [[nodiscard]] Format format() const override { return format_; }
  void on_event(EventLinePtr event) override { session_.send(std::move(event)); }
  void on_notice(const Notice& notice) override;
  void on_subscribed(std::string_view pattern) override;
  void on_refused(std::string_view pattern, std::string_view code, std::string_view text) override;
  void on_broker(bool up) override;

  void on_published(std::string_view topic, std::size_t bytes, std::string_view code,
                    std::string_view text) override;

 private:
  bool on_line(std::string_view line, bool too_long);
  void execute(const Nothing&) {}
  void execute(const Subscribe& command);
  void execute(const Unsubscribe& command);
  void execute(const Publish& command);
  void execute(const SetFormat& command);
  void execute(const SetPolicy& command);
  void execute(const Ping&);
  void execute(const Help&);
  void execute(const Quit&);
  void execute(const BadCommand& command);

  void ok(std::string_view verb, std::string_view what);
  void error(std::string_view code, std::string_view text);
  void end_if_done();

  fanout::Session& session_;
  Services services_;
  Hub::Reader& reader_;
  LineReader lines_;
  LossLedger losses_;
  std::string scratch_;
  Format format_{Format::text};
  bool first_line_{true};
  bool quitting_{};
  std::size_t unpublished_{};  // PUBs that wait for their answer
  std::size_t unpublished_bytes_{};
};

}  // namespace backplane::gateway::line
