#include "publishers/lib/type_definitions.hpp"

#include <algorithm>
#include <functional>

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

namespace backplane::publishing {
namespace {

namespace pb = google::protobuf;

// Google's files that every broker has. It does not have the others, for example api.proto.
constexpr std::array<std::string_view, 8> well_known_files{
    "google/protobuf/any.proto",       "google/protobuf/descriptor.proto", "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",     "google/protobuf/field_mask.proto", "google/protobuf/struct.proto",
    "google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"};

bool is_well_known(std::string_view file) {
  return std::find(well_known_files.begin(), well_known_files.end(), file) != well_known_files.end();
}

bool comes_with_backplane(std::string_view file) {
  return file.starts_with("backplane/events/v1/") || file.starts_with("backplane/v1/");
}

bool every_reader_has(const pb::FileDescriptor& file) {
  return is_well_known(file.name()) || comes_with_backplane(file.name());
}

bool is_compiled_in(const pb::Descriptor& type) {
  return type.file()->pool() == pb::DescriptorPool::generated_pool();
}

// Bytes of one file in a FileDescriptorSet, including its tag and length.
std::size_t framed_bytes(const std::string& file) {
  return file.size() + 1 + 5;
}

}  // namespace

std::atomic<const TypeDefinitions::Type*>& TypeDefinitions::cache_slot(const Type& type) noexcept {
  // Descriptors are aligned and often adjacent, so the address is divided by their size.
  return cached_types_[std::hash<const Type*>{}(&type) / sizeof(Type) % cached_types_.size()];
}

void TypeDefinitions::add(const Type& type) {
  if (cache_slot(type).load(std::memory_order_acquire) == &type) return;
  add_new(type);
  // Only compiled-in types are cached: a type of another pool may be destroyed and a new one take its
  // address.
  if (is_compiled_in(type)) cache_slot(type).store(&type, std::memory_order_release);
}

void TypeDefinitions::add_new(const Type& type) {
  if (every_reader_has(*type.file())) return;
  const MutexLock lock(mutex_);
  if (types_.contains(type.full_name())) return;
  if (bytes_ >= bytes_max || types_.size() >= types_max) {
    problem_ =
        fmt::format("types: limit reached with {} types of {} bytes; no more are registered with the broker",
                    types_.size(), bytes_);
    return;
  }
  types_.emplace(type.full_name());
  std::set<std::string_view> visited;
  add_with_imports(*type.file(), visited);
  file_count_.store(files_.size(), std::memory_order_release);
}

// The depth is that of the imports, which protobuf has already resolved.
// NOLINTNEXTLINE(misc-no-recursion)
void TypeDefinitions::add_with_imports(const pb::FileDescriptor& file, std::set<std::string_view>& visited) {
  if (is_well_known(file.name()) || !visited.insert(file.name()).second) return;
  for (int i = 0; i < file.dependency_count(); ++i) add_with_imports(*file.dependency(i), visited);
  pb::FileDescriptorProto proto;
  file.CopyTo(&proto);
  std::string bytes = proto.SerializeAsString();
  if (!known_files_.insert(bytes).second) return;
  bytes_ += bytes.size();
  files_.push_back(std::move(bytes));
}

TypeDefinitions::Slice TypeDefinitions::files_from(std::size_t begin, std::size_t slice_bytes_max,
                                                   std::size_t files_max) const {
  const MutexLock lock(mutex_);
  Slice slice;
  slice.end = begin;
  std::size_t bytes = 0;
  while (slice.end < files_.size() && slice.files.size() < files_max) {
    const std::string& file = files_[slice.end];
    bytes += framed_bytes(file);
    if (!slice.files.empty() && bytes > slice_bytes_max) break;
    slice.files.push_back(file);
    ++slice.end;
  }
  return slice;
}

std::string TypeDefinitions::problem() const {
  const MutexLock lock(mutex_);
  return problem_;
}

}  // namespace backplane::publishing
