#include "core/payload/type_resolver.hpp"

#include <utility>

#include <google/protobuf/util/type_resolver_util.h>

namespace backplane {
namespace {

namespace pb = google::protobuf;

constexpr const char* url_prefix = "type.googleapis.com";

}  // namespace

TypeResolver::TypeResolver(std::vector<Place> places, OnMissing on_missing)
    : on_missing_(std::move(on_missing)) {
  for (Place& place : places) {
    const pb::DescriptorPool* const pool = place.pool;
    places_.push_back({std::move(place), std::unique_ptr<pb::util::TypeResolver>(
                                             pb::util::NewTypeResolverForDescriptorPool(url_prefix, pool))});
  }
}

TypeResolver::~TypeResolver() = default;

std::string TypeResolver::url(std::string_view full_name) {
  return std::string(url_prefix).append(1, '/').append(full_name);
}

pb::util::Status TypeResolver::ResolveMessageType(const std::string& type_url, pb::Type* type) {
  // Printing a message resolves one or more types, and a copy is cheaper than describing the type again.
  if (const auto known = types_.find(type_url); known != types_.end()) {
    *type = known->second;
    return {};
  }
  const std::string name = type_url.substr(type_url.rfind('/') + 1);
  for (const Known& each : places_) {
    if (!each.place.knows(name)) continue;
    const std::string known_url = url(name);
    const pb::util::Status status = each.resolver->ResolveMessageType(known_url, type);
    if (!status.ok()) return status;
    if (known_url == type_url) types_.emplace(known_url, *type);
    return status;
  }
  on_missing_(name);
  return pb::util::NotFoundError("no such type");
}

pb::util::Status TypeResolver::ResolveEnumType(const std::string& type_url, pb::Enum* type) {
  const std::string name = type_url.substr(type_url.rfind('/') + 1);
  for (const Known& each : places_) {
    if (each.place.knows(name)) return each.resolver->ResolveEnumType(url(name), type);
  }
  return pb::util::NotFoundError("no such enumeration");
}

}  // namespace backplane
