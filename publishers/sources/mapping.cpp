#include "publishers/sources/mapping.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>
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
#include "core/json/object.hpp"
#include "core/log/escape.hpp"
#include "core/time/duration.hpp"

namespace backplane::sources {
namespace {

namespace pb = google::protobuf;

/// Without a reference, the linker would leave these types of a static library out of the descriptor pool.
void link_event_types() {
  pb::LinkMessageReflection<events::v1::ClockTick>();
  pb::LinkMessageReflection<events::v1::CommandResult>();
  pb::LinkMessageReflection<events::v1::Earthquake>();
  pb::LinkMessageReflection<events::v1::LoadAverage>();
  pb::LinkMessageReflection<events::v1::MemoryUse>();
  pb::LinkMessageReflection<events::v1::Quote>();
  pb::LinkMessageReflection<events::v1::Temperature>();
  pb::LinkMessageReflection<events::v1::TextMessage>();
}

const pb::Descriptor* find_type(const std::string& name) {
  link_event_types();
  const pb::DescriptorPool& pool = *pb::DescriptorPool::generated_pool();
  const pb::Descriptor* const type = pool.FindMessageTypeByName(name);
  return type != nullptr ? type : pool.FindMessageTypeByName("backplane.events.v1." + name);
}

tl::unexpected<Error> bad_value(std::string_view where, std::string_view expected, std::string_view got) {
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: expected {}, got {}", where, expected,
                          got.empty() ? "nothing" : fmt::format("\"{}\"", log::escape(got))));
}

bool is_integer(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() && text.size() <= 20 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::vector<std::string> field_names(const pb::Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  return names;
}

}  // namespace

Result<double> parse_number(std::string_view text, std::string_view where) {
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || stop != text.data() + text.size() || !std::isfinite(value)) {
    return bad_value(where, "a number", text);
  }
  return value;
}

Result<std::int64_t> read_time(const Value& value, TimeUnit unit, std::string_view where) {
  if (!json::is_number(value.text)) return parse_time(value.text, where);
  const auto number = parse_number(value.text, where);
  if (!number) return tl::unexpected(number.error());
  const double size = std::abs(*number);
  std::int64_t unit_ns = 1;
  if (unit == TimeUnit::seconds || (unit == TimeUnit::by_size && size < 1e11)) {
    unit_ns = 1'000'000'000;
  } else if (unit == TimeUnit::milliseconds || (unit == TimeUnit::by_size && size < 1e14)) {
    unit_ns = 1'000'000;
  } else if (unit == TimeUnit::microseconds || (unit == TimeUnit::by_size && size < 1e17)) {
    unit_ns = 1'000;
  }
  // The range of 64-bit nanoseconds.
  if (!(size * static_cast<double>(unit_ns) < 9.2e18))
    return bad_value(where, "a time of 1678 to 2261", value.text);
  std::int64_t whole = 0;
  if (is_integer(value.text)) {  // exact; a double has only 53 bits
    std::from_chars(value.text.data(), value.text.data() + value.text.size(), whole);
    return whole * unit_ns;
  }
  return std::llroundl(static_cast<long double>(*number) * static_cast<long double>(unit_ns));
}

Result<Mapping> Mapping::make(const std::string& type, std::vector<FieldRule> rules,
                              const ColumnNames& columns, TimeUnit unit) {
  const pb::Descriptor* const descriptor = find_type(type);
  if (descriptor == nullptr) return bad_value("--type", "a type such as Quote or Earthquake", type);
  const auto rule_of = [&](const std::string& field) -> FieldRule& {
    const auto known =
        std::find_if(rules.begin(), rules.end(), [&](const FieldRule& rule) { return rule.field == field; });
    return known != rules.end() ? *known : rules.emplace_back(FieldRule{field, {}, false});
  };
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const pb::FieldDescriptor& field = *descriptor->field(i);
    FieldRule& rule = rule_of(field.name());
    if (!rule.columns.empty()) continue;
    rule.columns = {field.name()};
    if (field.json_name() != field.name()) rule.columns.push_back(field.json_name());
  }
  for (const auto& [field, column] : columns) {
    if (descriptor->FindFieldByName(field) == nullptr) {
      return bad_value(
          "--map",
          fmt::format("a field of {}: {}", descriptor->name(), fmt::join(field_names(*descriptor), ", ")),
          field);
    }
    rule_of(field) = {field, {column}, true};
  }
  return Mapping(descriptor, std::move(rules), unit);
}

