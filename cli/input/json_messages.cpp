#include "cli/input/json_messages.hpp"

#include <limits>

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/descriptor_database.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>

#include "core/payload/payload_json.hpp"

namespace backplane::cli {
namespace {

namespace pb = google::protobuf;

/// Keeps the first error that protobuf finds in a file.
class FirstError final : public pb::DescriptorPool::ErrorCollector {
 public:
  void AddError(const std::string& file, const std::string& element, const pb::Message*, ErrorLocation,
                const std::string& message) override {
    if (text_.empty()) text_ = fmt::format("{}: {}: {}", file, element, message);
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace

class JsonMessages::Impl {
 public:
  [[nodiscard]] const pb::Descriptor* find_type(const std::string& name) const {
    if (const auto* type = pb::DescriptorPool::generated_pool()->FindMessageTypeByName(name)) return type;
    return pool_.FindMessageTypeByName(name);
  }

  Result<void> add(const pb::FileDescriptorSet& set) {
    // Add each file after its imports. Brokers send them in this order, but others may not.
    int left = set.file_size();
    for (bool progress = true; progress && left > 0;) {
      progress = false;
      for (const pb::FileDescriptorProto& file : set.file()) {
        if (knows(file.name()) || !has_imports_of(file)) continue;
        FirstError error;
        if (pool_.BuildFileCollectingErrors(file, &error) == nullptr) {
          return fail(ErrorCode::protocol, "types: " + error.text());
        }
        progress = true;
        --left;
      }
    }
    return {};
  }

  pb::Message* make_new(const pb::Descriptor* type) {
    const pb::Message* prototype = type->file()->pool() == pb::DescriptorPool::generated_pool()
                                       ? pb::MessageFactory::generated_factory()->GetPrototype(type)
                                       : factory_.GetPrototype(type);
    return prototype == nullptr ? nullptr : prototype->New();
  }

 private:
  [[nodiscard]] bool knows(const std::string& file) const { return pool_.FindFileByName(file) != nullptr; }
  [[nodiscard]] bool has_imports_of(const pb::FileDescriptorProto& file) const {
    for (const std::string& import : file.dependency()) {
      if (!knows(import)) return false;
    }
    return true;
  }

  PayloadJson built_in_;  // links the program's own types
  pb::DescriptorPool pool_{pb::DescriptorPool::generated_pool()};
  pb::DynamicMessageFactory factory_{&pool_};
};

JsonMessages::JsonMessages() : impl_(std::make_unique<Impl>()) {}
JsonMessages::~JsonMessages() = default;

std::string JsonMessages::find(std::string_view name) const {
  for (const std::string& full : {std::string(name), fmt::format("backplane.events.v1.{}", name)}) {
    if (impl_->find_type(full) != nullptr) return full;
  }
  return {};
}

Result<void> JsonMessages::add_types(std::string_view file_descriptor_set) {
  pb::FileDescriptorSet set;
  constexpr std::size_t parse_max = std::numeric_limits<int>::max();
  if (file_descriptor_set.size() > parse_max ||
      !set.ParseFromArray(file_descriptor_set.data(), static_cast<int>(file_descriptor_set.size()))) {
    return fail(ErrorCode::protocol, "types: expected a FileDescriptorSet, got other bytes");
  }
  return impl_->add(set);
}

Result<std::unique_ptr<pb::Message>> JsonMessages::make(const std::string& type, std::string_view json) {
  const pb::Descriptor* const descriptor = impl_->find_type(type);
  CHECK(descriptor != nullptr, "the type is one that find() returned");
  std::unique_ptr<pb::Message> message(impl_->make_new(descriptor));
  const auto parsed = pb::util::JsonStringToMessage(pb::StringPiece(json.data(), json.size()), message.get());
  if (parsed.ok()) return message;
  return fail(ErrorCode::invalid_argument,
              fmt::format("--json: expected a {} as JSON: {}", type, parsed.message().ToString()));
}

}  // namespace backplane::cli
