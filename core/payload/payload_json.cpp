#include "core/payload/payload_json.hpp"

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include "backplane/events/v1/clock_tick.pb.h"
#include "backplane/events/v1/command_result.pb.h"
#include "backplane/events/v1/earthquake.pb.h"
#include "backplane/events/v1/load_average.pb.h"
#include "backplane/events/v1/memory_use.pb.h"
#include "backplane/events/v1/quote.pb.h"
#include "backplane/events/v1/temperature.pb.h"
#include "backplane/events/v1/text_message.pb.h"
#include "backplane/v1/system.pb.h"
#include "core/log/log.hpp"
#include "core/payload/message_cost.hpp"
#include "core/payload/text.hpp"
#include "core/payload/type_resolver.hpp"
#include "core/topic/string_hash.hpp"
#include "core/wire/scan.hpp"

namespace backplane {
namespace {

namespace pb = google::protobuf;

// Limits of what a payload may take in objects and printed defaults, beside its own bytes.
constexpr std::size_t cost_bytes_least = 64u << 10;
constexpr std::size_t cost_bytes_max = 16u << 20;
constexpr std::size_t cost_per_byte_max = 256;
// protobuf creates the objects of types that contain each other recursively, one level per type.
constexpr std::size_t linked_types_max = 1000;
// An object that had more content frees its memory.
constexpr std::size_t kept_payload_bytes_max = 64u << 10;
constexpr std::size_t reported_names_max = 4096;
constexpr std::size_t type_name_bytes_max = 511;

/// The types that the program is built with. Naming them here also keeps the linker from omitting them.
std::vector<const pb::Message*> built_in_types() {
  return {&events::v1::ClockTick::default_instance(),   &events::v1::CommandResult::default_instance(),
          &events::v1::Earthquake::default_instance(),  &events::v1::MemoryUse::default_instance(),
          &events::v1::LoadAverage::default_instance(), &events::v1::Quote::default_instance(),
          &events::v1::Temperature::default_instance(), &events::v1::TextMessage::default_instance(),
          &v1::BrokerStats::default_instance(),         &v1::DrainNotice::default_instance(),
          &v1::LiveAnswer::default_instance(),          &v1::SourceStatus::default_instance()};
}

bool is_type_name(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= type_name_bytes_max && std::all_of(name.begin(), name.end(), plain);
}

/// `type` and the types that it contains, directly or not, until there are more than `most`.
std::unordered_set<const pb::Descriptor*> linked_types(const pb::Descriptor& type, std::size_t most) {
  std::unordered_set<const pb::Descriptor*> seen{&type};
  std::vector<const pb::Descriptor*> open{&type};
  while (!open.empty() && seen.size() <= most) {
    const pb::Descriptor& next = *open.back();
    open.pop_back();
    for (int i = 0; i < next.field_count(); ++i) {
      const pb::Descriptor* const held = next.field(i)->message_type();
      if (held != nullptr && seen.insert(held).second) open.push_back(held);
    }
  }
  return seen;
}

/// Whether objects of the type can be created at a bounded cost, and printed.
bool is_usable(const pb::Descriptor& type) {
  const auto linked = linked_types(type, linked_types_max);
  return linked.size() <= linked_types_max &&
         std::none_of(linked.begin(), linked.end(),
                      [](const auto* each) { return each->options().message_set_wire_format(); });
}

/// Whether it contains only numbers, strings and times. For a type of ours, the bytes then determine the
/// cost.
bool is_simple(const pb::Descriptor& type) {
  for (int i = 0; i < type.field_count(); ++i) {
    const pb::Descriptor* const held = type.field(i)->message_type();
    if (held == nullptr) continue;
    if (type.field(i)->is_repeated() || held->full_name() != "google.protobuf.Timestamp") return false;
  }
  return true;
}

}  // namespace

class PayloadJson::Impl {
 public:
  explicit Impl(TypeRegistry::Limits limits) : limits_(limits) {
    options_.preserve_proto_field_names = true;
    options_.always_print_primitive_fields = true;
    for (const pb::Message* prototype : built_in_types()) {
      const pb::Descriptor& type = *prototype->GetDescriptor();
      built_in_.emplace(type.full_name(), Type{std::unique_ptr<pb::Message>(prototype->New()),
                                               TypeResolver::url(type.full_name()), is_simple(type), true});
      for (const pb::Descriptor* each : linked_types(type, linked_types_max)) {
        built_in_names_.insert(each->full_name());
        for (int i = 0; i < each->field_count(); ++i) {
          if (each->field(i)->enum_type() != nullptr)
            built_in_names_.insert(each->field(i)->enum_type()->full_name());
        }
      }
    }
    foreign_ = std::make_unique<Foreign>(*this);
  }