Result<void> Mapping::check_columns(std::span<const std::string> columns, std::string_view where) const {
  std::vector<std::string> names;
  bool all = true;
  for (const FieldRule& rule : rules_) {
    if (!rule.required) continue;
    names.push_back(rule.columns.front());
    all = all && std::any_of(rule.columns.begin(), rule.columns.end(), [&](const std::string& name) {
            return std::find(columns.begin(), columns.end(), name) != columns.end();
          });
  }
  if (all) return {};
  return fail(ErrorCode::invalid_argument, fmt::format("{}: expected columns {}, got {}", where,
                                                       fmt::join(names, ", "), fmt::join(columns, ", ")));
}

const Value* Mapping::find(const Record& record, std::string_view field) const {
  for (const FieldRule& rule : rules_) {
    if (rule.field != field) continue;
    for (const std::string& column : rule.columns) {
      if (const Value* const value = record.find(column)) return value;
    }
  }
  return nullptr;
}

/// The value as a literal of protobuf's JSON for this field. The most common mistakes get an error message
/// here; protobuf reports the others.
Result<std::string> Mapping::literal(const pb::FieldDescriptor& field, const Value& value,
                                     std::string_view where) const {
  const bool text = value.kind == Value::Kind::text;
  if (field.is_repeated()) return text ? json::quoted(value.text) : value.text;
  switch (field.cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_DOUBLE:
    case pb::FieldDescriptor::CPPTYPE_FLOAT:
      if (auto number = parse_number(value.text, where); !number) return tl::unexpected(number.error());
      return json::quoted(value.text);
    case pb::FieldDescriptor::CPPTYPE_INT32:
    case pb::FieldDescriptor::CPPTYPE_INT64:
    case pb::FieldDescriptor::CPPTYPE_UINT32:
    case pb::FieldDescriptor::CPPTYPE_UINT64:
      if (!is_integer(value.text)) return bad_value(where, "a whole number", value.text);
      return json::quoted(value.text);
    case pb::FieldDescriptor::CPPTYPE_BOOL:
      if (value.text == "true" || value.text == "1") return "true";
      if (value.text == "false" || value.text == "0") return "false";
      return bad_value(where, "true or false", value.text);
    case pb::FieldDescriptor::CPPTYPE_ENUM:
      return is_integer(value.text) ? value.text : json::quoted(value.text);
    case pb::FieldDescriptor::CPPTYPE_STRING:
      return json::quoted(value.text);
    case pb::FieldDescriptor::CPPTYPE_MESSAGE:
      if (field.message_type()->full_name() == "google.protobuf.Timestamp") {
        const auto time_ns = read_time(value, unit_, where);
        if (!time_ns) return tl::unexpected(time_ns.error());
        return json::quoted(format_time(*time_ns));
      }
      return text ? json::quoted(value.text) : value.text;
  }
  return value.text;
}

Result<std::unique_ptr<pb::Message>> Mapping::message(const Record& record, std::string_view where) const {
  std::string json = "{";
  for (const FieldRule& rule : rules_) {
    const pb::FieldDescriptor* const field = type_->FindFieldByName(rule.field);
    CHECK(field != nullptr, "a rule refers to a field of the type");
    const Value* const value = find(record, rule.field);
    const std::string there = fmt::format("{}: {}", where, rule.columns.front());
    if (value == nullptr && rule.required) return bad_value(there, "a value", "");
    if (value == nullptr) continue;
    const auto written = literal(*field, *value, there);
    if (!written) return tl::unexpected(written.error());
    if (json.size() > 1) json += ',';
    json += fmt::format("\"{}\":{}", field->json_name(), *written);
  }
  json += '}';
  std::unique_ptr<pb::Message> message(pb::MessageFactory::generated_factory()->GetPrototype(type_)->New());
  if (const auto status = pb::util::JsonStringToMessage(json, message.get()); !status.ok()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: {}", where, log::escape(std::string(status.message()))));
  }
  return message;
}

}  // namespace backplane::sources
