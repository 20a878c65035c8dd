#include "gateway/encode/payload_json.hpp"

#include <limits>
#include <unordered_map>

#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include "backplane/events/v1/clock_tick.pb.h"
#include "backplane/events/v1/earthquake.pb.h"
#include "backplane/events/v1/load_average.pb.h"
#include "backplane/events/v1/quote.pb.h"
#include "backplane/events/v1/temperature.pb.h"
#include "backplane/events/v1/text_message.pb.h"
#include "backplane/v1/system.pb.h"
#include "core/log/log.hpp"
#include "gateway/encode/text.hpp"

namespace backplane::gateway {
namespace {

namespace pb = google::protobuf;

/// Without a reference the linker leaves the types of a static library out, and with them their
/// place in the generated pool.
void link_event_types() {
  pb::LinkMessageReflection<events::v1::ClockTick>();
  pb::LinkMessageReflection<events::v1::Earthquake>();
  pb::LinkMessageReflection<events::v1::LoadAverage>();
  pb::LinkMessageReflection<events::v1::Quote>();
  pb::LinkMessageReflection<events::v1::Temperature>();
  pb::LinkMessageReflection<events::v1::TextMessage>();
  pb::LinkMessageReflection<v1::BrokerStats>();
  pb::LinkMessageReflection<v1::DrainNotice>();
  pb::LinkMessageReflection<v1::SourceStatus>();
}

struct Hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

}  // namespace

class PayloadJson::Impl {
 public:
  Impl() {
    link_event_types();
    options_.preserve_proto_field_names = true;
    options_.always_print_primitive_fields = true;
  }

  /// @returns false where the type is unknown or the bytes are not of it; `out` is as it was then.
  bool append_known(std::string_view name, std::string_view value, std::string& out) {
    pb::Message* const message = find(name);
    if (message == nullptr || value.size() > std::numeric_limits<int>::max()) return false;
    if (!message->ParseFromArray(value.data(), static_cast<int>(value.size()))) return false;
    const std::size_t before = out.size();
    if (pb::util::MessageToJsonString(*message, &out, options_).ok()) return true;
    out.resize(before);  // a time outside the calendar, an Any inside of an unknown type
    return false;
  }

 private:
  pb::Message* find(std::string_view name) {
    if (const auto known = messages_.find(name); known != messages_.end()) return known->second.get();
    // Only what the pool knows is remembered, so that invented names cost no memory.
    const pb::Descriptor* const type =
        pb::DescriptorPool::generated_pool()->FindMessageTypeByName(std::string(name));
    if (type == nullptr) return nullptr;
    const pb::Message* const prototype = pb::MessageFactory::generated_factory()->GetPrototype(type);
    if (prototype == nullptr) return nullptr;
    return messages_.emplace(name, prototype->New()).first->second.get();
  }

  pb::util::JsonPrintOptions options_;
  std::unordered_map<std::string, std::unique_ptr<pb::Message>, Hash, std::equal_to<>> messages_;
};

PayloadJson::PayloadJson() : impl_(std::make_unique<Impl>()) {}
PayloadJson::~PayloadJson() = default;

void PayloadJson::append(std::string_view type_url, std::string_view value, std::string& out) {
  if (impl_->append_known(type_name(type_url), value, out)) return;
  out.append("{\"@type\":");
  append_json_string(type_url, out);
  out.append(",\"value\":\"");
  append_base64(value, out);
  out.append("\"}");
}

std::string_view type_name(std::string_view type_url) noexcept {
  return type_url.substr(type_url.rfind('/') + 1);  // npos + 1 is 0: all of it
}

void route_protobuf_log() {
  pb::SetLogHandler(
      [](pb::LogLevel, const char*, int, const std::string& text) { log::debug("protobuf: {}", text); });
}

}  // namespace backplane::gateway
