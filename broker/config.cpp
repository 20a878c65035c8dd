#include "broker/config.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "broker/log/batch.hpp"
#include "core/log/escape.hpp"
#include "core/metrics/listener.hpp"
#include "core/net/endpoint_addresses.hpp"
#include "core/net/host_port.hpp"
#include "core/net/loopback.hpp"
#include "core/time/duration.hpp"
#include "core/topic/pattern.hpp"
#include "core/topic/topic.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::broker {
namespace {

using namespace std::chrono_literals;
using config::Section;

constexpr std::chrono::nanoseconds year = 365 * 24h;

Result<void> check_name(std::string_view name, std::string_view where) {
  const bool one_token = check_topic(name) == TopicFault::none && name.find('.') == std::string_view::npos;
  if (one_token && name.size() <= 64) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: expected one token of a topic, at most 64 bytes, got \"{}\"", where, name));
}

Result<void> check_identity(std::string_view identity, std::string_view where) {
  const bool printable =
      std::all_of(identity.begin(), identity.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (printable && identity.size() <= 255) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: expected at most 255 printable ASCII characters without spaces, got \"{}\"",
                          where, identity));
}

constexpr std::string_view tcp = "tcp://";
constexpr std::string_view ipc = "ipc://";

struct Listening {
  HostPort place;  ///< the host is in canonical form if it is an address; port 0: any free port
  bool is_address{};
};

// The address that `host` denotes, in the system's canonical form; nothing if it is not an address.
std::optional<std::string> written_address(const std::string& host) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return std::nullopt;
  std::array<char, NI_MAXHOST> text{};
  const int error =
      ::getnameinfo(found->ai_addr, found->ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
  ::freeaddrinfo(found);
  if (error != 0) return std::nullopt;
  return std::string(text.data());
}

// `address` is HOST:PORT and has been checked. ZeroMQ accepts * for either part.
Listening listening(std::string_view address) {
  const bool any_port = address.ends_with(":*");
  const std::string numbered =
      any_port ? fmt::format("{}0", address.substr(0, address.size() - 1)) : std::string(address);
  Listening at{parse_host_port(numbered, "endpoint").value_or(HostPort{})};
  if (at.place.host == "*") at.place.host = "0.0.0.0";
  if (is_localhost(at.place.host)) {
    at.place.host = "localhost";
    at.is_address = true;
    return at;
  }
  if (auto written = written_address(at.place.host)) {
    at.place.host = std::move(*written);
    at.is_address = true;
  }
  return at;
}

Result<void> check_listening(std::string_view endpoint, std::string_view where) {
  if (auto checked = mq::check_endpoint(endpoint, where); !checked) return checked;
  if (!endpoint.starts_with(tcp)) return {};
  const Listening at = listening(endpoint.substr(tcp.size()));
  if (at.is_address || ::if_nametoindex(at.place.host.c_str()) != 0) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: expected an address or a network interface of this machine, such as "
                          "tcp://127.0.0.1:5570, got \"{}\"",
                          where, endpoint));
}

Result<void> check_listening_or_off(std::string_view endpoint, std::string_view where) {
  if (endpoint == off) return {};
  return check_listening(endpoint, where);
}

Result<void> check_metrics(std::string_view address, std::string_view where) {
  if (address == off) return {};
  return metrics::check_address(address, where);
}

constexpr std::string_view broker_advice =
    "; let only known users connect (--policy and --key, see docs/security.md), or give --insecure if you "
    "trust everybody who can reach this address";

Result<void> check_rule_pattern(std::string_view pattern, std::string_view where) {
  if (const TopicFault fault = check_pattern(pattern); fault != TopicFault::none) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: {}", where, describe(fault, pattern)));
  }
  return {};
}

Result<void> check_store_path(std::string_view text, std::string_view where) {
  if (text.empty()) return {};
  const std::filesystem::path path(text);
  if (!path.is_absolute()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected an absolute path, got \"{}\"", where, text));
  }
  std::error_code error;
  const std::filesystem::file_status found = std::filesystem::status(path, error);
  if (std::filesystem::exists(found) && !std::filesystem::is_directory(found)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected a folder, got the file \"{}\"", where, text));
  }
  return {};
}