  void append(std::string_view type_url, std::string_view value, std::string& out) {
    const std::size_t before = out.size();
    Type* const type = find(type_name(type_url));
    if (type != nullptr && type->message != nullptr && print(*type, value, out)) return;
    out.resize(before);
    out.append("{\"@type\":");
    append_json_string(type_url, out);
    out.append(",\"value\":\"");
    append_base64(value, out);
    out.append("\"}");
  }

  TypeRegistry::Registered add_types(std::string_view set) { return foreign_->registry.add(set); }

  void clear_types() {
    foreign_ = std::make_unique<Foreign>(*this);
    retry_unknown_types();
    unknown_.clear();
  }

  std::vector<std::string> take_unknown_types() { return std::exchange(unknown_, {}); }
  [[nodiscard]] bool has_unknown_types() const { return !unknown_.empty(); }
  void retry_unknown_types() { reported_.clear(); }

 private:
  struct Type {
    std::unique_ptr<pb::Message> message;  ///< nullptr: cannot be shown
    std::string url;
    bool simple{};
    bool built_in{};
  };
  using Types = std::unordered_map<std::string, Type, StringHash, std::equal_to<>>;

  /// Everything that depends on registered types. Its members are destroyed in reverse order.
  struct Foreign {
    explicit Foreign(Impl& owner)
        : registry(owner.limits_),
          factory(&registry.pool()),
          resolver({owner.place_of(registry), owner.built_in_place()},
                   [&owner](std::string_view name) { owner.note_unknown(name); }),
          own_resolver({owner.built_in_place(), owner.place_of(registry)},
                       [&owner](std::string_view name) { owner.note_unknown(name); }),
          cost([&owner, this](std::string_view name) { return owner.find_descriptor(registry, name); }) {}

    TypeRegistry registry;
    pb::DynamicMessageFactory factory;
    Types types;
    TypeResolver resolver;
    TypeResolver own_resolver;  ///< for our own types, which cannot be redefined
    MessageCost cost;
  };

  static TypeResolver::Place place_of(const TypeRegistry& registry) {
    const pb::DescriptorPool* const pool = &registry.pool();
    return {pool, [pool](const std::string& name) {
              return pool->FindMessageTypeByName(name) != nullptr ||
                     pool->FindEnumTypeByName(name) != nullptr;
            }};
  }

  /// The program's own pool remembers every unknown name it was searched for, so it is searched only for
  /// known ones.
  TypeResolver::Place built_in_place() {
    return {pb::DescriptorPool::generated_pool(),
            [this](const std::string& name) { return built_in_names_.contains(name); }};
  }

  const pb::Descriptor* find_descriptor(const TypeRegistry& registry, std::string_view name) {
    if (const auto* type = registry.pool().FindMessageTypeByName(std::string(name))) return type;
    const auto own = built_in_.find(name);
    return own == built_in_.end() ? nullptr : own->second.message->GetDescriptor();
  }

