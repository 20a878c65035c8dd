// backplane up: runs a broker, a gateway and demo publishers until Ctrl-C.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include <fmt/format.h>

#include "cli/configuration.hpp"
#include "cli/console/messages.hpp"
#include "cli/subcommands.hpp"
#include "cli/supervision/demo_data.hpp"
#include "cli/supervision/own_keys.hpp"
#include "cli/supervision/ready_line.hpp"
#include "cli/supervision/startup_banner.hpp"
#include "cli/supervision/status_line.hpp"
#include "cli/supervision/status_poller.hpp"
#include "cli/supervision/supervisor.hpp"
#include "core/log/line_writer.hpp"
#include "core/net/endpoint_addresses.hpp"
#include "core/process/child.hpp"
#include "core/process/signals.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using Clock = Supervisor::Clock;
using Outcome = Supervisor::Outcome;

/// A daemon that is not ready after this time is broken.
constexpr std::chrono::seconds start_limit{15};
/// The banner waits at most this long for publishers.
constexpr std::chrono::milliseconds publishers_limit{2'000};

struct UpFlags {
  ConfigurationFlags configuration;
  std::string data;       ///< for the broker's history
  std::string demo_data;  ///< of the demo publishers
  bool no_demo{};
};

/// The executable's path as typed in the current folder: relative if it is below that folder.
std::string typed_path(const std::string& executable) {
  std::error_code error;
  const std::filesystem::path here = std::filesystem::current_path(error);
  if (error) return executable;
  const std::string relative = std::filesystem::path(executable).lexically_relative(here).string();
  return relative.empty() || relative.starts_with("..") ? executable : relative;
}

/// A bound endpoint or address as the configuration has it: localhost is bound as both 127.0.0.1 and ::1.
std::string as_configured(std::string bound, std::string_view configured) {
  constexpr std::string_view tcp = "tcp://";
  if (configured.starts_with(tcp)) configured.remove_prefix(tcp.size());
  if (!is_localhost(configured.substr(0, configured.rfind(':')))) return bound;
  const std::string_view first = localhost_addresses().front();
  if (const std::size_t at = bound.find(first); at != std::string::npos)
    bound.replace(at, first.size(), "localhost");
  return bound;
}

/// Runs `backplane up`, from the first child process to the last. Lives on the main thread; owns the
/// children.
class Up {
 public:
  Up(const UpFlags& flags, Configuration configuration, mq::SharedKeys keys);
  ExitCode run();

 private:
  struct Publisher {
    std::string name;
    std::vector<std::string> arguments;
  };

  [[nodiscard]] Outcome start_all();
  [[nodiscard]] Outcome start_broker();
  [[nodiscard]] Outcome start_gateway();
  [[nodiscard]] Outcome start_publishers();
  [[nodiscard]] Outcome start(Supervisor::Role role, const std::string& name,
                              std::vector<std::string> arguments, std::size_t ready_lines);
  [[nodiscard]] std::vector<Publisher> publishers();
  [[nodiscard]] std::vector<std::string> command(std::vector<std::string> arguments, bool with_config) const;
  [[nodiscard]] std::vector<std::string> client_keys() const;
  [[nodiscard]] std::vector<std::string> broker_command() const;
  void print_banner();
  [[nodiscard]] Outcome watch();
  void show_status(Clock::time_point now);
  void report(std::string_view text) { status_.print_error_line(fmt::format("backplane up: {}", text)); }

  const UpFlags& flags_;
  Configuration configuration_;
  mq::SharedKeys keys_;
  std::string executable_ = own_executable();
  Signals signals_;  // before libzmq starts its threads, because they inherit the signal mask
  StatusLine status_;
  Supervisor supervisor_;
  StartedDaemons daemons_;
  std::vector<std::string> publisher_names_;
  mq::Context context_;
  std::vector<std::unique_ptr<StatusPoller>> pollers_;
  std::optional<StatusNumbers> shown_;
  Clock::time_point shown_at_{};
};

Up::Up(const UpFlags& flags, Configuration configuration, mq::SharedKeys keys)
    : flags_(flags),
      configuration_(std::move(configuration)),
      keys_(std::move(keys)),
      supervisor_(signals_, {[this](std::string_view line) { status_.print_error_line(line); },
                             [this](std::string_view text) { report(text); }}) {
  daemons_.listeners = configuration_.gateway.first.listen.size();
  daemons_.http = configuration_.gateway.http;
  daemons_.program = typed_path(executable_);
  if (keys_) daemons_.key_options = fmt::format(" {}", fmt::join(client_keys(), " "));
}

ExitCode Up::run() {
  Outcome outcome = start_all();
  if (outcome == Outcome::ready) {
    print_banner();
    outcome = watch();
  }
  status_.finish();
  const bool clean = supervisor_.stop();
  return outcome == Outcome::stop && clean ? ExitCode::done : ExitCode::failed;
}

Outcome Up::start_all() {
  for (const auto step : {&Up::start_broker, &Up::start_gateway, &Up::start_publishers}) {
    if (const Outcome outcome = (this->*step)(); outcome != Outcome::ready) return outcome;
  }
  return Outcome::ready;
}

/// Starts a daemon and waits until it is ready. Reports a timeout.
Outcome Up::start(Supervisor::Role role, const std::string& name, std::vector<std::string> arguments,
                  std::size_t ready_lines) {
  if (auto started = supervisor_.start(role, name, std::move(arguments)); !started) {
    report(started.error().text);
    return Outcome::ended;
  }
  const Outcome outcome = supervisor_.wait_ready(name, ready_lines, start_limit);
  if (outcome == Outcome::timeout)
    report(fmt::format("{} is not ready after {} s", name, start_limit.count()));
  return outcome;
}

Outcome Up::start_broker() {
  const std::size_t count = configuration_.broker.backplanes.size();
  const Outcome outcome = start(Supervisor::Role::broker, "the broker", broker_command(), count);
  if (outcome != Outcome::ready) return outcome;
  daemons_.broker = supervisor_.ready_lines("the broker");
  if (count == 1) {
    // After a restart it has the same endpoints, also if their ports were picked: its clients find it again.
    std::vector<std::string> again = broker_command();
    const broker::BackplaneConfig& backplane = configuration_.broker.backplanes.front();
    for (const auto& [key, configured] :
         {std::pair<std::string_view, const std::string&>{"ingress", backplane.ingress},
          {"egress", backplane.egress},
          {"control", backplane.control},
          {"raw", backplane.raw},
          {"metrics", configuration_.broker.metrics}}) {
      const std::string endpoint = ready_value(daemons_.broker.front(), key);
      if (endpoint.empty()) continue;
      again.push_back(fmt::format("--{}", key));
      again.push_back(as_configured(endpoint, configured));
    }
    supervisor_.set_arguments("the broker", std::move(again));
  }
  for (const std::string& line : daemons_.broker) {
    pollers_.push_back(std::make_unique<StatusPoller>(context_, ready_value(line, "control"), keys_));
  }
  return outcome;
}

Outcome Up::start_gateway() {
  std::vector<std::string> arguments = command({"gateway"}, true);
  if (keys_) arguments.insert(arguments.end(), {"--server-key", keys_->files.server_key_file});
  if (daemons_.broker.size() == 1) {
    for (const std::string_view key : {"ingress", "egress", "control"}) {
      arguments.push_back(fmt::format("--{}", key));
      arguments.push_back(ready_value(daemons_.broker.front(), key));
    }
  }
  const Outcome outcome = start(Supervisor::Role::gateway, "the gateway", arguments, 1);
  if (outcome != Outcome::ready) return outcome;
  daemons_.gateway = supervisor_.ready_lines("the gateway").front();
  // After a restart it has the same ports, also if they were picked. The ports of feeds are in the
  // configuration, and two listeners cannot have the same one.
  const std::vector<std::string> places = gateway_addresses(daemons_, /*feeds=*/false);
  const std::vector<std::string>& listen = configuration_.gateway.first.listen;
  for (std::size_t at = 0; at < places.size(); ++at) {
    const std::string place = at < listen.size() ? as_configured(places[at], listen[at]) : places[at];
    arguments.insert(arguments.end(), {"--listen", place});
  }
  supervisor_.set_arguments("the gateway", std::move(arguments));
  return outcome;
}

std::vector<Up::Publisher> Up::publishers() {
  std::vector<Publisher> all;
  for (const PublishConfig& each : configuration_.publish) {
    std::vector<std::string> arguments{each.source};
    arguments.insert(arguments.end(), each.arguments.begin(), each.arguments.end());
    all.push_back({fmt::format("publisher {} ({})", all.size() + 1, each.source), std::move(arguments)});
  }
  if (!all.empty() || flags_.no_demo) return all;
  all.push_back({"the clock", {"clock", "--every", "1s"}});
  all.push_back({"the thermometer", {"thermometer", "--every", "5s"}});
  const auto data = find_demo_data(flags_.demo_data, executable_);
  if (!data) {
    report(data.error().text);
    return all;
  }
  all.push_back({"the thermometer of Seattle",
                 {"thermometer", "--csv", (*data / "seattle-hourly.csv").string(), "--rate", "1",
                  "--source-name", "seattle@demo"}});
  all.push_back({"the quotes", {"quotes", "--csv", (*data / "stocks.csv").string(), "--rate", "5"}});
  return all;
}

Outcome Up::start_publishers() {
  for (Publisher& each : publishers()) {
    std::vector<std::string> arguments{"publish"};
    arguments.insert(arguments.end(), each.arguments.begin(), each.arguments.end());
    for (const std::string_view key : {"ingress", "egress", "control"}) {
      arguments.push_back(fmt::format("--{}", key));
      arguments.push_back(ready_value(daemons_.broker.front(), key));
    }
    const std::vector<std::string> keys = client_keys();
    for (std::size_t at = 0; at + 1 < keys.size(); at += 2) {
      // A publisher may be a user of its own.
      const bool is_given = std::any_of(
          each.arguments.begin(), each.arguments.end(),
          [&](const std::string& word) { return word == keys[at] || word.starts_with(keys[at] + "="); });
      if (!is_given) arguments.insert(arguments.end(), {keys[at], keys[at + 1]});
    }
    if (auto started = supervisor_.start(Supervisor::Role::publisher, each.name, command(arguments, false));
        !started) {
      report(started.error().text);
      return Outcome::ended;
    }
    publisher_names_.push_back(each.name);
  }
  const auto all_ready = [&] {
    return std::none_of(publisher_names_.begin(), publisher_names_.end(),
                        [&](const std::string& name) { return supervisor_.ready_lines(name).empty(); });
  };
  const Clock::time_point deadline = Clock::now() + publishers_limit;
  while (!all_ready() && Clock::now() < deadline) {
    // In short steps, because a ready line does not end tend().
    const Outcome outcome = supervisor_.tend(std::min(deadline, Clock::now() + 20ms));
    if (outcome == Outcome::stop || outcome == Outcome::ended) return outcome;
  }
  return Outcome::ready;
}

std::vector<std::string> Up::command(std::vector<std::string> arguments, bool with_config) const {
  arguments.insert(arguments.begin(), executable_);
  if (!with_config) return arguments;
  const ConfigurationFlags& given = flags_.configuration;
  if (!given.file.empty()) arguments.insert(arguments.end(), {"--config", given.file});
  if (given.insecure) arguments.emplace_back("--insecure");
  if (given.policy) arguments.insert(arguments.end(), {"--policy", *given.policy});
  if (given.key) arguments.insert(arguments.end(), {"--key", *given.key});
  return arguments;
}

/// The options with which a program connects to the broker.
std::vector<std::string> Up::client_keys() const {
  if (!keys_) return {};
  return {"--key", keys_->files.key_file, "--server-key", keys_->files.server_key_file};
}

std::vector<std::string> Up::broker_command() const {
  if (flags_.data.empty()) return command({"broker"}, true);
  return command({"broker", "--data", flags_.data}, true);
}

void Up::print_banner() {
  log::standard_output().write(startup_banner(daemons_));
}

Outcome Up::watch() {
  for (;;) {
    const Clock::time_point now = Clock::now();
    for (const auto& each : pollers_) each->request();
    const Clock::time_point next = now + 1s;
    bool fresh = false;
    while (Clock::now() < next) {
      // Replies arrive within a few ms. Until then, poll in short steps.
      for (const auto& each : pollers_) fresh = each->receive() || fresh;
      if (fresh) break;
      const Outcome outcome = supervisor_.tend(std::min(next, Clock::now() + 20ms), pollers_.front()->fd());
      if (outcome == Outcome::stop || outcome == Outcome::ended) return outcome;
    }
    if (fresh) {
      show_status(Clock::now());
    } else {
      status_.show("waiting for the broker", Clock::now());
      shown_.reset();
    }
    const Outcome outcome = supervisor_.tend(next);
    if (outcome == Outcome::stop || outcome == Outcome::ended) return outcome;
  }
}

void Up::show_status(Clock::time_point now) {
  StatusNumbers numbers;
  for (const auto& each : pollers_) {
    numbers.events_in += each->numbers().events_in;
    numbers.deliveries_out += each->numbers().deliveries_out;
    numbers.clients += each->numbers().clients;
  }
  status_.show(status_text(numbers, shown_, now - shown_at_), now);
  shown_ = numbers;
  shown_at_ = now;
}

ExitCode run_up(const UpFlags& flags) {
  const Result<config::Source> source = open_source(flags.configuration);
  if (!source) return print_error("up", source.error());
  ConfigurationResult configuration = read_configuration(*source);
  if (!configuration) return print_errors(configuration.error());
  if (!flags.demo_data.empty()) {
    if (auto data = find_demo_data(flags.demo_data, {}); !data) {
      print_message("up", data.error().text);
      return ExitCode::usage;
    }
  }
  auto keys = own_keys(configuration->broker, configuration->server_key, source->place("server_key").str());
  if (!keys) return print_error("up", keys.error());
  // These are for other brokers. The programs of `up` inherit its environment, but are given its own broker.
  for (const char* const variable :
       {"BACKPLANE_KEY_FILE", "BACKPLANE_SERVER_KEY_FILE", "BACKPLANE_BROKER", "BACKPLANE_CONTEXT"}) {
    ::unsetenv(variable);
  }
  return Up(flags, std::move(*configuration), std::move(*keys)).run();
}

}  // namespace

void add_up(const Command& program) {
  auto flags = std::make_shared<UpFlags>();
  const Command command =
      program.add_command("up", "Run a broker, a gateway and demo publishers until Ctrl-C");
  command.add_flag("--no-demo", flags->no_demo, "Do not run the demo publishers");
  add_config_file(command, flags->configuration);
  add_insecure(command, flags->configuration.insecure);
  add_security(command, flags->configuration);
  command.add_option("--data", flags->data, "Keep history in files below DIR, so that it survives the broker")
      .value_name("DIR");
  command.add_option("--demo-data", flags->demo_data, "Folder with the demo publishers' data")
      .value_name("DIR");
  command.set_footer(
      "Examples:\n"
      "  backplane up\n"
      "  backplane up --data ./data\n"
      "  backplane up --policy policy.toml --key broker.key\n"
      "  backplane up --no-demo --config backplane.toml");
  command.set_run([flags] { return run_up(*flags); });
}

}  // namespace backplane::cli
