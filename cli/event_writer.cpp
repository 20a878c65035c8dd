#include "cli/event_writer.hpp"

#include "gateway/notice.hpp"

namespace backplane::cli {

std::optional<OutputFormat> parse_output_format(std::string_view name) noexcept {
  if (name == "value") return OutputFormat{gateway::Format::text, true};
  const auto format = gateway::parse_format(name);
  if (!format) return std::nullopt;
  return OutputFormat{*format, false};
}

bool EventWriter::event(std::string_view topic, std::span<const std::byte> event, const wire::Stamp& stamp,
                        std::string& out) {
  const std::size_t begin = out.size();
  if (!encoder_.encode(format_.format, topic, event, stamp, out)) return false;
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

}  // namespace backplane::cli
