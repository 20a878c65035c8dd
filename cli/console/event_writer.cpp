#include "cli/console/event_writer.hpp"

#include <fmt/format.h>

#include "core/payload/text.hpp"
#include "core/wire/write.hpp"
#include "gateway/session/notice.hpp"

namespace backplane::cli {

std::optional<OutputFormat> parse_output_format(std::string_view name) noexcept {
  if (name == "value") return OutputFormat{gateway::Format::text, true};
  const auto format = gateway::parse_format(name);
  if (!format) return std::nullopt;
  return OutputFormat{*format, false};
}

bool EventWriter::event(std::string_view topic, std::span<const std::byte> event, const wire::Stamp& stamp,
                        std::string& out, bool late) {
  const std::size_t begin = out.size();
  if (!encoder_.encode(format_.format, topic, event, stamp, out, {.late = late})) return false;
  if (format_.value_only) out.erase(begin, topic.size() + 1);
  return true;
}

void EventWriter::gap(std::string_view topic, std::uint64_t stream, std::uint64_t first, std::uint64_t last,
                      std::string_view reason, std::string& out) {
  gateway::Notice notice;
  notice.kind = gateway::Notice::Kind::gap;
  notice.topic = topic;
  notice.stream = stream;
  notice.first = first;
  notice.last = last;
  notice.reason = reason;
  gateway::append_notice(format_.format, notice, out);
}

void EventWriter::reset(std::string_view topic, std::uint64_t stream, std::string& out) {
  gateway::Notice notice;
  notice.kind = gateway::Notice::Kind::reset;
  notice.topic = topic;
  notice.stream = stream;
  gateway::append_notice(format_.format, notice, out);
}

void append_gateway_item(OutputFormat format, const GatewayItem& item, std::string_view bytes,
                         std::string& out) {
  if (format.binary()) {
    wire::append_varint(bytes.size(), out);
    out.append(bytes);
    return;
  }
  if (format.format == gateway::Format::json) {
    out.append(bytes).push_back('\n');
    return;
  }
  if (item.kind != GatewayItem::Kind::event) {
    gateway::Notice notice;
    notice.kind =
        item.kind == GatewayItem::Kind::gap ? gateway::Notice::Kind::gap : gateway::Notice::Kind::reset;
    notice.topic = item.topic;
    notice.stream = item.stream;
    notice.first = item.first;
    notice.last = item.last;
    notice.reason = item.reason;
    return gateway::append_notice(format.format, notice, out);
  }
  if (!format.value_only) out.append(item.topic).push_back(' ');
  if (format.format == gateway::Format::text_offset) out.append(fmt::format("{} ", item.offset));
  if (item.payload == GatewayItem::Payload::text) {
    append_escaped(item.body, out);
  } else {
    out.append(item.body);
  }
  out.push_back('\n');
}

}  // namespace backplane::cli
