#pragma once
// The message types that publishers have told us of.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"

namespace google::protobuf {
class DescriptorPool;
class FileDescriptorProto;
class FileDescriptorSet;
}  // namespace google::protobuf

namespace backplane {

/// Keeps the .proto files that publishers register and hands them out, so that a reader can show a type that
/// it was not built with. A file is kept for ever, under its name; what it defines is validated first, all
/// files of a set or none. Belongs to one thread; a call's work is bounded by the limits.
class TypeRegistry {
 public:
  struct Limits {
    std::size_t files_max = 4096;
    std::size_t set_files_max = 512;          ///< one registration
    std::size_t set_bytes_max = 128u << 10;   ///< building that much takes some 12 ms
    std::size_t file_bytes_max = 128u << 10;  ///< so that one always fits in a reply
    std::size_t bytes_max = 4u << 20;         ///< all files
    /// The names of all that a file defines, each in full (package.Message.field): what a validated file
    /// costs in memory has no other bound.
    std::size_t file_names_bytes_max = 2u << 20;
    std::size_t names_bytes_max = 16u << 20;  ///< all files
  };
  /// Why a set is not taken.
  enum class Refusal : std::uint8_t {
    none,
    bad_types,  ///< the files make no sense
    conflict,   ///< a file or a type of that name is there already, and is another
    too_large,  ///< a limit
  };
  struct Registered {
    Refusal refusal{Refusal::none};
    std::string text;  ///< one line: which file, what is wrong
  };
  /// A part of what was asked for: every file comes behind the files that it imports.
  struct Page {
    std::vector<const google::protobuf::FileDescriptorProto*> files;  ///< valid while the registry lives
    std::vector<std::string> unknown;  ///< names that nobody registered; on the first page only
    std::size_t next{};                ///< the next page's `after`; 0: that was the last
  };

  TypeRegistry();
  explicit TypeRegistry(Limits limits);
  ~TypeRegistry();
  TypeRegistry(const TypeRegistry&) = delete;
  TypeRegistry& operator=(const TypeRegistry&) = delete;

  /// Takes a set of files in any order. What they import must be among them or here already; Google's own
  /// (google/protobuf/…) are here always, and other versions of those are passed over. The same file again is
  /// welcome: comments and what a compiler can add by itself make no difference.
  [[nodiscard]] Registered add(const google::protobuf::FileDescriptorSet& set);
  /// The same with a serialised FileDescriptorSet. Any bytes may be given.
  [[nodiscard]] Registered add(std::string_view file_descriptor_set);

  /// The files that define `names` (message types or enums in full, also as type URLs; none: all there are),
  /// with all that they import, after the `after`th file, of at most `bytes_max` bytes (but one at least).
  [[nodiscard]] Page find(std::span<const std::string> names, std::size_t after, std::size_t bytes_max) const;

  /// The types, ready for use. It has no database behind it: a name that it does not know costs no memory.
  [[nodiscard]] const google::protobuf::DescriptorPool& pool() const noexcept;

  [[nodiscard]] std::size_t files() const noexcept;
  [[nodiscard]] std::size_t bytes() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane
