// backplane doctor: looks at everything that a command depends on, and says what is wrong.

#include <algorithm>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/connection/broker_requests.hpp"
#include "cli/connection/endpoint_diagnosis.hpp"
#include "cli/connection/gateway_connection.hpp"
#include "cli/console/colours.hpp"
#include "cli/console/health_report.hpp"
#include "cli/console/messages.hpp"
#include "cli/console/output.hpp"
#include "cli/console/units.hpp"
#include "cli/gateway_client_flags.hpp"
#include "cli/ledger_reading.hpp"
#include "cli/subcommands.hpp"
#include "core/credentials/broker_keys.hpp"
#include "core/process/host.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using Clock = Waiter::Clock;
using State = Check::State;

constexpr std::chrono::milliseconds reply_limit = 3s;
constexpr std::size_t system_topics_max = 100'000;
/// A limit that is too low for a gateway or a broker on this machine.
constexpr std::uint64_t open_files_wanted = 4096;

struct DoctorFlags {
  bool json{};
  GatewayClientFlags gateway;
  AddressFlags addresses;
};

std::string took_text(std::chrono::nanoseconds took) {
  return fmt::format("{:.1f} ms", std::chrono::duration<double, std::milli>(took).count());
}

/// Who named the address: `--broker`, `BACKPLANE_BROKER`, `context prod`.
std::string named_by(const NamedAddress& address) {
  using By = NamedAddress::By;
  switch (address.by) {
    case By::option:
      return address.value.empty() ? "options" : address.where;
    case By::environment:
      return address.where;
    case By::chosen_context:
    case By::current_context:
      return "context " + address.context;
    case By::nobody:
      break;
  }
  return "the default";
}

Examination examine_this_machine(const std::optional<NamedAddress>& broker,
                                 const std::optional<NamedAddress>& gateway) {
  Examination here{"this program", {}};
  here.add(State::ok, "version", BACKPLANE_VERSION);
  if (broker) here.add(State::ok, "broker", "from " + named_by(*broker));
  if (gateway) here.add(State::ok, "gateway", "from " + named_by(*gateway));
  const std::uint64_t files_max = raise_open_files_limit();
  const bool few = files_max < open_files_wanted;
  here.add(few ? State::note : State::ok, "files",
           fmt::format("at most {}{}", grouped(files_max),
                       few ? "; a broker or gateway started from here may need more (ulimit -Hn)" : ""));
  return here;
}

/// Looks at one broker. Lives on the main thread.
class BrokerExamination {
 public:
  BrokerExamination(const BrokerEndpoints& broker, mq::Context& context, Waiter& waiter)
      : broker_(broker),
        waiter_(waiter),
        requests_(context, {broker}, waiter),
        result_{"broker " + broker.control, {}} {}

  Examination run() {
    check_endpoint("ingress", broker_.ingress);
    check_endpoint("egress", broker_.egress);
    if (!identify()) return std::move(result_);
    check_clock();
    const auto stats = requests_.stats(reply_limit);
    if (!stats) {
      result_.add(State::note, "limits", stats.error().text);
      return std::move(result_);
    }
    check_stats(*stats, result_);
    check_ledgers();
    return std::move(result_);
  }

 private:
  void check_endpoint(std::string name, const std::string& endpoint) {
    if (!endpoint.starts_with("tcp://")) {
      return result_.add(State::ok, std::move(name), endpoint + " is not looked at");
    }
    const Diagnosis diagnosis = diagnose(endpoint, waiter_);
    const bool good = diagnosis.found == Diagnosis::Found::zeromq;
    result_.add(good ? State::ok : State::failed, std::move(name),
                fmt::format("{}: {}", endpoint, good ? "a ZeroMQ socket listens there" : diagnosis.text));
  }

  /// @returns whether the broker replies.
  bool identify() {
    const std::string name = default_name("doctor", broker_.keys);
    auto identity = requests_.identify(name, reply_limit);
    // The first reply takes as long as connecting.
    const auto start = Clock::now();
    if (identity) identity = requests_.identify(name, reply_limit);
    if (!identity) {
      result_.add(State::failed, "control", identity.error().text);
      return false;
    }
    result_.add(State::ok, "control",
                fmt::format("{}: replies within {}", broker_.control, took_text(Clock::now() - start)));
    check_identity(*identity, BACKPLANE_VERSION, result_);
    return true;
  }

  void check_clock() {
    const auto topics = requests_.topics("$SYS.>", system_topics_max, reply_limit);
    std::int64_t newest = 0;
    if (topics) {
      for (const TopicInfo& each : topics->topics) newest = std::max(newest, each.received_ns);
    }
    if (newest == 0) {
      return result_.add(State::note, "clock",
                         topics ? "unknown: it publishes no figures" : topics.error().text);
    }
    cli::check_clock(newest, unix_now_ns(), result_);
  }

  void check_ledgers() {
    const auto ledgers = read_ledgers(requests_, waiter_);
    if (!ledgers) return result_.add(State::note, "accounting", ledgers.error().text);
    std::size_t equations = 0;
    std::size_t wrong = 0;
    for (const Ledger& ledger : *ledgers) {
      for (const Equation& equation : ledger.equations) {
        ++equations;
        if (!equation.balances()) ++wrong;
      }
    }
    if (wrong == 0)
      return result_.add(State::ok, "accounting", fmt::format("all {} equations balance", equations));
    result_.add(State::failed, "accounting",
                fmt::format("{} of {} equations do not balance (backplane audit)", wrong, equations));
  }

