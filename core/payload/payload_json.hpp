#pragma once
// Typed payloads as JSON.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/payload/type_registry.hpp"

namespace backplane {

/// Writes the message in an Any as JSON on one line: proto field names, defaults printed. Known types are the
/// events of backplane/events/v1, those of the $SYS. topics, Google's well-known ones, and those from
/// add_types(). Not thread-safe. Owns the types and one message object of each, which it reuses. No bytes,
/// neither of a payload nor of a type, make it throw, abort, or take memory beyond its limits.
class PayloadJson {
 public:
  /// The limits of registered types in a reader.
  static constexpr TypeRegistry::Limits default_limits{.set_files_max = 4096, .set_bytes_max = 4u << 20};

  PayloadJson();
  explicit PayloadJson(TypeRegistry::Limits limits);
  ~PayloadJson();
  PayloadJson(const PayloadJson&) = delete;
  PayloadJson& operator=(const PayloadJson&) = delete;

  /// Appends the message as JSON; or `{"@type":…,"value":base64}` if its type is unknown, if the bytes are
  /// not a message of that type, or if its JSON would be out of proportion. Accepts any bytes.
  /// take_unknown_types() returns the unknown types.
  void append(std::string_view type_url, std::string_view value, std::string& out);

  /// Adds the files of a serialised FileDescriptorSet: all or none, in any order, with their imports among
  /// them or added before. Accepts any bytes. Types that the program was built with stay as they are. An
  /// error is described in one line; the known types stay.
  [[nodiscard]] TypeRegistry::Registered add_types(std::string_view file_descriptor_set);
  /// Removes everything that add_types() added, and the memory of what take_unknown_types() returned: for a
  /// new incarnation of the broker.
  void clear_types();

  /// The full names of unknown types that append() met, each once until the next retry. The owner requests
  /// them from a broker and passes the result to add_types(). Only valid type names.
  [[nodiscard]] std::vector<std::string> take_unknown_types();
  [[nodiscard]] bool has_unknown_types() const noexcept;
  /// Lets take_unknown_types() return types again that are still unknown when they are met again: they may
  /// have been registered since. It returns at most 4,096 names between two calls of this, so call it every
  /// few seconds.
  void retry_unknown_types();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// The type's full name: the part after the last slash of a type URL.
[[nodiscard]] std::string_view type_name(std::string_view type_url) noexcept;

/// Sends protobuf's own warnings (a string that is not UTF-8, once per event) to our log at debug level, so
/// that hostile payloads cannot flood standard error. For the whole process: call it once, at startup.
void route_protobuf_log();

}  // namespace backplane
