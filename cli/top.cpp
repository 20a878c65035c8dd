// backplane top: brokers, gateways, publishers and topics on one screen.

#include <memory>

#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/connection/broker_requests.hpp"
#include "cli/console/colours.hpp"
#include "cli/console/live_view.hpp"
#include "cli/console/messages.hpp"
#include "cli/console/output.hpp"
#include "cli/console/top_view.hpp"
#include "cli/subcommands.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds reply_limit = 5s;
/// The busiest topics are chosen from so many: a list of a million each second would load the broker.
constexpr std::size_t topics_max = 20'000;
/// The size of a picture that goes to a pipe or a file.
constexpr ScreenSize no_screen{1'000, 120};

struct TopOptions {
  std::string every = "1s";
  bool once{};
  AddressFlags addresses;
};

Style style_of(ScreenLine::Style style) {
  if (style == ScreenLine::Style::heading) return Style::heading;
  return style == ScreenLine::Style::alarm ? Style::error : Style::plain;
}

/// Runs `backplane top`. Lives on the main thread; owns a connection to each broker.
class TopCommand {
 public:
  TopCommand(std::chrono::nanoseconds interval, const std::vector<BrokerEndpoints>& brokers, Waiter& waiter)
      : interval_(interval), waiter_(waiter) {
    for (const BrokerEndpoints& broker : brokers) {
      requests_.push_back(std::make_unique<BrokerRequests>(context_, std::vector{broker}, waiter));
      now_.push_back({broker.control, {}, {}, {}, {}});
    }
  }

  ExitCode print_once();
  ExitCode show_live();

 private:
  void read();
  /// @returns the first broker's problem if no broker has replied.
  [[nodiscard]] std::optional<std::string> no_reply() const;

  std::chrono::nanoseconds interval_;
  Waiter& waiter_;
  mq::Context context_;
  std::vector<std::unique_ptr<BrokerRequests>> requests_;
  std::vector<BrokerReading> now_;
  std::vector<BrokerReading> before_;
};

void TopCommand::read() {
  std::vector<BrokerReading> readings;
  for (std::size_t at = 0; at < requests_.size(); ++at) {
    BrokerReading reading = now_[at];
    auto stats = requests_[at]->stats(reply_limit);
    const auto taken = Waiter::Clock::now();
    auto topics = stats ? requests_[at]->topics(">", topics_max, reply_limit) : tl::unexpected(stats.error());
    if (topics) {
      reading = {reading.endpoint, std::move(*stats), taken,
                 TopicsReading{std::move(topics->topics), topics->all, Waiter::Clock::now(), unix_now_ns()},
                 ""};
    } else {
      reading.problem = topics.error().text;
    }
    readings.push_back(std::move(reading));
  }
  before_ = std::exchange(now_, std::move(readings));
}

std::optional<std::string> TopCommand::no_reply() const {
  for (const BrokerReading& each : now_) {
    if (each.problem.empty()) return std::nullopt;
  }
  return now_.front().problem;
}

ExitCode TopCommand::print_once() {
  for (int reading = 0; reading < 2; ++reading) {
    read();
    if (const auto problem = no_reply()) {
      print_message("top", *problem);
      return ExitCode::failed;
    }
    const auto next = Waiter::Clock::now() + std::chrono::duration_cast<Waiter::Clock::duration>(interval_);
    while (reading == 0 && waiter_.wait({}, next) && Waiter::Clock::now() < next) {
    }
  }
  Output output;
  const Colours colours(output.fd());
  for (const ScreenLine& line : top_picture(now_, before_, no_screen, interval_)) {
    output.line(colours.paint(style_of(line.style), line.text));
  }
  output.flush();
  if (output.problem().empty()) return ExitCode::done;
  print_message("top", output.problem());
  return ExitCode::failed;
}

ExitCode TopCommand::show_live() {
  read();
  if (const auto problem = no_reply()) {
    print_message("top", *problem);
    return ExitCode::failed;
  }
  LiveView view;
  view.interval = interval_;
  view.read = [this] { read(); };
  view.draw = [this](ScreenSize size) { return top_picture(now_, before_, size, interval_); };
  cli::show_live(view, waiter_);
  return ExitCode::done;
}

ExitCode run_top(const TopOptions& options) {
  const auto interval = parse_interval(options.every);
  if (!interval) return print_error("top", interval.error());
  const auto brokers = resolve(options.addresses);
  if (!brokers) return print_error("top", brokers.error());
  Waiter waiter;
  if (options.once || !Screen::available()) return TopCommand(*interval, *brokers, waiter).print_once();
  Signals signals(
      Signals::Hangup::stop);  // before libzmq starts its threads, because they inherit the signal mask
  waiter.on_readable(signals.fd(), [&] {
    if (signals.next() == Signals::Event::stop) waiter.stop();
  });
  return TopCommand(*interval, *brokers, waiter).show_live();
}

}  // namespace

void add_top(const Command& program) {
  auto options = std::make_shared<TopOptions>();
  const Command command =
      program.add_command("top", "Show brokers, gateways, publishers and the busiest topics on one screen");
  command.add_option("-e,--every", options->every, "Interval between readings, over which rates are measured")
      .value_name("DURATION")
      .show_default();
  command.add_flag("--once", options->once, "Print one snapshot and exit (default without a terminal)");
  add_address_flags(command, options->addresses);
  command.set_footer(
      "Examples:\n"
      "  backplane top\n"
      "  backplane top --broker host7,host8 --every 5s\n"
      "  backplane top --broker host7 --key me.key --server-key broker.pub");
  command.set_run([options] { return run_top(*options); });
}

}  // namespace backplane::cli
