// backplane replay: writes history to a file, or publishes such a file.

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <set>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "backplane/v1/session.pb.h"
#include "cli/address_flags.hpp"
#include "cli/connection/confirmed_publisher.hpp"
#include "cli/connection/stored_events.hpp"
#include "cli/console/event_writer.hpp"
#include "cli/console/messages.hpp"
#include "cli/console/output.hpp"
#include "cli/console/output_file.hpp"
#include "cli/console/units.hpp"
#include "cli/input/event_file.hpp"
#include "cli/input/playback.hpp"
#include "cli/sub_options.hpp"
#include "cli/subcommands.hpp"
#include "core/log/escape.hpp"
#include "core/log/line_writer.hpp"
#include "core/payload/payload_json.hpp"
#include "core/process/descriptor.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"
#include "core/topic/pattern.hpp"
#include "core/topic/topic.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using Clock = Waiter::Clock;

constexpr std::chrono::milliseconds reply_limit = 5s;

struct ReplayFlags {
  std::string pattern;
  std::string to;
  std::string from;
  std::string since;
  std::string format = "proto";
  std::string speed = "1";
  std::string under;
  bool strict{};
  AddressFlags addresses;
};

tl::unexpected<Error> wrong(std::string text) {
  return fail(ErrorCode::invalid_argument, std::move(text));
}

