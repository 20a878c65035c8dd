#include "broker/system_events.hpp"

#include <fmt/format.h>
#include <google/protobuf/message.h>

#include "backplane/v1/event.pb.h"
#include "core/topic/topic.hpp"

namespace backplane::broker {

std::string system_event(std::string_view backplane, const google::protobuf::Message& payload,
                         std::int64_t now_ns) {
  constexpr std::int64_t ns_a_second = 1'000'000'000;
  v1::Event event;
  event.set_source(fmt::format("broker@{}", backplane));
  event.mutable_time()->set_seconds(now_ns / ns_a_second);
  event.mutable_time()->set_nanos(static_cast<std::int32_t>(now_ns % ns_a_second));
  event.mutable_message()->PackFrom(payload);
  return event.SerializeAsString();
}

bool is_live_request(std::string_view subscription) noexcept {
  constexpr std::string_view prefix = "$SYS.live.";
  return subscription.size() > prefix.size() && subscription.starts_with(prefix) &&
         check_topic(subscription) == TopicFault::none;
}

std::string stats_topic(std::string_view backplane) {
  return fmt::format("$SYS.broker.{}.stats", backplane);
}

}  // namespace backplane::broker