void describe_store(Section& section, BackplaneConfig& backplane) {
  bool is_path_wrong = false;
  section.choice(
      "store", backplane.store, {{"memory", StoreKind::memory}, {"file", StoreKind::file}},
      "Where history is kept: in memory, or in files that survive the broker. With file, "
      "history_age is 7d and history_events and history_bytes are without effect, unless they are given.");
  section.field("store_path", backplane.store_path,
                "Folder of the file store. Created if it is missing; its parent must exist.",
                [&](std::string_view text, std::string_view where) {
                  auto ok = check_store_path(text, where);
                  is_path_wrong = !ok;
                  return ok;
                });
  section.field(
      "store_sync", backplane.store_sync,
      "When the file store makes events durable: always (before they are published and confirmed), an "
      "interval (what a power loss can cost), or off.",
      [&backplane](std::string_view text, std::string_view where) -> Result<void> {
        const auto sync = parse_store_sync(text, where);
        if (!sync) return tl::unexpected(sync.error());
        backplane.sync = *sync;
        return {};
      });
  section.bytes("store_bytes_max", backplane.store_bytes_max, 1u << 20, std::size_t{1} << 50,
                "Size of the file store; above it, the oldest events are removed.");
  if (!section.reading() || backplane.store != StoreKind::file) return;
  backplane.store_place = section.place("store_path").str();
  if (backplane.store_path.empty() && !is_path_wrong) {
    if (section.given("store_path")) {
      section.error("store_path", "expected a folder, got none");
    } else {
      section.error("store", "expected store_path beside \"file\", got none");
    }
  }
  backplane.retention = file_store_retention;
}

Result<void> check_nats_url(std::string_view url, std::string_view where) {
  const std::string_view scheme = url.substr(0, url.find("://"));
  const std::size_t host = scheme.size() + 3;
  const bool is_known = scheme == "nats" || scheme == "tls";
  if (is_known && host < url.size() && url.find_first_of(", ") == std::string_view::npos) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: expected a URL such as nats://h1:4222, got \"{}\"", where, log::escape(url)));
}

void describe_log(Section& section, BackplaneConfig& backplane) {
  section.choice("log", backplane.log, {{"local", LogKind::local}, {"jetstream", LogKind::jetstream}},
                 "What decides the order of events: this broker alone, or a log in NATS JetStream, which "
                 "several brokers share. They then have the same stream.");
  section.one_or_more("jetstream", backplane.jetstream.servers,
                      "URLs of the nats-servers with JetStream, such as nats://h1:4222. With log = "
                      "\"jetstream\" only.",
                      check_nats_url);
  section.field("jetstream_credentials", backplane.jetstream.credentials,
                "File with credentials for the nats-servers. \"\": none.");
  section.field("jetstream_replicas", backplane.jetstream.replicas, 0, 5,
                "How many nats-servers have a copy of the log. 0: 3, or 1 if `jetstream` names one only.");
  section.bytes("log_bytes_max", backplane.jetstream.log_bytes_max, 1 << 20, std::int64_t{1} << 50,
                "Size of the log in JetStream. While it is full, no events are accepted.");
  if (!section.reading()) return;
  backplane.max_event_place = section.place("max_event_bytes").str();
  if (backplane.log == LogKind::local) {
    if (!backplane.jetstream.servers.empty())
      section.error("jetstream",
                    "expected log = \"jetstream\" (--log jetstream) beside it, got log = \"local\"");
    return;
  }
  if (backplane.jetstream.servers.empty()) {
    section.error("log",
                  "expected the URLs of nats-servers in `jetstream` (--jetstream) beside it, got none");
  }
  if (backplane.identity.size() > broker_name_bytes_max) {
    section.error("identity", fmt::format("expected at most {} bytes with log = \"jetstream\", got {}",
                                          broker_name_bytes_max, backplane.identity.size()));
  }
}

void describe_retention(Section& section, Retention& retention) {
  section.field("history_events", retention.history_events, 0, 1u << 30, "Events kept per topic.");
  section.bytes("history_bytes", retention.history_bytes, 0, std::size_t{1} << 40, "Bytes kept per topic.");
  section.field("history_age", retention.history_age, 0ns, 10 * year, "How long each event is kept.");
  section.field("ttl", retention.value_ttl, 0ns, 10 * year,
                "How long a retained value is kept; 0s: until it is replaced.");
}