Result<Descriptor> open_input(const std::string& name) {
  Descriptor file(name == "-" ? ::dup(STDIN_FILENO) : ::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return wrong(fmt::format("{}: {}", name, std::strerror(errno)));
  return file;
}

/// Prints the summary, on standard error if the events go to standard output.
void print_summary(const std::string& line, bool events_on_standard_output) {
  if (events_on_standard_output) return print_error_line(line);
  log::standard_output().write(line + '\n');
}

// ── from history to a file ───────────────────────────────────────────────────────────────────────────────

Result<ReplayFrom> history_start(const ReplayFlags& flags, const Pattern& pattern) {
  if (flags.since.empty()) return ReplayFrom{SinceTime{0}};
  const auto since = since_option(flags.since);
  if (!since) return tl::unexpected(since.error());
  if (std::holds_alternative<AfterOffset>(*since) && !pattern.is_exact()) {
    return wrong("--since: expected a duration or a resume token for several topics, got an offset");
  }
  return replay_from(*since, Clock::now()).value_or(SinceTime{0});
}

ExitCode save(const ReplayFlags& flags, const std::vector<BrokerEndpoints>& brokers, Waiter& waiter) {
  const auto pattern = Pattern::parse(flags.pattern);
  if (!pattern)
    return print_error("replay", Error{ErrorCode::invalid_argument, "PATTERN: " + pattern.error().text});
  const auto from = history_start(flags, *pattern);
  if (!from) return print_error("replay", from.error());
  const auto format = parse_output_format(flags.format);
  if (!format) {
    return print_error(
        "replay", Error{ErrorCode::invalid_argument,
                        fmt::format("--format: expected proto, json, text, text+offset or value, got \"{}\"",
                                    flags.format)});
  }
  auto file = OutputFile::open(flags.to);
  if (!file) return print_error("replay", file.error());

  Output output(file->fd(), file->name(), &waiter);
  EventWriter writer(*format);
  mq::Context context;
  std::uint64_t events = 0;
  std::set<std::string, std::less<>> topics;
  const auto take = [&](const Delivery& delivery) {
    if (writer.event(delivery.topic, delivery.event, delivery.stamp, output.buffer())) {
      ++events;
      if (!topics.contains(delivery.topic)) topics.emplace(delivery.topic);
    }
    if (output.full()) output.flush();
    return !output.closed();
  };
  const auto missing = StoredEvents(context, brokers, waiter).replay(flags.pattern, *from, take, reply_limit);
  output.flush();
  if (!output.problem().empty()) {
    print_message("replay", output.problem());
    return ExitCode::failed;
  }
  if (!missing) return print_error("replay", missing.error());
  if (waiter.stopped() && file->replaces()) {
    print_message("replay", fmt::format("interrupted; {} is unchanged", flags.to));
    return ExitCode::failed;
  }
  if (auto complete = file->commit(); !complete) return print_error("replay", complete.error());
  if (!missing->empty()) print_message("replay", *missing);
  if (!output.closed()) {
    print_summary(fmt::format("{} of {} written to {}", counted(events, "event"),
                              counted(topics.size(), "topic"), log::escape(flags.to)),
                  flags.to == "-");
  }
  return flags.strict && !missing->empty() ? ExitCode::gaps : ExitCode::done;
}

// ── from a file to a broker ──────────────────────────────────────────────────────────────────────────────

/// Publishes the events of a file, in their order. Lives on the main thread; owns the publisher.
class Player {
 public:
  Player(const ReplayFlags& flags, double speed, const std::vector<BrokerEndpoints>& brokers, Waiter& waiter)
      : flags_(flags),
        waiter_(waiter),
        speed_(speed),
        publisher_("replay", brokers, Publisher::Options{}.max_event_bytes, waiter,
                   [](std::string_view text) { print_message("replay", text); }) {}

  ExitCode play(EventFileReader& file) {
    if (const std::string nobody = publisher_.wait_ready(reply_limit); !nobody.empty()) {
      print_message("replay", nobody);
      return ExitCode::failed;
    }
    playback_.emplace(speed_, Clock::now());
    std::string problem;
    while (!waiter_.stopped() && problem.empty()) {
      const auto message = file.next();
      if (!message) problem = message.error().text;
      if (!message || *message == nullptr) break;
      if ((*message)->has_delivery()) {
        problem = publish((*message)->delivery());
      } else {
        ++holes_;
      }
    }
    const std::string unconfirmed = publisher_.finish(reply_limit);
    for (const std::string& each : {problem, unconfirmed}) {
      if (!each.empty()) print_message("replay", each);
    }
    if (left_out_ > 0)
      print_message("replay", fmt::format("{} of $SYS topics left out", counted(left_out_, "event")));
    if (holes_ > 0)
      print_message("replay", fmt::format("the file reports missing events in {}", counted(holes_, "place")));
    print_summary(fmt::format("{} published", counted(published_, "event")), false);
    if (!problem.empty() || !unconfirmed.empty()) return ExitCode::failed;
    return flags_.strict && holes_ > 0 ? ExitCode::gaps : ExitCode::done;
  }

 private:
  /// @returns an error that ends the replay, or an empty string.
  std::string publish(const v1::ServerMessage::Delivery& delivery) {
    const v1::Event& event = delivery.event();
    if (is_system_topic(delivery.topic())) {
      ++left_out_;
      return {};
    }
    const auto due = playback_->due(event.stamp().received_ns());
    while (Clock::now() < due && waiter_.wait({}, due)) {
    }
    if (waiter_.stopped()) return {};
    const std::string topic = flags_.under.empty() ? delivery.topic() : flags_.under + '.' + delivery.topic();
    EventOptions options;
    if (event.has_time()) options.time_ns = event.time().seconds() * 1'000'000'000 + event.time().nanos();
    for (const auto& [key, value] : event.attributes()) options.attributes.emplace_back(key, value);
    const Offer offer =
        publisher_.offer([&](Publisher& to) { return offer_to(to, topic, event, options); }, reply_limit);
    if (offer == Offer::accepted) {
      ++published_;
      return {};
    }
    if (offer == Offer::bad_topic) return fmt::format("cannot publish to \"{}\": not a topic", topic);
    if (offer == Offer::too_large)
      return fmt::format("cannot publish an event of {}: the broker accepts at most {} bytes", topic,
                         publisher_.event_bytes_max());
    return waiter_.stopped() ? "" : "cannot publish: the broker has stopped confirming events";
  }

  static Offer offer_to(Publisher& to, const std::string& topic, const v1::Event& event,
                        const EventOptions& options) {
    switch (event.payload_case()) {
      case v1::Event::kMessage:
        return to.offer_serialized(topic, type_name(event.message().type_url()), event.message().value(),
                                   options);
      case v1::Event::kText:
        return to.offer_text(topic, event.text(), options);
      case v1::Event::kBinary:
        return to.offer_bytes(topic, event.binary(), options);
      case v1::Event::PAYLOAD_NOT_SET:
        break;
    }
    return to.offer_clear(topic, options);
  }

  const ReplayFlags& flags_;
  Waiter& waiter_;
  double speed_;
  std::optional<Playback> playback_;
  ConfirmedPublisher publisher_;
  std::uint64_t published_{};
  std::uint64_t left_out_{};
  std::uint64_t holes_{};
};

ExitCode play(const ReplayFlags& flags, const std::vector<BrokerEndpoints>& brokers, Waiter& waiter) {
  const auto speed = parse_speed(flags.speed);
  if (!speed) return print_error("replay", speed.error());
  if (!flags.under.empty()) {
    if (const TopicFault fault = check_topic(flags.under);
        fault != TopicFault::none || is_system_topic(flags.under)) {
      return print_error("replay", Error{ErrorCode::invalid_argument,
                                         fmt::format("--under: expected a topic, got \"{}\"", flags.under)});
    }
  }
  const auto file = open_input(flags.from);
  if (!file) return print_error("replay", file.error());
  EventFileReader reader(file->get(), flags.from == "-" ? "standard input" : flags.from);
  return Player(flags, *speed, brokers, waiter).play(reader);
}

ExitCode run_replay(const ReplayFlags& flags) {
  const bool saves = !flags.pattern.empty() && !flags.to.empty() && flags.from.empty();
  const bool plays = flags.pattern.empty() && flags.to.empty() && !flags.from.empty();
  if (!saves && !plays) {
    return print_error("replay",
                       Error{ErrorCode::invalid_argument,
                             "expected PATTERN --to FILE, or --from FILE (see backplane replay --help)"});
  }
  const auto brokers = resolve(flags.addresses);
  if (!brokers) return print_error("replay", brokers.error());
  Signals signals(
      Signals::Hangup::stop);  // before libzmq starts its threads, because they inherit the signal mask
  Waiter waiter;
  waiter.on_readable(signals.fd(), [&] {
    if (signals.next() == Signals::Event::stop) waiter.stop();
  });
  return saves ? save(flags, *brokers, waiter) : play(flags, *brokers, waiter);
}

}  // namespace