  const BrokerEndpoints& broker_;
  Waiter& waiter_;
  BrokerRequests requests_;
  Examination result_;
};

/// Whether the gateway is connected to a broker. If it is not, it notifies clients that subscribe, from a
/// second after its start on.
Result<bool> gateway_has_broker(GatewayConnection& gateway) {
  const auto until = Clock::now() + reply_limit;
  // The second reply comes after the notice that may follow the first.
  for (const std::string_view command : {"SUB backplane.doctor", "PING"}) {
    if (auto sent = gateway.send_line(command); !sent) return tl::unexpected(sent.error());
    for (;;) {
      const auto line = gateway.wait_line(until);
      if (!line) return tl::unexpected(line.error());
      if (line->starts_with("!WAIT")) return false;
      if (line->starts_with("-ERR ")) return fail(ErrorCode::unavailable, "unknown: " + line->substr(5));
      if (line->starts_with('+')) break;
    }
  }
  return true;
}

Examination examine_gateway(const GatewayEndpoint& endpoint, Waiter& waiter) {
  Examination result{"gateway " + endpoint.address, {}};
  const auto start = Clock::now();
  auto gateway = GatewayConnection::open(endpoint, waiter, reply_limit);
  if (!gateway) {
    result.add(State::failed, "connection", gateway.error().text);
    return result;
  }
  result.add(State::ok, "connection",
             fmt::format("connects within {}, {} TLS, {} a token", took_text(Clock::now() - start),
                         endpoint.tls == nullptr ? "without" : "with", endpoint.token ? "with" : "without"));
  const auto has_broker = gateway_has_broker(*gateway);
  if (!has_broker) {
    result.add(State::note, "broker", has_broker.error().text);
    return result;
  }
  result.add(*has_broker ? State::ok : State::failed, "broker",
             *has_broker ? "it is connected" : "it is waiting for a broker");
  return result;
}

/// What to look at: what the options name, or else everything that the environment and the context name.
struct Subjects {
  std::optional<NamedAddress> broker;
  std::optional<NamedAddress> gateway;
};
Result<Subjects> find_subjects(const DoctorFlags& flags, const Environment& environment) {
  using By = NamedAddress::By;
  const bool only_gateway = !flags.gateway.gateway.empty() && !flags.addresses.given();
  const bool only_broker = flags.gateway.gateway.empty() && flags.addresses.has_addresses();
  Subjects subjects;
  if (!only_broker) {
    auto gateway = find_gateway_address(flags.gateway, flags.addresses, environment);
    if (!gateway) return tl::unexpected(gateway.error());
    if (gateway->by != By::nobody) subjects.gateway = std::move(*gateway);
  }
  if (only_gateway) return subjects;
  auto broker = find_broker(flags.addresses, environment);
  if (!broker) return tl::unexpected(broker.error());
  // A context, or the environment, may name a gateway alone.
  if (broker->by == By::nobody && subjects.gateway) return subjects;
  subjects.broker = std::move(*broker);
  return subjects;
}

ExitCode run_doctor(const DoctorFlags& flags) {
  const Environment environment = process_environment();
  const auto subjects = find_subjects(flags, environment);
  if (!subjects) return print_error("doctor", subjects.error());
  std::vector<BrokerEndpoints> brokers;
  if (subjects->broker) {
    auto resolved = resolve(flags.addresses, environment);
    if (!resolved) return print_error("doctor", resolved.error());
    brokers = std::move(*resolved);
  }
  std::optional<GatewayEndpoint> gateway;
  if (subjects->gateway) {
    auto endpoint = gateway_endpoint(*subjects->gateway, flags.gateway, environment);
    if (!endpoint) return print_error("doctor", endpoint.error());
    gateway = std::move(*endpoint);
  }
  Signals signals(
      Signals::Hangup::stop);  // before libzmq starts its threads, because they inherit the signal mask
  Waiter waiter;
  waiter.on_readable(signals.fd(), [&] {
    if (signals.next() == Signals::Event::stop) waiter.stop();
  });
  mq::Context context;
  std::vector<Examination> all{examine_this_machine(subjects->broker, subjects->gateway)};
  for (const BrokerEndpoints& each : brokers) all.push_back(BrokerExamination(each, context, waiter).run());
  if (gateway) all.push_back(examine_gateway(*gateway, waiter));
  if (waiter.stopped()) {
    print_message("doctor", "interrupted");
    return ExitCode::failed;
  }
  Output output;
  const Colours colours(output.fd());
  if (flags.json) {
    for (const std::string& line : health_json(all)) output.line(line);
  } else {
    for (const std::string& line : health_text(all)) output.line(paint_result(colours, line));
  }
  output.flush();
  if (!output.problem().empty()) print_message("doctor", output.problem());
  bool good = output.problem().empty();
  for (const Examination& each : all) good = good && !each.has(State::failed);
  return good ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_doctor(const Command& program) {
  auto flags = std::make_shared<DoctorFlags>();
  const Command command = program.add_command(
      "doctor", "Check endpoints, versions, clocks, limits and accounting (exit code 1 if something fails)");
  command.add_flag("-j,--json", flags->json, "Print one JSON object per check");
  add_gateway_client_flags(command, flags->gateway, "Check this gateway");
  add_address_flags(command, flags->addresses);
  command.set_footer(
      "Examples:\n"
      "  backplane doctor\n"
      "  backplane doctor --context prod\n"
      "  backplane doctor --broker host7,host8 --key me.key --server-key broker.pub");
  command.set_run([flags] { return run_doctor(*flags); });
}

}  // namespace backplane::cli