void describe_backplane(Section& section, BackplaneConfig& backplane) {
  section.field("name", backplane.name, "Name of this backplane.", check_name);
  section.field("identity", backplane.identity,
                "What readers recognise this broker by when it comes back without its history, such as "
                "\"site7-a\". Give each broker another one. \"\": the host's name and the ingress endpoint.",
                check_identity);
  section.field("ingress", backplane.ingress, "Endpoint for publishers (XSUB).", check_listening);
  section.field("egress", backplane.egress, "Endpoint for subscribers (XPUB).", check_listening);
  section.field(
      "egress_topics", backplane.egress_topics,
      "With a policy: the topics published on egress, as patterns. Users who may read all of them can "
      "connect to it.",
      check_rule_pattern);
  section.field("control", backplane.control, "Endpoint for control requests (ROUTER).", check_listening);
  section.field("raw", backplane.raw, "Endpoint for publishers without protobuf (XSUB), or \"off\".",
                check_listening_or_off);
  section.bytes("max_event_bytes", backplane.max_event_bytes, 256, 256u << 20, "Largest event accepted.");
  section.field("max_topics", backplane.max_topics, 1, 100'000'000,
                "Maximum number of topics; events of new topics above it are refused.");
  section.field("max_sessions", backplane.max_sessions, 16, 100'000'000,
                "Maximum number of publisher sessions whose sequences are tracked.");
  section.field("max_subscriptions_warning", backplane.max_subscriptions_warning, 1, 1'000'000'000,
                "A warning is logged above this number of subscriptions at egress.");
  section.bytes("subscriptions_bytes_max", backplane.subscriptions_bytes_max, 1u << 20, std::size_t{1} << 40,
                "Memory for the subscriptions of all subscribers at egress: 192 bytes each, and 32 for each "
                "byte of their prefixes. Above this, the subscriber with most is disconnected.");
  section.field("egress_hwm", backplane.egress_hwm, 1, 100'000'000,
                "Messages queued for a subscriber before it counts as full.");
  section.field("stats_every", backplane.stats_every, 100ms, 1h,
                "Interval between events on $SYS.broker.<name>.stats.");
  section.field("drain_limit", backplane.drain_limit, 100ms, 10min, "Time limit for draining at shutdown.");
  section.tables(
      "limited_egress", backplane.limited_egress,
      "A further endpoint for subscribers, which publishes some topics only. Users who may read all of these "
      "can connect to it. Requires a policy.",
      [](Section& limited, LimitedEgressConfig& config) {
        limited.field("endpoint", config.endpoint, "The endpoint (XPUB).", check_listening);
        limited.field("topics", config.topics, "The topics published there, as patterns.",
                      check_rule_pattern);
        if (!limited.reading()) return;
        if (!limited.given("endpoint")) limited.error("endpoint", "expected an endpoint, got none");
        if (config.topics.empty()) limited.error("topics", "expected one or more patterns, got none");
      });
  if (section.reading() && backplane.egress_topics.empty()) {
    section.error("egress_topics", "expected one or more patterns, got none");
  }
  if (section.reading() && backplane.limited_egress.size() > limited_egress_max) {
    section.error("limited_egress", fmt::format("expected at most {} tables, got {}", limited_egress_max,
                                                backplane.limited_egress.size()));
  }
  describe_store(section, backplane);
  describe_log(section, backplane);
  section.bytes("history_bytes_max", backplane.history_bytes_max, 0, std::size_t{1} << 44,
                "Memory for all retained values and history together; only with store = \"memory\".");
  describe_retention(section, backplane.retention);
  section.tables("retention", backplane.retention_rules,
                 "Other limits for some topics; the first pattern that matches applies.",
                 [&](Section& rule, RetentionConfig& config) {
                   if (rule.reading()) config.retention = backplane.retention;
                   rule.field("pattern", config.pattern, "The topics to which the limits apply.",
                              check_rule_pattern);
                   if (rule.reading() && !rule.given("pattern"))
                     rule.error("pattern", "expected a pattern, got none");
                   describe_retention(rule, config.retention);
                 });
}

