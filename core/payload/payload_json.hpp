#pragma once
// Typed payloads as JSON.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/payload/type_registry.hpp"

namespace backplane {

/// Writes the message in an Any as JSON on one line: proto field names, defaults printed. Types are the
/// events of backplane/events/v1, those of the $SYS. topics, Google's well-known ones, and what add_types()
/// was given. Belongs to one thread; owns the types and one message object each, which it reuses. No bytes,
/// neither a payload's nor a type's, make it throw, abort, or take memory beyond its limits.
class PayloadJson {
 public:
  /// What a reader keeps of other people's types.
  static constexpr TypeRegistry::Limits default_limits{.set_files_max = 4096, .set_bytes_max = 4u << 20};

  PayloadJson();
  explicit PayloadJson(TypeRegistry::Limits limits);
  ~PayloadJson();
  PayloadJson(const PayloadJson&) = delete;
  PayloadJson& operator=(const PayloadJson&) = delete;

  /// Appends the message; `{"@type":…,"value":base64}` where its type is not known, where the bytes are not
  /// one of that type, or where its JSON would be out of all proportion to it. Any bytes may be given.
  /// A type that is missing is told by take_unknown_types().
  void append(std::string_view type_url, std::string_view value, std::string& out);

  /// Takes the files of a serialised FileDescriptorSet: all or none; in any order, with what they import
  /// among them or here already. Any bytes may be given. Types that the program was built with stay as they
  /// are. What is wrong is told in one line; what was known before stays.
  [[nodiscard]] TypeRegistry::Registered add_types(std::string_view file_descriptor_set);
  /// Forgets all that add_types() was given, and what was asked for: for a broker that began anew.
  void forget_types();

  /// Full names of types that append() met and did not know, each once since ask_again(), for the owner to
  /// ask a broker for; what it gets goes to add_types(). Only what can be a type's name.
  [[nodiscard]] std::vector<std::string> take_unknown_types();
  [[nodiscard]] bool has_unknown_types() const noexcept;
  /// Tells of types once more that are still unknown when they are met again: they may have been registered
  /// meanwhile. At most 4,096 names are told of between two calls of this, so call it every few seconds.
  void ask_again();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// The type's full name: what follows the last slash of a type URL.
[[nodiscard]] std::string_view type_name(std::string_view type_url) noexcept;

/// Makes protobuf's own complaints (a string that is not UTF-8, once an event) debug lines of our log,
/// so that hostile payloads cannot flood standard error. For the whole process: once, at its start.
void route_protobuf_log();

}  // namespace backplane
