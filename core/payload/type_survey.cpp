#include "core/payload/type_survey.hpp"

#include <string_view>

#include <fmt/format.h>
#include <google/protobuf/descriptor.pb.h>

#include "core/wire/scan.hpp"

namespace backplane {
namespace {

namespace pb = google::protobuf;

// protobuf splits packages recursively, one level per dot.
constexpr std::size_t package_bytes_max = 511;
constexpr std::size_t identifier_bytes_max = 511;

class Surveyor {
 public:
  explicit Surveyor(TypeSurvey& found) : found_(found) {}

  void file(const pb::FileDescriptorProto& file) {
    if (file.package().size() > package_bytes_max) {
      fault(fmt::format("package: expected a name of at most {} bytes, got {}", package_bytes_max,
                        file.package().size()));
    }
    utf8(file.name());
    interpreted(file);
    const std::size_t scope = file.package().size();
    for (const auto& each : file.message_type()) message(each, scope);
    for (const auto& each : file.enum_type()) enumeration(each, scope);
    for (const auto& each : file.extension()) field(each, scope);
    for (const auto& each : file.service()) {
      const std::size_t inside = named(each, scope);
      for (const auto& method : each.method()) named(method, inside);
    }
  }

 private:
  void fault(std::string text) {
    if (found_.fault.empty()) found_.fault = std::move(text);
  }

  // Compiled files have none, and interpreting one means parsing text.
  template <class Described>
  void interpreted(const Described& described) {
    if (described.options().uninterpreted_option_size() > 0) {
      fault("an option is not interpreted: expected files as a compiler writes them");
    }
  }

  // Protobuf validates only identifiers, and readers in other languages fail on other strings.
  void utf8(const std::string& text) {
    if (!wire::is_utf8(text)) fault("bytes that are not UTF-8");
  }

  void field(const pb::FieldDescriptorProto& described, std::size_t scope) {
    named(described, scope);
    utf8(described.json_name());
    utf8(described.default_value());
  }

  // Returns the length of the full name.
  template <class Described>
  std::size_t named(const Described& described, std::size_t scope) {
    if (described.name().size() > identifier_bytes_max) {
      fault(fmt::format("expected a name of at most {} bytes, got {}", identifier_bytes_max,
                        described.name().size()));
    }
    interpreted(described);
    const std::size_t full = scope + 1 + described.name().size();
    found_.names_bytes += full;
    return full;
  }

  void enumeration(const pb::EnumDescriptorProto& described, std::size_t scope) {
    const std::size_t inside = named(described, scope);
    for (const auto& value : described.value()) named(value, inside);
  }

  // Recurses as deep as the file is nested, which parsing has bounded.
  // NOLINTNEXTLINE(misc-no-recursion)
  void message(const pb::DescriptorProto& described, std::size_t scope) {
    const std::size_t inside = named(described, scope);
    for (const auto& each : described.field()) field(each, inside);
    for (const auto& each : described.extension()) field(each, inside);
    for (const auto& each : described.oneof_decl()) named(each, inside);
    for (const auto& each : described.enum_type()) enumeration(each, inside);
    for (const auto& each : described.extension_range()) interpreted(each);
    for (const auto& each : described.nested_type()) message(each, inside);
  }

  TypeSurvey& found_;
};

// protobuf's rule: an underscore is removed, and the letter after it becomes a capital.
bool is_default_json_name(std::string_view json, std::string_view name) {
  std::size_t at = 0;
  bool capital = false;
  for (const char c : name) {
    if (c == '_') {
      capital = true;
      continue;
    }
    const char expected = capital && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    capital = false;
    if (at == json.size() || json[at] != expected) return false;
    ++at;
  }
  return at == json.size();
}

void normalise(pb::FieldDescriptorProto& field) {
  if (field.has_json_name() && is_default_json_name(field.json_name(), field.name())) field.clear_json_name();
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the file is nested, which parsing has bounded
void normalise(pb::DescriptorProto& message) {
  for (auto& field : *message.mutable_field()) normalise(field);
  for (auto& field : *message.mutable_extension()) normalise(field);
  for (auto& nested : *message.mutable_nested_type()) normalise(nested);
}

}  // namespace

TypeSurvey survey(const pb::FileDescriptorProto& file) {
  TypeSurvey found;
  Surveyor(found).file(file);
  return found;
}

void normalise(pb::FileDescriptorProto& file) {
  file.clear_source_code_info();
  file.clear_options();
  for (auto& message : *file.mutable_message_type()) normalise(message);
  for (auto& field : *file.mutable_extension()) normalise(field);
}

}  // namespace backplane
