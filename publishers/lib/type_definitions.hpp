#pragma once
// The definitions of the message types that a publisher offers, for readers that were not built with them.

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Descriptor;
class FileDescriptor;
}  // namespace google::protobuf

namespace backplane::publishing {

/// Collects .proto files, each once, in an order in which each stands behind those that it imports. It only
/// grows. Every method may be called from any thread. Owns copies: a type need not outlive the call.
class TypeDefinitions {
 public:
  /// What a broker keeps at most, so more would be refused there.
  static constexpr std::size_t bytes_max = 4u << 20;
  static constexpr std::size_t types_max = 4096;

  /// Notes a type's file and what it imports, where they are new. Types that come with Backplane, and
  /// Google's well-known ones, are passed over: every reader has them.
  void add(const google::protobuf::Descriptor& type);

  /// How many files there are.
  [[nodiscard]] std::size_t file_count() const noexcept {
    return file_count_.load(std::memory_order_acquire);
  }

  struct Slice {
    std::vector<std::string> files;  ///< serialised google.protobuf.FileDescriptorProtos
    std::size_t end{};               ///< the index behind the last one
  };
  /// The files from index `begin` on, of at most `bytes_max` bytes as a FileDescriptorSet (but one at least)
  /// and `files_max` in number.
  [[nodiscard]] Slice files_from(std::size_t begin, std::size_t bytes_max, std::size_t files_max) const;

  /// Why types were left out; empty: none were.
  [[nodiscard]] std::string problem() const;

 private:
  using Type = google::protobuf::Descriptor;

  [[nodiscard]] std::atomic<const Type*>& cache_slot(const Type& type) noexcept;
  void add_new(const Type& type);
  void add_with_imports(const google::protobuf::FileDescriptor& file, std::set<std::string_view>& visited);

  // Compiled-in types that are noted, or need not be: so that an offer() costs no lock here.
  std::array<std::atomic<const Type*>, 64> cached_types_{};
  std::atomic<std::size_t> file_count_{};

  mutable std::mutex mutex_;  // guards the rest
  std::set<std::string, std::less<>> types_;
  std::set<std::string, std::less<>> known_files_;
  std::vector<std::string> files_;
  std::size_t bytes_{};
  std::string problem_;
};

}  // namespace backplane::publishing