void add_replay(const Command& program) {
  auto flags = std::make_shared<ReplayFlags>();
  const Command command =
      program.add_command("replay", "Write a broker's history to a file, or publish such a file");
  command.add_option("PATTERN", flags->pattern, "Topics to write; > for all").value_name("");
  command.add_option("--to", flags->to, "Write history to this file (-: standard output)").value_name("FILE");
  command
      .add_option(
          "-s,--since", flags->since,
          "Only history of this period (10m), after an offset of one topic (17), or after a resume token")
      .value_name("10m|OFFSET|TOKEN");
  command
      .add_option("-f,--format", flags->format,
                  "Format of the file: proto (which --from reads, and which sub --format proto writes too), "
                  "json, text, text+offset or value")
      .value_name("FORMAT")
      .show_default();
  command.add_option("--from", flags->from, "Publish the events of this file (-: standard input)")
      .value_name("FILE");
  command.add_option("--speed", flags->speed, "Publish at X times the original pace; max: without waiting")
      .value_name("X")
      .show_default();
  command.add_option("--under", flags->under, "Publish on TOPIC.<original topic>").value_name("TOPIC");
  command.add_flag("--strict", flags->strict, "Exit with code 3 if events are missing");
  add_address_flags(command, flags->addresses);
  command.set_footer(
      "Examples:\n"
      "  backplane replay 'stock.>' --to stock.events --since 1h\n"
      "  backplane replay --from stock.events --speed 10 --under again\n"
      "  backplane replay '>' --to all.events --broker host7 --key me.key --server-key broker.pub");
  command.set_run([flags] { return run_replay(*flags); });
}

}  // namespace backplane::cli
