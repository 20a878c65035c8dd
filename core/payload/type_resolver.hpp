#pragma once
// Finds types for protobuf's printer.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/type.pb.h>
#include <google/protobuf/util/type_resolver.h>

namespace backplane {

/// Searches several pools in turn for a type, and reports one that none of them has. Not thread-safe. Owns a
/// description of each type that it found.
class TypeResolver final : public google::protobuf::util::TypeResolver {
 public:
  /// A pool, which outlives the resolver, and whether to search it for a name.
  struct Place {
    const google::protobuf::DescriptorPool* pool;
    std::function<bool(const std::string& full_name)> knows;
  };
  using OnMissing = std::function<void(std::string_view full_name)>;

  TypeResolver(std::vector<Place> places, OnMissing on_missing);
  ~TypeResolver() override;

  /// A type's URL as this resolver knows it.
  [[nodiscard]] static std::string url(std::string_view full_name);

  google::protobuf::util::Status ResolveMessageType(const std::string& type_url,
                                                    google::protobuf::Type* type) override;
  google::protobuf::util::Status ResolveEnumType(const std::string& type_url,
                                                 google::protobuf::Enum* type) override;

 private:
  struct Known {
    Place place;
    std::unique_ptr<google::protobuf::util::TypeResolver> resolver;
  };

  std::vector<Known> places_;
  OnMissing on_missing_;
  std::unordered_map<std::string, google::protobuf::Type> types_;  // by URL
};

}  // namespace backplane