void refuse_if_reachable(Section& section, std::string_view key, const std::string& endpoint,
                         std::string_view advice) {
  if (!is_reachable_from_elsewhere(endpoint)) return;
  section.error(key,
                fmt::format("expected {}, got \"{}\"{}", loopback_expected, log::escape(endpoint), advice));
}

/// Finds names and endpoints that are used twice, across all backplanes.
class Claims {
 public:
  void claim_name(Section& section, std::string_view key, const std::string& name) {
    claim(section, key, "the name", {name, name, {}});
  }

  /// Endpoints that denote the same place are equal, however they are written.
  void claim_endpoint(Section& section, std::string_view key, const std::string& endpoint) {
    if (endpoint == off) return;
    if (endpoint.starts_with(tcp)) {
      HostPort place = listening(std::string_view(endpoint).substr(tcp.size())).place;
      if (place.port == 0) return;  // a free port conflicts with nothing
      return claim(section, key, "the endpoint",
                   {fmt::format("{}{}", tcp, place.port), endpoint, std::move(place.host)});
    }
    if (!endpoint.starts_with(ipc)) return claim(section, key, "the endpoint", {endpoint, endpoint, {}});
    const std::filesystem::path path(endpoint.substr(ipc.size()));
    if (path == "*") return;  // neither does a free path
    claim(section, key, "the endpoint",
          {fmt::format("{}{}", ipc, path.lexically_normal().string()), endpoint, {}});
  }

  void claim_folder(Section& section, std::string_view key, const std::string& folder) {
    std::error_code error;
    const std::filesystem::path path = std::filesystem::weakly_canonical(folder, error);
    claim(section, key, "the folder",
          {fmt::format("folder {}", error ? folder : (path / "").lexically_normal().string()), folder, {}});
  }

 private:
  struct Claim {
    std::string what;     ///< a name, a port or a path
    std::string written;  ///< as in the file
    std::string host;     ///< of a port
    config::Place place{};
  };

  static bool overlap(const std::string& a, const std::string& b) {
    const auto takes_all_of = [](const std::string& all, const std::string& host) {
      if (all == "localhost") return host == "127.0.0.1" || host == "::1";
      return all == "::" || (all == "0.0.0.0" && host.find(':') == std::string::npos);
    };
    return a == b || takes_all_of(a, b) || takes_all_of(b, a);
  }

  void claim(Section& section, std::string_view key, std::string_view what, Claim claim) {
    std::vector<Claim>& claims = taken_[claim.what];
    for (const Claim& other : claims) {
      if (!overlap(claim.host, other.host)) continue;
      const std::string by =
          other.written == claim.written ? std::string() : fmt::format(" by \"{}\"", other.written);
      section.error(key, fmt::format("{} \"{}\" is taken{}: see {} at {}", what, claim.written, by,
                                     other.place.key, other.place.spot()));
      return;
    }
    claim.place = section.place(key);
    claims.push_back(std::move(claim));
  }

  std::map<std::string, std::vector<Claim>> taken_;
};

}  // namespace

void describe(Section& section, BrokerConfig& broker) {
  Claims names;
  Claims endpoints;
  Claims folders;
  section.tables("backplane", broker.backplanes,
                 "A named backplane. Without any table there is one, named \"default\".",
                 [&](Section& table, BackplaneConfig& backplane) {
                   describe_backplane(table, backplane);
                   if (!table.reading()) return;
                   names.claim_name(table, "name", backplane.name);
                   // If one of the files has an error, that is reported instead.
                   const Admission& admission = broker.admission;
                   const bool is_open =
                       !broker.insecure && (admission.policy_file.empty() || admission.key_file.empty());
                   for (const auto& [key, endpoint] :
                        {std::pair<std::string_view, const std::string&>{"ingress", backplane.ingress},
                         {"egress", backplane.egress},
                         {"control", backplane.control},
                         {"raw", backplane.raw}}) {
                     endpoints.claim_endpoint(table, key, endpoint);
                     if (is_open) refuse_if_reachable(table, key, endpoint, broker_advice);
                   }
                   for (const LimitedEgressConfig& limited : backplane.limited_egress) {
                     if (!limited.endpoint.empty())
                       endpoints.claim_endpoint(table, "limited_egress", limited.endpoint);
                   }
                   if (admission.policy_file.empty()) {
                     if (!backplane.limited_egress.empty())
                       table.error("limited_egress", "expected a policy beside it, got none");
                     if (backplane.egress_topics != BackplaneConfig{}.egress_topics)
                       table.error("egress_topics", "expected a policy beside it, got none");
                   }
                   if (backplane.store == StoreKind::file && !backplane.store_path.empty()) {
                     folders.claim_folder(table, "store_path", backplane.store_path);
                   }
                 });
  if (section.reading() && broker.backplanes.empty())
    section.error("backplane", "expected one or more tables, got none");
  section.table("metrics", "Metrics and health checks.", [&](Section& metrics) {
    metrics.field("listen", broker.metrics, "HOST:PORT of /metrics, /healthz and /readyz, or \"off\".",
                  check_metrics);
    if (!metrics.reading() || broker.metrics == off) return;
    endpoints.claim_endpoint(metrics, "listen", fmt::format("tcp://{}", broker.metrics));
    if (!broker.insecure) refuse_if_reachable(metrics, "listen", broker.metrics, loopback_advice);
  });
}

