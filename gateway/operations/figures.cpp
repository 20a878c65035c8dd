#include "gateway/operations/figures.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "core/log/log.hpp"
#include "core/payload/text.hpp"

namespace backplane::gateway {
namespace {

using metrics::Kind;

template <std::size_t index>
std::uint64_t goodbyes(const Figures& figures) {
  return figures.sessions.goodbyes[index];
}
template <std::size_t index>
std::uint64_t zmtp_faults(const Figures& figures) {
  return figures.zmtp.faults[index];
}
template <std::size_t index>
std::uint64_t refusals(const Figures& figures) {
  return figures.sessions.refusals[index];
}
template <std::size_t index>
std::uint64_t permitted(const Figures& figures) {
  return figures.access.permitted[index];
}
template <std::size_t index>
std::uint64_t not_permitted_of(const Figures& figures) {
  return figures.access.not_permitted[index];
}
template <std::size_t index>
std::uint64_t authentications(const Figures& figures) {
  return figures.access.authentications[index];
}

template <std::size_t index>
std::uint64_t tls_failures(const Figures& figures) {
  return figures.engine.tls.failures[index];
}

constexpr std::array definitions = std::to_array<FigureDefinition>({
    // The ledger of clients.
    {"matched_total", Kind::counter, "", "", "Events and notices for clients, counted once for each client",
     [](const Figures& f) { return f.engine.matched; }},
    {"delivered_total", Kind::counter, "", "", "Of the matched, those written to their client completely",
     [](const Figures& f) { return f.engine.delivered; }},
    {"conflated_total", Kind::counter, "", "",
     "Of the matched, those superseded by a newer one of the same topic, as the client requested",
     [](const Figures& f) { return f.engine.conflated; }},
    {"dropped_total", Kind::counter, "reason", "slow_consumer",
     "Of the matched, those that the client did not get, by reason",
     [](const Figures& f) { return f.engine.dropped; }},
    {"dropped_total", Kind::counter, "reason", "unsubscribed", "",
     [](const Figures& f) { return f.engine.unsubscribed; }},
    {"dropped_total", Kind::counter, "reason", "join_buffer_full", "",
     [](const Figures& f) { return f.engine.join_buffer_full; }},
    {"dropped_total", Kind::counter, "reason", "client_gone", "",
     [](const Figures& f) { return f.engine.client_gone; }},
    {"skipped_total", Kind::counter, "", "",
     "Of the matched, those left out because the client already had them from history or as retained values",
     [](const Figures& f) { return f.engine.skipped; }},
    {"pending", Kind::gauge, "", "", "Of the matched, those in clients' queues and join buffers",
     [](const Figures& f) { return f.engine.pending; }},
    {"replayed_total", Kind::counter, "", "",
     "Events of history sent to clients (`since`); not among the matched",
     [](const Figures& f) { return f.hub.replayed; }},
    {"values_total", Kind::counter, "", "", "Retained values sent to clients (`last`); not among the matched",
     [](const Figures& f) { return f.hub.values; }},
    // The ledger of events from the broker.
    {"expected_total", Kind::counter, "", "",
     "Events that the gateway should receive, by the broker's numbering",
     [](const Figures& f) { return f.upstream.expected; }},
    {"seen_total", Kind::counter, "", "", "Of the expected, those that arrived as they were published",
     [](const Figures& f) { return f.upstream.seen; }},
    {"recovered_total", Kind::counter, "", "",
     "Of the expected, those that were missing and were recovered by replay",
     [](const Figures& f) { return f.upstream.recovered; }},
    {"lost_total", Kind::counter, "reason", "history_gone",
     "Of the expected, those that will never arrive, by reason; each was announced to the clients that it "
     "was for",
     [](const Figures& f) { return f.upstream.lost_history_gone; }},
    {"lost_total", Kind::counter, "reason", "recovery_timeout", "",
     [](const Figures& f) { return f.upstream.lost_recovery_timeout; }},
    {"lost_total", Kind::counter, "reason", "damaged", "",
     [](const Figures& f) { return f.upstream.lost_damaged; }},
    {"lost_total", Kind::counter, "reason", "lost_upstream", "",
     [](const Figures& f) { return f.upstream.lost_upstream; }},
    {"unwanted_total", Kind::counter, "", "",
     "Of the expected, those that no client was subscribed to any more when their turn came",
     [](const Figures& f) { return f.upstream.unwanted; }},
    {"awaited", Kind::gauge, "", "",
     "Of the expected, those that are missing and may still arrive, and those in the reorder buffer",
     [](const Figures& f) { return f.upstream.awaited; }},
    {"receive_queue_bytes", Kind::gauge, "", "",
     "Bytes of events that were received and wait because the gateway does not keep up",
     [](const Figures& f) { return f.upstream.queue_bytes; }},
    {"receive_queue_full_total", Kind::counter, "", "",
     "How often these reached their limit: after that, the broker may have to drop events",
     [](const Figures& f) { return f.upstream.queue_full; }},
    {"reorder_buffer_bytes", Kind::gauge, "", "", "Bytes of events in the reorder buffer",
     [](const Figures& f) { return f.upstream.reorder_buffer_bytes; }},
    {"reorder_buffer_discarded_total", Kind::counter, "", "",
     "Events that arrived while the reorder buffer was full, and were left to be recovered later",
     [](const Figures& f) { return f.upstream.reorder_buffer_discarded; }},
    {"lost_unknown_total", Kind::counter, "", "",
     "Losses of an unknown number of events; not among the expected",
     [](const Figures& f) { return f.upstream.gaps_of_unknown_size; }},
    {"undecodable_total", Kind::counter, "", "",
     "Events that arrived and cannot be decoded; announced as gaps if their topic is known",
     [](const Figures& f) { return f.hub.undecodable + f.upstream.undecodable; }},
    {"resets_total", Kind::counter, "", "", "Times that a broker came back without its history",
     [](const Figures& f) { return f.upstream.resets; }},
    {"reconnects_total", Kind::counter, "", "", "Times that the connection to the broker was restored",
     [](const Figures& f) { return f.upstream.reconnects; }},
    {"duplicates_total", Kind::counter, "", "", "Events that arrived again and were passed on once",
     [](const Figures& f) { return f.upstream.duplicates; }},
    {"unmatched_total", Kind::counter, "", "", "Events that arrived and matched no client's pattern",
     [](const Figures& f) { return f.hub.unmatched; }},
    {"encoded_total", Kind::counter, "", "", "Lines made from events: one for each format in use",
     [](const Figures& f) { return f.hub.encoded; }},
    {"notices_total", Kind::counter, "", "", "Gaps and resets announced to clients, each counted once",
     [](const Figures& f) { return f.hub.notices; }},
    // Events that clients publish.
    {"publish_received_total", Kind::counter, "", "", "Events that clients published",
     [](const Figures& f) { return f.published.received; }},
    {"publish_admitted_total", Kind::counter, "", "", "Of these, events that the broker has admitted",
     [](const Figures& f) { return f.published.admitted; }},
    {"publish_refused_total", Kind::counter, "", "",
     "Of these, events that got an error; some of them may still be published",
     [](const Figures& f) { return f.published.refused; }},
    {"publish_waiting", Kind::gauge, "", "", "Of these, events that have no reply yet",
     [](const Figures& f) { return f.published.waiting; }},
    // Connections.
    {"clients", Kind::gauge, "", "", "Clients connected",
     [](const Figures& f) { return f.listeners.connections; }},
    {"accepted_total", Kind::counter, "", "", "Connections accepted",
     [](const Figures& f) { return f.listeners.accepted; }},
    {"connections_refused_total", Kind::counter, "reason", "too_many_connections",
     "Connections closed at once, by the limit that was reached",
     [](const Figures& f) { return f.listeners.refused_connection_limit; }},
    {"connections_refused_total", Kind::counter, "reason", "too_many_connections_from_address", "",
     [](const Figures& f) { return f.listeners.refused_address_limit; }},
    {"connections_refused_total", Kind::counter, "reason", "too_many_open_files", "",
     [](const Figures& f) { return f.listeners.refused_descriptor_limit; }},
    {"accept_errors_total", Kind::counter, "", "", "Times that the kernel could not accept a connection",
     [](const Figures& f) { return f.listeners.accept_errors; }},
    {"tls_clients", Kind::gauge, "", "", "Clients connected with TLS, after their handshakes",
     [](const Figures& f) { return f.engine.tls.connections; }},
    {"tls_handshakes_total", Kind::counter, "", "", "TLS handshakes completed",
     [](const Figures& f) { return f.engine.tls.handshakes; }},
    {"tls_handshakes_failed_total", Kind::counter, "reason", fanout::tls_failure_names[0],
     "TLS handshakes that failed, by reason", tls_failures<0>},
    {"tls_handshakes_failed_total", Kind::counter, "reason", fanout::tls_failure_names[1], "",
     tls_failures<1>},
    {"tls_handshakes_failed_total", Kind::counter, "reason", fanout::tls_failure_names[2], "",
     tls_failures<2>},
    {"tls_handshakes_failed_total", Kind::counter, "reason", fanout::tls_failure_names[3], "",
     tls_failures<3>},
    {"tls_handshakes_failed_total", Kind::counter, "reason", fanout::tls_failure_names[4], "",
     tls_failures<4>},
    {"tls_handshakes_failed_total", Kind::counter, "reason", fanout::tls_failure_names[5], "",
     tls_failures<5>},
    {"tls_handshakes_failed_total", Kind::counter, "reason", fanout::tls_failure_names[6], "",
     tls_failures<6>},
    {"plaintext_refused_total", Kind::counter, "", "", "Clients refused because they do not use TLS",
     [](const Figures& f) { return f.engine.tls.plaintext_refused; }},
    {"tls_certificate_expires_seconds", Kind::gauge, "", "",
     "When the first of the certificates expires, as Unix time; 0 without TLS",
     [](const Figures& f) { return f.tls_expires; }},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[0],
     "Clients disconnected, by the reason in !BYE", goodbyes<0>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[1], "", goodbyes<1>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[2], "", goodbyes<2>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[3], "", goodbyes<3>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[4], "", goodbyes<4>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[5], "", goodbyes<5>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[6], "", goodbyes<6>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[7], "", goodbyes<7>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[8], "", goodbyes<8>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[9], "", goodbyes<9>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[10], "", goodbyes<10>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[11], "", goodbyes<11>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[12], "", goodbyes<12>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[13], "", goodbyes<13>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[14], "", goodbyes<14>},
    {"goodbyes_total", Kind::counter, "reason", goodbye_reasons[15], "", goodbyes<15>},
    {"commands_refused_total", Kind::counter, "reason", refusal_codes[0],
     "Commands that got an error, by its code", refusals<0>},
    {"commands_refused_total", Kind::counter, "reason", refusal_codes[1], "", refusals<1>},
    {"commands_refused_total", Kind::counter, "reason", refusal_codes[2], "", refusals<2>},
    {"commands_refused_total", Kind::counter, "reason", refusal_codes[3], "", refusals<3>},
    {"commands_refused_total", Kind::counter, "reason", refusal_codes[4], "", refusals<4>},
    {"commands_refused_total", Kind::counter, "reason", refusal_codes[5], "", refusals<5>},
    {"commands_refused_total", Kind::counter, "reason", refusal_codes[6], "", refusals<6>},
    // The policy.
    {"permitted_total", Kind::counter, "action", action_names[0],
     "Requests that the policy permits, by action", permitted<0>},
    {"permitted_total", Kind::counter, "action", action_names[1], "", permitted<1>},
    {"permitted_total", Kind::counter, "action", action_names[2], "", permitted<2>},
    {"permitted_total", Kind::counter, "action", action_names[3], "", permitted<3>},
    {"not_permitted_total", Kind::counter, "action", action_names[0],
     "Requests refused by the policy, by action", not_permitted_of<0>},
    {"not_permitted_total", Kind::counter, "action", action_names[1], "", not_permitted_of<1>},
    {"not_permitted_total", Kind::counter, "action", action_names[2], "", not_permitted_of<2>},
    {"not_permitted_total", Kind::counter, "action", action_names[3], "", not_permitted_of<3>},
    {"authentications_total", Kind::counter, "result", authentication_names[0],
     "Tokens that clients sent, by result", authentications<0>},
    {"authentications_total", Kind::counter, "result", authentication_names[1], "", authentications<1>},
    {"authentications_total", Kind::counter, "result", authentication_names[2], "", authentications<2>},
    {"authentications_total", Kind::counter, "result", authentication_names[3], "", authentications<3>},
    {"revoked_total", Kind::counter, "", "", "Clients disconnected because their rights ended",
     [](const Figures& f) { return f.access.revoked; }},
    {"http_responses_total", Kind::counter, "status", "1xx", "HTTP responses, by the class of their status",
     [](const Figures& f) { return f.http.responses[0]; }},
    {"http_responses_total", Kind::counter, "status", "2xx", "",
     [](const Figures& f) { return f.http.responses[1]; }},
    {"http_responses_total", Kind::counter, "status", "3xx", "",
     [](const Figures& f) { return f.http.responses[2]; }},
    {"http_responses_total", Kind::counter, "status", "4xx", "",
     [](const Figures& f) { return f.http.responses[3]; }},
    {"http_responses_total", Kind::counter, "status", "5xx", "",
     [](const Figures& f) { return f.http.responses[4]; }},
    {"http_refused_total", Kind::counter, "reason", "malformed",
     "HTTP requests refused before they were handled, by reason",
     [](const Figures& f) { return f.http.refused[0]; }},
    {"http_refused_total", Kind::counter, "reason", "too_large", "",
     [](const Figures& f) { return f.http.refused[1]; }},
    {"http_refused_total", Kind::counter, "reason", "timed_out", "",
     [](const Figures& f) { return f.http.refused[2]; }},
    {"http_refused_total", Kind::counter, "reason", "host", "",
     [](const Figures& f) { return f.http.refused[3]; }},
    {"http_refused_total", Kind::counter, "reason", "origin", "",
     [](const Figures& f) { return f.http.refused[4]; }},
    {"sse_clients", Kind::gauge, "", "", "Clients that receive Server-Sent Events",
     [](const Figures& f) { return f.http.sse_clients; }},
    {"websockets_total", Kind::counter, "", "", "Clients that became WebSockets",
     [](const Figures& f) { return f.websockets.begun; }},
    {"websocket_faults_total", Kind::counter, "reason", "protocol",
     "WebSockets closed because of what the client sent, by reason",
     [](const Figures& f) { return f.websockets.against_protocol; }},
    {"websocket_faults_total", Kind::counter, "reason", "binary", "",
     [](const Figures& f) { return f.websockets.binary; }},
    {"websocket_faults_total", Kind::counter, "reason", "not_utf8", "",
     [](const Figures& f) { return f.websockets.not_utf8; }},
    {"websocket_faults_total", Kind::counter, "reason", "too_long", "",
     [](const Figures& f) { return f.websockets.too_long; }},
    {"zmtp_clients_total", Kind::counter, "type", "subscriber", "Clients that became ZeroMQ clients",
     [](const Figures& f) { return f.zmtp.subscribers; }},
    {"zmtp_clients_total", Kind::counter, "type", "publisher", "",
     [](const Figures& f) { return f.zmtp.publishers; }},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[1],
     "ZeroMQ clients disconnected because of what they sent, by reason", zmtp_faults<1>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[2], "", zmtp_faults<2>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[3], "", zmtp_faults<3>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[4], "", zmtp_faults<4>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[5], "", zmtp_faults<5>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[6], "", zmtp_faults<6>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[7], "", zmtp_faults<7>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[8], "", zmtp_faults<8>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[9], "", zmtp_faults<9>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[10], "", zmtp_faults<10>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[11], "", zmtp_faults<11>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[12], "", zmtp_faults<12>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[13], "", zmtp_faults<13>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[14], "", zmtp_faults<14>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[15], "", zmtp_faults<15>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[16], "", zmtp_faults<16>},
    {"zmtp_faults_total", Kind::counter, "reason", zmtp::fault_names[17], "", zmtp_faults<17>},
    {"mqtt_connections_total", Kind::counter, "version", "3.1.1", "MQTT connections accepted, by version",
     [](const Figures& f) { return f.mqtt.connects_3; }},
    {"mqtt_connections_total", Kind::counter, "version", "5.0", "",
     [](const Figures& f) { return f.mqtt.connects_5; }},
    {"mqtt_connects_refused_total", Kind::counter, "", "", "MQTT connections refused by CONNACK",
     [](const Figures& f) { return f.mqtt.refused; }},
    {"mqtt_faults_total", Kind::counter, "reason", "malformed",
     "MQTT connections closed because of what the client sent, by reason",
     [](const Figures& f) { return f.mqtt.malformed; }},
    {"mqtt_faults_total", Kind::counter, "reason", "protocol", "",
     [](const Figures& f) { return f.mqtt.protocol_errors; }},
    {"mqtt_faults_total", Kind::counter, "reason", "too_large", "",
     [](const Figures& f) { return f.mqtt.too_large; }},
    {"mqtt_faults_total", Kind::counter, "reason", "other", "",
     [](const Figures& f) { return f.mqtt.other_faults; }},
    {"mqtt_taken_over_total", Kind::counter, "", "", "MQTT sessions that another connection took over",
     [](const Figures& f) { return f.mqtt.taken_over; }},
    {"mqtt_not_delivered_total", Kind::counter, "", "",
     "Messages left out, because they were above an MQTT client's maximum packet size",
     [](const Figures& f) { return f.mqtt.not_delivered; }},
    {"mqtt_wills_total", Kind::counter, "", "", "Wills of MQTT clients that were published",
     [](const Figures& f) { return f.mqtt.wills; }},
    {"join_buffers_full_total", Kind::counter, "", "",
     "Times that a join buffer overflowed while a client received its history",
     [](const Figures& f) { return f.engine.join_buffers_full; }},
    {"subscriptions", Kind::gauge, "", "", "Patterns subscribed to, each counted once per client",
     [](const Figures& f) { return f.hub.subscriptions; }},
    {"subscribes_refused_total", Kind::counter, "", "", "Subscribe commands that got an error",
     [](const Figures& f) { return f.hub.refused; }},
    {"broker_prefixes", Kind::gauge, "", "", "Distinct prefixes that clients need from the broker",
     [](const Figures& f) { return f.prefixes; }},
    {"takes_everything", Kind::gauge, "", "",
     "1 while these are too many and the gateway subscribes to everything",
     [](const Figures& f) { return std::uint64_t{f.everything}; }},
    {"broker_connected", Kind::gauge, "", "",
     "1 while a broker is connected and all subscriptions are active",
     [](const Figures& f) { return std::uint64_t{f.connected}; }},
    {"insecure", Kind::gauge, "", "", "1 if other machines may be served without authentication (--insecure)",
     [](const Figures& f) { return std::uint64_t{f.insecure}; }},
    {"policy", Kind::gauge, "", "", "1 if there is a policy",
     [](const Figures& f) { return std::uint64_t{f.has_policy}; }},
    {"topics", Kind::gauge, "", "", "Topics known", [](const Figures& f) { return f.hub.topics; }},
    {"sends_total", Kind::counter, "", "", "Writes to clients",
     [](const Figures& f) { return f.engine.sends; }},
    {"sent_bytes_total", Kind::counter, "", "", "Bytes in these writes",
     [](const Figures& f) { return f.engine.sent_bytes; }},
    {"unsent_clients", Kind::gauge, "", "", "Clients with unsent data",
     [](const Figures& f) { return f.engine.unsent_clients; }},
    {"backlog_bytes", Kind::gauge, "", "", "Memory for events that some client has yet to receive",
     [](const Figures& f) { return f.log_bytes; }},
    {"log_lines_dropped_total", Kind::counter, "", "",
     "Log lines of the process dropped because they could not be written",
     [](const Figures&) { return log::dropped_lines(); }},
});

