#include "broker/config.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "core/metrics/listener.hpp"
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
              fmt::format("{}: wanted one token of a topic, at most 64 bytes, got \"{}\"", where, name));
}

Result<void> check_endpoint_or_off(std::string_view endpoint, std::string_view where) {
  if (endpoint == off) return {};
  return mq::check_endpoint(endpoint, where);
}

Result<void> check_metrics(std::string_view address, std::string_view where) {
  if (address == off) return {};
  return metrics::check_address(address, where);
}

Result<void> check_rule_pattern(std::string_view pattern, std::string_view where) {
  if (const TopicFault fault = check_pattern(pattern); fault != TopicFault::none) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: {}", where, describe(fault, pattern)));
  }
  return {};
}

void describe_retention(Section& section, Retention& retention) {
  section.field("history_events", retention.history_events, 0, 1u << 30, "Events kept of each topic.");
  section.bytes("history_bytes", retention.history_bytes, 0, std::size_t{1} << 40,
                "Bytes kept of each topic.");
  section.field("history_age", retention.history_age, 0ns, 10 * year, "How long each event is kept.");
  section.field("ttl", retention.value_ttl, 0ns, 10 * year,
                "How long a retained value stands; 0s: until it is replaced.");
}

void describe_backplane(Section& section, BackplaneConfig& backplane) {
  section.field("name", backplane.name, "What this backplane is called.", check_name);
  section.field("ingress", backplane.ingress, "Where publishers connect (XSUB).", mq::check_endpoint);
  section.field("egress", backplane.egress, "Where subscribers connect (XPUB).", mq::check_endpoint);
  section.field("control", backplane.control, "Where requests are answered (ROUTER).", mq::check_endpoint);
  section.field("raw", backplane.raw, "Where PUBs without protobuf connect (XSUB), or \"off\".",
                check_endpoint_or_off);
  section.bytes("max_event_bytes", backplane.max_event_bytes, 256, 256u << 20, "Largest event taken in.");
  section.field("max_topics", backplane.max_topics, 1, 100'000'000,
                "Topics at most; events of further ones are refused.");
  section.field("max_sessions", backplane.max_sessions, 16, 100'000'000,
                "Publishers' sessions whose sequences are followed.");
  section.field("max_subscriptions_warning", backplane.max_subscriptions_warning, 1, 1'000'000'000,
                "Distinct subscriptions above which a warning is logged.");
  section.field("egress_hwm", backplane.egress_hwm, 1, 100'000'000,
                "Messages queued for a subscriber before it counts as full.");
  section.field("stats_every", backplane.stats_every, 100ms, 1h,
                "How often $SYS.broker.<name>.stats is sent.");
  section.field("drain_limit", backplane.drain_limit, 100ms, 10min, "How long ending may take.");
  section.bytes("history_bytes_max", backplane.history_bytes_max, 0, std::size_t{1} << 44,
                "Memory for all retained values and history together.");
  describe_retention(section, backplane.retention);
  section.tables("retention", backplane.retention_rules,
                 "Other bounds for some topics; the first pattern that matches counts.",
                 [&](Section& rule, RetentionConfig& config) {
                   if (rule.reading()) config.retention = backplane.retention;
                   rule.field("pattern", config.pattern, "Which topics.", check_rule_pattern);
                   if (rule.reading() && !rule.given("pattern"))
                     rule.error("pattern", "wanted a pattern, got none");
                   describe_retention(rule, config.retention);
                 });
}

/// Whether two backplanes with this endpoint would be in each other's way: a free port never is.
bool is_exclusive(const std::string& endpoint) {
  return endpoint != off && !endpoint.ends_with(":0") && !endpoint.ends_with(":*");
}

/// Remembers who uses a name or an endpoint, across all backplanes.
class Claims {
 public:
  void claim(Section& section, std::string_view key, const std::string& value, std::string_view what) {
    const auto [other, is_new] = taken_.try_emplace(value, section.place(key));
    if (is_new) return;
    section.error(key, fmt::format("{} \"{}\" is taken: see {} at {}", what, value, other->second.key,
                                   other->second.spot()));
  }

 private:
  std::map<std::string, config::Place> taken_;
};

}  // namespace

void describe(Section& section, BrokerConfig& broker) {
  Claims names;
  Claims endpoints;
  section.tables("backplane", broker.backplanes, "A named backplane; without any there is \"default\".",
                 [&](Section& table, BackplaneConfig& backplane) {
                   describe_backplane(table, backplane);
                   if (!table.reading()) return;
                   names.claim(table, "name", backplane.name, "the name");
                   for (const auto& [key, endpoint] :
                        {std::pair<std::string_view, const std::string&>{"ingress", backplane.ingress},
                         {"egress", backplane.egress},
                         {"control", backplane.control},
                         {"raw", backplane.raw}}) {
                     if (is_exclusive(endpoint)) endpoints.claim(table, key, endpoint, "the endpoint");
                   }
                 });
  if (section.reading() && broker.backplanes.empty())
    section.error("backplane", "wanted one or more tables, got none");
  section.table("metrics", "What an operator's tools read.", [&](Section& metrics) {
    metrics.field("listen", broker.metrics, "HOST:PORT of /metrics, /healthz and /readyz, or \"off\".",
                  check_metrics);
    if (!metrics.reading() || !is_exclusive(broker.metrics)) return;
    endpoints.claim(metrics, "listen", fmt::format("tcp://{}", broker.metrics), "the endpoint");
  });
}

HistoryLimits history_limits(const BackplaneConfig& backplane) {
  HistoryLimits limits;
  limits.bytes_max = backplane.history_bytes_max;
  limits.otherwise = backplane.retention;
  for (const RetentionConfig& rule : backplane.retention_rules) {
    auto pattern = Pattern::parse(rule.pattern);
    CHECK(pattern.has_value(), "a rule's pattern was checked when the configuration was read");
    limits.rules.push_back(RetentionRule{std::move(*pattern), rule.retention});
  }
  return limits;
}

bool is_reachable_from_elsewhere(const std::string& endpoint) {
  if (endpoint == off || endpoint.starts_with("ipc://") || endpoint.starts_with("inproc://")) return false;
  const std::string address = endpoint.starts_with("tcp://") ? endpoint.substr(6) : endpoint;
  return !address.starts_with("127.") && !address.starts_with("[::1]") && !address.starts_with("localhost:");
}

}  // namespace backplane::broker
