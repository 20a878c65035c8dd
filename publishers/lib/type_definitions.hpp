#pragma once
// The definitions of the message types that a publisher uses, for readers that were not built with them.

#include <array>
#include <atomic>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/thread/mutex.hpp"

namespace google::protobuf {
class Descriptor;
class FileDescriptor;
}  // namespace google::protobuf

namespace backplane::publishing {

/// Collects .proto files, each once, ordered so that each file follows the files it imports. Files are never
/// removed. Any thread may call any method. Stores copies: a type need not outlive the call.
class TypeDefinitions {
 public:
  /// A broker's own limits; it would refuse more.
  static constexpr std::size_t bytes_max = 4u << 20;
  static constexpr std::size_t types_max = 4096;

  /// Adds a type's file and the files it imports, if they are new. Ignores types that come with Backplane and
  /// Google's well-known types, because every reader has them.
  void add(const google::protobuf::Descriptor& type);

  /// The number of files.
  [[nodiscard]] std::size_t file_count() const noexcept {
    return file_count_.load(std::memory_order_acquire);
  }

  struct Slice {
    std::vector<std::string> files;  ///< serialised google.protobuf.FileDescriptorProtos
    std::size_t end{};               ///< index after the last file
  };
  /// The files from index `begin` on: at most `files_max`, and at most `bytes_max` bytes as a
  /// FileDescriptorSet, but always at least one if there is one.
  [[nodiscard]] Slice files_from(std::size_t begin, std::size_t bytes_max, std::size_t files_max) const;

  /// Why types were left out; empty if none were.
  [[nodiscard]] std::string problem() const;

 private:
  using Type = google::protobuf::Descriptor;

  [[nodiscard]] std::atomic<const Type*>& cache_slot(const Type& type) noexcept;
  void add_new(const Type& type);
  void add_with_imports(const google::protobuf::FileDescriptor& file, std::set<std::string_view>& visited)
      REQUIRES(mutex_);

  // Compiled-in types that have been added or can be ignored, so that offer() does not lock here.
  std::array<std::atomic<const Type*>, 64> cached_types_{};
  std::atomic<std::size_t> file_count_{};

  mutable Mutex mutex_;
  std::set<std::string, std::less<>> types_ GUARDED_BY(mutex_);
  std::set<std::string, std::less<>> known_files_ GUARDED_BY(mutex_);
  std::vector<std::string> files_ GUARDED_BY(mutex_);
  std::size_t bytes_ GUARDED_BY(mutex_){};
  std::string problem_ GUARDED_BY(mutex_);
};

}  // namespace backplane::publishing