Result<void> check_admission(const Admission& admission) {
  if (!admission.policy_file.empty() && admission.key_file.empty()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected a key beside it (--key, or key in the configuration), got none",
                            admission.policy_place));
  }
  if (admission.policy_file.empty() && !admission.key_file.empty()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected a policy beside it (--policy, or policy in the configuration), got "
                            "none",
                            admission.key_place));
  }
  return {};
}

std::vector<EgressEndpoint> egress_endpoints(const BackplaneConfig& backplane) {
  const auto parsed = [](const std::vector<std::string>& texts) {
    std::vector<Pattern> patterns;
    for (const std::string& text : texts) {
      auto pattern = Pattern::parse(text);
      CHECK(pattern.has_value(), "a pattern was checked when the configuration was read");
      patterns.push_back(std::move(*pattern));
    }
    return patterns;
  };
  std::vector<EgressEndpoint> endpoints{{backplane.egress, {}}};
  if (backplane.admission.required()) endpoints.front().topics = parsed(backplane.egress_topics);
  for (const LimitedEgressConfig& limited : backplane.limited_egress) {
    endpoints.push_back({limited.endpoint, parsed(limited.topics)});
  }
  return endpoints;
}

Result<SyncPolicy> parse_store_sync(std::string_view text, std::string_view where) {
  if (text == "always") return SyncPolicy{StoreSync::always, {}};
  if (text == off) return SyncPolicy{StoreSync::off, {}};
  const auto interval = parse_duration(text, where);
  if (!interval || *interval < 1ms || *interval > 1h) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected always, off or an interval of 1ms to 1h, got \"{}\"", where,
                            log::escape(text)));
  }
  return SyncPolicy{StoreSync::interval, std::chrono::duration_cast<std::chrono::milliseconds>(*interval)};
}

std::size_t store_files_max(const BackplaneConfig& backplane) {
  if (backplane.store == StoreKind::memory) return 0;
  // Cleaned segments may be smaller than others; the directory, the lock and what is being written are more.
  constexpr std::size_t others = 16;
  return backplane.store_bytes_max / FileHistoryOptions{}.segment_bytes + others;
}

HistoryLimits history_limits(const BackplaneConfig& backplane) {
  HistoryLimits limits;
  limits.bytes_max =
      backplane.store == StoreKind::file ? backplane.store_bytes_max : backplane.history_bytes_max;
  limits.otherwise = backplane.retention;
  for (const RetentionConfig& rule : backplane.retention_rules) {
    auto pattern = Pattern::parse(rule.pattern);
    CHECK(pattern.has_value(), "a rule's pattern was checked when the configuration was read");
    limits.rules.push_back(RetentionRule{std::move(*pattern), rule.retention});
  }
  return limits;
}

bool is_reachable_from_elsewhere(const std::string& endpoint) {
  if (endpoint == off) return false;
  const bool is_address = endpoint.find("://") == std::string::npos;
  return !(is_address ? is_loopback_host(parse_host_port(endpoint, "").value_or(HostPort{}).host)
                      : is_loopback_endpoint(endpoint));
}

}  // namespace backplane::broker
