#include "cli/console/cluster_view.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/console/table.hpp"
#include "cli/console/units.hpp"
#include "core/log/escape.hpp"
#include "core/payload/text.hpp"

namespace backplane::cli {
namespace {

std::uint64_t lag_of(std::uint64_t index, const ClusterInfo& cluster) {
  return cluster.last_index - std::min(cluster.last_index, index);
}

std::string_view state_of(const ClusterInfo::Member& member) {
  return member.up ? "up" : member.left ? "left" : "gone";
}

std::string_view state_of(const ClusterInfo::Server& server) {
  return server.leader ? "leader" : server.offline ? "offline" : server.current ? "current" : "behind";
}

std::string text_of(const ClusterInfo::Server& server) {
  return server.current || server.lag == 0
             ? fmt::format("{} ({})", log::escape(server.name), state_of(server))
             : fmt::format("{} ({}, lag {})", log::escape(server.name), state_of(server),
                           grouped(server.lag));
}

}  // namespace

std::vector<std::string> cluster_lines(const BrokerStats& stats) {
  using enum Column::Align;
  const ClusterInfo& cluster = *stats.cluster;
  std::vector<std::string> lines;
  const auto row = [&](std::string_view name, std::string_view value) {
    lines.push_back(fmt::format("{:<12}{}", name, value));
  };
  row("backplane", log::escape(stats.broker));
  row("stream", fmt::format("{:016x} at position {}", stats.stream, grouped(stats.position)));
  row("log", fmt::format("index {} to {}, checkpoint at {}", grouped(cluster.first_index),
                         grouped(cluster.last_index), grouped(cluster.checkpoint_index)));
  row("quorum", cluster.quorum ? "yes" : "no: brokers take no events");
  std::vector<std::string> servers;
  for (const ClusterInfo::Server& each : cluster.servers) servers.push_back(text_of(each));
  row("servers",
      servers.empty() ? std::string("one, without copies") : fmt::format("{}", fmt::join(servers, ", ")));
  row("broker",
      fmt::format("{}: {}", log::escape(cluster.member),
                  cluster.fault.empty() ? "takes events" : "takes no events: " + log::escape(cluster.fault)));
  lines.emplace_back();
  Table table({{.title = "MEMBER"},
               {.title = "STATE"},
               {.title = "INDEX", .align = right},
               {.title = "LAG", .align = right},
               {.title = "LAST BATCH", .align = right}});
  for (const ClusterInfo::Member& each : cluster.members) {
    table.add({log::escape(each.name), std::string(state_of(each)), grouped(each.index),
               grouped(lag_of(each.index, cluster)), short_age(each.silent)});
  }
  constexpr std::size_t no_width = 1u << 20;
  for (std::string& line : table.lines(no_width)) lines.push_back(std::move(line));
  return lines;
}

std::string cluster_json(const BrokerStats& stats) {
  const ClusterInfo& cluster = *stats.cluster;
  std::string out = "{\"backplane\":";
  append_json_string(stats.broker, out);
  out += fmt::format(
      ",\"stream\":\"{:016x}\",\"position\":{},\"first_index\":{},\"last_index\":{},\"checkpoint_index\":{},"
      "\"quorum\":{},\"member\":",
      stats.stream, stats.position, cluster.first_index, cluster.last_index, cluster.checkpoint_index,
      cluster.quorum);
  append_json_string(cluster.member, out);
  out += ",\"fault\":";
  append_json_string(cluster.fault, out);
  out += ",\"servers\":[";
  for (const ClusterInfo::Server& each : cluster.servers) {
    if (out.back() != '[') out += ',';
    out += "{\"name\":";
    append_json_string(each.name, out);
    out += fmt::format(",\"state\":\"{}\",\"lag\":{}}}", state_of(each), each.lag);
  }
  out += "],\"members\":[";
  for (const ClusterInfo::Member& each : cluster.members) {
    if (out.back() != '[') out += ',';
    out += "{\"name\":";
    append_json_string(each.name, out);
    out += fmt::format(",\"state\":\"{}\",\"index\":{},\"lag\":{},\"silent_ms\":{}}}", state_of(each),
                       each.index, lag_of(each.index, cluster), each.silent.count());
  }
  return out + "]}";
}

}  // namespace backplane::cli
