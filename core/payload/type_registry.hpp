#pragma once
// The message types that publishers have registered.

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

/// Stores the .proto files that publishers register and returns them, so that a reader can show a type that
/// it was not built with. A file is never removed. Its content is validated first, all files of a set or
/// none. Not thread-safe; the work per call is bounded by the limits.
class TypeRegistry {
 public:
  struct Limits {
    std::size_t files_max = 4096;
    std::size_t set_files_max = 512;          ///< per registration
    std::size_t set_bytes_max = 128u << 10;   ///< building this much takes about 12 ms
    std::size_t file_bytes_max = 128u << 10;  ///< so that one always fits into a reply
    std::size_t bytes_max = 4u << 20;         ///< all files
    /// The full names of everything that a file defines (package.Message.field): nothing else bounds the
    /// memory of a validated file.
    std::size_t file_names_bytes_max = 2u << 20;
    std::size_t names_bytes_max = 16u << 20;  ///< all files
  };
  /// Why a set is refused.
  enum class Refusal : std::uint8_t {
    none,
    bad_types,  ///< the files are not valid
    conflict,   ///< a file or a type of that name exists and is different
    too_large,  ///< a limit is exceeded
  };
  struct Registered {
    Refusal refusal{Refusal::none};
    std::string text;  ///< one line: which file, what is wrong
  };
  /// A part of the requested files. Every file comes after the files that it imports.
  struct Page {
    std::vector<const google::protobuf::FileDescriptorProto*> files;  ///< valid as long as the registry
    std::vector<std::string> unknown;  ///< names that are not registered; on the first page only
    std::size_t next{};                ///< `after` for the next page; 0: this was the last
  };

  TypeRegistry();
  explicit TypeRegistry(Limits limits);
  ~TypeRegistry();
  TypeRegistry(const TypeRegistry&) = delete;
  TypeRegistry& operator=(const TypeRegistry&) = delete;

  /// Registers a set of files in any order. Their imports must be among them or registered before. Google's
  /// own (google/protobuf/…) are always there, and other versions of those are ignored. Registering the same
  /// file again succeeds: comments, and what compilers can add themselves, make no difference.
  [[nodiscard]] Registered add(const google::protobuf::FileDescriptorSet& set);
  /// The same with a serialised FileDescriptorSet. Accepts any bytes.
  [[nodiscard]] Registered add(std::string_view file_descriptor_set);
  /// Whether add() would succeed and change nothing: all files are registered already.
  [[nodiscard]] bool has(const google::protobuf::FileDescriptorSet& set) const;

  /// The files that define `names` (full names of message types or enums, or type URLs; none: all files),
  /// with everything that they import, after the `after`th file, of at most `bytes_max` bytes (but at least
  /// one file).
  [[nodiscard]] Page find(std::span<const std::string> names, std::size_t after, std::size_t bytes_max) const;

  /// The types, ready for use. The pool has no database, so searching it for an unknown name costs no memory.
  [[nodiscard]] const google::protobuf::DescriptorPool& pool() const noexcept;

  [[nodiscard]] std::size_t files() const noexcept;
  [[nodiscard]] std::size_t bytes() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane
