#include "gateway/session/notice.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include <fmt/format.h>

#include "backplane/v1/event.pb.h"
#include "backplane/v1/session.pb.h"
#include "core/error/error.hpp"
#include "core/payload/text.hpp"
#include "core/time/duration.hpp"
#include "core/wire/stamp.hpp"
#include "core/wire/write.hpp"
#include "core/zmtp/frame.hpp"
#include "gateway/encode/json_record.hpp"
#include "gateway/encode/mqtt_message.hpp"
#include "gateway/encode/websocket_frame.hpp"

namespace backplane::gateway {
namespace {

void append(const v1::ServerMessage& message, std::string& out) {
  wire::append_varint(message.ByteSizeLong(), out);
  CHECK(message.AppendToString(&out), "a message has less than 2 GiB");
}

void append_json_notice(Format format, const Notice& notice, std::string& out) {
  const bool gap = notice.kind == Notice::Kind::gap;
  if (is_sse(format)) out.append(gap ? "event: gap\n" : "event: reset\n");
  const std::size_t begin = begin_json_record(format, out);
  out.append(gap ? R"({"gap":{"topic":)" : R"({"reset":{"topic":)");
  append_json_string(notice.topic, out);
  out += fmt::format(R"(,"stream":"{:016x}")", notice.stream);
  if (gap) {
    out += fmt::format(R"(,"first":{},"last":{},"reason":"{}")", notice.first, notice.last, notice.reason);
  }
  out.append("}}\n");
  end_json_record(format, begin, out);
}

/// In seconds. Never negative, although the broker's clock may be ahead.
double age(const TopicInfo& topic, std::int64_t now_ns) {
  return std::max(0.0, static_cast<double>(now_ns) - static_cast<double>(topic.received_ns)) / 1e9;
}

v1::ServerMessage proto_notice(const Notice& notice) {
  v1::ServerMessage message;
  if (notice.kind == Notice::Kind::reset) {
    auto& reset = *message.mutable_reset();
    reset.set_topic(notice.topic);
    reset.set_stream(notice.stream);
    return message;
  }
  auto& gap = *message.mutable_gap();
  gap.set_topic(notice.topic);
  gap.set_stream(notice.stream);
  gap.set_first(notice.first);
  gap.set_last(notice.last);
  gap.set_reason(std::string(notice.reason));
  return message;
}

/// An event that no broker has numbered, as a ZeroMQ message.
void append_own_event(std::string_view topic, const google::protobuf::Message* payload, std::uint64_t stream,
                      std::uint64_t position, std::string& out) {
  constexpr std::int64_t ns_per_second = 1'000'000'000;
  const std::int64_t now_ns = unix_now_ns();
  v1::Event event;
  event.set_source("gateway");
  event.mutable_time()->set_seconds(now_ns / ns_per_second);
  event.mutable_time()->set_nanos(static_cast<std::int32_t>(now_ns % ns_per_second));
  if (payload != nullptr) event.mutable_message()->PackFrom(*payload);
  std::string body = event.SerializeAsString();
  std::array<std::byte, wire::stamp_bytes> stamp{};
  wire::write_stamp(
      {.stream = stream, .position = position, .offset = 0, .previous = 0, .received_ns = now_ns}, stamp);
  body.append(reinterpret_cast<const char*>(stamp.data()), stamp.size());
  zmtp::append_frame(zmtp::flag::more, topic, out);
  zmtp::append_frame(0, body, out);
}

v1::ServerMessage proto_session_line(std::string_view word, std::string_view text) {
  v1::ServerMessage message;
  if (word == "WAIT") {
    message.mutable_wait()->set_what(std::string(text));
  } else if (word == "LIVE") {
    message.mutable_live()->set_what(std::string(text));
  } else if (word == "BYE") {
    message.mutable_bye()->set_reason(std::string(text));
  } else {
    CHECK(word == "KEEPALIVE", "a session notice is WAIT, LIVE, BYE or KEEPALIVE");
  }
  return message;
}

}  // namespace

void append_notice(Format format, const Notice& notice, std::string& out) {
  if (is_mqtt(format)) {
    // Only sessions with records can send them as messages.
    if (format != Format::mqtt_record) return;
    std::string json;
    append_json_notice(Format::json, notice, json);
    return mqtt::append_notice_record(json, out);
  }
  if (format == Format::proto) return append(proto_notice(notice), out);
  if (is_json(format)) return append_json_notice(format, notice, out);
  if (format == Format::zmtp) {
    if (notice.kind == Notice::Kind::reset) return;
    const v1::ServerMessage message = proto_notice(notice);
    return append_own_event(fmt::format("{}{}", gap_topic_prefix, notice.topic), &message.gap(),
                            notice.stream, 0, out);
  }
  if (notice.kind == Notice::Kind::gap) {
    out += fmt::format("!GAP {} {} {} {}\n", notice.topic, notice.first, notice.last, notice.reason);
  } else {
    out += fmt::format("!RESET {}\n", notice.topic);
  }
}

void append_session_line(Format format, std::string_view word, std::string_view text, std::string& out) {
  if (format == Format::zmtp) return;
  if (format == Format::proto) return append(proto_session_line(word, text), out);
  if (!is_json(format)) {
    out += fmt::format("!{} {}\n", word, text);
    return;
  }
  std::string name(word);
  for (char& letter : name) letter = static_cast<char>(letter - 'A' + 'a');
  if (is_sse(format)) out += fmt::format("event: {}\n", name);
  const std::size_t begin = begin_json_record(format, out);
  out += fmt::format("{{\"{}\":", name);
  append_json_string(text, out);
  out.append("}\n");
  end_json_record(format, begin, out);
}

void append_live_event(std::string_view topic, std::uint64_t stream, std::uint64_t position,
                       std::string& out) {
  append_own_event(topic, nullptr, stream, position, out);
}

void append_lines(Format format, std::string_view lines, std::string& out) {
  const std::size_t from = out.size();
  out.append(lines);
  if (format == Format::websocket) websocket::frame_lines(from, out);
}

void append_ok(Format format, std::string_view word, std::string_view argument, std::string& out) {
  if (format == Format::proto) {
    v1::ServerMessage message;
    message.mutable_ok()->set_command(std::string(word));
    message.mutable_ok()->set_argument(std::string(argument));
    return append(message, out);
  }
  append_lines(format, fmt::format("+OK {}{}{}\n", word, argument.empty() ? "" : " ", argument), out);
}

void append_error(Format format, std::string_view code, std::string_view text, std::string& out) {
  if (format == Format::proto) {
    v1::ServerMessage message;
    message.mutable_error()->set_code(std::string(code));
    message.mutable_error()->set_text(std::string(text));
    return append(message, out);
  }
  append_lines(format, fmt::format("-ERR {} {}\n", code, text), out);
}

void append_pong(Format format, std::string& out) {
  if (format != Format::proto) return append_lines(format, "+PONG\n", out);
  v1::ServerMessage message;
  message.mutable_pong();
  append(message, out);
}

void append_topic_object(const TopicInfo& topic, std::int64_t now_ns, std::string& out) {
  out.append(R"({"topic":)");
  append_json_string(topic.name, out);
  out += fmt::format(R"(,"offset":{},"bytes":{},"age":{:.1f}}})", topic.offset, topic.value_bytes,
                     age(topic, now_ns));
}

void append_topic(Format format, const TopicInfo& topic, std::int64_t now_ns, std::string& out) {
  if (format == Format::proto) {
    v1::ServerMessage message;
    auto& described = *message.mutable_topic();
    described.set_name(topic.name);
    described.set_offset(topic.offset);
    described.set_value_bytes(topic.value_bytes);
    described.set_received_ns(topic.received_ns);
    return append(message, out);
  }
  const double age_s = age(topic, now_ns);
  append_lines(format,
               fmt::format("+TOPIC {} {} {} {:.1f}\n", topic.name, topic.offset, topic.value_bytes, age_s),
               out);
}

}  // namespace backplane::gateway
