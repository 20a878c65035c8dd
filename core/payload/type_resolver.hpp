#pragma once
// Where protobuf's printer finds the types that it meets.

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

/// Looks for a type in one pool after the other, and tells of one that none has. Belongs to one thread; owns
/// a description of each type that it found.
class TypeResolver final : public google::protobuf::util::TypeResolver {
 public:
  /// A pool that outlives the resolver, and whether it is to be asked for a name.
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
