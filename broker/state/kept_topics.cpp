#include "broker/state/kept_topics.hpp"

#include "core/error/error.hpp"
#include "core/topic/topic.hpp"

namespace backplane::broker {

KeptTopic& KeptTopics::add(std::string_view name, std::uint16_t rule) {
  CHECK(name.size() <= topic_bytes_max, "a topic's name has at most 255 bytes");
  KeptTopic& topic = blocks_.add(name).element;
  topic.rule = rule;
  topic.name_bytes = static_cast<std::uint8_t>(name.size());
  index_.insert(topic);
  order_.insert(topic);
  return topic;
}

}  // namespace backplane::broker