// Sent to the broker once a second, for `top` and `audit`. The broker accepts 64 counters of a participant.
constexpr std::array<std::string_view, 23> in_hello{"matched_total",
                                                    "delivered_total",
                                                    "conflated_total",
                                                    "dropped_total",
                                                    "skipped_total",
                                                    "pending",
                                                    "expected_total",
                                                    "seen_total",
                                                    "recovered_total",
                                                    "lost_total",
                                                    "unwanted_total",
                                                    "awaited",
                                                    "undecodable_total",
                                                    "publish_received_total",
                                                    "publish_admitted_total",
                                                    "publish_refused_total",
                                                    "publish_waiting",
                                                    "clients",
                                                    "subscriptions",
                                                    "backlog_bytes",
                                                    "sent_bytes_total",
                                                    "insecure",
                                                    "policy"};

}  // namespace

std::span<const FigureDefinition> figure_definitions() {
  return definitions;
}

std::vector<metrics::Family> families(std::span<const Figures> all) {
  std::vector<metrics::Family> families;
  for (const FigureDefinition& definition : definitions) {
    const std::string name = fmt::format("backplane_gateway_{}", definition.name);
    if (families.empty() || families.back().name != name) {
      families.push_back({name, std::string(definition.help), definition.kind, {}});
    }
    for (const Figures& figures : all) {
      metrics::Sample sample{{{"backplane", figures.backplane}},
                             static_cast<double>(definition.value(figures))};
      if (!definition.label.empty()) sample.labels.emplace_back(definition.label, definition.label_value);
      families.back().samples.push_back(std::move(sample));
    }
  }
  return families;
}

