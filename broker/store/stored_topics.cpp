#include "broker/store/stored_topics.hpp"

#include "core/error/error.hpp"
#include "core/topic/topic.hpp"

namespace backplane::broker::store {

StoredTopic& StoredTopics::add(std::string_view name, std::uint32_t number, std::uint16_t rule) {
  CHECK(name.size() <= topic_bytes_max, "a topic's name has at most 255 bytes");
  StoredTopic& topic = blocks_.add(name).element;
  topic.number = number;
  topic.rule = rule;
  topic.name_bytes = static_cast<std::uint8_t>(name.size());
  index_.insert(topic);
  order_.insert(topic);
  if (number >= numbers_.size()) numbers_.resize(std::size_t{number} + 1);
  numbers_[number] = &topic;
  return topic;
}

std::size_t StoredTopics::memory_bytes() const noexcept {
  return blocks_.memory_bytes() + index_.memory_bytes() + order_.memory_bytes() +
         numbers_.capacity() * sizeof(void*);
}

}  // namespace backplane::broker::store