  Type* find(std::string_view name) {
    if (const auto own = built_in_.find(name); own != built_in_.end()) return &own->second;
    if (const auto known = foreign_->types.find(name); known != foreign_->types.end()) return &known->second;
    // Only known types are remembered, so that invented names cost no memory.
    std::string full_name(name);
    const pb::Descriptor* const type = foreign_->registry.pool().FindMessageTypeByName(full_name);
    if (type == nullptr) {
      note_unknown(name);
      return nullptr;
    }
    Type made{nullptr, TypeResolver::url(name), false, false};
    if (is_usable(*type)) made.message.reset(foreign_->factory.GetPrototype(type)->New());
    return &foreign_->types.emplace(std::move(full_name), std::move(made)).first->second;
  }

  void note_unknown(std::string_view name) {
    if (!is_type_name(name) || reported_.size() >= reported_names_max) return;
    if (reported_.emplace(name).second) unknown_.emplace_back(name);
  }

  /// @returns false if the bytes are not of the type, or cannot be shown; `out` may then have a part of it.
  bool print(Type& type, std::string_view value, std::string& out) {
    if (value.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) return false;
    pb::Message& message = *type.message;
    const std::size_t most = std::min(cost_bytes_max, cost_bytes_least + cost_per_byte_max * value.size());
    if (!type.simple && !foreign_->cost.within(*message.GetDescriptor(), value, most)) return false;
    // Parsed and serialised again, because the printer requires well-formed bytes, and these may have fields
    // twice, or strings that are not UTF-8.
    const bool parsed = message.ParseFromArray(value.data(), static_cast<int>(value.size()));
    const bool printed = parsed && message.SerializeToString(&canonical_) && print_canonical(type, out);
    if (value.size() > kept_payload_bytes_max) {
      type.message.reset(message.New());
      canonical_ = {};
    }
    return printed;
  }

  bool print_canonical(const Type& type, std::string& out) {
    const std::size_t before = out.size();
    pb::io::ArrayInputStream input(canonical_.data(), static_cast<int>(canonical_.size()));
    bool ok = false;
    {
      pb::io::StringOutputStream output(&out);
      TypeResolver& resolver = type.built_in ? foreign_->own_resolver : foreign_->resolver;
      // Not ok: a time outside the calendar, an Any of an unknown type.
      ok = pb::util::BinaryToJsonStream(&resolver, type.url, &input, &output, options_).ok();
    }
    // proto2 types have strings that protobuf does not check.
    return ok && (type.built_in || wire::is_utf8(std::string_view(out).substr(before)));
  }

  const TypeRegistry::Limits limits_;
  pb::util::JsonPrintOptions options_;
  Types built_in_;
  std::unordered_set<std::string> built_in_names_;  // and of the types they contain
  std::unique_ptr<Foreign> foreign_;
  std::string canonical_;
  std::unordered_set<std::string> reported_;
  std::vector<std::string> unknown_;
};

PayloadJson::PayloadJson() : PayloadJson(default_limits) {}
PayloadJson::PayloadJson(TypeRegistry::Limits limits) : impl_(std::make_unique<Impl>(limits)) {}
PayloadJson::~PayloadJson() = default;

void PayloadJson::append(std::string_view type_url, std::string_view value, std::string& out) {
  impl_->append(type_url, value, out);
}

TypeRegistry::Registered PayloadJson::add_types(std::string_view file_descriptor_set) {
  return impl_->add_types(file_descriptor_set);
}

void PayloadJson::clear_types() {
  impl_->clear_types();
}

std::vector<std::string> PayloadJson::take_unknown_types() {
  return impl_->take_unknown_types();
}

bool PayloadJson::has_unknown_types() const noexcept {
  return impl_->has_unknown_types();
}

void PayloadJson::retry_unknown_types() {
  impl_->retry_unknown_types();
}

std::string_view type_name(std::string_view type_url) noexcept {
  return type_url.substr(type_url.rfind('/') + 1);  // npos + 1 is 0: the whole text
}

void route_protobuf_log() {
  pb::SetLogHandler(
      [](pb::LogLevel, const char*, int, const std::string& text) { log::debug("protobuf: {}", text); });
}

}  // namespace backplane