std::string not_ready_reason(std::span<const Figures> all) {
  for (const Figures& figures : all) {
    if (figures.connected) continue;
    const std::string& problem = figures.upstream.key_problem;
    return fmt::format("backplane {}: no broker is connected{}{}", figures.backplane,
                       problem.empty() ? "" : ": ", problem);
  }
  return all.empty() ? "starting" : "";
}

std::vector<std::pair<std::string, std::uint64_t>> hello_counters(const Figures& figures) {
  std::vector<std::pair<std::string, std::uint64_t>> counters;
  for (const FigureDefinition& each : definitions) {
    if (std::find(in_hello.begin(), in_hello.end(), each.name) == in_hello.end()) continue;
    std::string name(each.name);
    if (!each.label.empty()) name.append(".").append(each.label_value);
    counters.emplace_back(std::move(name), each.value(figures));
  }
  return counters;
}

namespace {

// {"sync":"1s","bytes":1234,…}: the metrics without store_.
void append_store(const std::map<std::string, std::uint64_t>& store, std::string& out) {
  constexpr std::string_view prefix = "store_";
  constexpr std::string_view sync = "info.file.";
  out += R"(,"store":{)";
  for (bool first = true; const auto& [counter, value] : store) {
    std::string_view name = counter;
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    if (!std::exchange(first, false)) out += ',';
    if (name.starts_with(sync)) {
      out += R"("sync":)";
      append_json_string(name.substr(sync.size()), out);
      continue;
    }
    append_json_string(name, out);
    out += fmt::format(":{}", value);
  }
  out += '}';
}

}  // namespace

