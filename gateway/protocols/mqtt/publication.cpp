#include "gateway/protocols/mqtt/publication.hpp"

#include <utility>

#include "core/payload/text.hpp"
#include "core/wire/scan.hpp"
#include "gateway/encode/mqtt_message.hpp"
#include "gateway/protocols/mqtt/topics.hpp"

namespace backplane::gateway::mqtt {
namespace {

/// The payload is bytes even if it happens to be UTF-8.
bool says_bytes(std::string_view content_type) noexcept {
  return content_type.starts_with("application/octet-stream");
}

}  // namespace

tl::expected<request::Publish, Fault> publication_event(const Publication& publication,
                                                        std::string_view origin, std::int64_t now_s,
                                                        std::uint32_t tag) {
  auto topic = topic_of(publication.topic);
  if (!topic) return tl::unexpected(topic.error());
  const Properties& properties = publication.properties;
  if (properties.payload_format == 1 && !wire::is_utf8(publication.payload)) {
    return tl::unexpected(Fault{ReasonCode::payload_format_invalid, "the payload is not UTF-8"});
  }
  auto parts = std::make_unique<EventParts>();
  parts->tag = tag;
  if (publication.retain && publication.payload.empty()) {
    parts->payload = EventParts::Payload::none;
  } else if (properties.content_type && says_bytes(*properties.content_type)) {
    parts->payload = EventParts::Payload::bytes;
  }
  Mark mark{publication.qos, publication.retain, properties.payload_format == 1, std::nullopt, origin};
  if (properties.message_expiry) mark.expires_s = now_s + *properties.message_expiry;
  auto& attributes = parts->attributes;
  attributes.emplace_back(mark_attribute, mark_text(mark));
  if (properties.content_type) attributes.emplace_back(content_type_attribute, *properties.content_type);
  if (properties.response_topic) {
    auto response = topic_of(*properties.response_topic);
    if (!response)
      return tl::unexpected(Fault{response.error().reason, "the response topic is not a topic here"});
    attributes.emplace_back(response_topic_attribute, *std::move(response));
  }
  if (properties.correlation_data) {
    std::string& base64 = attributes.emplace_back(correlation_data_attribute, std::string{}).second;
    append_base64(*properties.correlation_data, base64);
  }
  for (const auto& [name, value] : properties.user_properties) {
    attributes.emplace_back(attribute_of_user_property(name), value);
  }
  return request::Publish{*std::move(topic), std::string(publication.payload), std::move(parts)};
}

}  // namespace backplane::gateway::mqtt