std::string status_json(std::span<const Figures> all, std::string_view name, const Rights* rights) {
  std::string out = R"({"backplane":)";
  append_json_string(name, out);
  const auto figures =
      std::find_if(all.begin(), all.end(), [=](const Figures& each) { return each.backplane == name; });
  const bool known = figures != all.end();
  out += known && figures->connected ? R"(,"broker":true)" : R"(,"broker":false)";
  if (rights != nullptr) {
    out += R"(,"user":)";
    append_json_string(rights->user, out);
    out += rights->admin ? R"(,"admin":true)" : R"(,"admin":false})";
    if (!rights->admin) return out;
  }
  out += R"(,"counters":{)";
  if (known) {
    for (bool first = true; const auto& [counter, value] : hello_counters(*figures)) {
      if (!std::exchange(first, false)) out += ',';
      append_json_string(counter, out);
      out += fmt::format(":{}", value);
    }
  }
  out += '}';
  if (known && figures->connected && !figures->upstream.store.empty()) {
    append_store(figures->upstream.store, out);
  }
  return out + "}";
}

void FiguresBoard::publish(std::vector<Figures> figures) {
  const MutexLock lock(mutex_);
  latest_ = std::move(figures);
}

std::vector<Figures> FiguresBoard::latest() const {
  const MutexLock lock(mutex_);
  return latest_;
}

}  // namespace backplane::gateway
